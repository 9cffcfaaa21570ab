//! The pod's authority: whom it makes the server trust, and what for.

use crate::support::{Lines, Running, Server, client, policy, reply};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use pretty_assertions::assert_eq;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};
use sallyport_policy::signer::{BUNDLE_FILE, OWN_FILE, SignerPolicy};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

const HOST: &str = "api.example.com";
const OTHER: &str = "evil.test";

/// The directories of a pod, gone with the test.
struct Pod(PathBuf);

impl Pod {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-signer-{}", Uuid::now_v7()));
        for part in ["trust", "key"] {
            std::fs::create_dir_all(path.join(part)).unwrap();
        }
        Self(path)
    }

    /// A sidecar in this pod, and where its signer is.
    async fn sidecar(&self) -> (Running, SocketAddr) {
        let server = Server::start(|_| async { reply(200, "{}") }).await;
        let directory = |part: &str| self.0.join(part).to_str().unwrap().to_owned();
        let mut policy = policy(server.port);
        policy.signer = Some(SignerPolicy {
            port: 0,
            hosts: vec![HOST.parse().unwrap()],
            trust_directory: directory("trust"),
            key_directory: directory("key"),
        });
        let running = Running::start(policy, Lines::default()).await;
        let signer = running.signer.unwrap();
        (running, signer)
    }

    fn trusted(&self, file: &str) -> Vec<CertificateDer<'static>> {
        let certificates = CertificateDer::pem_file_iter(self.0.join("trust").join(file)).unwrap();
        certificates.map(Result::unwrap).collect()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn ask(signer: SocketAddr, method: &str, path: &str, body: &[u8]) -> (StatusCode, Bytes) {
    let request = Request::builder().method(method).uri(format!("http://{signer}{path}"));
    let response = client()
        .request(request.body(Full::from(body.to_vec())).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    (head.status, body.collect().await.unwrap().to_bytes())
}

async fn certificate(signer: SocketAddr, key: &KeyPair) -> CertificateDer<'static> {
    let (status, body) = ask(signer, "POST", &format!("/certificates/{HOST}"), key.der_bytes()).await;
    assert_eq!(status, 200, "{body:?}");
    CertificateDer::from(body.to_vec())
}

/// What a client that trusts `roots` thinks of `certificate` for `name`.
fn verify(roots: &[CertificateDer<'static>], certificate: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.to_vec());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::new(default_provider()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .build()
        .unwrap()
        .verify_server_cert(certificate, &[], &name, &[], UnixTime::now())
        .map(drop)
}

#[tokio::test]
async fn the_server_trusts_what_is_signed_for_a_host_and_public_authorities_beside() {
    let pod = Pod::new();
    let (_sidecar, signer) = pod.sidecar().await;
    let certificate = certificate(signer, &KeyPair::generate().unwrap()).await;
    let (own, bundle) = (pod.trusted(OWN_FILE), pod.trusted(BUNDLE_FILE));
    assert_eq!(own.len(), 1);
    assert!(bundle.len() > 100 && bundle.contains(&own[0]), "{}", bundle.len());
    for roots in [&own, &bundle] {
        assert_eq!(verify(roots, &certificate, HOST), Ok(()));
    }
    assert!(verify(&own, &certificate, OTHER).is_err(), "another host");
    let others: Vec<_> = bundle.into_iter().filter(|root| *root != own[0]).collect();
    assert_eq!(
        verify(&others, &certificate, HOST),
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        "negative control: public authorities alone"
    );
}

#[tokio::test]
async fn whoever_gets_at_the_key_can_deceive_the_server_about_no_other_host() {
    let pod = Pod::new();
    let (_sidecar, _) = pod.sidecar().await;
    let own = pod.trusted(OWN_FILE);
    let key_file = pod.0.join("key").join("key.p8");
    assert_eq!(
        std::fs::metadata(&key_file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let stolen = || KeyPair::try_from(std::fs::read(&key_file).unwrap()).unwrap();
    let forge = |name: &str| {
        let mut authority = CertificateParams::default();
        authority.distinguished_name = rcgen::DistinguishedName::new();
        authority
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Sallyport signer");
        let issuer = Issuer::new(authority, stolen());
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params
            .signed_by(&KeyPair::generate().unwrap(), &issuer)
            .unwrap()
            .der()
            .clone()
    };
    for name in [OTHER, "example.com", "10.0.0.1", "127.0.0.1", "::1"] {
        let error = verify(&own, &forge(name), name).unwrap_err().to_string();
        assert!(error.contains("NameConstraintViolation"), "{name}: {error}");
    }
    assert_eq!(
        verify(&own, &forge(HOST), HOST),
        Ok(()),
        "negative control: the host itself"
    );
}

#[tokio::test]
async fn a_sidecar_that_is_started_again_is_still_trusted() {
    let pod = Pod::new();
    let (first, _) = pod.sidecar().await;
    let trusted = pod.trusted(OWN_FILE);
    first.stop().await.unwrap();
    let (_second, signer) = pod.sidecar().await;
    let certificate = certificate(signer, &KeyPair::generate().unwrap()).await;
    assert_eq!(
        verify(&trusted, &certificate, HOST),
        Ok(()),
        "by who read the files before"
    );
    let other = Pod::new();
    let (_other, _) = other.sidecar().await;
    assert!(
        verify(&other.trusted(OWN_FILE), &certificate, HOST).is_err(),
        "another pod has another authority"
    );
}

#[tokio::test]
async fn nothing_else_is_signed() {
    let pod = Pod::new();
    let (_sidecar, signer) = pod.sidecar().await;
    let key = KeyPair::generate().unwrap();
    let (key, path) = (key.der_bytes(), format!("/certificates/{HOST}"));
    let compressed = [&[2], &key[1..]].concat();
    for (method, path, body, expected) in [
        ("POST", "/certificates/evil.test", key, 403),
        ("POST", "/certificates/sub.api.example.com", key, 403),
        ("POST", "/certificates/127.0.0.1", key, 404),
        ("POST", "/certificates/", key, 404),
        ("POST", "/", key, 404),
        ("GET", &path, key, 405),
        ("POST", &path, b"", 400),
        ("POST", &path, &key[1..], 400),
        ("POST", &path, &compressed, 400),
        ("POST", &path, &[4; 100], 400),
    ] {
        assert_eq!(
            ask(signer, method, path, body).await.0,
            expected,
            "{method} {path} {}",
            body.len()
        );
    }
}

#[tokio::test]
async fn a_sidecar_that_is_to_sign_nothing_has_no_signer() {
    let server = Server::start(|_| async { reply(200, "{}") }).await;
    let running = Running::start(policy(server.port), Lines::default()).await;
    assert_eq!(running.signer, None);
    assert!(!Path::new(sallyport_policy::signer::KEY_PATH).exists());
}
