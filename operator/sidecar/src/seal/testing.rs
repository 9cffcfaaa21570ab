//! Keys and owners for tests.

use super::{Owner, Seal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::PathBuf;

/// A seal of a process of its own.
pub fn seal() -> Seal {
    Seal::new("uid", None).unwrap()
}

/// The `number`th of some callers.
pub fn owner(number: u8) -> Owner {
    Owner::from([number; 32])
}

/// A key file that is removed when dropped. Keys are named by numbers.
pub struct KeyFile(PathBuf);

impl KeyFile {
    pub fn new(keys: &[u8]) -> Self {
        let file = Self(std::env::temp_dir().join(format!("sallyport-keys-{}", uuid::Uuid::now_v7())));
        file.write(keys);
        file
    }

    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    pub fn write(&self, keys: &[u8]) {
        let lines: Vec<String> = keys.iter().map(|key| key_line(*key)).collect();
        std::fs::write(&self.0, lines.join("\n")).unwrap();
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn key_line(key: u8) -> String {
    let mut bytes = [key; 32];
    bytes[0] = !key;
    STANDARD.encode(bytes)
}
