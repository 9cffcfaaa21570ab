//! Installing what lock files pin, under the user's cache.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a lock file's programs are not there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Neither `XDG_CACHE_HOME` nor `HOME`.
    #[error("there is no cache: set XDG_CACHE_HOME or HOME")]
    NoCache,
    /// A file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The installer is missing.
    #[error("{program} cannot be run: `make deps` installs it")]
    Program {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The installer failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// Which.
        program: String,
        /// What it said.
        output: String,
    },
}

/// Installs what the `package-lock.json` in `folder` pins, without running any package's scripts, and gives the folder that
/// holds `node_modules`.
///
/// # Errors
///
/// See [`InstallError`].
pub fn npm_ci(folder: &Path) -> Result<PathBuf, InstallError> {
    let files = [folder.join("package.json"), folder.join("package-lock.json")];
    installed("npm", &files, |target| {
        for file in &files {
            let copy = target.join(file.file_name().unwrap_or_default());
            fs::copy(file, copy).map_err(|source| at(file, source))?;
        }
        let options = [
            "ci",
            "--omit=dev",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
        ];
        run(Command::new("npm").args(options).current_dir(target))
    })
}

/// Installs what the `requirements` file pins by hash into a virtual environment, and gives the environment's `python`.
///
/// # Errors
///
/// See [`InstallError`].
pub fn pip_install(requirements: &Path) -> Result<PathBuf, InstallError> {
    let environment = installed("pip", &[requirements.to_owned()], |target| {
        // A virtual environment knows its own path only by its launcher scripts, and none of them is used.
        run(Command::new("python3")
            .args(["-m", "venv", "--without-pip"])
            .arg(target))?;
        let python = target.join("bin/python");
        let options = [
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
        ];
        run(Command::new("python3")
            .args(["-m", "pip", "--python"])
            .arg(python)
            .args(options)
            .arg("--requirement")
            .arg(requirements))
    })?;
    Ok(environment.join("bin/python"))
}

/// The folder of the cache for these inputs, filled by `install` if it is not there yet. A lock makes processes wait for
/// each other; a folder that bears its final name is whole.
fn installed(
    kind: &str,
    inputs: &[PathBuf],
    install: impl FnOnce(&Path) -> Result<(), InstallError>,
) -> Result<PathBuf, InstallError> {
    let root = cache()?.join(kind);
    fs::create_dir_all(&root).map_err(|source| at(&root, source))?;
    let target = root.join(fingerprint(inputs)?);
    let lock_path = target.with_extension("lock");
    let lock = File::create(&lock_path).map_err(|source| at(&lock_path, source))?;
    lock.lock().map_err(|source| at(&lock_path, source))?;
    if target.is_dir() {
        return Ok(target);
    }
    let partial = target.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|source| at(&partial, source))?;
    }
    fs::create_dir(&partial).map_err(|source| at(&partial, source))?;
    install(&partial)?;
    fs::rename(&partial, &target).map_err(|source| at(&target, source))?;
    Ok(target)
}

fn cache() -> Result<PathBuf, InstallError> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("sallyport")).ok_or(InstallError::NoCache)
}

fn fingerprint(inputs: &[PathBuf]) -> Result<String, InstallError> {
    let mut hash = Sha256::new();
    for input in inputs {
        let content = fs::read(input).map_err(|source| at(input, source))?;
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    let mut name = String::new();
    for byte in hash.finalize().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}

fn run(command: &mut Command) -> Result<(), InstallError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|source| InstallError::Program {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(InstallError::Failed {
        program,
        output: String::from_utf8_lossy(&said).into_owned(),
    })
}

fn at(path: &Path, source: io::Error) -> InstallError {
    InstallError::File {
        path: path.to_owned(),
        source,
    }
}
