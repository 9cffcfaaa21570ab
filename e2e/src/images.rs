//! The images that were loaded, by name, each by its digest.

use crate::{Context, Failure, Result};
use std::{collections::BTreeMap, path::Path};

/// References by digest, by the name of the image.
#[derive(Clone, Debug)]
pub struct Images(BTreeMap<String, String>);

/// A reference in the two parts that the chart wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Registry and path.
    pub repository: &'a str,
    /// `sha256:` and 64 hex digits.
    pub digest: &'a str,
}

impl Images {
    /// Reads the JSON object that `images load` and `images push` write.
    ///
    /// # Errors
    ///
    /// When it is no such object.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map(Self)
            .context("read the list of loaded images")
    }

    /// Reads a cluster's `images.json`.
    ///
    /// # Errors
    ///
    /// When the file is not there or is no such list.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).context(format!(
            "read {}: run `sallyport-cluster images load` first",
            path.display()
        ))?;
        Self::parse(&text)
    }

    /// The reference of the image `name`, by digest.
    ///
    /// # Errors
    ///
    /// When that image was not loaded.
    pub fn get(&self, name: &str) -> Result<&str> {
        let reference = self.0.get(name).map(String::as_str);
        reference.context(format!(
            "image {name} is not loaded: run `sallyport-cluster images load {name}`"
        ))
    }

    /// As [`Images::get`], in two parts.
    ///
    /// # Errors
    ///
    /// As [`Images::get`], or when the reference is not by digest.
    pub fn parts(&self, name: &str) -> Result<Reference<'_>> {
        let reference = self.get(name)?;
        let (repository, digest) = reference
            .split_once('@')
            .ok_or_else(|| Failure::new(format!("image {name} is {reference}, which is not by digest")))?;
        Ok(Reference { repository, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_comes_apart_at_its_digest() {
        let images = Images::parse(r#"{"operator": "registry:5000/sallyport/operator@sha256:ab"}"#).unwrap();
        let reference = images.parts("operator").unwrap();
        assert_eq!(
            (reference.repository, reference.digest),
            ("registry:5000/sallyport/operator", "sha256:ab")
        );
        assert!(images.get("other").unwrap_err().chain().contains("images load other"));
    }
}
