//! A gateway that is careless about where a request ends: the negative control of request smuggling.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Believes `Content-Length`, or that a request ends with what arrived in one piece, looks for a forbidden word in the
/// first body only, and passes bytes on as they came. It ends when this is dropped.
#[derive(Debug)]
pub struct CarelessGateway {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl CarelessGateway {
    /// Passes on to `upstream` what does not begin with a request that names `forbidden` in its visible body.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(upstream: SocketAddr, forbidden: &'static str) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass(stream, upstream, forbidden));
            }
        });
        Ok(Self { address, serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for CarelessGateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(mut client: TcpStream, upstream: SocketAddr, forbidden: &str) {
    let mut buffer = vec![0; 64 * 1024];
    let Ok(read) = client.read(&mut buffer).await else {
        return;
    };
    if judged(&buffer[..read]).contains(&format!("\"{forbidden}\"")) {
        // The client sees what became of it.
        let _ = client
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            .await;
        return;
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    if server.write_all(&buffer[..read]).await.is_ok() {
        // It ends when either side does.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

/// The part that it takes for the request: up to the first request line after the head.
fn judged(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let after_head = text.find("\n\r\n").map_or(0, |at| at + 3);
    let next = text[after_head..].find("POST /mcp").map(|at| after_head + at);
    text[..next.unwrap_or(text.len())].to_owned()
}
