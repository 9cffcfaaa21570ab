//! Asking an issuer: HTTPS, one request a connection, bounded in time and size, redirects not followed.

use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sallyport_core::follow::Followed;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a request may take in all, from the name's resolution to the last byte.
const BOUND: Duration = Duration::from_secs(5);

/// Largest answer in bytes, its head not counted, and largest head.
const MAX_BODY: usize = 256 * 1024;
const MAX_HEAD: usize = 32 * 1024;

/// Where an image may have the certificate authorities of the public web: all in one file, or each in one.
const PUBLIC_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const PUBLIC_DIRECTORY: &str = "/usr/share/ca-certificates/mozilla";

/// An HTTPS URL.
#[derive(Clone, Debug)]
pub struct HttpsUrl {
    host: String,
    port: u16,
    authority: Authority,
    target: String,
}

/// A URL that issuers are not asked at.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no URL of an issuer: write https://host/path, without user or fragment")]
pub struct UrlError(String);

impl std::str::FromStr for HttpsUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let parse = || {
            let uri: Uri = text.parse().ok()?;
            let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
            let fits = uri.scheme_str() == Some("https") && !authority.host().is_empty() && !text.contains('#');
            fits.then(|| Self {
                host: bare(authority.host()).to_owned(),
                port: authority.port_u16().unwrap_or(443),
                authority: authority.clone(),
                target: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            })
        };
        parse().ok_or_else(|| UrlError(text.to_owned()))
    }
}

/// The address in `[::1]`; other hosts as they are.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The HTTP proxy through which issuers are reached.
#[derive(Clone, Debug)]
pub struct Proxy {
    host: String,
    port: u16,
}

/// A proxy that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("the egress proxy {0:?} is no URL of a proxy: write http://host:port")]
pub struct ProxyError(String);

impl std::str::FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let parse = || {
            let uri: Uri = text.parse().ok()?;
            let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
            let fits = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
            fits.then_some(Self {
                host: bare(authority.host()).to_owned(),
                port: authority.port_u16()?,
            })
        };
        parse().ok_or_else(|| ProxyError(text.to_owned()))
    }
}

/// Why an issuer did not answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Too slow.
    #[error("no whole answer within 5 s")]
    Late,
    /// No connection.
    #[error("cannot connect to {to}: do the egress rules allow it?")]
    Connect {
        /// Whom.
        to: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The proxy refused.
    #[error("the egress proxy answered {0}: do the egress rules allow the issuer's host?")]
    Proxy(StatusCode),
    /// No TLS.
    #[error("the TLS handshake failed: is the issuer's certificate authority in caFile?")]
    Tls(#[source] io::Error),
    /// A host that no certificate can be for.
    #[error("{0:?} is no host of a certificate")]
    Name(String),
    /// No HTTP.
    #[error("the answer is no HTTP")]
    Http(#[from] hyper::Error),
    /// Another status than 200. Redirects are not followed.
    #[error("the answer is {0} and not 200 OK")]
    Status(StatusCode),
    /// Too large, or broken off.
    #[error("the answer has no whole body of at most 256 KiB")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A request that cannot be sent.
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
}

/// The certificate authorities of an issuer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// Not PEM.
    #[error("the file is not PEM")]
    Pem(#[source] pem::Error),
    /// None of it is usable.
    #[error("the file has no certificate that can be a certificate authority")]
    Empty,
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Asks the servers of one issuer.
pub struct Fetcher {
    tls: Followed<Arc<ClientConfig>>,
    has_own_authorities: bool,
    proxy: Option<Proxy>,
}

impl Fetcher {
    /// Trusts the authorities of `ca_file`, or those of the image, and goes through `proxy`.
    ///
    /// # Errors
    ///
    /// When the TLS library cannot be set up. An unusable file is no such error: nobody is trusted, and
    /// [`Fetcher::problem`] says so.
    pub fn start(ca_file: Option<&Path>, proxy: Option<Proxy>) -> Result<Self, AuthoritiesError> {
        let public = || public_authorities(Path::new(PUBLIC_BUNDLE), Path::new(PUBLIC_DIRECTORY));
        let files = ca_file.map_or_else(public, |file| vec![file.to_owned()]);
        let nobody = client(RootCertStore::empty())?;
        let tls = Followed::start_or(nobody, files, |contents| {
            let mut roots = RootCertStore::empty();
            let found = contents.iter().flat_map(|file| CertificateDer::pem_slice_iter(file));
            let found = found.collect::<Result<Vec<_>, _>>().map_err(AuthoritiesError::Pem)?;
            // Public bundles have some that this library does not take.
            let (usable, _) = roots.add_parsable_certificates(found);
            if usable == 0 {
                return Err(AuthoritiesError::Empty);
            }
            client(roots)
        });
        Ok(Self {
            tls,
            has_own_authorities: ca_file.is_some(),
            proxy,
        })
    }

    /// Why the file of authorities is not used; `None` when it is.
    pub fn problem(&self) -> Option<String> {
        let problem = self.tls.problem()?;
        Some(if self.has_own_authorities {
            problem
        } else {
            format!("{problem}; this sidecar's image has no public certificate authorities: name the issuer's own")
        })
    }

    /// The JSON document at `url`.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn get(&self, url: &HttpsUrl) -> Result<Bytes, FetchError> {
        self.ask(url, Request::new(Full::default())).await
    }

    /// The answer of `url` to `request`, whose target, `Host` and `Accept` are filled in.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn ask(&self, url: &HttpsUrl, request: Request<Full<Bytes>>) -> Result<Bytes, FetchError> {
        tokio::time::timeout(BOUND, self.exchange(url, request))
            .await
            .map_err(|_| FetchError::Late)?
    }

    async fn exchange(&self, url: &HttpsUrl, mut request: Request<Full<Bytes>>) -> Result<Bytes, FetchError> {
        *request.uri_mut() = url.target.parse().map_err(http::Error::from)?;
        let headers = request.headers_mut();
        headers.insert(
            HOST,
            HeaderValue::try_from(url.authority.as_str()).map_err(http::Error::from)?,
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("sallyport"));
        match &self.proxy {
            None => {
                self.exchange_over(connect(&url.host, url.port).await?, url, request)
                    .await
            }
            Some(proxy) => self.exchange_over(tunnel(proxy, url).await?, url, request).await,
        }
    }

    async fn exchange_over<S>(
        &self,
        stream: S,
        url: &HttpsUrl,
        request: Request<Full<Bytes>>,
    ) -> Result<Bytes, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let name = ServerName::try_from(url.host.clone()).map_err(|_| FetchError::Name(url.host.clone()))?;
        let connector = TlsConnector::from((*self.tls.get()).clone());
        let stream = connector.connect(name, stream).await.map_err(FetchError::Tls)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_BODY);
            Ok(body.collect().await.map_err(FetchError::Body)?.to_bytes())
        };
        while_driven(connection, answer).await
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Fetcher")
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

fn client(roots: RootCertStore) -> Result<Arc<ClientConfig>, AuthoritiesError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(AuthoritiesError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The bundle, or else the files of the directory. Where there is neither, the bundle, which then shows as missing.
fn public_authorities(bundle: &Path, directory: &Path) -> Vec<PathBuf> {
    if bundle.is_file() {
        return vec![bundle.to_owned()];
    }
    let is_certificate = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "crt");
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_certificate).collect();
    files.sort();
    if files.is_empty() {
        files.push(bundle.to_owned());
    }
    files
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, FetchError> {
    TcpStream::connect((host, port))
        .await
        .map_err(|source| FetchError::Connect {
            to: format!("{host}:{port}"),
            source,
        })
}

/// A connection to `url` through `proxy` (RFC 9110 section 9.3.6).
async fn tunnel(proxy: &Proxy, url: &HttpsUrl) -> Result<TokioIo<hyper::upgrade::Upgraded>, FetchError> {
    let host = url.authority.host();
    let to = format!("{host}:{}", url.port);
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(&to)
        .header(HOST, &to)
        .body(Empty::<Bytes>::new())?;
    let stream = connect(&proxy.host, proxy.port).await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    let upgraded = async {
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(FetchError::Proxy(response.status()));
        }
        Ok(hyper::upgrade::on(response).await?)
    };
    while_driven(connection.with_upgrades(), upgraded)
        .await
        .map(TokioIo::new)
}

/// What `answer` gives while `connection` is driven. Both end with this future.
async fn while_driven<T, C>(connection: C, answer: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answered = &mut answer => answered,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_of_issuers_are_asked() {
        for text in [
            "http://i.example/jwks",
            "i.example/jwks",
            "https://user:pw@i.example/jwks",
            "https://i.example/jwks#x",
            "file:///etc/passwd",
            "https:///jwks",
            "",
        ] {
            assert!(text.parse::<HttpsUrl>().is_err(), "{text}");
        }
        let url: HttpsUrl = "https://[::1]:8443/jwks?v=1".parse().unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.target.as_str()),
            ("::1", 8443, "/jwks?v=1")
        );
    }

    #[test]
    fn public_authorities_are_a_bundle_or_the_files_of_a_directory() {
        let directory = std::env::temp_dir().join(format!("sallyport-authorities-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (one, bundle) = (directory.join("one.crt"), directory.join("bundle.pem"));
        assert_eq!(public_authorities(&bundle, &directory), std::slice::from_ref(&bundle));
        std::fs::write(&one, "").unwrap();
        std::fs::write(directory.join("README"), "").unwrap();
        assert_eq!(public_authorities(&bundle, &directory), [one]);
        std::fs::write(&bundle, "").unwrap();
        assert_eq!(public_authorities(&bundle, &directory), [bundle]);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn the_certificate_authorities_of_this_machine_are_taken_if_it_has_any() {
        let known = public_authorities(Path::new(PUBLIC_BUNDLE), Path::new(PUBLIC_DIRECTORY));
        let fetcher = Fetcher::start(None, None).unwrap();
        assert_eq!(fetcher.problem().is_none(), known.iter().all(|file| file.is_file()));
        let one_by_one = public_authorities(Path::new("/nowhere"), Path::new(PUBLIC_DIRECTORY));
        assert!(one_by_one.len() == 1 || one_by_one.len() > 50, "{}", one_by_one.len());
    }

    #[test]
    fn a_proxy_has_a_host_and_a_port_and_no_more() {
        assert!("http://gateway.ns.svc:15001".parse::<Proxy>().is_ok());
        for text in [
            "gateway:1",
            "https://gateway:1",
            "http://gateway",
            "http://u@gateway:1",
            "http://gateway:1/x",
        ] {
            assert!(text.parse::<Proxy>().is_err(), "{text}");
        }
    }
}
