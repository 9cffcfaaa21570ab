//! What a person reads and what a client gets to answer.

use super::home::Answer;
use crate::seal::{Document, Value};
use bytes::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The key of our request in `inputRequests` and `inputResponses`.
pub const INPUT_KEY: &str = "sallyport.dev/confirm";

/// The member of the arguments that carries a token.
pub const TOKEN_KEY: &str = "confirmationToken";

/// What the ids of our requests to legacy clients begin with. Responses with such an id never reach the server.
pub const ID_PREFIX: &str = "sallyport-confirm.";

/// The form's only field.
const FIELD: &str = "confirm";

/// As much of the arguments as a person is shown, in characters.
const MAX_SHOWN: usize = 2000;

/// What is asked.
pub struct Question<'a> {
    /// `namespace/name` of the endpoint.
    pub endpoint: &'a str,
    /// The tool.
    pub tool: &'a str,
    /// Its arguments, a JSON text.
    pub arguments: Option<&'a str>,
}

impl Question<'_> {
    /// In words. What comes from the call is shown with everything escaped that could pass for words of ours, and a
    /// digest where it is cut short.
    pub fn text(&self) -> String {
        let mut text = format!("Run the tool \"{}\" of {}?", shown(self.tool, 300), self.endpoint);
        match self.arguments {
            None => text.push_str(" It is called without arguments."),
            Some(arguments) => {
                let _ = write!(text, " Arguments: {}", shown(arguments, MAX_SHOWN));
                if arguments.chars().count() > MAX_SHOWN {
                    let digest = Sha256::digest(arguments);
                    let _ = write!(text, " ... (cut short; {} bytes in all, SHA-256 ", arguments.len());
                    for byte in digest {
                        let _ = write!(text, "{byte:02x}");
                    }
                    text.push(')');
                }
            }
        }
        text
    }

    fn form() -> serde_json::Value {
        json!({
            "type": "object",
            "properties": {
                FIELD: {"type": "boolean", "title": "Run it", "description": "Whether the call is to run now, once.", "default": false},
            },
            "required": [FIELD],
        })
    }

    /// The answer to a modern call: a result that asks for input (MCP 2026-07-28, "Multi Round-Trip Requests").
    pub fn input_required(&self, id: &str, state: &str) -> Bytes {
        let result = json!({
            "resultType": "input_required",
            "inputRequests": {
                INPUT_KEY: {
                    "method": "elicitation/create",
                    "params": {"mode": "form", "message": self.text(), "requestedSchema": Self::form()},
                },
            },
            "requestState": state,
        });
        response(id, &result)
    }

    /// A request to a legacy client, as an event of the stream that answers its call (MCP 2025-06-18, "Elicitation").
    pub fn elicitation(&self, id: &str) -> Bytes {
        let request = json!({
            "jsonrpc": "2.0",
            "id": id,
            "method": "elicitation/create",
            "params": {"message": self.text(), "requestedSchema": Self::form()},
        });
        Bytes::from(format!("event: message\ndata: {request}\n\n"))
    }

    /// The answer to the first call of a legacy client that can ask nobody. It is marked as an error, because the tool has
    /// not run, and because clients check any other result against the tool's output schema.
    pub fn token(&self, id: &str, token: &str, seconds: u64) -> Bytes {
        let confirmation = json!({
            "confirmation_required": {
                "operation": self.tool,
                "description": format!(
                    "{} The tool has not run. If the user wants it, call it again with the same arguments and this token as \"{TOKEN_KEY}\".",
                    self.text(),
                ),
                "token": token,
                "expiresInSeconds": seconds,
            },
        });
        response(
            id,
            &json!({"content": [{"type": "text", "text": confirmation.to_string()}], "isError": true}),
        )
    }
}

fn response(id: &str, result: &serde_json::Value) -> Bytes {
    // The id as it was sent: a client may not find its request by another way of writing it.
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// What an elicitation's result says. Only a form that was accepted with our field set to true is a yes.
pub fn answer(result: &str) -> Answer {
    match accepted(result) {
        Some(true) => Answer::Accepted,
        _ => Answer::Declined,
    }
}

fn accepted(result: &str) -> Option<bool> {
    let document = Document::read(result.as_bytes()).ok()?;
    let root = document.root();
    let action = root.get("action").ok()??.string().ok()??;
    let field = root.at(&["content", FIELD]).ok()??;
    Some(action == "accept" && field.raw() == "true")
}

/// What the client answered to our request in a call's `params`; `None` when it did not.
pub fn answer_in(params: &Value<'_>) -> Option<Answer> {
    let response = params.at(&["inputResponses", INPUT_KEY]).ok()??;
    Some(answer(response.raw()))
}

/// At most `limit` characters of `text`, those escaped that are not seen or that change what is seen around them.
fn shown(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for char in text.chars().take(limit) {
        if is_deceptive(char) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(char));
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Controls, line and paragraph separators, invisible and direction-changing format characters, variation selectors, tags and
/// private use.
const fn is_deceptive(char: char) -> bool {
    matches!(char,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn question<'a>(tool: &'a str, arguments: Option<&'a str>) -> Question<'a> {
        Question {
            endpoint: "team-a/demo",
            tool,
            arguments,
        }
    }

    #[test]
    fn a_person_reads_what_runs() {
        assert_eq!(
            question("drop_table", Some(r#"{"table":"kürbis"}"#)).text(),
            r#"Run the tool "drop_table" of team-a/demo? Arguments: {"table":"kürbis"}"#
        );
        assert!(
            question("drop_table", None)
                .text()
                .ends_with("It is called without arguments.")
        );
    }

    #[test]
    fn arguments_cannot_hide_anything_or_pass_for_words_of_ours() {
        let text = question("x\u{202e}\n\u{200b}", Some("{\"a\":\"\u{e0041}\u{feff}\r\n\"}")).text();
        assert!(!text.chars().any(is_deceptive), "{text}");
        assert!(text.contains("\\u{202e}\\u{a}\\u{200b}"), "{text}");
    }

    #[test]
    fn what_is_cut_short_says_so() {
        let long = format!("{{\"a\":\"{}\",\"b\":\"the end\"}}", "x".repeat(5000));
        let text = question("t", Some(&long)).text();
        assert!(text.len() < 2400);
        assert!(!text.contains("the end"));
        assert!(text.contains("cut short; 5022 bytes in all, SHA-256 "), "{text}");
    }

    #[test]
    fn only_an_accepted_form_with_a_true_field_is_a_yes() {
        assert_eq!(
            answer(r#"{"action":"accept","content":{"confirm":true}}"#),
            Answer::Accepted
        );
        for no in [
            r#"{"action":"accept","content":{"confirm":false}}"#,
            r#"{"action":"accept","content":{"confirm":"true"}}"#,
            r#"{"action":"accept","content":{"confirm":1}}"#,
            r#"{"action":"accept","content":{}}"#,
            r#"{"action":"accept"}"#,
            r#"{"action":"decline","content":{"confirm":true}}"#,
            r#"{"action":"cancel"}"#,
            r#"{"action":"decline","action":"accept","content":{"confirm":true}}"#,
            r#"{"action":"accept","content":{"confirm":false,"confirm":true}}"#,
            r#"{"confirm":true}"#,
            "true",
            "not json",
        ] {
            assert_eq!(answer(no), Answer::Declined, "{no}");
        }
    }
}
