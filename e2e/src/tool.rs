//! The `sallyport-cluster` program, and where it keeps what it makes.

use crate::{
    Context, Failure, Result,
    command::{program, run, run_shown},
};
use std::{env, path::PathBuf};

/// Where everything is kept that outlasts a checkout: `$XDG_CACHE_HOME/sallyport`, or `~/.cache/sallyport`.
///
/// # Errors
///
/// When neither variable is set.
pub fn cache_dir() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = base.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(base
        .context("set HOME or XDG_CACHE_HOME: caches are kept there")?
        .join("sallyport"))
}

/// The folder of the repository's checkout.
pub fn checkout() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// The `sallyport-cluster` program.
#[derive(Clone, Debug)]
pub struct Tool {
    path: PathBuf,
}

impl Tool {
    /// Finds the program where `make tool` puts it.
    ///
    /// # Errors
    ///
    /// When it is not built.
    pub fn find() -> Result<Self> {
        let path = cache_dir()?.join("tool/sallyport-cluster");
        if path.is_file() {
            Ok(Self { path })
        } else {
            Err(Failure::new(format!(
                "{} is not there: run `make tool`",
                path.display()
            )))
        }
    }

    /// Runs it quietly and gives its standard output.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = program(&self.path, arguments);
        command.current_dir(checkout());
        run(command).await
    }

    /// Runs it with its progress shown, and gives its standard output.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub async fn run_shown(&self, arguments: &[&str]) -> Result<String> {
        let mut command = program(&self.path, arguments);
        command.current_dir(checkout());
        run_shown(command).await
    }

    /// Path of a third-party program (helm, kubeseal, kstatus, ...), built if it is not there yet.
    ///
    /// # Errors
    ///
    /// When it cannot be built.
    pub async fn bin(&self, name: &str) -> Result<PathBuf> {
        let printed = self.run(&["bin", name]).await?;
        let path = printed.lines().last().unwrap_or_default().trim();
        if path.is_empty() {
            return Err(Failure::new(format!("sallyport-cluster bin {name} printed no path")));
        }
        Ok(PathBuf::from(path))
    }
}
