//! What the gateway is answered.

use super::{Authority, AuthorityError};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use sallyport_policy::egress::HostName;
use sallyport_policy::signer::{CERTIFICATES_PATH, PUBLIC_KEY_BYTES};
use std::sync::Arc;

/// Answers the requests of gateways. Clones share everything.
#[derive(Clone)]
pub struct Signer(Arc<Authority>);

impl Signer {
    /// Signs by `authority`.
    pub fn new(authority: Authority) -> Self {
        Self(Arc::new(authority))
    }

    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let host = head.uri.path().strip_prefix(CERTIFICATES_PATH);
        let Some(Ok(host)) = host.map(str::parse::<HostName>) else {
            return answer(StatusCode::NOT_FOUND, "served is POST /certificates/<host>\n");
        };
        if head.method != Method::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "only POST is served\n");
        }
        let Ok(key) = Limited::new(body, PUBLIC_KEY_BYTES).collect().await else {
            return answer(StatusCode::BAD_REQUEST, "the body is no public key\n");
        };
        match self.0.sign(&host, &key.to_bytes()) {
            Ok(certificate) => {
                tracing::debug!(%host, "a gateway may end TLS");
                let mut response = answer(StatusCode::OK, certificate);
                let content_type = HeaderValue::from_static("application/pkix-cert");
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                response
            }
            Err(error) => {
                let status = match error {
                    AuthorityError::Host => StatusCode::FORBIDDEN,
                    AuthorityError::PublicKey => StatusCode::BAD_REQUEST,
                    AuthorityError::Key { .. } | AuthorityError::Certificate(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                tracing::warn!(%host, %error, "no certificate is signed");
                answer(status, format!("{error}\n"))
            }
        }
    }
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
