//! Takes out what looks like a secret.
//!
//! Three signs: the shape of a credential that is in wide use, the name of the member or variable that a value stands under,
//! and the place in a URL or a header. A secret that has none of the three stays: only digests keep everything back.

use regex::{Captures, Regex};
use sallyport_policy::arguments::parse_strictly;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::LazyLock;

#[cfg(test)]
mod tests;

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// Deepest nesting of arguments that is read: what a message can have.
const DEPTH: u8 = 128;

/// Credentials that are known by their shape.
const SHAPES: [&str; 15] = [
    // Ends with its text if it was cut off.
    r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    // This project's own.
    r"mcpe_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}",
    // GitHub.
    r"gh[pousr]_[A-Za-z0-9]{16,}",
    r"github_pat_[A-Za-z0-9_]{16,}",
    // GitLab.
    r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|oas)-[A-Za-z0-9_.-]{16,}",
    // Model providers; payment providers.
    r"(?-u:\b|_)sk-[A-Za-z0-9_-]{16,}",
    r"(?-u:\b)(?:sk|rk|pk|whsec)_(?:(?:live|test|prod)_)?[A-Za-z0-9]{16,}",
    // Cloud providers.
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"ya29\.[A-Za-z0-9_-]{16,}",
    r"do[opr]_v1_[a-f0-9]{32,}",
    // Slack.
    r"xox[a-z]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{16,}|hooks\.slack\.com/services/[A-Za-z0-9/]{16,}",
    // Package registries, model hubs, Vault, mail.
    r"npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{16,}|(?-u:\b)hf_[A-Za-z0-9]{20,}|hv[sbr]\.[A-Za-z0-9_-]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    // JSON Web Tokens, signed and encrypted.
    r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)+",
];

/// Words in a name that say that its value is a secret. Names are compared in lower case, without punctuation.
const TELLING: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "credential",
    "authorization",
    "cookie",
    "bearer",
    "connectionstring",
    "jwt",
];

/// Names that say so only if nothing else stands with them.
const TELLING_ALONE: [&str; 6] = ["auth", "pin", "otp", "totp", "pass", "dsn"];

/// Members that name what another member of the same object holds, and those that hold it.
const NAMING: [&str; 5] = ["name", "key", "header", "variable", "field"];
const HOLDING: [&str; 3] = ["value", "val", "content"];

/// `name: value`, `name=value` and `--name value`, however they are quoted. The value is the second group.
const ASSIGNMENT: &str = r#"(?ix)
    ( (?: [\w.-]* (?: pass(?:word|wd|phrase|code) | pwd | secret | token | api[_.-]?key | access[_.-]?key | private[_.-]?key
        | signing[_.-]?key | credential | authorization | cookie ) [\w.-]* \\*["']? \s* (?: = | : ) \s*
      | --? [\w-]* (?: password | passwd | secret | token | key ) \s+ ) )
    ( \\*"[^"\\]*\\*" | \\*'[^'\\]*\\*' | [^\s"'\\,;&}\])]+ )
"#;

/// The scheme of an Authorization header, and what follows it.
const SCHEME: &str = r"(?i)((?-u:\b)(?:bearer|basic|dpop|negotiate)\s+)([A-Za-z0-9._~+/=-]{8,})";

/// User and password in a URL.
const USERINFO: &str = r"(://)([^/?#\s@]*:[^/?#\s@]*)@";

/// Keys and confirmations of this project.
const OWN: &str = r#"mcpe_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}|("confirmationToken"\s*:\s*")[^"]*"#;

/// A text with how much was taken out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// What is left.
    pub text: String,
    /// How many secrets were taken out.
    pub count: u32,
}

struct Patterns {
    shapes: Regex,
    assignment: Regex,
    scheme: Regex,
    userinfo: Regex,
    own: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let pattern = |text: &str| Regex::new(text).ok();
    let shapes: Vec<_> = SHAPES.iter().map(|shape| format!("(?:{shape})")).collect();
    Some(Patterns {
        shapes: pattern(&shapes.join("|"))?,
        assignment: pattern(ASSIGNMENT)?,
        scheme: pattern(SCHEME)?,
        userinfo: pattern(USERINFO)?,
        own: pattern(OWN)?,
    })
});

/// `text` without credentials of a known shape: for names, paths and identifiers.
pub fn shapes(text: &str) -> Cow<'_, str> {
    match &*PATTERNS {
        Some(patterns) => patterns.shapes.replace_all(text, REDACTED),
        // Cannot happen: the patterns are constants. Nothing is let through that could not be looked at.
        None => Cow::Borrowed(REDACTED),
    }
}

/// The JSON text `raw` without credentials of this project, which no record holds.
pub fn own_credentials(raw: &str) -> Redaction {
    let Some(patterns) = &*PATTERNS else {
        return Redaction {
            text: REDACTED.to_owned(),
            count: 1,
        };
    };
    let mut count = 0;
    let text = patterns.own.replace_all(raw, |captures: &Captures<'_>| {
        count += 1;
        format!("{}{REDACTED}", captures.get(1).map_or("", |group| group.as_str()))
    });
    Redaction {
        text: text.into_owned(),
        count,
    }
}

/// The JSON object `raw` without what looks like a secret; none if it cannot be read, or has so many values that reading them
/// would take too much memory.
pub fn object(raw: &str) -> Option<Redaction> {
    let Ok(Value::Object(mut members)) = parse_strictly(raw, DEPTH) else {
        return None;
    };
    let mut count = 0;
    walk_object(&mut members, None, &mut count);
    let text = serde_json::to_string(&members).ok()?;
    Some(Redaction { text, count })
}

/// `secret` says whether the name that the value stands under tells that it is one.
fn walk(value: &mut Value, secret: Option<Secrecy>, count: &mut u32) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(_) => {
            if secret == Some(Secrecy::Any) {
                *value = taken_out(count);
            }
        }
        Value::String(text) => {
            if secret.is_some() && !text.is_empty() {
                *value = taken_out(count);
            } else {
                *text = free_text(text, count);
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(item, secret, count);
            }
        }
        Value::Object(members) => walk_object(members, secret, count),
    }
}

/// How secret the values under a telling name are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    /// Texts: numbers under such names are counts, as in `max_tokens`.
    Texts,
    /// Numbers too.
    Any,
}

fn walk_object(members: &mut Map<String, Value>, secret: Option<Secrecy>, count: &mut u32) {
    let named = NAMING.iter().find_map(|key| secrecy(members.get(*key)?.as_str()?));
    let mut kept = Map::new();
    for (key, mut value) in std::mem::take(members) {
        let holds = HOLDING.contains(&key.to_ascii_lowercase().as_str());
        let own = secret.or_else(|| secrecy(&key)).or(if holds { named } else { None });
        walk(&mut value, own, count);
        let safe = shapes(&key);
        if safe != key {
            *count += 1;
        }
        kept.insert(safe.into_owned(), value);
    }
    *members = kept;
}

/// What `name` tells of its value.
fn secrecy(name: &str) -> Option<Secrecy> {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    if !TELLING.iter().any(|word| plain.contains(word)) && !TELLING_ALONE.contains(&plain.as_str()) {
        None
    } else if plain.contains("token") || plain.contains("credential") || plain.contains("cookie") {
        Some(Secrecy::Texts)
    } else {
        Some(Secrecy::Any)
    }
}

fn taken_out(count: &mut u32) -> Value {
    *count += 1;
    Value::String(REDACTED.to_owned())
}

/// A text that may say anything: a command line, a document, a URL.
fn free_text(text: &str, count: &mut u32) -> String {
    let Some(patterns) = &*PATTERNS else {
        *count += 1;
        return REDACTED.to_owned();
    };
    let mut found = 0;
    let text = patterns.shapes.replace_all(text, |_: &Captures<'_>| {
        found += 1;
        REDACTED
    });
    let mut after_first_group = |captures: &Captures<'_>| {
        let already = captures.get(2).is_some_and(|value| value.as_str().contains(REDACTED));
        found += u32::from(!already);
        format!("{}{REDACTED}", captures.get(1).map_or("", |group| group.as_str()))
    };
    let text = patterns.scheme.replace_all(&text, &mut after_first_group);
    let text = patterns.assignment.replace_all(&text, &mut after_first_group);
    let text = patterns.userinfo.replace_all(&text, |captures: &Captures<'_>| {
        let mut text = after_first_group(captures);
        text.push('@');
        text
    });
    let text = text.into_owned();
    *count += found;
    text
}
