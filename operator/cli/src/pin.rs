//! Pins of the tools that a server lists.

use sallyport_policy::tools::{Catalog, ListError, Pins, ToolPolicy, ToolReport, ToolState};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{fs, io, path::Path, path::PathBuf};

/// Why nothing can be pinned.
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
    /// Not JSON.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// JSON, but no list of tools.
    #[error("{path}: holds no answer to tools/list: save the server's own answer, as curl prints it")]
    NoList {
        /// The file.
        path: PathBuf,
    },
    /// A list that can be read in two ways.
    #[error(transparent)]
    List(#[from] ListError),
    /// No YAML.
    #[error("the pins do not serialize to YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// What is printed, and what is said beside it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// `tools.pins` as YAML.
    pub text: String,
    /// Tools without a pin and why, and what else to know before the pins are used. Empty: every tool is pinned.
    pub warnings: Vec<String>,
}

/// An answer to `tools/list`, in a JSON-RPC message or without.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

/// What follows a page.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_cursor: Option<String>,
}

/// What is printed: a part of `spec`.
#[derive(Serialize)]
struct Spec {
    tools: Tools,
}

#[derive(Serialize)]
struct Tools {
    pins: Pins,
}

/// Pins every tool in `files`, which together hold all pages of one list: answers of a server to `tools/list`, as JSON
/// or as an event stream; `-` is standard input.
///
/// # Errors
///
/// See [`Error`].
pub fn pins(files: &[PathBuf]) -> Result<Output, Error> {
    let mut texts = vec![];
    for path in files {
        let text = read(path).map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        texts.push((path, text));
    }
    let mut pages = vec![];
    for (path, text) in &texts {
        let found = results(text).map_err(|source| Error::Json {
            path: (*path).clone(),
            source,
        })?;
        if found.is_empty() {
            return Err(Error::NoList { path: (*path).clone() });
        }
        pages.extend(found);
    }
    pin(&pages)
}

/// Pins every tool in `pages`, the raw results of one list.
///
/// # Errors
///
/// See [`Error`].
pub fn pin(pages: &[&str]) -> Result<Output, Error> {
    let catalog = Catalog::crawled(pages.iter().copied())?;
    let seen = catalog.report(&ToolPolicy::of_any_tool());
    let pinned = |tool: &ToolReport| {
        (tool.state == ToolState::Unpinned).then_some(())?;
        Some((tool.name.clone(), tool.observed_sha256?))
    };
    let policy = ToolPolicy {
        pins: seen.tools.iter().filter_map(pinned).collect(),
        ..ToolPolicy::default()
    };
    let report = catalog.report(&policy);
    let mut warnings: Vec<String> = report.tools.iter().filter_map(warning).collect();
    if report.nameless > 0 {
        warnings.push(format!(
            "{} definitions have no usable name: they will not be shown",
            report.nameless
        ));
    }
    let more = pages
        .last()
        .and_then(|page| serde_json::from_str::<Page>(page).ok()?.next_cursor);
    if more.is_some() {
        warnings.push(
            "the list goes on after the last page: give all pages, or the tools on the others stay unpinned".to_owned(),
        );
    }
    let tools = Tools { pins: policy.pins };
    Ok(Output {
        text: serde_saphyr::to_string(&Spec { tools })?,
        warnings,
    })
}

/// What there is to say of a tool.
fn warning(tool: &ToolReport) -> Option<String> {
    let name = &tool.name;
    let detail = tool.detail.as_deref().unwrap_or_default();
    match tool.state {
        ToolState::Pinned => None,
        ToolState::Duplicate => Some(format!("{name:?} is not pinned: the server defines it more than once")),
        ToolState::Faulty if tool.pinned_sha256.is_empty() => Some(format!("{name:?} is not pinned: it {detail}")),
        ToolState::Faulty => Some(format!("{name:?} is pinned, but its calls will be denied: {detail}")),
        ToolState::Unpinned | ToolState::Drifted | ToolState::Missing => Some(format!(
            "{name:?} is not pinned: it holds an integer that JSON parsers round differently"
        )),
    }
}

/// The raw results in `text`: JSON documents one after another, or the `data` lines of an event stream.
fn results(text: &str) -> Result<Vec<&str>, serde_json::Error> {
    let mut found = vec![];
    if text.trim_start().starts_with('{') {
        for answer in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
            found.extend(result(answer?.get())?);
        }
    } else {
        for data in text.lines().filter_map(|line| line.strip_prefix("data:")) {
            if !data.trim().is_empty() {
                found.extend(result(data.trim())?);
            }
        }
    }
    Ok(found)
}

/// The raw result of the answer `text`; `None` where it is of something else.
fn result(text: &str) -> Result<Option<&str>, serde_json::Error> {
    let answer: Answer<'_> = serde_json::from_str(text)?;
    let inner = match answer {
        Answer { tools: Some(_), .. } => return Ok(Some(text)),
        Answer {
            result: Some(inner), ..
        } => inner.get(),
        Answer { .. } => return Ok(None),
    };
    let has_tools = serde_json::from_str::<Answer<'_>>(inner).is_ok_and(|result| result.tools.is_some());
    Ok(has_tools.then_some(inner))
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use sallyport_policy::tools::canonical_digest;

    const TOOL: &str = r#"{"name":"read","inputSchema":{"type":"object"}}"#;

    fn yaml(raw: &str) -> String {
        let digest = canonical_digest(raw).unwrap();
        format!("tools:\n  pins:\n  - name: read\n    sha256: {digest}\n")
    }

    #[test]
    fn an_answer_is_pinned_however_it_was_saved() {
        let list = format!("{{\"tools\":[{TOOL}]}}");
        for text in [
            list.clone(),
            format!("\n{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{list}}}\n"),
            format!("event: message\nid: 1\ndata: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{list}}}\n\n"),
            format!(
                "data:\nid: 0\nretry: 3000\n\ndata: {{\"method\":\"notifications/x\"}}\n\ndata: {{\"result\":{list}}}\n"
            ),
            format!("{{\"result\":{{\"tools\":[]}}}} {{\"result\":{list}}}"),
        ] {
            let pages = results(&text).unwrap();
            assert_eq!(
                pin(&pages).unwrap(),
                Output {
                    text: yaml(TOOL),
                    warnings: vec![]
                },
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_list_of_tools_is_said_to_be_none() {
        for text in [
            "{}",
            "",
            "hello",
            "{\"result\":{\"prompts\":[]}}",
            "{\"error\":{\"code\":-32601}}",
        ] {
            assert_eq!(results(text).unwrap(), Vec::<&str>::new(), "{text}");
        }
        assert!(results("{").is_err());
        assert!(results("{\"result\":{},\"result\":{}}").is_err());
    }

    #[test]
    fn tools_that_cannot_be_pinned_are_named() {
        let list = format!(
            "{{\"tools\":[{TOOL},{},{},{},{},{}],\"nextCursor\":\"2\"}}",
            r#"{"name":"twice","inputSchema":{}}"#,
            r#"{"name":"twice","inputSchema":{}}"#,
            "{\"name\":\"hidden\",\"description\":\"a\u{e0041}\",\"inputSchema\":{}}",
            r#"{"name":"elsewhere","inputSchema":{"$ref":"https://example.com/x"}}"#,
            r#"{"name":"big","inputSchema":{"maximum":9007199254740993}}"#,
        );
        let output = pin(&[&list]).unwrap();
        let begin = |text: &&str| output.warnings.iter().any(|warning| warning.starts_with(*text));
        for text in [
            "\"twice\" is not pinned: the server defines",
            "\"hidden\" is not pinned: it holds the character U+E0041",
            "\"elsewhere\" is pinned, but its calls will be denied",
            "\"big\" is not pinned: it holds an integer",
            "the list goes on",
        ] {
            assert!(begin(&text), "{text}: {:?}", output.warnings);
        }
        assert_eq!(output.warnings.len(), 5);
        assert!(output.text.contains("name: read") && output.text.contains("name: elsewhere"));
        assert!(!output.text.contains("twice") && !output.text.contains("hidden"));
    }
}
