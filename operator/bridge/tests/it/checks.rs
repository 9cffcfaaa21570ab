//! What holds for any bytes, whoever made them up.

use sallyport_bridge::frame::{Frame, Kind};

/// A message is one line, is read alike by another parser, and an edit changes what it names and nothing else.
///
/// # Panics
///
/// When that does not hold.
pub fn frame(data: &[u8]) {
    let Ok(frame) = Frame::parse(data) else {
        return;
    };
    assert!(!frame.text().contains(['\n', '\r']));
    let value: serde_json::Value = match serde_json::from_str(frame.text()) {
        // JSON has no largest number, but a parser may (RFC 8259 §6), and this one has.
        Err(error) if error.to_string().starts_with("number out of range") => return,
        parsed => parsed.unwrap(),
    };
    match frame.kind() {
        Kind::Request { method, .. } | Kind::Notification { method } => assert_eq!(value["method"], *method.as_str()),
        Kind::Response { .. } => assert!(value.get("method").is_none()),
    }
    for path in [
        &["id"][..],
        &["params", "_meta", "progressToken"],
        &["params", "requestId"],
    ] {
        let edited: serde_json::Value = serde_json::from_str(&frame.with(path, "42")).unwrap();
        let mut expected = value.clone();
        if let Some(place) = expected.pointer_mut(&format!("/{}", path.join("/")))
            && frame.value(path).is_some()
        {
            *place = 42.into();
        }
        assert_eq!(edited, expected);
    }
}
