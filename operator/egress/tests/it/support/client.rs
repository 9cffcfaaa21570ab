//! A client that says exactly what it is told to.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client(pub TcpStream);

/// The head of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
}

impl Answer {
    /// The word that `Proxy-Status` gives as the reason.
    pub fn reason(&self) -> Option<&str> {
        self.head
            .split_once("details=\"")?
            .1
            .split_once('"')
            .map(|(reason, _)| reason)
    }
}

impl Client {
    pub async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // Whoever is refused may be gone already.
        let _ = self.0.write_all(bytes).await;
    }

    /// Asks for a tunnel.
    pub async fn connect(&mut self, authority: &str) -> Answer {
        self.ask(&format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n"))
            .await
    }

    pub async fn ask(&mut self, request: &str) -> Answer {
        self.send(request.as_bytes()).await;
        self.answer().await
    }

    pub async fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = tokio::time::timeout(PATIENCE, self.0.read_u8())
                .await
                .expect("an answer in time");
            match byte {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Answer { status, head }
    }

    /// Waits for exactly `expected`.
    pub async fn expect(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        let reading = tokio::time::timeout(PATIENCE, self.0.read_exact(&mut got)).await;
        reading.expect("bytes in time").unwrap();
        assert_eq!(got, expected);
    }

    /// All until the other side closes, or breaks off.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        let _ = reading.expect("the end in time");
        rest
    }

    pub async fn half_close(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}
