//! What an endpoint says of its tools.

use super::{Hints, Pins};
use crate::arguments::{ArgumentBounds, Arguments, Violation};
use crate::authorization::Glob;
use serde::{Deserialize, Serialize};

/// What an endpoint says of its tools. By default no tool can be called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ToolPolicy {
    /// What tools may do. The first entry that fits a tool counts; a tool that none fits is `Destructive`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub side_effects: Vec<SideEffectRule>,
    /// The approved definitions. A tool whose definition is another is not shown, and its calls are denied.
    #[serde(skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
    /// What becomes of tools without a pin.
    pub unpinned: Unpinned,
    /// Bounds of the arguments, whoever calls. All entries that fit a tool hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<ToolArguments>,
}

/// What some tools may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SideEffectRule {
    /// Which tools, by name: one of these fits.
    pub tools: Vec<Glob>,
    /// What they may do.
    pub side_effect: SideEffect,
}

/// What a tool may do, from harmless to harmful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SideEffect {
    /// It changes nothing.
    ReadOnly,
    /// It adds or changes, and what it does can be undone.
    Write,
    /// It may destroy.
    #[default]
    Destructive,
}

/// What becomes of tools without a pin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unpinned {
    /// They are not shown, and their calls are denied.
    #[default]
    Deny,
    /// They are shown and may be called, as far as rules allow.
    Allow,
}

/// Bounds of the arguments of some tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolArguments {
    /// Which tools, by name: one of these fits.
    pub tools: Vec<Glob>,
    /// The bounds.
    pub bounds: ArgumentBounds,
}

impl SideEffect {
    /// As in audit records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }
}

impl ToolPolicy {
    /// Every tool, of whatever definition.
    pub fn of_any_tool() -> Self {
        Self {
            unpinned: Unpinned::Allow,
            ..Self::default()
        }
    }

    /// What the tool called `name` may do: as the endpoint says, or worse where the server says so of itself. The server's
    /// word is nobody's guarantee, so it never makes a tool look more harmless (MCP, `ToolAnnotations`).
    pub fn side_effect(&self, name: &str, hints: &Hints) -> SideEffect {
        let fits = |rule: &&SideEffectRule| rule.tools.iter().any(|tool| tool.fits(name));
        let declared = self.side_effects.iter().find(fits);
        declared
            .map_or(SideEffect::default(), |rule| rule.side_effect)
            .max(hints.at_least())
    }

    /// Whether the arguments of a call of the tool called `name` keep to the bounds that hold for everybody.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn check_arguments(&self, name: &str, arguments: &Arguments) -> Result<(), Violation> {
        let fit = self
            .arguments
            .iter()
            .filter(|entry| entry.tools.iter().any(|tool| tool.fits(name)));
        fit.into_iter().try_for_each(|entry| entry.bounds.check(arguments))
    }
}
