//! Client certificates over real TLS, alone and as what tokens are bound to.

use crate::support::{
    Authority, AuthorizationServer, Directory, Pair, Signer, claims, client_config, encode, head, outcome, policy,
    present, start, until, with,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use pretty_assertions::assert_eq;
use rcgen::SanType;
use rustls::pki_types::ServerName;
use sallyport_auth::{Authenticator, PeerCertificate, Reason};
use sallyport_core::drain::drain;
use sallyport_core::listener::serve_http;
use sallyport_core::tls::{TlsAcceptor, TlsFiles};
use sallyport_policy::authentication::ClientCertificates;
use sallyport_policy::{Authentication, PrincipalKind};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A listening endpoint with TLS, and the authority of its callers.
struct Endpoint {
    authority: Authority,
    acceptor: TlsAcceptor,
    directory: Directory,
}

impl Endpoint {
    fn new() -> Self {
        let (authority, directory) = (Authority::new("Callers' CA"), Directory::new());
        let server = authority.server(&["localhost"]);
        let acceptor = TlsAcceptor::start(TlsFiles {
            certificate: directory.write("tls.crt", &server.certificate),
            key: directory.write("tls.key", &server.key),
            client_ca: Some(directory.write("ca.crt", &authority.pem)),
        });
        Self {
            authority,
            acceptor: acceptor.unwrap(),
            directory,
        }
    }

    fn spiffe(&self, name: &str) -> Pair {
        let uri = format!("spiffe://cluster.example/{name}");
        self.authority.client(vec![
            SanType::DnsName("host.example".try_into().unwrap()),
            SanType::URI(uri.try_into().unwrap()),
        ])
    }

    /// The certificate as the endpoint knows it after a handshake with `own`.
    async fn peer(&self, own: &Pair) -> PeerCertificate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TlsConnector::from(client_config(&self.authority, Some(own)));
        let connect = async {
            let stream = TcpStream::connect(address).await.unwrap();
            client.connect(ServerName::try_from("localhost").unwrap(), stream).await
        };
        let accept = async {
            let (stream, _) = listener.accept().await.unwrap();
            self.acceptor.accept(stream).await.unwrap().1
        };
        let (_, peer) = tokio::join!(connect, accept);
        peer.expect("a certificate")
    }
}

fn with_certificates(policy: Authentication) -> Authentication {
    Authentication {
        client_certificates: Some(ClientCertificates {
            ca_file: "ca.crt".into(),
        }),
        ..policy
    }
}

async fn by_certificate(authenticator: &Authenticator, peer: &PeerCertificate) -> Result<String, Reason> {
    let outcome = authenticator.authenticate(&head(&[]), Some(peer), &()).await;
    outcome
        .map(|principal| principal.subject.unwrap())
        .map_err(|rejection| rejection.reason())
}

#[tokio::test]
async fn a_caller_is_who_its_certificate_s_alternative_name_says() {
    let endpoint = Endpoint::new();
    let authenticator = start(&with_certificates(Authentication::default()));
    let peer = endpoint.peer(&endpoint.spiffe("agent")).await;
    let principal = authenticator.authenticate(&head(&[]), Some(&peer), &()).await.unwrap();
    assert_eq!(principal.kind, PrincipalKind::Certificate);
    assert_eq!(principal.subject.as_deref(), Some("spiffe://cluster.example/agent"));
    assert!(principal.issuer.unwrap().contains("CN=Callers"));
    assert_eq!(principal.claims["san"]["dns"], json!(["host.example"]));

    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let email = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
    for (names, expected) in [
        (vec![dns("Build.example")], Ok("build.example".to_owned())),
        (vec![email("a@b.example")], Ok("a@b.example".to_owned())),
        (vec![email("a@b.example"), dns("h.example")], Ok("h.example".to_owned())),
        (
            vec![uri("spiffe://a/1"), uri("spiffe://a/2")],
            Err(Reason::UnusableCertificate),
        ),
        (
            vec![dns("spiffe://cluster.example/agent")],
            Err(Reason::UnusableCertificate),
        ),
        // Its common name is "admin", which counts for nothing.
        (vec![], Err(Reason::UnusableCertificate)),
    ] {
        let peer = endpoint.peer(&endpoint.authority.client(names.clone())).await;
        assert_eq!(by_certificate(&authenticator, &peer).await, expected, "{names:?}");
    }
}

#[tokio::test]
async fn a_certificate_admits_nobody_where_the_policy_does_not_say_so_or_its_authority_is_gone() {
    let endpoint = Endpoint::new();
    let peer = endpoint.peer(&endpoint.spiffe("agent")).await;
    let closed = start(&Authentication::default());
    assert_eq!(by_certificate(&closed, &peer).await, Err(Reason::NoCredential));

    let authenticator = start(&with_certificates(Authentication::default()));
    assert!(by_certificate(&authenticator, &peer).await.is_ok());
    endpoint.directory.write("ca.crt", &Authority::new("another").pem);
    until(async || by_certificate(&authenticator, &peer).await == Err(Reason::UnusableCertificate)).await;
}

#[tokio::test]
async fn a_bound_token_is_taken_with_its_certificate_and_with_no_other() {
    let (signer, endpoint) = (Signer::ed("d"), Endpoint::new());
    let server = AuthorizationServer::start(&[&signer]).await;
    let authenticator = start(&with_certificates(policy(&server, |_, _| {})));
    let own = endpoint.peer(&endpoint.spiffe("agent")).await;
    let other = endpoint.peer(&endpoint.spiffe("agent")).await;
    let thumbprint = encode(Sha256::digest(own.der()));
    let bound = signer.token(&with(claims(), &json!({"cnf": {"x5t#S256": thumbprint}})));

    let principal = present(&authenticator, &bound, Some(&own)).await.unwrap();
    assert_eq!(
        (principal.kind, principal.subject.as_deref()),
        (PrincipalKind::Jwt, Some("alice"))
    );
    let stolen = present(&authenticator, &bound, Some(&other)).await.unwrap_err();
    assert_eq!(stolen.reason(), Reason::UnprovenPossession);
    assert_eq!(outcome(&authenticator, &bound).await, Err(Reason::UnprovenPossession));
    // An unbound token is good for whoever has it: that is what the binding is for.
    let unbound = signer.token(&claims());
    assert!(present(&authenticator, &unbound, Some(&other)).await.is_ok());
    // Two bindings, or one that cannot be proven, beside the right certificate.
    for confirmation in [json!({"x5t#S256": thumbprint, "jkt": "a"}), json!({"jkt": thumbprint})] {
        let token = signer.token(&with(claims(), &json!({ "cnf": confirmation })));
        let refused = present(&authenticator, &token, Some(&own)).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::UnprovenPossession, "{confirmation}");
    }
}

#[tokio::test]
async fn a_token_decides_beside_a_certificate_and_a_bad_one_is_not_passed_over() {
    let (signer, endpoint) = (Signer::ed("d"), Endpoint::new());
    let server = AuthorizationServer::start(&[&signer]).await;
    let authenticator = start(&Authentication {
        anonymous: true,
        ..with_certificates(policy(&server, |_, _| {}))
    });
    let peer = endpoint.peer(&endpoint.spiffe("agent")).await;
    let principal = present(&authenticator, &signer.token(&claims()), Some(&peer))
        .await
        .unwrap();
    assert_eq!(principal.subject.as_deref(), Some("alice"));
    let refused = present(&authenticator, "junk", Some(&peer)).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::MalformedToken);
    let nameless = endpoint.peer(&endpoint.authority.client(vec![])).await;
    assert_eq!(
        by_certificate(&authenticator, &nameless).await,
        Err(Reason::UnusableCertificate)
    );
}

/// Serves one connection as the sidecar does: TLS, HTTP, and the caller's name as the answer.
async fn serve_once(endpoint: Arc<Endpoint>, authenticator: Arc<Authenticator>, listener: TcpListener) {
    let (stream, address) = listener.accept().await.unwrap();
    let (stream, peer) = endpoint.acceptor.accept(stream).await.unwrap();
    let (_control, drain) = drain();
    let handler = |request: Request<hyper::body::Incoming>, _| {
        let (authenticator, peer) = (authenticator.clone(), peer.clone());
        async move {
            let (head, _) = request.into_parts();
            match authenticator.authenticate(&head, peer.as_ref(), &()).await {
                Ok(principal) => Response::new(Full::new(Bytes::from(principal.subject.unwrap_or_default()))),
                Err(rejection) => {
                    let mut response = Response::new(Full::default());
                    *response.status_mut() = rejection.status();
                    response
                }
            }
        }
    };
    serve_http(stream, address.ip(), handler, drain).await;
}

#[tokio::test]
async fn the_whole_way_from_a_tls_client_to_its_name() {
    let endpoint = Arc::new(Endpoint::new());
    let authenticator = Arc::new(start(&with_certificates(Authentication::default())));
    let own = endpoint.spiffe("agent");
    for (shown, status, name) in [(Some(&own), 200, "spiffe://cluster.example/agent"), (None, 401, "")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve_once(endpoint.clone(), authenticator.clone(), listener));
        let connector = TlsConnector::from(client_config(&endpoint.authority, shown));
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = connector
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
            .unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let driving = tokio::spawn(connection);
        let request = Request::post("/mcp")
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), name);
        drop(sender);
        let _ = driving.await;
        serving.await.unwrap();
    }
}
