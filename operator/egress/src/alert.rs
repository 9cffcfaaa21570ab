//! The only TLS that the gateway speaks itself: why it hangs up.

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A fatal `access_denied` alert (RFC 8446 section 6.2) in a record of its own.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Tells a TLS client that it is refused, so that it reports a refusal and not a broken network.
pub async fn refuse(client: &mut (impl AsyncWrite + Unpin)) {
    // A client that is gone needs no reason.
    let _ = client.write_all(&ACCESS_DENIED).await;
    let _ = client.shutdown().await;
}
