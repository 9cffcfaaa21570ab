//! Variables that a server reads its credentials from, for servers that cannot read files. They are set for the server's
//! process alone.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::{fs, io};

/// Largest credential in bytes: what the kernel takes as one variable.
const LARGEST: usize = 128 * 1024 - 256;

/// A variable whose value a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromFile {
    /// Name of the variable.
    pub name: String,
    /// The file.
    pub file: PathBuf,
}

/// What is written on the command line is no variable.
#[derive(Debug, thiserror::Error)]
#[error("write NAME=/path/of/the/file, as in GITHUB_TOKEN=/var/run/secrets/sallyport/github/token")]
pub struct ParseFromFileError;

/// Why a variable cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The file is not there or not readable.
    #[error("cannot read {file} for the variable {name}: is the credential mounted into the server's container?", file = file.display())]
    Unreadable {
        /// Name of the variable.
        name: String,
        /// The file.
        file: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A variable cannot hold it.
    #[error("the variable {name} cannot hold the content of {file}: it must be at most {LARGEST} bytes without NUL", file = file.display())]
    Unfit {
        /// Name of the variable.
        name: String,
        /// The file.
        file: PathBuf,
    },
}

impl FromStr for FromFile {
    type Err = ParseFromFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, file) = text.split_once('=').ok_or(ParseFromFileError)?;
        let first = name.bytes().next().ok_or(ParseFromFileError)?;
        let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !first.is_ascii_digit();
        if fits && file.starts_with('/') {
            Ok(Self {
                name: name.to_owned(),
                file: file.into(),
            })
        } else {
            Err(ParseFromFileError)
        }
    }
}

impl FromFile {
    /// The file's content now, without the line break at its end.
    ///
    /// # Errors
    ///
    /// See [`EnvironmentError`].
    pub fn value(&self) -> Result<OsString, EnvironmentError> {
        let mut value = fs::read(&self.file).map_err(|source| EnvironmentError::Unreadable {
            name: self.name.clone(),
            file: self.file.clone(),
            source,
        })?;
        if value.ends_with(b"\n") {
            value.pop();
            if value.ends_with(b"\r") {
                value.pop();
            }
        }
        if value.len() > LARGEST || value.contains(&0) {
            return Err(EnvironmentError::Unfit {
                name: self.name.clone(),
                file: self.file.clone(),
            });
        }
        Ok(OsString::from_vec(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn a_variable_is_the_files_content_without_its_last_line_break() {
        let file = std::env::temp_dir().join(format!("sallyport-bridge-{}", uuid::Uuid::new_v4()));
        let variable: FromFile = format!("TOKEN={}", file.display()).parse().unwrap();
        for (content, value) in [
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("two\nlines\n\n", "two\nlines\n"),
        ] {
            fs::write(&file, content).unwrap();
            assert_eq!(variable.value().unwrap(), value);
        }
        fs::write(&file, "a\0b").unwrap();
        assert!(matches!(variable.value(), Err(EnvironmentError::Unfit { .. })));
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn what_is_no_variable_or_no_absolute_path_is_refused() {
        for text in ["", "TOKEN", "=/a", "1A=/a", "A-B=/a", "A=relative", "A="] {
            assert!(text.parse::<FromFile>().is_err(), "{text}");
        }
        assert!("A_1=/a".parse::<FromFile>().is_ok());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = "TOKEN=/nowhere/token".parse::<FromFile>().unwrap().value().unwrap_err();
        assert!(error.to_string().contains("/nowhere/token"), "{error}");
    }
}
