//! One plain HTTP exchange on a connection of its own.

use crate::event::Entry;
use crate::meter::End;
use crate::refusal::Refusal;
use crate::route::Route;
use futures::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

/// How this proxy is called in `Via` (RFC 9110 section 7.6.3).
pub const VIA: HeaderValue = HeaderValue::from_static("1.1 sallyport");

/// Headers about one connection, which end here (RFC 9110 section 7.6.1), and those about the proxy itself.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends `request` over `route` and returns the head of the answer. `carry` gets the work that moves the bytes; it must be
/// driven until it ends.
///
/// # Errors
///
/// When the host does not answer.
pub async fn exchange(
    request: Request<Incoming>,
    route: Route,
    entry: Entry,
    carry: oneshot::Sender<BoxFuture<'static, ()>>,
) -> Result<Response<Incoming>, Refusal> {
    let Route {
        upstream,
        meter,
        bounds,
        passage,
        place,
        ..
    } = route;
    let request = outgoing(request, &passage.target.host.to_string(), passage.target.port);
    let handshake = http1::handshake(TokioIo::new(upstream)).await;
    let (mut sender, connection) = handshake.map_err(|_| Refusal::UpstreamFailed)?;
    let open = entry.open(meter.clone());
    let work = async move {
        let end = tokio::select! {
            result = connection => match result {
                _ if meter.was_exceeded() => End::TooManyBytes,
                Ok(()) => End::Completed,
                Err(error) => {
                    tracing::debug!(%error, "an exchange broke");
                    End::Broken
                }
            },
            end = bounds.exceeded(&meter, |policy| passage.is_allowed_by(policy)) => end,
        };
        open.close(end);
        drop(place);
    };
    // Nobody drives it: the client is gone.
    carry.send(Box::pin(work)).map_err(|_| Refusal::UpstreamFailed)?;
    let mut response = sender
        .send_request(request)
        .await
        .map_err(|_| Refusal::UpstreamFailed)?;
    strip(response.headers_mut());
    response.headers_mut().append(header::VIA, VIA);
    Ok(response)
}

/// The request as the host gets it: origin form, its own `Host`, nothing of this hop, one request to a connection.
fn outgoing(request: Request<Incoming>, host: &str, port: u16) -> Request<Incoming> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().cloned();
    head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    head.version = Version::HTTP_11;
    strip(&mut head.headers);
    // The body is passed on at once, so there is nothing to expect.
    head.headers.remove(header::EXPECT);
    let authority = if port == 80 {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    };
    // A canonical host name is a header value.
    if let Ok(authority) = HeaderValue::try_from(authority) {
        head.headers.insert(header::HOST, authority);
    }
    head.headers.append(header::VIA, VIA);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    Request::from_parts(head, body)
}

/// Removes the headers of this hop, those that `Connection` names included.
pub fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_hop_are_stripped_and_others_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("proxy-authorization", "Basic eA=="),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
