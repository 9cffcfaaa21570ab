//! Any bytes as the value of a mirrored header: no panic, and what is not base64 stands for itself.

#![no_main]

use http::HeaderValue;
use sallyport_sidecar::wire::mirror;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let Some(text) = mirror::decode(&value) else { return };
    if !bytes.starts_with(b"=?base64?") {
        assert_eq!(text.as_bytes(), bytes);
    }
});
