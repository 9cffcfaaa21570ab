//! A value that is read from mounted files and follows them.
//!
//! Kubernetes replaces a mounted ConfigMap or Secret by swapping a symbolic link, so a change shows in what the path leads
//! to, and several files of one mount change together.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Largest file that is read. A ConfigMap or Secret holds at most 1 MiB.
const MAX_BYTES: u64 = 2 << 20;

/// Why files do not give a value.
#[derive(Debug, thiserror::Error)]
pub enum FollowError<E: std::error::Error + 'static> {
    /// A file cannot be read.
    #[error("cannot read {}: is it mounted?", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the files hold is no value.
    #[error("{} is not usable", path.display())]
    Content {
        /// The first of the files.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: E,
    },
}

/// The value that files had when they were last usable.
///
/// Files that change are read within a second or two. Files that cannot be used leave the value as it is, and
/// [`Followed::problem`] says so until they can. Dropping it ends the watch.
pub struct Followed<T> {
    value: watch::Receiver<Arc<T>>,
    problem: Problem,
    task: AbortHandle,
}

impl<T: Send + Sync + 'static> Followed<T> {
    /// Reads `files` and follows them. `parse` is given their contents in their order.
    ///
    /// # Errors
    ///
    /// When the files are not usable now.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start<E, P>(files: Vec<PathBuf>, parse: P) -> Result<Self, FollowError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        P: Fn(&[Vec<u8>]) -> Result<T, E> + Send + 'static,
    {
        let mut source = Source::new(files, parse);
        let first = source.read()?;
        Ok(Self::spawn(source, first, Problem::default()))
    }

    /// As [`Followed::start`], with `fallback` as the value until the files are usable for the first time.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start_or<E, P>(fallback: T, files: Vec<PathBuf>, parse: P) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
        P: Fn(&[Vec<u8>]) -> Result<T, E> + Send + 'static,
    {
        let mut source = Source::new(files, parse);
        let problem = Problem::default();
        let first = source.read().unwrap_or_else(|error| {
            problem.set(Some(&error));
            fallback
        });
        Self::spawn(source, first, problem)
    }

    fn spawn<E, P>(source: Source<P>, first: T, problem: Problem) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
        P: Fn(&[Vec<u8>]) -> Result<T, E> + Send + 'static,
    {
        let (sender, value) = watch::channel(Arc::new(first));
        let task = tokio::spawn(follow(source, sender, problem.clone())).abort_handle();
        Self { value, problem, task }
    }

    /// The value now.
    pub fn get(&self) -> Arc<T> {
        self.value.borrow().clone()
    }

    /// Sees the value, now and whenever it changes, for as long as this lives.
    pub fn subscribe(&self) -> watch::Receiver<Arc<T>> {
        self.value.clone()
    }

    /// Why the files as they are now are not used; `None` when they are.
    pub fn problem(&self) -> Option<String> {
        self.problem.get()
    }
}

impl<T> Drop for Followed<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T> fmt::Debug for Followed<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Followed")
            .field("problem", &self.problem.get())
            .finish_non_exhaustive()
    }
}

async fn follow<T, E, P>(mut source: Source<P>, sender: watch::Sender<Arc<T>>, problem: Problem)
where
    T: Send + Sync + 'static,
    E: std::error::Error + Send + Sync + 'static,
    P: Fn(&[Vec<u8>]) -> Result<T, E> + Send + 'static,
{
    loop {
        tokio::time::sleep(PERIOD).await;
        let looked = tokio::task::spawn_blocking(move || {
            let read = source.changed().then(|| source.read());
            (source, read)
        });
        let Ok((back, read)) = looked.await else { return };
        source = back;
        match read {
            None => {}
            Some(Ok(value)) => {
                tracing::info!(file = %source.name().display(), "read again");
                problem.set(None::<&FollowError<E>>);
                sender.send_replace(Arc::new(value));
            }
            Some(Err(error)) => problem.set(Some(&error)),
        }
    }
}

/// What the files were when they were looked at; `None` for those that were not there.
#[derive(PartialEq, Eq)]
struct Fingerprint(Vec<Option<Seen>>);

#[derive(PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl Fingerprint {
    fn of(files: &[PathBuf]) -> Self {
        let one = |path: &PathBuf| {
            let seen = std::fs::metadata(path).ok()?;
            Some(Seen {
                device: seen.dev(),
                inode: seen.ino(),
                size: seen.size(),
                modified: seen.modified().ok(),
            })
        };
        Self(files.iter().map(one).collect())
    }
}

struct Source<P> {
    files: Vec<PathBuf>,
    parse: P,
    seen: Fingerprint,
}

impl<P> Source<P> {
    fn new(files: Vec<PathBuf>, parse: P) -> Self {
        Self {
            files,
            parse,
            seen: Fingerprint(vec![]),
        }
    }

    fn name(&self) -> &Path {
        self.files.first().map_or(Path::new(""), PathBuf::as_path)
    }

    fn changed(&self) -> bool {
        Fingerprint::of(&self.files) != self.seen
    }

    fn read<T, E>(&mut self) -> Result<T, FollowError<E>>
    where
        E: std::error::Error + 'static,
        P: Fn(&[Vec<u8>]) -> Result<T, E>,
    {
        // Before the contents: a swap between two files is seen as a change the next time.
        self.seen = Fingerprint::of(&self.files);
        let contents = self
            .files
            .iter()
            .map(|path| {
                read_bounded(path).map_err(|source| FollowError::Read {
                    path: path.clone(),
                    source,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        (self.parse)(&contents).map_err(|source| FollowError::Content {
            path: self.name().to_owned(),
            source,
        })
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = vec![];
    std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file is larger than 2 MiB",
        ));
    }
    Ok(content)
}

#[derive(Clone, Default)]
struct Problem(Arc<Mutex<Option<String>>>);

impl Problem {
    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs a problem that is new.
    fn set(&self, error: Option<&impl std::error::Error>) {
        let text = error.map(|error| {
            let causes = std::iter::successors(error.source(), |cause| cause.source());
            causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
        });
        let mut problem = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = text.as_ref().filter(|_| *problem != text) {
            tracing::error!("{text}; what was read before still holds");
        }
        *problem = text;
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
