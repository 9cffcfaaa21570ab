//! Lists, pins and what follows for calls.

mod calls;
mod digests;
mod lists;
mod schemas;

use super::*;

const READ: &str = r#"{"name":"read","description":"Reads.","inputSchema":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}"#;
const WRITE: &str = r#"{"name":"write", "inputSchema":{"type":"object"} ,"annotations":{"destructiveHint":true}}"#;

fn list(tools: &[&str]) -> String {
    format!(r#"{{"tools":[{}]}}"#, tools.join(","))
}

fn pinned(tools: &[&str]) -> ToolPolicy {
    ToolPolicy {
        pins: tools
            .iter()
            .map(|raw| (Tool::read(raw).unwrap().name, canonical_digest(raw).unwrap()))
            .collect(),
        ..ToolPolicy::default()
    }
}

fn inspect(policy: &ToolPolicy, result: &str) -> Inspection {
    inspect_list(ListKind::Tools, result, policy, &Catalog::default(), None, |_| true).unwrap()
}

fn crawled(pages: &[&str]) -> Catalog {
    Catalog::crawled(pages.iter().copied()).unwrap()
}

fn reasons(inspection: &Inspection) -> Vec<(&str, &'static str)> {
    let dropped = inspection.dropped.iter();
    dropped
        .map(|drop| (drop.name.as_deref().unwrap_or("-"), drop.reason.as_str()))
        .collect()
}
