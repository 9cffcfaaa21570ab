//! A client that sends any bytes.

use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take, unless a test asks for longer.
const ANSWER_BOUND: Duration = Duration::from_secs(10);

/// One TCP connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An HTTP answer, read leniently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Head as text, status line included.
    pub head: String,
    /// Body as text, without chunk framing.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The last JSON-RPC message in it, be it the body or an event of it.
    pub fn message(&self) -> Value {
        let mut events = self.body.lines().filter_map(|line| line.strip_prefix("data:"));
        let text = events.rfind(|data| !data.trim().is_empty()).unwrap_or(&self.body);
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Whether it is a success of HTTP.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: vec![] })
    }

    /// Sends bytes as they are. That the other side closed already is no error: it may have answered before.
    pub async fn send(&mut self, bytes: &[u8]) {
        // What the other side thinks of it is in its answer.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next answer; none when the connection ends, breaks or says nothing.
    pub async fn answer(&mut self) -> Option<Answer> {
        self.answer_within(ANSWER_BOUND).await
    }

    /// The next answer, if it is complete in time.
    pub async fn answer_within(&mut self, bound: Duration) -> Option<Answer> {
        tokio::time::timeout(bound, self.read_answer()).await.ok().flatten()
    }

    /// Whether the other side closes the connection in time; what it says before that is thrown away.
    pub async fn closed_within(&mut self, bound: Duration) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let closing = async { while matches!(self.stream.read(&mut buffer).await, Ok(read) if read > 0) {} };
        tokio::time::timeout(bound, closing).await.is_ok()
    }

    /// The next bytes; empty at the end.
    pub async fn read(&mut self) -> Vec<u8> {
        if !self.unread.is_empty() {
            return std::mem::take(&mut self.unread);
        }
        let mut buffer = vec![0; 64 * 1024];
        let read = self.stream.read(&mut buffer).await.unwrap_or(0);
        buffer.truncate(read);
        buffer
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        loop {
            let head = self.take_until(b"\r\n\r\n").await?;
            let head = String::from_utf8_lossy(&head).into_owned();
            let status = head.split(' ').nth(1)?.parse().ok()?;
            let mut answer = Answer {
                status,
                head,
                body: String::new(),
            };
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let body = if answer.header("transfer-encoding").is_some() {
                self.take_chunks().await?
            } else if let Some(length) = answer.header("content-length") {
                self.take(length.parse().ok()?).await?
            } else if matches!(status, 101 | 204 | 304) {
                vec![]
            } else {
                self.take_all().await
            };
            answer.body = String::from_utf8_lossy(&body).into_owned();
            return Some(answer);
        }
    }

    async fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 64 * 1024];
        let read = self.stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        self.unread.extend_from_slice(&buffer[..read]);
        Some(())
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        Some(self.unread.drain(..length).collect())
    }

    async fn take_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.unread.windows(end.len()).position(|window| window == end);
            if let Some(position) = found {
                return self.take(position + end.len()).await;
            }
            self.fill().await?;
        }
    }

    async fn take_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = vec![];
        loop {
            let line = self.take_until(b"\r\n").await?;
            let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn take_all(&mut self) -> Vec<u8> {
        while self.fill().await.is_some() {}
        std::mem::take(&mut self.unread)
    }
}
