//! Samples: endpoints that users start from. They are written as text, for the comments, and each is read back by the API
//! types and rendered by the tests.

use crate::files::{Error, File};

const SAMPLES: &[(&str, &str)] = &[];

pub fn all() -> Result<Vec<File>, Error> {
    Ok(SAMPLES
        .iter()
        .map(|(path, text)| File {
            path,
            text: (*text).to_owned(),
        })
        .collect())
}
