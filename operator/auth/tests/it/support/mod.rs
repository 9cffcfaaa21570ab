//! Peers of the authenticator: an authorization server, signers, a certificate authority, an HTTP proxy.

mod authority;
mod proxy;
mod server;
mod signer;

pub use authority::{Authority, Pair, client_config};
pub use proxy::Proxy;
pub use server::{AuthorizationServer, Mode};
pub use signer::Signer;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sallyport_auth::{Authenticator, PeerCertificate, Principal, Reason, Rejection};
use sallyport_policy::Authentication;
use sallyport_policy::authentication::{ClaimNames, Issuer, Jwks, OAuth, Verification};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const RESOURCE: &str = "https://mcp.example.com/mcp";
pub const ISSUER: &str = "https://issuer.example";

/// A directory of this test's own.
pub struct Directory(PathBuf);

static DIRECTORIES: AtomicU32 = AtomicU32::new(0);

impl Directory {
    pub fn new() -> Self {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sallyport-auth-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Replaces a file as a whole, as Kubernetes does.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let (fresh, path) = (self.0.join(format!(".{name}")), self.0.join(name));
        std::fs::write(&fresh, content).unwrap();
        std::fs::rename(fresh, &path).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl AsRef<Path> for Directory {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .try_into()
        .unwrap()
}

/// The claims of a good token.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": RESOURCE, "sub": "alice", "client_id": "desktop", "jti": "1",
        "iat": now() - 10, "exp": now() + 600, "scope": "read write",
    })
}

/// `object` with the members of `change` in place of its own; null takes one away.
pub fn with(mut object: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().unwrap() {
        object[name] = value.clone();
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        }
    }
    object
}

pub fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A policy that takes tokens of [`ISSUER`], whose keys `server` has.
pub fn policy(server: &AuthorizationServer, change: impl FnOnce(&mut Issuer, &mut Jwks)) -> Authentication {
    let mut jwks = Jwks::new(server.url("/jwks"));
    let mut issuer = Issuer {
        issuer: ISSUER.into(),
        verify: Verification::Jwks(jwks.clone()),
        audiences: vec![],
        claims: ClaimNames::default(),
        not_before: None,
        ca_file: Some(server.ca_file()),
    };
    change(&mut issuer, &mut jwks);
    issuer.verify = Verification::Jwks(jwks);
    let mut oauth = OAuth::new(RESOURCE, vec![issuer]);
    oauth.scopes_supported = vec!["read".into()];
    Authentication {
        oauth: Some(oauth),
        ..Authentication::default()
    }
}

pub fn start(policy: &Authentication) -> Authenticator {
    Authenticator::start(policy, "/mcp").unwrap()
}

/// The head of a request with these `Authorization` headers.
pub fn head(authorization: &[&str]) -> Parts {
    let mut request = http::Request::post("/mcp");
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    request.body(()).unwrap().into_parts().0
}

pub async fn present(
    authenticator: &Authenticator,
    token: &str,
    peer: Option<&PeerCertificate>,
) -> Result<Principal, Rejection> {
    authenticator
        .authenticate(&head(&[&format!("Bearer {token}")]), peer, &())
        .await
}

/// Who calls with `token`, or why it is refused.
pub async fn outcome(authenticator: &Authenticator, token: &str) -> Result<String, Reason> {
    match present(authenticator, token, None).await {
        Ok(principal) => Ok(principal.subject.unwrap_or_default()),
        Err(rejection) => {
            let shown = format!("{rejection:?} {rejection}");
            // Shorter ones are parts of words.
            assert!(token.len() < 12 || !shown.contains(token), "the token shows in {shown}");
            Err(rejection.reason())
        }
    }
}

/// Waits until `fits`, at most 20 s.
pub async fn until(mut fits: impl AsyncFnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !fits().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("in time");
}
