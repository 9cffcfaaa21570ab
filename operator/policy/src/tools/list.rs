//! Lists, as callers may see them.

use super::splice::Edits;
use super::tool::LONGEST;
use super::{Catalog, Digest, Fault, Tool, ToolPolicy, Unpinned, hidden};
use crate::arguments::{StrictError, is_same_but_for_case, members, parse_strictly};
use crate::authorization::Target;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    ResourceTemplates,
}

/// How long and for whom a list may be kept (MCP 2026-07-28, caching).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// Largest `ttlMs` in milliseconds, so that a pin or a right that is taken away bites.
    pub max_ttl_ms: u32,
}

/// What came of an inspection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// The result as the caller may see it; `None`: as it is. What is kept has the server's bytes and order.
    pub text: Option<String>,
    /// Names or URIs of what is kept, in order.
    pub kept: Vec<String>,
    /// What is not shown.
    pub dropped: Vec<Drop>,
    /// The tools of this page, whether shown or not, by name. For [`Catalog::note`].
    pub(super) tools: Vec<(String, Result<Tool, Fault>)>,
}

/// Something that is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Its name or URI, if it has one.
    pub name: Option<String>,
    /// Why.
    pub reason: DropReason,
}

/// Why something is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The caller may not use it.
    NotAllowed,
    /// The tool has no pin.
    Unpinned,
    /// The tool is not what was pinned. `None`: it has no digest.
    Drifted(Option<Digest>),
    /// There are several of this name.
    Duplicate,
    /// Its definition cannot be let through.
    Fault(Fault),
}

/// Why a result cannot be shown at all.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It can be read in more than one way.
    #[error("the server's answer is refused: {0}")]
    Strict(#[from] StrictError),
    /// No JSON.
    #[error("the server's answer is no JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// Not the form that the specification gives it.
    #[error("the server's answer has not the form that the specification gives it")]
    Form,
    /// A member that a careless parser would take for another.
    #[error("the server's answer has a member that differs from {0} in case alone")]
    CaseVariant(&'static str),
}

impl ListKind {
    /// The method whose result is such a list.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::ResourceTemplates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the items.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// The member of an item by which it is called.
    const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }
}

impl DropReason {
    /// As in audit records and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::Unpinned => "unpinned",
            Self::Drifted(_) => "drifted",
            Self::Duplicate => "duplicate",
            Self::Fault(fault) => fault.as_str(),
        }
    }
}

/// One item of a list.
struct Item<'a> {
    raw: &'a RawValue,
    name: Option<String>,
    read: Result<Read, Fault>,
}

/// What is known of an item without a fault.
enum Read {
    Tool(Box<Tool>),
    Other,
}

/// Inspects `result`, the raw result of a list request: what of it `may_see` lets the caller see, and, of tools, what is
/// as pinned. Items with faults, and all items that share a name, are dropped. With `caching` given, the result says
/// that it is for this caller alone, and not for long; without, as for the legacy era, nothing is said.
///
/// # Errors
///
/// See [`ListError`]: the answer is to be replaced by an error.
pub fn inspect_list(
    kind: ListKind,
    result: &str,
    policy: &ToolPolicy,
    catalog: &Catalog,
    caching: Option<Caching>,
    mut may_see: impl FnMut(&Target<'_>) -> bool,
) -> Result<Inspection, ListError> {
    let top = members(result)?;
    let array = member(&top, kind.member())?.ok_or(ListError::Form)?;
    let raw: Vec<&RawValue> = serde_json::from_str(array.get()).map_err(ListError::Json)?;
    let items: Vec<Item<'_>> = raw.into_iter().map(|raw| Item::read(kind, raw)).collect();
    let mut count: HashMap<String, usize> = HashMap::new();
    for name in items.iter().filter_map(|item| item.name.as_ref()) {
        *count.entry(name.clone()).or_default() += 1;
    }
    let mut inspection = Inspection::default();
    let mut kept = vec![];
    for item in items {
        let name = item.name.clone().unwrap_or_default();
        let is_duplicate = count.get(&name).is_some_and(|&count| count > 1);
        let reason = match item.read {
            _ if is_duplicate || (kind == ListKind::Tools && catalog.has_several(&name)) => Some(DropReason::Duplicate),
            Err(ref fault) => Some(DropReason::Fault(fault.clone())),
            Ok(Read::Tool(ref tool)) => judge(tool, policy, &mut may_see),
            Ok(Read::Other) => {
                let target = match kind {
                    ListKind::Prompts => Target::Prompt(&name),
                    _ => Target::Resource(&name),
                };
                (!may_see(&target)).then_some(DropReason::NotAllowed)
            }
        };
        match item.read {
            Ok(Read::Tool(tool)) => inspection.tools.push((name.clone(), Ok(*tool))),
            Err(fault) if kind == ListKind::Tools => inspection.tools.push((name.clone(), Err(fault))),
            _ => {}
        }
        match reason {
            None => {
                kept.push(item.raw.get());
                inspection.kept.push(name);
            }
            Some(reason) => inspection.dropped.push(Drop {
                name: item.name,
                reason,
            }),
        }
    }
    let mut edits = Edits::new(result);
    if !inspection.dropped.is_empty() {
        edits
            .replace(array.get(), format!("[{}]", kept.join(",")))
            .ok_or(ListError::Form)?;
    }
    if let Some(caching) = caching {
        restrict_caching(&mut edits, &top, caching)?;
    }
    inspection.text = (!edits.is_empty()).then(|| edits.apply());
    Ok(inspection)
}

/// Why a tool of which there is one is not shown, if it is not.
fn judge(tool: &Tool, policy: &ToolPolicy, may_see: &mut impl FnMut(&Target<'_>) -> bool) -> Option<DropReason> {
    if policy.pins.name(&tool.name) {
        if !tool
            .digest
            .is_some_and(|digest| policy.pins.of(&tool.name).any(|pin| pin == digest))
        {
            return Some(DropReason::Drifted(tool.digest));
        }
    } else if policy.unpinned == Unpinned::Deny {
        return Some(DropReason::Unpinned);
    }
    let target = Target::Tool {
        name: &tool.name,
        side_effect: policy.side_effect(&tool.name, &tool.hints),
    };
    (!may_see(&target)).then_some(DropReason::NotAllowed)
}

fn restrict_caching(edits: &mut Edits<'_>, top: &[(String, &RawValue)], caching: Caching) -> Result<(), ListError> {
    let mut missing = vec![];
    match member(top, "ttlMs")? {
        Some(ttl) => {
            let told = serde_json::from_str::<u64>(ttl.get()).ok();
            if told.is_none_or(|told| told > u64::from(caching.max_ttl_ms)) {
                edits
                    .replace(ttl.get(), caching.max_ttl_ms.to_string())
                    .ok_or(ListError::Form)?;
            }
        }
        None => missing.push("\"ttlMs\":0".to_owned()),
    }
    match member(top, "cacheScope")? {
        Some(scope) => edits
            .replace(scope.get(), "\"private\"".to_owned())
            .ok_or(ListError::Form)?,
        None => missing.push("\"cacheScope\":\"private\"".to_owned()),
    }
    edits.insert_members(&missing).ok_or(ListError::Form)
}

/// The member called `name`, unless another differs from it in case alone.
pub(super) fn member<'a>(
    members: &[(String, &'a RawValue)],
    name: &'static str,
) -> Result<Option<&'a RawValue>, ListError> {
    if members
        .iter()
        .any(|(key, _)| key != name && is_same_but_for_case(key, name))
    {
        return Err(ListError::CaseVariant(name));
    }
    Ok(members.iter().find(|(key, _)| key == name).map(|&(_, raw)| raw))
}

impl<'a> Item<'a> {
    fn read(kind: ListKind, raw: &'a RawValue) -> Self {
        if kind == ListKind::Tools {
            let read = Tool::read(raw.get());
            let name = match &read {
                Ok(tool) => Some(tool.name.clone()),
                Err(_) => Tool::name_of(raw.get()),
            };
            let read = read.map(|tool| Read::Tool(Box::new(tool)));
            return Self { raw, name, read };
        }
        if raw.get().len() > LONGEST {
            return Self {
                raw,
                name: None,
                read: Err(Fault::TooLong),
            };
        }
        let value = parse_strictly(raw.get(), 100);
        let name = value
            .as_ref()
            .ok()
            .and_then(|value| value.get(kind.key()))
            .and_then(Value::as_str);
        let name = name.map(str::to_owned);
        let read = match &value {
            Err(error) => Err(Fault::Json(error.to_string())),
            Ok(Value::Object(members)) => match (&name, hidden_in(members)) {
                (_, Some(fault)) => Err(fault),
                _ if members
                    .keys()
                    .any(|key| key != kind.key() && is_same_but_for_case(key, kind.key())) =>
                {
                    Err(Fault::CaseVariant(kind.key()))
                }
                (Some(name), None) if !name.is_empty() => Ok(Read::Other),
                _ => Err(Fault::Name),
            },
            Ok(_) => Err(Fault::Json("it is no object".to_owned())),
        };
        Self { raw, name, read }
    }
}

/// Hidden text in an item's members.
pub(super) fn hidden_in(members: &serde_json::Map<String, Value>) -> Option<Fault> {
    members.iter().find_map(|(key, value)| {
        let character = hidden::find(key).or_else(|| hidden::find_within(value))?;
        let at = key.chars().filter(char::is_ascii_graphic).take(32).collect();
        Some(Fault::Hidden { character, at })
    })
}
