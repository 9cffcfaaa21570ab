//! What must hold of the parsers for any bytes. The fuzz targets run the same functions.

// Each user runs one of them.
#![allow(dead_code)]

use http::header::HOST;
use http::{Method, Request, Uri};
use sallyport_egress::hello::{ClientHello, HelloDenial, HelloReader, SecondHelloReader, ServerHelloReader};
use sallyport_egress::target::Carriage;
use sallyport_policy::egress::HostName;

/// Reads `bytes` in pieces of `size`; the result and what was kept of them.
fn read(bytes: &[u8], size: usize) -> (Result<Option<ClientHello>, HelloDenial>, Vec<u8>, usize) {
    let mut reader = HelloReader::default();
    let mut result = Ok(None);
    for piece in bytes.chunks(size.max(1)) {
        result = reader.push(piece);
        if result != Ok(None) {
            break;
        }
    }
    let (hello, surplus) = reader.into_bytes();
    let kept = hello.len();
    (result, [hello, surplus].concat(), kept)
}

/// However a stream is cut, it is read alike, no byte of it is lost, and what a hello names is a host name.
pub fn client_hello(bytes: &[u8]) {
    let (whole, kept, hello) = read(bytes, bytes.len());
    assert_eq!(kept, bytes, "everything that was pushed is kept");
    for size in [1, 5, 64] {
        let (pieces, kept, end) = read(bytes, size);
        match (&whole, &pieces) {
            (Ok(Some(first)), Ok(Some(second))) => {
                assert_eq!(first, second);
                assert_eq!(hello, end, "the hello ends where it ends");
            }
            // Which of several faults is met first depends on the pieces.
            (Err(_), Err(_)) => {}
            _ => assert_eq!(whole, pieces),
        }
        assert!(bytes.starts_with(&kept));
    }
    if let Ok(Some(ClientHello {
        server_name: Some(name),
        ..
    })) = whole
    {
        assert_eq!(name.as_str().parse::<HostName>().as_ref(), Ok(&name));
    }
    let _ = SecondHelloReader::default().push(bytes);
    let _ = ServerHelloReader::default().push(bytes);
    let _ = ClientHello::parse(bytes);
}

/// `bytes` are lines: a method, a target and a Host header. What comes out of them is canonical, and the same as what the
/// Host header says.
pub fn request(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |&byte| byte == b'\n');
    let (Some(method), Some(target)) = (lines.next(), lines.next()) else {
        return;
    };
    let (Ok(method), Ok(target)) = (Method::from_bytes(method), Uri::try_from(target)) else {
        return;
    };
    let mut request = Request::builder().method(method).uri(target);
    if let Some(host) = lines.next() {
        request = request.header(HOST, host);
    }
    let Ok(request) = request.body(()) else { return };
    let head = request.into_parts().0;
    if let Ok(Carriage::Tunnel(target) | Carriage::Exchange(target)) = Carriage::of(&head) {
        assert_eq!(target.host.as_str().parse::<HostName>().as_ref(), Ok(&target.host));
        assert_ne!(target.port, 0);
        assert!(target.host.as_str().parse::<std::net::IpAddr>().is_err());
        if let Some(host) = head.headers.get(HOST) {
            let host = String::from_utf8_lossy(host.as_bytes()).to_lowercase();
            let name = host.split_once(':').map_or(host.as_str(), |(name, _)| name);
            assert_eq!(name.parse::<HostName>(), Ok(target.host));
        }
    }
}
