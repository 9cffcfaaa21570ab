//! What the server said of itself in the MCP handshake, asked of the audit sidecar in front of it.

use crate::sidecar::{self, SidecarError};
use sallyport_api::v1alpha1::ServerInfo;
use std::{net::SocketAddr, time::Duration};

const PATH: &str = "/server";
const DEADLINE: Duration = Duration::from_secs(3);
const MAX_TEXT: usize = 128;

/// Asks the admin port of the sidecar at `address`, within three seconds.
///
/// The texts come from the server, which is not trusted: they are cut short and rid of control characters.
///
/// # Errors
///
/// See [`SidecarError`].
pub async fn fetch(address: SocketAddr) -> Result<ServerInfo, SidecarError> {
    let info: ServerInfo = sidecar::get(address, PATH, DEADLINE).await?;
    Ok(ServerInfo {
        name: sidecar::plain(&info.name, MAX_TEXT),
        version: sidecar::plain(&info.version, MAX_TEXT),
        protocol_version: sidecar::plain(&info.protocol_version, MAX_TEXT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sidecar;

    #[tokio::test]
    async fn the_server_is_described_and_its_texts_are_cut() {
        let name = format!("every\\nthing{}", "x".repeat(500));
        let body = format!(r#"{{"name":"{name}","version":"1.0","protocolVersion":"2025-11-25"}}"#);
        let info = fetch(sidecar("200 OK", body).await).await.unwrap();
        assert!(
            info.name.starts_with("everything") && info.name.len() == MAX_TEXT,
            "{info:?}"
        );
        assert_eq!(info.protocol_version, "2025-11-25");
    }

    #[tokio::test]
    async fn a_server_that_has_not_answered_is_pending_and_nonsense_is_refused() {
        let pending = fetch(sidecar("503 Service Unavailable", String::new()).await).await;
        assert!(matches!(pending, Err(SidecarError::Pending)), "{pending:?}");
        let nonsense = fetch(sidecar("200 OK", "[]".to_owned()).await).await;
        assert!(matches!(nonsense, Err(SidecarError::Unreadable)), "{nonsense:?}");
        let endless = fetch(sidecar("200 OK", " ".repeat(20 << 10)).await).await;
        assert!(matches!(endless, Err(SidecarError::Unreadable)), "{endless:?}");
        let nobody = fetch("127.0.0.1:1".parse().unwrap()).await;
        assert!(matches!(nobody, Err(SidecarError::Connect(_))), "{nobody:?}");
    }
}
