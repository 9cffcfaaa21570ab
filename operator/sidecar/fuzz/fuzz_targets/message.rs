//! Any bytes as a message: no panic, and what is accepted is read alike by another parser.

#![no_main]

use sallyport_sidecar::wire::message::{self, Message};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(Message::Call(call)) = message::parse(bytes, 64) else { return };
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("what is accepted is JSON");
    assert_eq!(value["method"].as_str(), Some(call.method.as_str()));
    assert_eq!(value["params"]["name"].as_str(), call.name.as_deref());
    assert_eq!(value["params"]["uri"].as_str(), call.uri.as_deref());
    assert_eq!(value["params"]["taskId"].as_str(), call.task_id.as_deref());
    let arguments = call.arguments.map(|raw| serde_json::from_str::<serde_json::Value>(raw.get()).expect("JSON"));
    assert_eq!(value["params"].get("arguments"), arguments.as_ref());
});
