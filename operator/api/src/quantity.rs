//! Kubernetes resource quantities as users write them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// A resource amount in Kubernetes notation: `250m`, `1`, `256Mi`.
///
/// Accepts a bare integer too, as Kubernetes itself does. The text is kept as written; [`Amount::milli`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Amount(String);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a resource quantity; write for example 250m, 1, 256Mi or 1Gi")]
pub struct ParseError {
    text: String,
}

/// Suffixes of the Kubernetes quantity grammar with their factor in thousandths.
const SUFFIXES: &[(&str, i128)] = &[
    ("Ki", 1000 << 10),
    ("Mi", 1000 << 20),
    ("Gi", 1000 << 30),
    ("Ti", 1000 << 40),
    ("m", 1),
    ("k", 1000 * 1000),
    ("M", 1000 * 1_000_000),
    ("G", 1000 * 1_000_000_000),
    ("T", 1000 * 1_000_000_000_000),
];

impl Amount {
    /// Takes `text` as it is; [`Amount::milli`] tells whether it is an amount.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The amount as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in thousandths of its unit (millicores; thousandths of a byte), rounded up.
    ///
    /// # Errors
    ///
    /// When the text is not in the quantity grammar or does not fit.
    pub fn milli(&self) -> Result<i128, ParseError> {
        let error = || ParseError { text: self.0.clone() };
        let (number, factor) = SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| self.0.strip_suffix(suffix).map(|number| (number, *factor)))
            .unwrap_or((&self.0, 1000));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) || number.len() > 20 {
            return Err(error());
        }
        let scale = 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| error())?);
        let value: i128 = format!("{whole}{fraction}").parse().map_err(|_| error())?;
        let milli = value.checked_mul(factor).ok_or_else(error)?;
        Ok((milli + scale - 1) / scale)
    }

    /// The amount in whole units (bytes), rounded up.
    ///
    /// # Errors
    ///
    /// As [`Amount::milli`].
    pub fn units(&self) -> Result<i128, ParseError> {
        Ok((self.milli()? + 999) / 1000)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum IntOrString {
            Int(i64),
            String(String),
        }
        Ok(Self(match IntOrString::deserialize(deserializer)? {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => text,
        }))
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 24 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_kubernetes_reads_as_its_value() {
        for (text, milli) in [
            ("250m", 250),
            ("1", 1000),
            ("0.5", 500),
            ("1.5Gi", 1_610_612_736_000),
            ("64Mi", 67_108_864_000),
            ("1k", 1_000_000),
            ("0.0001", 1),
        ] {
            assert_eq!(Amount::new(text).milli(), Ok(milli), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_is_refused_with_an_example() {
        for text in ["", "m", "one", "-1", "1 Gi", "1e3", "999999999999999999999999"] {
            let error = Amount::new(text).milli().unwrap_err().to_string();
            assert!(error.contains("256Mi"), "{error}");
        }
    }

    #[test]
    fn a_bare_integer_deserializes() {
        assert_eq!(serde_json::from_str::<Amount>("2").unwrap(), Amount::new("2"));
    }
}
