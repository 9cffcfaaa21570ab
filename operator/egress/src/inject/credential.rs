//! The credential, from a file that only the gateway has.

use http::HeaderValue;
use sallyport_policy::egress::Injection;
use std::io;
use tokio::io::AsyncReadExt;

/// Bytes of a credential at most.
const LONGEST: u64 = 16 * 1024;

/// Why there is no credential. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("the credential cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file holds nothing.
    #[error("the credential is empty")]
    Empty,
    /// The file is too large.
    #[error("the credential is longer than {LONGEST} bytes")]
    TooLong,
    /// The file holds what no header may.
    #[error("the credential has line breaks or other bytes that no header may have")]
    Bytes,
}

/// The value of the header, as the file has it now: a credential that was exchanged is used from the next request on.
/// Blanks and line ends around it, which editors and shells leave, are not part of it.
///
/// # Errors
///
/// See [`CredentialError`].
pub async fn value(injection: &Injection) -> Result<HeaderValue, CredentialError> {
    let mut content = Vec::new();
    let file = tokio::fs::File::open(&injection.file).await?;
    file.take(LONGEST + 1).read_to_end(&mut content).await?;
    if content.len() as u64 > LONGEST {
        return Err(CredentialError::TooLong);
    }
    let credential = content.trim_ascii();
    if credential.is_empty() {
        return Err(CredentialError::Empty);
    }
    let value = [injection.prefix.as_str().as_bytes(), credential].concat();
    let mut value = HeaderValue::from_bytes(&value).map_err(|_| CredentialError::Bytes)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    async fn value_of(content: &[u8], prefix: &str) -> Result<String, String> {
        let file = std::env::temp_dir().join(format!("sallyport-credential-{}", uuid::Uuid::now_v7()));
        std::fs::write(&file, content).unwrap();
        let injection = Injection {
            header: "authorization".parse().unwrap(),
            prefix: prefix.parse().unwrap(),
            file: file.to_str().unwrap().to_owned(),
            authorities: None,
        };
        let value = value(&injection).await;
        std::fs::remove_file(&file).unwrap();
        match value {
            Ok(value) => {
                assert!(value.is_sensitive() && !format!("{value:?}").contains("secret"));
                Ok(value.to_str().unwrap().to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn what_stands_around_a_credential_is_not_part_of_it() {
        assert_eq!(value_of(b" secret\r\n\n", "Bearer ").await, Ok("Bearer secret".into()));
        assert_eq!(value_of(b"secret", "").await, Ok("secret".into()));
    }

    #[tokio::test]
    async fn what_no_header_may_hold_is_refused_and_not_told() {
        let long = "secret".repeat(4000);
        for content in ["", "\n", "secret\r\nx-more: 1", "secret\0", &long] {
            let error = value_of(content.as_bytes(), "").await.unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
