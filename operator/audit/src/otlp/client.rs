//! One HTTP/1.1 connection to the collector, made anew when it breaks.

use super::OtlpError;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme, Uri};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sallyport_policy::OtlpSink;
use serde_json::Value;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one request may take, connecting included.
const BOUND: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read at most.
const MAX_ANSWER: usize = 64 * 1024;

/// Characters of the collector's own words that are passed on.
const MAX_WORDS: usize = 200;

/// Why the collector has not taken what was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection.
    #[error("no connection to the collector: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection to the collector broke: {0}")]
    Exchange(#[source] hyper::Error),
    /// Too slow.
    #[error("the collector did not answer within {BOUND:?}")]
    TimedOut,
    /// It says no.
    #[error("the collector answered {0}: {advice}", advice = advice(*.0))]
    Refused(StatusCode),
    /// It took the request, but not all records in it.
    #[error(
        "the collector answered 200 OK but rejected {count} records ({message:?}): its log says what it demands of them"
    )]
    Rejected {
        /// How many.
        count: u64,
        /// Why, in its words.
        message: String,
    },
    /// Cannot happen: the parts were checked.
    #[error("no request can be made: {0}")]
    Request(#[source] http::Error),
}

impl SendError {
    /// Whether the same request may be taken later (OTLP/HTTP, "Retryable Response Codes").
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Exchange(_) | Self::TimedOut | Self::Request(_) => true,
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502..=504),
            Self::Rejected { .. } => false,
        }
    }

    /// Status of the collector's answer, if there was one.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Connect(_) | Self::Exchange(_) | Self::TimedOut | Self::Request(_) => None,
            Self::Refused(status) => Some(*status),
            Self::Rejected { .. } => Some(StatusCode::OK),
        }
    }
}

/// What to change at the collector.
fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 | 404 | 405 => "check the path of audit.otlp.endpoint, to which /v1/logs is appended",
        401 | 403 | 407 => "let it take records from this pod without credentials, which are not sent",
        413 => "raise the size of a request that it takes",
        415 => "let it take OTLP over HTTP in JSON",
        429 | 502..=504 => "it is tried again",
        _ => "its log says why",
    }
}

/// A collector and the connection to it.
pub(super) struct Client {
    authority: Authority,
    /// Ends with a slash.
    base: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of `sink` without a connection.
    pub fn new(sink: &OtlpSink) -> Result<Self, OtlpError> {
        let unusable = || OtlpError::Endpoint {
            endpoint: sink.endpoint.clone(),
        };
        let uri: Uri = sink.endpoint.parse().map_err(|_| unusable())?;
        let authority = uri.authority().ok_or_else(unusable)?.clone();
        let tls = if uri.scheme() == Some(&Scheme::HTTPS) {
            let host = authority.host().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(|_| unusable())?;
            let file = sink.ca_file.as_deref().ok_or_else(unusable)?;
            Some((TlsConnector::from(Arc::new(trusting(Path::new(file))?)), name))
        } else {
            None
        };
        Ok(Self {
            authority,
            base: format!("{}/", uri.path().trim_end_matches('/')),
            tls,
            connection: None,
        })
    }

    /// Posts `body`, JSON, to `path` of the collector.
    pub async fn send(&mut self, path: &str, body: Bytes) -> Result<(), SendError> {
        let sent = tokio::time::timeout(BOUND, self.exchange(path, body)).await;
        let result = sent.unwrap_or(Err(SendError::TimedOut));
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn exchange(&mut self, path: &str, body: Bytes) -> Result<(), SendError> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await?,
        };
        connection.ready().await.map_err(SendError::Exchange)?;
        let request = Request::post(format!("{}{path}", self.base))
            .header(header::HOST, self.authority.as_str())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .map_err(SendError::Request)?;
        let (head, body) = connection
            .send_request(request)
            .await
            .map_err(SendError::Exchange)?
            .into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        if !head.status.is_success() {
            return Err(SendError::Refused(head.status));
        }
        self.connection = Some(connection);
        // An answer that cannot be read does not take back that the records were taken.
        let answer = body.map(Collected::to_bytes).unwrap_or_default();
        rejected(&answer).map_or(Ok(()), Err)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, SendError> {
        let default = if self.tls.is_some() { 443 } else { 80 };
        let host = self.authority.host().trim_matches(['[', ']']);
        let port = self.authority.port_u16().unwrap_or(default);
        let stream = TcpStream::connect((host, port)).await.map_err(SendError::Connect)?;
        stream.set_nodelay(true).map_err(SendError::Connect)?;
        match &self.tls {
            None => handshake(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                handshake(stream.map_err(SendError::Connect)?).await
            }
        }
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, SendError> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(SendError::Exchange)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the collector ended with an error");
        }
    });
    Ok(sender)
}

/// What an `ExportLogsServiceResponse` says was not taken.
fn rejected(answer: &[u8]) -> Option<SendError> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = partial.get("rejectedLogRecords")?;
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    let message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    (count > 0).then(|| SendError::Rejected {
        count,
        message: message.chars().take(MAX_WORDS).collect(),
    })
}

/// TLS that trusts the authorities of `file` and no other.
fn trusting(file: &Path) -> Result<ClientConfig, OtlpError> {
    let path = || file.to_owned();
    let unreadable = |source| OtlpError::ReadAuthority { path: path(), source };
    let unusable = |source| OtlpError::Authority { path: path(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        roots
            .add(certificate.map_err(unreadable)?)
            .map_err(|error| unusable(Some(error)))?;
    }
    if roots.is_empty() {
        return Err(unusable(None));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(Some(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
