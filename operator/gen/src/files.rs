//! Every generated file, and how the repository differs from them.

use crate::{crd, floor, rbac, reference, samples};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// One generated file.
pub struct File {
    /// Path from the repository's root.
    pub path: &'static str,
    /// Whole content.
    pub text: String,
}

/// One generated file that the repository holds differently, or not.
pub struct Drift {
    path: &'static str,
    /// First line that differs, counted from 1; `None`: the file is missing.
    line: Option<usize>,
}

/// Why files cannot be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value has no JSON form.
    #[error("a generated object does not serialize")]
    Json(#[from] serde_json::Error),
    /// A value has no YAML form.
    #[error("a generated object does not serialize to YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// The CRD's schema has no such part.
    #[error("the CRD has no {0}: adapt the generator to the API types")]
    Schema(&'static str),
    /// The file system refused.
    #[error("{path} cannot be read or written: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// Generates every file.
///
/// # Errors
///
/// When an object does not serialize.
pub fn all() -> Result<Vec<File>, Error> {
    let (endpoints, classes) = (crd::endpoints()?, crd::classes()?);
    let (never_open, closed_servers, closed_gateways) = (
        floor::never_open()?,
        floor::closed_servers()?,
        floor::closed_gateways()?,
    );
    let mut files = vec![
        file("crds/mcpendpoints.yaml", endpoints.clone()),
        file("crds/mcpendpointclasses.yaml", classes.clone()),
        file("charts/sallyport/files/crds/mcpendpoints.yaml", endpoints),
        file("charts/sallyport/files/crds/mcpendpointclasses.yaml", classes),
        file("charts/sallyport/files/rbac-cluster.yaml", rbac::cluster_rules()),
        file("charts/sallyport/files/rbac-namespaced.yaml", rbac::namespaced_rules()),
        file("charts/sallyport/files/rbac-own.yaml", rbac::own_rules()),
        file("config/rbac/role.yaml", rbac::roles()),
        file(
            "charts/sallyport/files/clusternetworkpolicies/never-open.yaml",
            never_open.clone(),
        ),
        file(
            "charts/sallyport/files/clusternetworkpolicies/closed-servers.yaml",
            closed_servers.clone(),
        ),
        file(
            "charts/sallyport/files/clusternetworkpolicies/closed-gateways.yaml",
            closed_gateways.clone(),
        ),
        file("config/clusternetworkpolicy/never-open.yaml", never_open),
        file("config/clusternetworkpolicy/closed-servers.yaml", closed_servers),
        file("config/clusternetworkpolicy/closed-gateways.yaml", closed_gateways),
        file("docs/reference/mcpendpoint.md", reference::api::endpoint()?),
        file("docs/reference/mcpendpointclass.md", reference::api::class()?),
        file("docs/reference/rbac.md", reference::rbac::markdown()),
        file("docs/reference/hardening.md", reference::hardening::markdown()),
    ];
    files.extend(samples::all());
    Ok(files)
}

/// Writes the files that differ; how many did.
pub fn write(root: &Path, files: &[File]) -> Result<usize, Error> {
    let drifted = check(root, files)?;
    for file in files
        .iter()
        .filter(|file| drifted.iter().any(|drift| drift.path == file.path))
    {
        let path = root.join(file.path);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, &file.text)
        };
        write().map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
    }
    Ok(drifted.len())
}

/// The files that differ.
pub fn check(root: &Path, files: &[File]) -> Result<Vec<Drift>, Error> {
    let mut drifts = vec![];
    for File { path, text } in files {
        let full = root.join(path);
        match fs::read_to_string(&full) {
            Ok(stored) if stored == *text => {}
            Ok(stored) => drifts.push(Drift {
                path,
                line: Some(first_difference(&stored, text)),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => drifts.push(Drift { path, line: None }),
            Err(source) => return Err(Error::Io { path: full, source }),
        }
    }
    Ok(drifts)
}

fn first_difference(one: &str, other: &str) -> usize {
    one.lines()
        .zip(other.lines())
        .take_while(|(one, other)| one == other)
        .count()
        + 1
}

fn file(path: &'static str, text: String) -> File {
    File { path, text }
}

impl fmt::Display for Drift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}: differs from what the code generates", self.path),
            None => write!(formatter, "{}: is missing", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_names_the_file_and_the_first_line_that_differs() {
        let root = std::env::temp_dir().join(format!("sallyport-gen-{}", std::process::id()));
        let files = [
            file("a/b.yaml", "one\ntwo\n".to_owned()),
            file("c.yaml", "c\n".to_owned()),
        ];
        assert_eq!(write(&root, &files).unwrap(), 2);
        assert!(check(&root, &files).unwrap().is_empty());
        fs::write(root.join("a/b.yaml"), "one\n2\n").unwrap();
        fs::remove_file(root.join("c.yaml")).unwrap();
        let drifts: Vec<_> = check(&root, &files).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            drifts,
            ["a/b.yaml:2: differs from what the code generates", "c.yaml: is missing"]
        );
        fs::remove_dir_all(root).unwrap();
    }
}
