//! What audit sidecars and egress gateways recorded: whether it is whole, and what was called.

mod diff;
mod verify;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub enum Command {
    /// Find records that were removed, reordered, edited, inserted or cut off; exit status 3: some were
    Verify(Verify),
    /// Count calls by tool, beside the tools that endpoints allow; exit status 3: tools were called that are not allowed now
    Diff(Diff),
}

/// Which program of an endpoint writes a chain of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Writer {
    Sidecar,
    EgressGateway,
}

#[derive(Args)]
pub struct Verify {
    /// File with anchors: what kubectl get mcpe -o yaml prints, or what an admin port answers at /anchor. Without one, a cut
    /// off end and a chain that is wholly made anew are not found
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
    /// The logs are of these programs alone, so that only their anchors count: of audit sidecars, or of egress gateways
    #[arg(long, value_name = "PROGRAM", requires = "anchor")]
    writer: Option<Writer>,
    /// The files hold a later part of what was recorded: a missing beginning is no finding
    #[arg(long)]
    partial: bool,
    /// A log store had the lines, which may have written them anew with equal content, in another order, or twice
    #[arg(long)]
    collected: bool,
    /// Logs with records in them, as kubectl logs prints them; the files of one chain in any order; - is standard input
    #[arg(required = true, value_name = "FILE")]
    logs: Vec<PathBuf>,
}

#[derive(Args)]
pub struct Diff {
    /// File with McpEndpoints, as in Git or as kubectl get mcpe -o yaml prints them
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Logs with records in them, as kubectl logs prints them; - is standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not YAML.
    #[error("{path}: {source}")]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: Box<serde_saphyr::DeserializeError>,
    },
    /// Nothing to compare with.
    #[error(
        "{path}: holds no anchor: give the output of kubectl get mcpe NAME -o yaml of an endpoint whose status.audit has some"
    )]
    NoAnchor {
        /// Which.
        path: PathBuf,
    },
    /// Not an anchor of this release.
    #[error("{path}: an anchor cannot be read: {source}")]
    Anchor {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Nothing to compare with.
    #[error("{path}: holds no object of kind McpEndpoint")]
    NoEndpoint {
        /// Which.
        path: PathBuf,
    },
    /// An endpoint is not of this release's form.
    #[error("{path}: {name}: {source}")]
    Endpoint {
        /// Which.
        path: PathBuf,
        /// Name of the endpoint.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// What to print, and whether all is as it should be.
///
/// # Errors
///
/// When a file cannot be used.
pub fn run(command: &Command) -> Result<(String, bool), Error> {
    match command {
        Command::Verify(asked) => verify::run(asked),
        Command::Diff(asked) => diff::run(asked),
    }
}

/// Calls `take` with each line of `path`, without its line feed.
fn each_line(path: &Path, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
    let unreadable = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(unreadable)?))
    };
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
        take(line.strip_suffix(b"\n").unwrap_or(&line));
        line.clear();
    }
    Ok(())
}

/// The YAML documents of `path`, those of lists one by one. JSON is YAML.
fn documents(path: &Path) -> Result<Vec<Value>, Error> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().read_to_string(&mut text)
    } else {
        File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|source| Error::Form {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Array(items) => objects.extend(items),
            Value::Object(mut members) => match members.remove("items") {
                Some(Value::Array(items)) => objects.extend(items),
                Some(other) => {
                    members.insert("items".to_owned(), other);
                    objects.push(Value::Object(members));
                }
                None => objects.push(Value::Object(members)),
            },
            other => objects.push(other),
        }
    }
    Ok(objects)
}

/// Who writes a log chooses its names: what could move a terminal's cursor or begin a line is shown as an escape.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}
