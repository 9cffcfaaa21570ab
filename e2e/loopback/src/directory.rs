//! Folders of tests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own, removed with this.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new one.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("sallyport-loopback-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                // Left over from a run that was cut short.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(path)),
            }
        }
    }

    /// A new one with copies of `scripts`, which find the packages of the folder `installed` as if they lay beside them.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn of_scripts(scripts: &[PathBuf], installed: &Path) -> io::Result<Self> {
        let directory = Self::new()?;
        let packages = "node_modules";
        std::os::unix::fs::symlink(installed.join(packages), directory.path().join(packages))?;
        for script in scripts {
            let name = script.file_name().unwrap_or_default();
            std::fs::copy(script, directory.path().join(name))?;
        }
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left in the temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
