//! What was seen of the server's tools, and what follows for calls.

use super::list::{Inspection, ListError, ListKind, inspect_list};
use super::schema::{ArgumentSchema, SchemaError};
use super::{Digest, Fault, Hints, MirroredArgument, SideEffect, Tool, ToolPolicy, Unpinned};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// What was seen of the server's tools: by a crawl of all pages of `tools/list`, and in passing since.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    tools: BTreeMap<String, Observed>,
    /// Definitions without a name.
    nameless: Vec<Fault>,
    crawled: bool,
}

/// What was seen of one tool.
#[derive(Clone, Debug)]
pub enum Observed {
    /// Nothing yet, or it is not there.
    Unknown,
    /// One definition.
    Defined(Definition),
    /// Another definition than the last crawl saw; the one that was seen last. Settled by the next crawl.
    Unsettled(Definition),
    /// Several definitions in one crawl, or in one page.
    Several,
    /// A definition that cannot be let through.
    Faulty(Fault),
}

/// A definition that was seen.
#[derive(Clone, Debug)]
pub struct Definition {
    digest: Option<Digest>,
    hints: Hints,
    /// As text, which is a fraction of what it is in memory once it is read.
    schema: Box<str>,
    mirrored: Vec<MirroredArgument>,
    compiled: Arc<OnceLock<Result<ArgumentSchema, SchemaError>>>,
}

/// A tool that may be called, as far as pins go.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<'a> {
    /// What it may do.
    pub side_effect: SideEffect,
    /// The digest of its definition, if one was seen.
    pub digest: Option<Digest>,
    /// Whether that is as pinned.
    pub is_pinned: bool,
    /// The schema of its arguments; given for pinned tools alone, since an unpinned one is the server's word only.
    pub schema: Option<&'a ArgumentSchema>,
    /// The arguments that a client of the modern era repeats in headers, by the definition that was seen last, pinned or
    /// not; none before one was seen.
    pub mirrored: &'a [MirroredArgument],
}

/// Why a tool may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolDenial {
    /// It has no pin, and only tools with one may be called.
    #[error("the tool has no pin")]
    Unpinned,
    /// It is pinned, and was not seen yet.
    #[error("the tool's definition was not seen yet, so that it cannot be compared with its pin")]
    NotObserved,
    /// Its definition has just changed.
    #[error("the tool's definition has just changed and is being looked at again")]
    Unsettled,
    /// It is not what was pinned.
    #[error("the tool's definition is not the one that was pinned")]
    Drifted {
        /// What it is; `None`: it has no digest.
        observed: Option<Digest>,
    },
    /// The server defines several tools of this name.
    #[error("the server defines several tools of this name")]
    Duplicate,
    /// Its definition cannot be let through.
    #[error("the tool's definition {0}")]
    Faulty(Fault),
    /// The pinned schema cannot be checked against.
    #[error("the tool's inputSchema cannot be checked against: {0}")]
    Schema(SchemaError),
}

impl ToolDenial {
    /// As in audit records and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unpinned => "unpinned",
            Self::NotObserved => "not_observed",
            Self::Unsettled => "unsettled",
            Self::Drifted { .. } => "drifted",
            Self::Duplicate => "duplicate",
            Self::Faulty(fault) => fault.as_str(),
            Self::Schema(_) => "input_schema",
        }
    }

    /// Whether the caller is answered that there is no such tool; else with `tool_drift` (-31002).
    pub const fn is_hidden(&self) -> bool {
        matches!(self, Self::Unpinned)
    }
}

impl Definition {
    fn of(tool: Tool) -> Self {
        Self {
            digest: tool.digest,
            hints: tool.hints,
            schema: tool.input_schema.to_string().into(),
            mirrored: tool.mirrored,
            compiled: Arc::default(),
        }
    }

    /// Over the whole definition.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    pub(super) fn schema(&self) -> Result<&ArgumentSchema, SchemaError> {
        let compiled = self.compiled.get_or_init(|| {
            let schema = serde_json::from_str::<Value>(&self.schema);
            ArgumentSchema::compile(&schema.map_err(|error| SchemaError::Invalid(error.to_string()))?)
        });
        compiled.as_ref().map_err(Clone::clone)
    }
}

impl Catalog {
    /// What a crawl saw: the raw results of all pages of one `tools/list`, in order.
    ///
    /// # Errors
    ///
    /// A page cannot be read; the catalog of before is to be dropped, so that nothing pinned can be called.
    pub fn crawled<'a>(pages: impl IntoIterator<Item = &'a str>) -> Result<Self, ListError> {
        let mut catalog = Self {
            crawled: true,
            ..Self::default()
        };
        let all = ToolPolicy::of_any_tool();
        for page in pages {
            let seen = inspect_list(ListKind::Tools, page, &all, &Self::default(), None, |_| true)?;
            for (name, tool) in seen.tools {
                catalog.add(name, tool);
            }
        }
        Ok(catalog)
    }

    fn add(&mut self, name: String, tool: Result<Tool, Fault>) {
        if name.is_empty() {
            self.nameless.extend(tool.err());
            return;
        }
        let observed = match tool {
            _ if self.tools.contains_key(&name) => Observed::Several,
            Ok(tool) => Observed::Defined(Definition::of(tool)),
            Err(fault) => Observed::Faulty(fault),
        };
        self.tools.insert(name, observed);
    }

    /// Notes what was seen in passing. What differs from the last crawl can only take away: until the next crawl, a
    /// pinned tool that was seen otherwise is not called. Whether a crawl is due.
    pub fn note(&mut self, seen: &Inspection) -> bool {
        let mut is_new = false;
        for (index, (name, tool)) in seen.tools.iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            let twice = seen.tools.iter().take(index).any(|(other, _)| other == name);
            let known = self.tools.get(name);
            let observed = match (known, tool) {
                (Some(Observed::Several | Observed::Faulty(_)), _) => continue,
                (_, _) if twice => Observed::Several,
                (_, Err(fault)) => Observed::Faulty(fault.clone()),
                (Some(Observed::Defined(known)), Ok(tool)) if known.digest.is_some() && known.digest == tool.digest => {
                    continue;
                }
                (_, Ok(tool)) => Observed::Unsettled(Definition::of(tool.clone())),
            };
            self.tools.insert(name.clone(), observed);
            is_new = true;
        }
        is_new
    }

    /// Whether a crawl was made.
    pub const fn is_crawled(&self) -> bool {
        self.crawled
    }

    /// What was seen of the tool called `name`.
    pub fn observed(&self, name: &str) -> &Observed {
        self.tools.get(name).unwrap_or(&Observed::Unknown)
    }

    /// All tools that were seen, by name.
    pub(super) const fn tools(&self) -> &BTreeMap<String, Observed> {
        &self.tools
    }

    /// What was seen without a name.
    pub(super) fn nameless(&self) -> &[Fault] {
        &self.nameless
    }

    /// Whether the server defines several tools of this name.
    pub(super) fn has_several(&self, name: &str) -> bool {
        matches!(self.observed(name), Observed::Several)
    }

    /// Whether the tool called `name` may be called, as far as pins go.
    ///
    /// # Errors
    ///
    /// Why not. A pinned tool that was not seen may not.
    pub fn admit(&self, policy: &ToolPolicy, name: &str) -> Result<Admitted<'_>, ToolDenial> {
        let is_pinned = policy.pins.name(name);
        if !is_pinned && policy.unpinned == Unpinned::Deny {
            return Err(ToolDenial::Unpinned);
        }
        let definition = match self.observed(name) {
            Observed::Several => return Err(ToolDenial::Duplicate),
            Observed::Faulty(fault) => return Err(ToolDenial::Faulty(fault.clone())),
            Observed::Unknown if is_pinned => return Err(ToolDenial::NotObserved),
            Observed::Unknown => None,
            Observed::Defined(definition) => Some(definition),
            Observed::Unsettled(definition) => {
                if is_pinned && definition.is_as_pinned(policy, name) {
                    return Err(ToolDenial::Unsettled);
                }
                Some(definition)
            }
        };
        let hints = definition.map_or(Hints::default(), |definition| definition.hints);
        let digest = definition.and_then(Definition::digest);
        let schema = match definition {
            Some(definition) if is_pinned => {
                if !definition.is_as_pinned(policy, name) {
                    return Err(ToolDenial::Drifted { observed: digest });
                }
                Some(definition.schema().map_err(ToolDenial::Schema)?)
            }
            _ => None,
        };
        Ok(Admitted {
            side_effect: policy.side_effect(name, &hints),
            digest,
            is_pinned,
            schema,
            mirrored: definition.map_or(&[], |definition| &definition.mirrored),
        })
    }
}

impl Definition {
    pub(super) fn is_as_pinned(&self, policy: &ToolPolicy, name: &str) -> bool {
        self.digest
            .is_some_and(|digest| policy.pins.of(name).any(|pin| pin == digest))
    }
}
