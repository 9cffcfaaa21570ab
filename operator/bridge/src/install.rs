//! Copying the bridge into the directory that it shares with the server's container.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Why the bridge cannot be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot copy the bridge to {path}: is the directory writable and large enough?", path = path.display())]
pub struct InstallError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Copies this program to `path`, executable for everybody.
///
/// # Errors
///
/// When it cannot be written.
pub fn install(path: &Path) -> Result<(), InstallError> {
    let copy = || {
        let partial = path.with_extension("partial");
        fs::copy(env::current_exe()?, &partial)?;
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o555))?;
        // At its place it is whole.
        fs::rename(&partial, path)
    };
    copy().map_err(|source| InstallError {
        path: path.to_owned(),
        source,
    })
}
