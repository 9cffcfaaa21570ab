//! What was called, beside what is allowed.

use super::{Diff, Error, documents, each_line, printable};
use sallyport_api::v1alpha1::{Authorization, AuthorizationRule, Effect, Tools, Unpinned};
use sallyport_audit::verify::{Content, content};
use sallyport_policy::authorization::Glob;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Which tools an endpoint allows somebody to call.
struct Allowed {
    namespace: Option<String>,
    name: String,
    pins: BTreeSet<String>,
    unpinned: bool,
    rules: Vec<AuthorizationRule>,
}

/// What was recorded of one tool.
#[derive(Default)]
struct Calls {
    passed: u64,
    refused: u64,
    failed: u64,
    callers: BTreeSet<String>,
}

/// One call of a tool, in either form of records.
struct Call<'a> {
    namespace: &'a str,
    endpoint: &'a str,
    tool: &'a str,
    outcome: &'a str,
    caller: String,
}

/// A table for each endpoint, and whether every tool that was called is allowed.
pub fn run(asked: &Diff) -> Result<(String, bool), Error> {
    let mut endpoints = Vec::new();
    for path in &asked.file {
        endpoints.extend(
            endpoints_of(path)?
                .into_iter()
                .map(|endpoint| (endpoint, BTreeMap::new())),
        );
    }
    let mut broken = 0;
    for path in &asked.logs {
        each_line(path, |line| match content(line) {
            Content::Record(record) => count(&record, &mut endpoints),
            Content::Broken => broken += 1,
            Content::Other => {}
        })?;
    }
    let mut text = String::new();
    let mut clean = true;
    for (endpoint, tools) in &endpoints {
        clean &= table(&mut text, endpoint, tools);
    }
    if broken > 0 {
        let _ = writeln!(
            text,
            "{broken} edited or damaged records are not counted: see kubectl mcpe audit verify"
        );
    }
    Ok((text, clean && broken == 0))
}

fn endpoints_of(path: &Path) -> Result<Vec<Allowed>, Error> {
    let mut endpoints = Vec::new();
    for document in documents(path)? {
        if document.get("kind").and_then(Value::as_str) != Some("McpEndpoint") {
            continue;
        }
        let text = |pointer| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let name = text("/metadata/name").unwrap_or_default();
        let wrong = |source| Error::Endpoint {
            path: path.to_owned(),
            name: name.clone(),
            source,
        };
        let part = |pointer| document.pointer(pointer).cloned().unwrap_or_default();
        let tools: Option<Tools> = serde_json::from_value(part("/spec/tools")).map_err(wrong)?;
        let authorization: Option<Authorization> =
            serde_json::from_value(part("/spec/authorization")).map_err(wrong)?;
        let tools = tools.unwrap_or_default();
        endpoints.push(Allowed {
            namespace: text("/metadata/namespace"),
            unpinned: tools
                .unpinned
                .map_or(tools.pins.is_empty(), |unpinned| unpinned == Unpinned::Allow),
            pins: tools.pins.into_iter().map(|pin| pin.name).collect(),
            rules: authorization
                .map(|authorization| authorization.rules)
                .unwrap_or_default(),
            name,
        });
    }
    if endpoints.is_empty() {
        return Err(Error::NoEndpoint { path: path.to_owned() });
    }
    Ok(endpoints)
}

impl Allowed {
    /// Whether somebody may call `tool`: a pin approves it or none is needed, and no rule is in its way.
    fn allows(&self, tool: &str) -> bool {
        let fits = |rule: &AuthorizationRule| rule.tools.iter().any(|glob| glob_fits(glob, tool));
        let is_call = |rule: &AuthorizationRule| {
            rule.methods.is_empty() || rule.methods.iter().any(|method| glob_fits(method, "tools/call"))
        };
        let denies = |rule: &&AuthorizationRule| {
            rule.effect == Effect::Deny && rule.from.is_empty() && rule.side_effects.is_empty()
        };
        let about_it = || self.rules.iter().filter(|rule| fits(rule) && is_call(rule));
        let by_rule = about_it().any(|rule| rule.effect == Effect::Allow) && !about_it().any(|rule| denies(&rule));
        (self.unpinned || self.pins.contains(tool)) && (self.rules.is_empty() || by_rule)
    }

    fn is(&self, call: &Call<'_>) -> bool {
        self.name == call.endpoint
            && self
                .namespace
                .as_deref()
                .is_none_or(|namespace| namespace == call.namespace)
    }
}

fn glob_fits(glob: &str, name: &str) -> bool {
    glob.parse::<Glob>().is_ok_and(|glob| glob.fits(name))
}

fn count(record: &Map<String, Value>, endpoints: &mut [(Allowed, BTreeMap<String, Calls>)]) {
    let Some(call) = call(record) else { return };
    for (_, tools) in endpoints.iter_mut().filter(|(endpoint, _)| endpoint.is(&call)) {
        let calls = tools.entry(call.tool.to_owned()).or_default();
        match call.outcome {
            "allowed" | "confirmed" => calls.passed += 1,
            "upstream_failed" | "timed_out" | "client_gone" | "drained" => calls.failed += 1,
            _ => calls.refused += 1,
        }
        calls.callers.insert(call.caller.clone());
    }
}

/// The call that a record is about; none if it is about something else, or a stream that only opens.
fn call(record: &Map<String, Value>) -> Option<Call<'_>> {
    let unmapped = record.get("unmapped").and_then(Value::as_object);
    let own = unmapped.unwrap_or(record);
    let tool = match unmapped {
        None => record.get("toolName")?,
        Some(_) => record
            .get("resources")?
            .get(0)
            .filter(|resource| resource["type"] == "tool")?
            .get("name")?,
    };
    let endpoint = own.get("endpoint")?;
    let caller = own.get("caller");
    let caller = |name| caller.and_then(|caller| caller.get(name)).and_then(Value::as_str);
    Some(Call {
        namespace: endpoint.get("namespace")?.as_str()?,
        endpoint: endpoint.get("name")?.as_str()?,
        tool: tool.as_str()?,
        outcome: own.get("outcome")?.as_str()?,
        caller: [caller("kind"), caller("issuer"), caller("subject"), caller("client")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "),
    })
}

/// Prints one endpoint; whether every tool that let a call pass is allowed.
fn table(text: &mut String, endpoint: &Allowed, tools: &BTreeMap<String, Calls>) -> bool {
    let names: BTreeSet<&String> = tools.keys().chain(&endpoint.pins).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(4);
    let namespace = endpoint
        .namespace
        .as_deref()
        .map(|namespace| format!("{namespace}/"))
        .unwrap_or_default();
    let _ = writeln!(text, "{namespace}{}", endpoint.name);
    let _ = writeln!(
        text,
        "  {:width$}  {:7}  {:>8}  {:>8}  {:>8}  {:>8}",
        "TOOL", "ALLOWED", "PASSED", "REFUSED", "FAILED", "CALLERS"
    );
    let mut clean = true;
    let uncalled = Calls::default();
    for name in names {
        let calls = tools.get(name).unwrap_or(&uncalled);
        let allowed = endpoint.allows(name);
        clean &= allowed || calls.passed == 0;
        let note = match (allowed, calls.passed + calls.refused + calls.failed) {
            (false, _) if calls.passed > 0 => "  passed, but is not allowed now",
            (true, 0) => "  never called",
            _ => "",
        };
        let _ = writeln!(
            text,
            "  {:width$}  {:7}  {:>8}  {:>8}  {:>8}  {:>8}{note}",
            printable(name),
            if allowed { "yes" } else { "no" },
            calls.passed,
            calls.refused,
            calls.failed,
            calls.callers.len()
        );
    }
    clean
}
