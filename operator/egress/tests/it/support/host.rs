//! Hosts of the outside world.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// What a host sends first: a record that is no ServerHello, so that no second ClientHello is expected.
pub const GREETING: &[u8] = b"\x17\x03\x03\x00\x05hello";

/// A host that remembers what it was sent.
#[derive(Clone)]
pub struct Host {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Host {
    /// Greets after the first bytes and echoes what comes after them; ends when the client does.
    pub async fn echo() -> Self {
        Self::serving(|mut stream, host, at| async move {
            let mut first = true;
            while let Some(bytes) = host.read(&mut stream, at).await {
                if first {
                    stream.write_all(GREETING).await?;
                } else {
                    stream.write_all(&bytes).await?;
                }
                first = false;
            }
            stream.write_all(b"bye").await?;
            stream.shutdown().await
        })
        .await
    }

    /// Sends `answer` after the first bytes and goes on reading.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::serving(move |mut stream, host, at| {
            let answer = answer.clone();
            async move {
                let mut first = true;
                while host.read(&mut stream, at).await.is_some() {
                    if first {
                        stream.write_all(&answer).await?;
                    }
                    first = false;
                }
                Ok(())
            }
        })
        .await
    }

    /// Sends `answer` after the end of a request's head, and closes.
    pub async fn web(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::serving(move |mut stream, host, at| {
            let answer = answer.clone();
            async move {
                while !host.received()[at].windows(4).any(|end| end == b"\r\n\r\n") {
                    if host.read(&mut stream, at).await.is_none() {
                        return Ok(());
                    }
                }
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                while host.read(&mut stream, at).await.is_some() {}
                Ok(())
            }
        })
        .await
    }

    /// Answers the first bytes and has nothing more to say, but goes on listening.
    pub async fn parting(answer: &'static str) -> Self {
        Self::serving(move |mut stream, host, at| async move {
            host.read(&mut stream, at).await;
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            while host.read(&mut stream, at).await.is_some() {}
            Ok(())
        })
        .await
    }

    #[allow(
        clippy::unused_async,
        reason = "a host starts like the others, which wait for something"
    )]
    async fn serving<F>(serve: impl Fn(TcpStream, Self, usize) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        // Hundreds may come before the first is accepted; those over the backlog would wait a second each.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let host = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
        };
        let served = host.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let at = {
                    let mut received = served.received.lock().unwrap();
                    received.push(Vec::new());
                    received.len() - 1
                };
                tokio::spawn(serve(stream, served.clone(), at));
            }
        });
        host
    }

    async fn read(&self, stream: &mut TcpStream, at: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 64 * 1024];
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        buffer.truncate(count);
        self.received.lock().unwrap()[at].extend_from_slice(&buffer);
        (count > 0).then_some(buffer)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection has brought.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap().clone()
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        self.received()
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }
}
