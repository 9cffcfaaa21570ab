//! API keys of the tests' callers.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// What the caller of that id shows.
pub fn key(id: &str) -> String {
    format!("mcpe_{id}_{}", secret(id))
}

/// The part of the key that must be found nowhere.
pub fn secret(id: &str) -> String {
    format!("{id:x<64}")
}

/// The Secret `keys` with the key file of these callers, each with one role.
pub fn keys(callers: &[(&str, &str)]) -> Value {
    let entries: Vec<Value> = callers.iter().map(|(id, role)| entry(id, role)).collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" },
        "stringData": { "keys.json": json!({ "keys": entries }).to_string() },
    })
}

fn entry(id: &str, role: &str) -> Value {
    let mut hash = "sha256:".to_owned();
    for byte in Sha256::digest(secret(id)) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    json!({ "id": id, "hash": hash, "subject": id, "roles": [role] })
}
