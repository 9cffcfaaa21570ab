//! From files to validated endpoints, with errors that name file and line.

use crate::{schema, settings::Assumed};
use sallyport_api::{GROUP, McpEndpoint, mcp_endpoint_crd};
use sallyport_render::{ValidateError, ValidatedEndpoint, validate};
use serde_json::{Value, json};
use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Stands for the UID that the API server would give.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";

/// Why a file cannot be used.
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
    /// Not YAML, or not of the form of an endpoint.
    #[error("{path}:{line}: {source}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Line in it.
        line: usize,
        /// What is wrong.
        source: Box<serde_saphyr::DeserializeError>,
    },
    /// Fields that the API does not have.
    #[error("{path}:{line}: unknown field {fields}: correct or remove it; `kubectl explain mcpe` lists the fields")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Line at which the endpoint begins, or that of the field where its name is unmistakable.
        line: usize,
        /// The fields.
        fields: String,
    },
    /// Not what the operator can render.
    #[error("{path}:{line}: {name}: {source}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line at which the endpoint begins.
        line: usize,
        /// Name of the endpoint.
        name: String,
        /// What is wrong.
        source: Box<ValidateError>,
    },
    /// No endpoint in the file.
    #[error("{path}: holds no object of kind McpEndpoint and apiVersion sallyport.dev/v1alpha1")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The CRD of this build is broken.
    #[error("the schema of this build does not serialize")]
    Schema(#[from] serde_json::Error),
}

/// Reads the endpoints of a file.
///
/// # Errors
///
/// The first thing that must change in the file.
pub fn load(path: &Path, assumed: &Assumed) -> Result<Vec<ValidatedEndpoint>, Error> {
    let text = read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let crd = serde_json::to_value(mcp_endpoint_crd()?)?;
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut endpoints = vec![];
    for document in documents(&text) {
        if let Some(endpoint) = document.endpoint(path, schema)? {
            endpoints.push(document.validated(path, endpoint, assumed)?);
        }
    }
    if endpoints.is_empty() {
        return Err(Error::Empty { path: path.to_owned() });
    }
    Ok(endpoints)
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    }
}

/// One YAML document of a file.
struct Document {
    /// Line at which it begins, counted from 1.
    line: usize,
    /// Its text after as many empty lines as come before it, so that locations are those of the file.
    text: String,
}

/// Splits a stream at its `---` lines. A block scalar cannot hold such a line unindented, so this is exact for manifests.
fn documents(text: &str) -> Vec<Document> {
    let mut documents: Vec<Document> = vec![];
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            open = false;
            continue;
        }
        if !open {
            documents.push(Document {
                line: index + 1,
                text: "\n".repeat(index),
            });
            open = true;
        }
        if let Some(document) = documents.last_mut() {
            document.text.push_str(line);
            document.text.push('\n');
        }
    }
    documents
}

impl Document {
    /// The endpoint of this document, if it is one.
    fn endpoint(&self, path: &Path, schema: &Value) -> Result<Option<McpEndpoint>, Error> {
        let value: Value = self.parse(path)?;
        if value["kind"] != "McpEndpoint" || value["apiVersion"] != json!(format!("{GROUP}/v1alpha1")) {
            return Ok(None);
        }
        let unknown = schema::unknown_fields(&value["spec"], &schema["properties"]["spec"]);
        if let Some(first) = unknown.first() {
            return Err(Error::Unknown {
                path: path.to_owned(),
                line: self.line_of(first),
                fields: unknown
                    .iter()
                    .map(|field| format!("spec.{field}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        self.parse(path).map(Some)
    }

    fn validated(&self, path: &Path, mut endpoint: McpEndpoint, assumed: &Assumed) -> Result<ValidatedEndpoint, Error> {
        endpoint
            .metadata
            .namespace
            .get_or_insert_with(|| assumed.namespace.clone());
        endpoint.metadata.uid.get_or_insert_with(|| NO_UID.to_owned());
        validate(&endpoint, &assumed.settings(), &assumed.facts()).map_err(|source| Error::Invalid {
            path: path.to_owned(),
            line: self.line,
            name: endpoint.metadata.name.unwrap_or_default(),
            source: Box::new(source),
        })
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Result<T, Error> {
        serde_saphyr::from_str(&self.text).map_err(|source| Error::Form {
            path: path.to_owned(),
            line: source.location().map_or(self.line, |location| {
                usize::try_from(location.line()).unwrap_or(self.line)
            }),
            source: Box::new(source),
        })
    }

    /// Line of the only key that is called as the last part of `field`; else that of the document.
    fn line_of(&self, field: &str) -> usize {
        let key = field.rsplit('.').next().unwrap_or(field);
        let holds = |line: &str| {
            line.split(['{', ',', '-'])
                .any(|part| part.trim().starts_with(&format!("{key}:")))
        };
        let mut lines = self.text.lines().enumerate().filter(|(_, line)| holds(line));
        match (lines.next(), lines.next()) {
            (Some((index, _)), None) => index + 1,
            _ => self.line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_the_lines_of_their_file() {
        let documents = documents("# a\n---\nb: 1\n---\n\nc: 1\n");
        let lines: Vec<_> = documents.iter().map(|document| document.line).collect();
        assert_eq!(lines, [1, 3, 5]);
        assert_eq!(documents[1].text, "\n\nb: 1\n");
    }
}
