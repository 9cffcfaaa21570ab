use super::*;
use crate::client::ClientStream;
use crate::follow::FollowError;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn server(&self) -> Pair {
        self.sign("localhost", ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self) -> Pair {
        self.sign("caller.example", ExtendedKeyUsagePurpose::ClientAuth)
    }
}

struct Directory(PathBuf);

static DIRECTORIES: AtomicU32 = AtomicU32::new(0);

impl Directory {
    fn new() -> Self {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sallyport-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let (fresh, path) = (self.0.join(format!(".{name}")), self.0.join(name));
        std::fs::write(&fresh, content).unwrap();
        std::fs::rename(fresh, &path).unwrap();
        path
    }

    fn files(&self, server: &Pair, client_ca: Option<&Authority>) -> TlsFiles {
        TlsFiles {
            certificate: self.write("tls.crt", &server.certificate),
            key: self.write("tls.key", &server.key),
            client_ca: client_ca.map(|authority| self.write("ca.crt", &authority.pem)),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn client_config(authority: &Authority, own: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority.pem.as_bytes()).unwrap() {
        roots.add(certificate).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = certificates(own.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// What both sides saw of one connection: the server's outcome, and the certificate that the client was shown.
async fn connect(
    acceptor: &TlsAcceptor,
    client: Arc<ClientConfig>,
) -> (Result<Option<PeerCertificate>, HandshakeError>, Option<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut stream, certificate) = acceptor.accept(stream).await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        stream.write_all(&byte).await.unwrap();
        stream.shutdown().await.unwrap();
        Ok(certificate)
    };
    let call = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(client).connect(name, stream).await.ok()?;
        stream.write_all(b"x").await.ok()?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates()?.first()?.to_vec();
        Some(shown)
    };
    tokio::join!(serve, call)
}

fn der(pair: &Pair) -> Vec<u8> {
    certificates(pair.certificate.as_bytes()).unwrap()[0].to_vec()
}

async fn until(mut fits: impl AsyncFnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !fits().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_never() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let (old, new) = (authority.server(), authority.server());
    let acceptor = TlsAcceptor::start(directory.files(&old, None)).unwrap();
    let client = client_config(&authority, None);
    let shown = async || connect(&acceptor, client.clone()).await.1;
    assert_eq!(shown().await, Some(der(&old)));
    directory.files(&new, None);
    until(async || shown().await == Some(der(&new))).await;
    // The key of another certificate.
    directory.write("tls.key", &old.key);
    until(async || acceptor.problem().is_some()).await;
    assert!(acceptor.problem().unwrap().contains("do they belong together?"));
    assert_eq!(shown().await, Some(der(&new)));
    directory.write("tls.key", &new.key);
    until(async || acceptor.problem().is_none()).await;
}

#[tokio::test]
async fn files_that_are_unusable_at_the_start_are_refused() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let files = directory.files(&authority.server(), Some(&authority));
    for (name, content) in [("tls.crt", ""), ("tls.key", "nonsense"), ("ca.crt", "")] {
        let before = std::fs::read_to_string(directory.0.join(name)).unwrap();
        directory.write(name, content);
        let started = TlsAcceptor::start(files.clone());
        assert!(matches!(started, Err(FollowError::Content { .. })), "{name}");
        directory.write(name, &before);
    }
    assert!(TlsAcceptor::start(files).is_ok());
    let absent = TlsFiles {
        certificate: Path::new("/nowhere").to_owned(),
        ..directory.files(&authority.server(), None)
    };
    assert!(matches!(TlsAcceptor::start(absent), Err(FollowError::Read { .. })));
}

#[tokio::test]
async fn a_caller_is_known_by_a_certificate_of_the_trusted_authority_and_by_no_other() {
    let (authority, other, directory) = (Authority::new(), Authority::new(), Directory::new());
    let caller = authority.client();
    let acceptor = TlsAcceptor::start(directory.files(&authority.server(), Some(&authority))).unwrap();

    let (accepted, _) = connect(&acceptor, client_config(&authority, Some(&caller))).await;
    let peer = accepted.unwrap().expect("a certificate");
    assert_eq!(peer.der(), der(&caller));
    assert_eq!(peer.thumbprint(), <[u8; 32]>::from(Sha256::digest(der(&caller))));
    assert!(peer.is_trusted());

    let (accepted, _) = connect(&acceptor, client_config(&authority, None)).await;
    assert!(accepted.unwrap().is_none());

    for stranger in [other.client(), authority.server()] {
        let (accepted, _) = connect(&acceptor, client_config(&authority, Some(&stranger))).await;
        assert!(matches!(accepted, Err(HandshakeError::Failed(_))));
    }
}

#[tokio::test]
async fn without_an_authority_certificates_are_not_asked_for() {
    let (authority, other, directory) = (Authority::new(), Authority::new(), Directory::new());
    let acceptor = TlsAcceptor::start(directory.files(&authority.server(), None)).unwrap();
    let (accepted, _) = connect(&acceptor, client_config(&authority, Some(&other.client()))).await;
    assert!(accepted.unwrap().is_none());
}

#[tokio::test]
async fn connections_of_an_authority_that_is_no_longer_trusted_are_known_and_a_new_certificate_harms_none() {
    let (authority, other, directory) = (Authority::new(), Authority::new(), Directory::new());
    let acceptor = TlsAcceptor::start(directory.files(&authority.server(), Some(&authority))).unwrap();
    let client = client_config(&authority, Some(&authority.client()));
    let peer = connect(&acceptor, client.clone()).await.0.unwrap().unwrap();

    let renewed = authority.server();
    directory.files(&renewed, Some(&authority));
    until(async || connect(&acceptor, client.clone()).await.1 == Some(der(&renewed))).await;
    assert!(peer.is_trusted());

    directory.write("ca.crt", &other.pem);
    until(async || !peer.is_trusted()).await;
    let (accepted, _) = connect(&acceptor, client).await;
    assert!(matches!(accepted, Err(HandshakeError::Failed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_does_not_keep_its_place() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let acceptor = TlsAcceptor::start(directory.files(&authority.server(), None)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(matches!(acceptor.accept(stream).await, Err(HandshakeError::Late)));
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_given_up_on_below_tls() {
    let (authority, directory) = (Authority::new(), Directory::new());
    let acceptor = TlsAcceptor::start(directory.files(&authority.server(), None)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (done, is_done) = tokio::sync::oneshot::channel::<()>();
    let stuck = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let client = client_config(&authority, None);
        let _taking_nothing = TlsConnector::from(client).connect(name, stream).await.unwrap();
        let _ = is_done.await;
    };
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = ClientStream::new(stream, Duration::from_millis(500));
        let (mut stream, _) = acceptor.accept(stream).await.unwrap();
        let written = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                stream.write_all(&[0; 1024]).await?;
            }
        });
        let error: io::Result<()> = written.await.expect("the writing ends");
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(done);
    };
    tokio::join!(stuck, serve);
}
