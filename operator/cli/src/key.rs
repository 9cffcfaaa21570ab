//! New API keys.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use sallyport_auth::keys::{KeyFile, KeyFileError, MintError, mint};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// What a new key is for.
#[derive(Args)]
pub struct New {
    /// The key's public part, as audit records name it: up to 64 letters, digits and hyphens
    #[arg(value_name = "ID")]
    id: String,
    /// The key file that the key is added to; it is made if it is not there, and holds no secret
    #[arg(short, long = "filename", value_name = "FILE", default_value = "keys.json")]
    file: PathBuf,
    /// Who calls with the key
    #[arg(long, required_unless_present = "client")]
    subject: Option<String>,
    /// The software that calls with the key; without --subject it calls on nobody's behalf
    #[arg(long)]
    client: Option<String>,
    /// A role of the caller; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A scope of the caller; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Days after which the key ends
    #[arg(long, value_name = "DAYS", conflicts_with = "expires", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,
    /// When the key ends, as in 2027-01-31T00:00:00Z; without this and --days it never does
    #[arg(long, value_name = "TIME")]
    expires: Option<Timestamp>,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no key file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or would be with the new key.
        source: KeyFileError,
    },
    /// The file cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No key.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// A time that no calendar has.
    #[error("the key would end beyond the end of the calendar")]
    Time(#[source] jiff::Error),
    /// No JSON.
    #[error("the key file does not serialize: {0}")]
    Json(#[from] serde_json::Error),
}

/// Adds a new key to its file, and returns the key, which nobody can have again.
///
/// # Errors
///
/// See [`Error`]. The file is then as it was.
pub fn new(asked: &New) -> Result<String, Error> {
    let path = || asked.file.clone();
    let mut file = read(&asked.file)?;
    let mut minted = mint(&asked.id)?;
    let in_days = |days: u16| {
        let now = Timestamp::from_second(Timestamp::now().as_second())?;
        now.checked_add(SignedDuration::from_hours(i64::from(days) * 24))
    };
    let entry = &mut minted.entry;
    entry.subject.clone_from(&asked.subject);
    entry.client.clone_from(&asked.client);
    entry.roles = asked.roles.iter().cloned().collect();
    entry.scopes = asked.scopes.iter().cloned().collect();
    entry.expires = match asked.days {
        None => asked.expires,
        Some(days) => Some(in_days(days).map_err(Error::Time)?),
    };
    file.keys.push(minted.entry);
    let text = serde_json::to_string_pretty(&file)? + "\n";
    // As the sidecar will read it.
    KeyFile::parse(text.as_bytes()).map_err(|source| Error::File { path: path(), source })?;
    write(&asked.file, &text).map_err(|source| Error::Write { path: path(), source })?;
    Ok(format!("{}\n", minted.key.expose()))
}

fn read(path: &Path) -> Result<KeyFile, Error> {
    match fs::read(path) {
        Ok(text) => KeyFile::parse(&text).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KeyFile::default()),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Replaces the file as a whole, for its owner alone to read: names of callers are nobody else's.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The first error counts.
        let _ = fs::remove_file(&fresh);
    }
    written
}
