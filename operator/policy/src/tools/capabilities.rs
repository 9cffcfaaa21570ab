//! What a server says that it can do, without what the endpoint has not approved.

use super::hidden;
use super::list::{ListError, member};
use super::splice::Edits;
use crate::arguments::members;
use std::collections::BTreeSet;

/// What was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stripped {
    /// The result without it; `None`: nothing was taken out.
    pub text: Option<String>,
    /// Identifiers of the extensions that were taken out.
    pub extensions: Vec<String>,
    /// Whether the instructions were taken out, because they hold text that nobody sees.
    pub instructions: bool,
}

/// Takes out of `result`, the raw result of `initialize` or `server/discover`, all `capabilities.extensions` that are
/// not `approved`, and instructions with text that a model reads and a human does not see. All other bytes stay.
///
/// # Errors
///
/// The result can be read in more than one way.
pub fn strip_extensions(result: &str, approved: &BTreeSet<String>) -> Result<Stripped, ListError> {
    let mut stripped = Stripped::default();
    let mut edits = Edits::new(result);
    let top = members(result)?;
    if let Some(instructions) = member(&top, "instructions")? {
        let text: serde_json::Value = serde_json::from_str(instructions.get()).map_err(ListError::Json)?;
        if hidden::find_within(&text).is_some() {
            edits
                .replace(instructions.get(), "\"\"".to_owned())
                .ok_or(ListError::Form)?;
            stripped.instructions = true;
        }
    }
    let capabilities = member(&top, "capabilities")?
        .map(|raw| members(raw.get()))
        .transpose()?;
    let extensions = match &capabilities {
        Some(capabilities) => member(capabilities, "extensions")?,
        None => None,
    };
    if let Some(extensions) = extensions {
        let (kept, removed): (Vec<_>, Vec<_>) = members(extensions.get())?
            .into_iter()
            .partition(|(name, _)| approved.contains(name));
        if !removed.is_empty() {
            let member = |(name, value): &(String, &serde_json::value::RawValue)| {
                format!("{}:{}", serde_json::Value::from(name.as_str()), value.get())
            };
            let kept: Vec<_> = kept.iter().map(member).collect();
            edits
                .replace(extensions.get(), format!("{{{}}}", kept.join(",")))
                .ok_or(ListError::Form)?;
            stripped.extensions = removed.into_iter().map(|(name, _)| name).collect();
        }
    }
    if !edits.is_empty() {
        stripped.text = Some(edits.apply());
    }
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    const TASKS: &str = "io.modelcontextprotocol/tasks";

    fn strip(result: &str) -> Stripped {
        strip_extensions(result, &[TASKS.to_owned()].into()).unwrap()
    }

    #[test]
    fn extensions_that_are_not_approved_are_taken_out_and_nothing_else_changes() {
        let result = r#"{ "capabilities" : {"tools":{ }, "extensions": {"evil/x":{"a":[1]}, "io.modelcontextprotocol/tasks" : {"b": 1.0}} } ,"z":1}"#;
        let stripped = strip(result);
        assert_eq!(stripped.extensions, ["evil/x"]);
        assert_eq!(
            stripped.text.unwrap(),
            r#"{ "capabilities" : {"tools":{ }, "extensions": {"io.modelcontextprotocol/tasks":{"b": 1.0}} } ,"z":1}"#
        );
    }

    #[test]
    fn what_is_approved_stays_byte_for_byte() {
        for result in [
            "{}",
            r#"{"capabilities":{}}"#,
            r#"{"capabilities":{"extensions":{ "io.modelcontextprotocol/tasks" : {} }},"instructions":"Be kind."}"#,
        ] {
            assert_eq!(strip(result), Stripped::default(), "{result}");
        }
    }

    #[test]
    fn instructions_that_nobody_sees_are_taken_out() {
        let stripped = strip("{\"instructions\":\"hi\u{e0041}\",\"a\":1}");
        assert!(stripped.instructions);
        assert_eq!(stripped.text.unwrap(), r#"{"instructions":"","a":1}"#);
    }

    #[test]
    fn a_result_with_two_readings_is_refused() {
        for result in [
            r#"{"capabilities":{},"capabilities":{"extensions":{"evil/x":{}}}}"#,
            r#"{"capabilities":{"extensions":{},"extensions":{"evil/x":{}}}}"#,
            r#"{"capabilities":{"Extensions":{"evil/x":{}}}}"#,
            r#"{"Capabilities":{"extensions":{"evil/x":{}}}}"#,
            r#"{"capabilities":[]}"#,
            "[]",
        ] {
            assert!(strip_extensions(result, &BTreeSet::new()).is_err(), "{result}");
        }
    }
}
