//! API keys for tests.

use crate::directory::Directory;
use sallyport_auth::keys::{KeyEntry, KeyFile, mint};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;

/// A key file, and the keys that it is about.
#[derive(Debug)]
pub struct ApiKeys {
    directory: Directory,
    keys: BTreeMap<String, (String, String)>,
}

impl ApiKeys {
    /// A key for each caller, with scopes.
    ///
    /// # Errors
    ///
    /// When there are no random numbers, or the file cannot be written.
    pub fn new(callers: &[(&str, &[&str])]) -> Result<Self, Box<dyn Error>> {
        let directory = Directory::new()?;
        let mut file = KeyFile::default();
        let mut keys = BTreeMap::new();
        for (name, scopes) in callers {
            let minted = mint(name)?;
            let entry = KeyEntry {
                subject: Some((*name).to_owned()),
                scopes: scopes.iter().map(ToString::to_string).collect(),
                ..minted.entry
            };
            let hash = serde_json::to_value(&entry.hash)?
                .as_str()
                .unwrap_or_default()
                .to_owned();
            keys.insert((*name).to_owned(), (minted.key.expose().to_owned(), hash));
            file.keys.push(entry);
        }
        std::fs::write(directory.path().join("keys.json"), serde_json::to_vec(&file)?)?;
        Ok(Self { directory, keys })
    }

    /// The `authentication` of a policy file: these keys, and nobody else.
    pub fn authentication(&self) -> Value {
        json!({"anonymous": false, "apiKeys": {"file": self.directory.path().join("keys.json")}})
    }

    /// The key of a caller; empty if there is none.
    pub fn key(&self, caller: &str) -> &str {
        self.keys.get(caller).map_or("", |(key, _)| key)
    }

    /// The hash of a caller's secret, as in the file.
    pub fn hash(&self, caller: &str) -> &str {
        self.keys.get(caller).map_or("", |(_, hash)| hash)
    }
}
