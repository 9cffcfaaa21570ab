//! TLS as both ends speak it: hosts with certificates, a pod with a signer, clients with roots.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sallyport_core::drain::drain;
use sallyport_core::listener;
use sallyport_policy::signer::{BUNDLE_FILE, OWN_FILE, SignerPolicy};
use sallyport_sidecar::signer::Signer;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use uuid::Uuid;

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-inject-{}", Uuid::now_v7()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certification authority of the outside world.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub fn pem(&self) -> String {
        pem::encode(&pem::Pem::new("CERTIFICATE", self.0.der().as_ref()))
    }

    fn server(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

/// A request that a host got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub alpn: Option<String>,
}

/// A host that speaks HTTP in TLS. By path: `/stream` sends `first` and, once told to, `second`; `/redirect` leads to
/// another host; `/close` ends the connection; all else is answered with `hello`.
#[derive(Clone)]
pub struct Web {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub go_on: Arc<Notify>,
}

impl Web {
    /// A host with a certificate of `authority` for `name`.
    pub async fn start(authority: &Authority, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            go_on: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(authority.server(name)));
        let served = web.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, web) = (acceptor.clone(), served.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let alpn = stream.get_ref().1.alpn_protocol();
                    let alpn = alpn.map(|name| String::from_utf8(name.to_vec()).unwrap());
                    let service = service_fn(|request| web.answer(request, alpn.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        web
    }

    /// What it got, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        alpn: Option<String>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        self.seen.lock().unwrap().push(Seen {
            method: head.method.to_string(),
            uri: head.uri,
            headers: head.headers,
            body: body.unwrap_or_default(),
            alpn,
        });
        let response = Response::builder();
        Ok(match path.as_str() {
            "/redirect" => response
                .status(302)
                .header("location", "https://evil.test/")
                .body(Empty::new().boxed()),
            "/close" => response.header("connection", "close").body(Full::from("hello").boxed()),
            "/stream" => {
                let go_on = self.go_on.clone();
                let rest = futures::stream::once(async move {
                    go_on.notified().await;
                    Ok(Frame::data(Bytes::from("second")))
                });
                let first = futures::stream::iter([Ok(Frame::data(Bytes::from("first")))]);
                response.body(BodyExt::boxed(StreamBody::new(futures::StreamExt::chain(first, rest))))
            }
            _ => response.body(Full::from("hello").boxed()),
        }
        .unwrap())
    }
}

/// A host that remembers the bytes that TLS brought, as they were, and answers each request line that it finds in them.
#[derive(Clone)]
pub struct Wire {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    /// A host with a certificate of `authority` for `name`.
    pub async fn start(authority: &Authority, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(authority.server(name)));
        let served = wire.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, wire) = (acceptor.clone(), served.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut buffer = vec![0; 64 * 1024];
                    loop {
                        let count = stream.read(&mut buffer).await?;
                        if count == 0 {
                            return io::Result::Ok(());
                        }
                        wire.received.lock().unwrap().extend_from_slice(&buffer[..count]);
                        let requests = String::from_utf8_lossy(&buffer[..count])
                            .matches(" HTTP/1.1\r\n")
                            .count();
                        let answers = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".repeat(requests);
                        stream.write_all(answers.as_bytes()).await?;
                    }
                });
            }
        });
        wire
    }

    /// All that came, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}

/// The server's pod: a signer, and the certificates that the server trusts.
pub struct Pod {
    pub port: u16,
    directory: Directory,
    _control: sallyport_core::drain::DrainControl,
}

impl Pod {
    /// A pod whose signer signs for `hosts`.
    pub async fn start(hosts: &[&str]) -> Self {
        let directory = Directory::new();
        let path = directory.0.to_str().unwrap().to_owned();
        let signer = Signer::start(&SignerPolicy {
            port: 0,
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            trust_directory: path.clone(),
            key_directory: path,
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (control, drain) = drain();
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (signer, drain) = (signer.clone(), drain.clone());
                tokio::spawn(async move {
                    let handler = |request, _| signer.handle(request);
                    listener::serve_http(stream, peer.ip(), handler, drain).await;
                });
            }
        });
        Self {
            port,
            directory,
            _control: control,
        }
    }

    /// What the server trusts beside public authorities.
    pub fn own(&self) -> Vec<CertificateDer<'static>> {
        self.certificates(OWN_FILE)
    }

    /// All that the server trusts.
    pub fn bundle(&self) -> Vec<CertificateDer<'static>> {
        self.certificates(BUNDLE_FILE)
    }

    fn certificates(&self, file: &str) -> Vec<CertificateDer<'static>> {
        let certificates = CertificateDer::pem_file_iter(self.directory.0.join(file)).unwrap();
        certificates.map(Result::unwrap).collect()
    }

    /// A file of this name with this content.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.directory.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A client's configuration that trusts `roots`.
pub fn trusting(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> ClientConfig {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth()
}

/// TLS with `name` over `stream`.
pub async fn tls_over(stream: TcpStream, name: &str, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(Duration::from_secs(10), handshake)
        .await
        .expect("a handshake in time")
}

/// HTTP in TLS with `name` over `stream`.
pub async fn http_over(stream: TcpStream, name: &str, config: ClientConfig) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = tls_over(stream, name, config).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}
