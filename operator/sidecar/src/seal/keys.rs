//! The sealing keys: one file, several keys, replaced while the sidecar runs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// More keys than a rotation needs.
const MAX_KEYS: usize = 16;

/// A longer file is none of ours.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Sets sealing keys apart from whatever else the same bytes might be used for.
const SALT: &[u8] = b"sallyport sealing key 1";

/// Which key an envelope was sealed with. Derived from the key; says nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

/// One sealing key. Envelopes are never sealed with itself, only with what is derived from it.
pub struct Key {
    id: KeyId,
    secret: Prk,
}

/// Keys of which the first seals and all open.
pub struct KeyRing {
    first: Key,
    others: Vec<Key>,
}

/// The keys that are in force, and the file that they come from.
pub struct Keys {
    file: Option<PathBuf>,
    current: RwLock<Arc<KeyRing>>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file is not there or not readable.
    #[error("cannot read the sealing keys at {path}: mount the Secret that spec.sealing names")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Far larger than sixteen keys.
    #[error(
        "the file of the sealing keys is larger than {MAX_FILE_BYTES} bytes: it holds one key a line and nothing else"
    )]
    TooLarge,
    /// Only empty lines.
    #[error("the file of the sealing keys is empty: write one key a line, as `openssl rand -base64 32` prints it")]
    Empty,
    /// More than a rotation needs.
    #[error("the file holds more than {MAX_KEYS} sealing keys: remove those that nothing is sealed with any more")]
    TooMany,
    /// Not 32 bytes in base64.
    #[error(
        "line {line} of the sealing keys is not {KEY_BYTES} bytes in base64: write what `openssl rand -base64 32` prints"
    )]
    Malformed {
        /// From 1.
        line: usize,
    },
    /// All bytes alike.
    #[error("line {line} of the sealing keys is no random key: write what `openssl rand -base64 32` prints")]
    NotRandom {
        /// From 1.
        line: usize,
    },
    /// Twice the same.
    #[error("line {line} of the sealing keys repeats an earlier one")]
    Repeated {
        /// From 1.
        line: usize,
    },
    /// The system gives none.
    #[error("the system has no random bytes for a sealing key")]
    Random,
}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let secret = Salt::new(HKDF_SHA256, SALT).extract(bytes);
        let mut id = [0; 4];
        // Four bytes can always be had: HKDF gives up to 8160.
        let _ = derive(&secret, &[b"key id"], &mut id);
        Self { id: KeyId(id), secret }
    }

    /// Which one it is.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Fills `output` with bytes that only this key and `info` give (HKDF-Expand, RFC 5869). `None` only when `output` is
    /// longer than HKDF can fill.
    pub fn derive(&self, info: &[&[u8]], output: &mut [u8]) -> Option<()> {
        derive(&self.secret, info, output)
    }
}

fn derive(secret: &Prk, info: &[&[u8]], output: &mut [u8]) -> Option<()> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    secret.expand(info, Length(output.len())).ok()?.fill(output).ok()
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Key").field(&self.id).finish()
    }
}

impl KeyRing {
    /// A ring of one key that nobody else has.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, KeysError> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeysError::Random)?;
        Ok(Self {
            first: Key::new(&bytes),
            others: Vec::new(),
        })
    }

    /// Reads the text of a key file. Empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    ///
    /// When any line is no key: a ring with a hole would open less than the other replicas seal.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let (line, text) = (index + 1, line.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let bytes: [u8; KEY_BYTES] = STANDARD
                .decode(text)
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or(KeysError::Malformed { line })?;
            if bytes.iter().all(|byte| *byte == bytes[0]) {
                return Err(KeysError::NotRandom { line });
            }
            let key = Key::new(&bytes);
            if !ids.insert(key.id()) {
                return Err(KeysError::Repeated { line });
            }
            keys.push(key);
            if keys.len() > MAX_KEYS {
                return Err(KeysError::TooMany);
            }
        }
        let mut keys = keys.into_iter();
        Ok(Self {
            first: keys.next().ok_or(KeysError::Empty)?,
            others: keys.collect(),
        })
    }

    fn read(path: &Path) -> Result<Self, KeysError> {
        let failed = |source| KeysError::Read {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
            return Err(KeysError::TooLarge);
        }
        Self::parse(&std::fs::read_to_string(path).map_err(failed)?)
    }

    /// The key that seals.
    pub const fn sealing(&self) -> &Key {
        &self.first
    }

    /// The key that opens what was sealed with `id`.
    pub fn opening(&self, id: KeyId) -> Option<&Key> {
        std::iter::once(&self.first)
            .chain(&self.others)
            .find(|key| key.id == id)
    }

    fn ids(&self) -> impl Iterator<Item = KeyId> {
        std::iter::once(&self.first).chain(&self.others).map(Key::id)
    }
}

impl Keys {
    /// The keys of `file`, or a random one of this process.
    ///
    /// # Errors
    ///
    /// See [`KeysError`].
    pub fn load(file: Option<PathBuf>) -> Result<Self, KeysError> {
        let ring = file.as_deref().map_or_else(KeyRing::random, KeyRing::read)?;
        Ok(Self {
            file,
            current: RwLock::new(Arc::new(ring)),
        })
    }

    /// The keys in force.
    pub fn current(&self) -> Arc<KeyRing> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether other replicas may have the same keys.
    pub const fn are_shared(&self) -> bool {
        self.file.is_some()
    }

    /// Reads the file again and says whether the keys changed.
    ///
    /// # Errors
    ///
    /// When the file cannot be used; the keys stay as they are.
    pub fn reload(&self) -> Result<bool, KeysError> {
        let Some(file) = &self.file else { return Ok(false) };
        let ring = KeyRing::read(file)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = !current.ids().eq(ring.ids());
        if changed {
            *current = Arc::new(ring);
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    pub fn text(byte: u8) -> String {
        let mut bytes = [byte; KEY_BYTES];
        bytes[0] = !byte;
        STANDARD.encode(bytes)
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let ring = KeyRing::parse(&format!("# new\n{}\n\n  {}  \n", text(1), text(2))).unwrap();
        let old = KeyRing::parse(&text(2)).unwrap().sealing().id();
        assert_eq!(ring.sealing().id(), KeyRing::parse(&text(1)).unwrap().sealing().id());
        assert_eq!(ring.opening(old).unwrap().id(), old);
        assert!(ring.opening(KeyRing::random().unwrap().sealing().id()).is_none());
    }

    #[test]
    fn a_file_with_one_bad_line_is_refused_whole() {
        let error = |text: &str| KeyRing::parse(text).err().unwrap().to_string();
        assert!(error("").contains("empty"));
        assert!(error("# only\n\n").contains("empty"));
        assert!(error(&format!("{}\nAAAA\n", text(1))).starts_with("line 2"));
        assert!(error("not base64 at all").starts_with("line 1"));
        assert!(error(&STANDARD.encode([0; KEY_BYTES])).contains("no random key"));
        assert!(error(&format!("{}\n{}\n", text(1), text(1))).contains("repeats"));
        let many: Vec<String> = (1..=17).map(text).collect();
        assert!(error(&many.join("\n")).contains("more than 16"));
    }

    #[test]
    fn what_is_derived_depends_on_the_key_and_on_what_it_is_for() {
        let derived = |byte: u8, info: &[u8]| {
            let mut output = [0; 32];
            KeyRing::parse(&text(byte))
                .unwrap()
                .sealing()
                .derive(&[info], &mut output)
                .unwrap();
            output
        };
        assert_eq!(derived(1, b"a"), derived(1, b"a"));
        assert_ne!(derived(1, b"a"), derived(1, b"b"));
        assert_ne!(derived(1, b"a"), derived(2, b"a"));
    }

    #[test]
    fn a_key_shows_its_id_only() {
        let ring = KeyRing::parse(&text(1)).unwrap();
        let shown = format!("{:?}", ring.sealing());
        assert!(shown.starts_with("Key(KeyId(") && shown.len() < 50, "{shown}");
    }

    #[test]
    fn a_broken_new_file_leaves_the_keys_as_they_are() {
        let path = std::env::temp_dir().join(format!("sallyport-keys-{}", uuid::Uuid::now_v7()));
        std::fs::write(&path, text(1)).unwrap();
        let keys = Keys::load(Some(path.clone())).unwrap();
        let first = keys.current().sealing().id();
        assert!(!keys.reload().unwrap());
        std::fs::write(&path, "broken").unwrap();
        keys.reload().unwrap_err();
        assert_eq!(keys.current().sealing().id(), first);
        std::fs::write(&path, format!("{}\n{}", text(2), text(1))).unwrap();
        assert!(keys.reload().unwrap());
        assert_ne!(keys.current().sealing().id(), first);
        assert!(keys.current().opening(first).is_some());
        std::fs::remove_file(&path).unwrap();
        keys.reload().unwrap_err();
        assert!(Keys::load(Some(path)).is_err());
    }
}
