//! The rules, and what makes a set of rules one that can be relied on.

use super::{Caller, Glob, Method, Subject};
use crate::arguments::ArgumentBounds;
use crate::tools::SideEffect;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Who may do what. By default nobody may do anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Fields")]
pub struct Authorization {
    without_rules: WithoutRules,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    scope_implications: BTreeMap<String, BTreeSet<String>>,
}

/// What [`Authorization`] is read from.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[derive(Default)]
struct Fields {
    without_rules: WithoutRules,
    rules: Vec<Rule>,
    scope_implications: BTreeMap<String, BTreeSet<String>>,
}

/// What admitted callers may do while there is no rule. As soon as there is one, this means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WithoutRules {
    /// Nothing but the protocol's own plumbing and empty lists.
    #[default]
    Deny,
    /// Everything that pins and bounds let through.
    Allow,
}

/// One rule.
///
/// It is about the tools, prompts and resources that it names, and about nothing of the kinds that it does not name;
/// `methods`, `sideEffects` and `from` narrow it. A rule that denies may name `methods` alone: it is then about these
/// methods, whatever they are called on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rule {
    /// What the rule is called in audit records.
    pub name: String,
    /// Whether what fits is allowed or denied.
    pub effect: Effect,
    /// Which callers: one of these fits. Empty: every admitted caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Caller>,
    /// Which methods. Empty: all that are about what the rule names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Glob>,
    /// Which tools, by name. Empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Glob>,
    /// Which prompts, by name. Empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<Glob>,
    /// Which resources, by URI. Empty: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Glob>,
    /// Which side effects the tools have. Empty: any.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub side_effects: BTreeSet<SideEffect>,
    /// What a call that fits must bring along. Only of rules that allow.
    #[serde(skip_serializing_if = "Requirements::is_empty")]
    pub requires: Requirements,
}

/// Whether what fits a rule is allowed or denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Allowed, unless another rule denies it.
    #[default]
    Allow,
    /// Denied, whatever other rules allow.
    Deny,
}

/// What a call must bring along to be allowed by a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Requirements {
    /// Scopes, all of them. A caller who lacks one is challenged for all (RFC 6750 section 3.1).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
    /// How and how lately the user was authenticated (RFC 9470).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
    /// Bounds of the arguments, beside those of the tool policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<ArgumentBounds>,
}

/// How and how lately a user must have been authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StepUp {
    /// Authentication context class references (`acr`), in the order of preference; the token names one of these. Empty:
    /// any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acr: Vec<String>,
    /// Largest time since `auth_time` in seconds. A token without `auth_time` does not suffice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
}

/// Why rules cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// A name is missing or taken.
    #[error("authorization rule {0:?}: give every rule a name of its own; audit records tell rules by their names")]
    Name(String),
    /// A rule is about nothing.
    #[error(
        "authorization rule {0:?} is about nothing: name tools, prompts or resources (* stands for all), or, in a rule \
         that denies, methods"
    )]
    AboutNothing(String),
    /// An entry of `from` without a condition.
    #[error(
        "authorization rule {0:?} has an entry without a condition in from: give it one, or leave from out to mean every \
         admitted caller"
    )]
    AnyCaller(String),
    /// A claim without values.
    #[error("authorization rule {0:?} asks for a claim but lists no value: list the values that fit")]
    ClaimWithoutValues(String),
    /// A rule that denies has requirements.
    #[error(
        "authorization rule {0:?} denies and has requires: a denial has no exceptions; put requires into the rules that allow"
    )]
    DenialWithRequirements(String),
    /// A step-up that nothing can fail.
    #[error("authorization rule {0:?} has an empty stepUp: give acr, maxAgeSeconds or both")]
    EmptyStepUp(String),
    /// A method pattern that fits no method.
    #[error("authorization rule {rule:?} names the method {method}, which fits no method that rules can reach")]
    Method {
        /// Name of the rule.
        rule: String,
        /// The pattern.
        method: Glob,
    },
    /// Side effects without tools.
    #[error("authorization rule {0:?} has sideEffects but no tools: side effects are of tools")]
    SideEffectsWithoutTools(String),
    /// A scope that cannot be written into a challenge.
    #[error("{0:?} is no scope: RFC 6749 section 3.3 allows printable ASCII without space, quote and backslash")]
    Scope(String),
}

impl Requirements {
    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Authorization {
    /// Everything that pins and bounds let through, to every admitted caller.
    pub fn of_everybody() -> Self {
        Self {
            without_rules: WithoutRules::Allow,
            ..Self::default()
        }
    }

    /// `rules`, with the scopes that each scope implies (mcp.md A11; implications of implications count).
    ///
    /// # Errors
    ///
    /// See [`AuthorizationError`].
    pub fn by_rules(
        rules: Vec<Rule>,
        scope_implications: BTreeMap<String, BTreeSet<String>>,
    ) -> Result<Self, AuthorizationError> {
        Fields {
            without_rules: WithoutRules::Deny,
            rules,
            scope_implications,
        }
        .try_into()
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether what callers see depends on who they are.
    pub fn distinguishes_callers(&self) -> bool {
        self.rules.iter().any(|rule| !rule.from.is_empty())
    }

    /// Whether everything is allowed to everybody.
    pub(super) fn is_of_everybody(&self) -> bool {
        self.rules.is_empty() && self.without_rules == WithoutRules::Allow
    }

    /// `scopes` with all that they imply.
    pub(super) fn with_implied<'a>(&'a self, scopes: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut open: Vec<&str> = scopes.into_iter().collect();
        let mut closed = BTreeSet::new();
        while let Some(scope) = open.pop() {
            if closed.insert(scope) {
                let implied = self.scope_implications.get(scope).into_iter().flatten();
                open.extend(implied.map(String::as_str));
            }
        }
        closed
    }
}

impl TryFrom<Fields> for Authorization {
    type Error = AuthorizationError;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let mut names = BTreeSet::new();
        for rule in &fields.rules {
            rule.check()?;
            if rule.name.is_empty() || !names.insert(rule.name.as_str()) {
                return Err(AuthorizationError::Name(rule.name.clone()));
            }
        }
        for (scope, implied) in &fields.scope_implications {
            if let Some(scope) = implied.iter().chain([scope]).find(|scope| !is_scope(scope)) {
                return Err(AuthorizationError::Scope(scope.clone()));
            }
        }
        Ok(Self {
            without_rules: fields.without_rules,
            rules: fields.rules,
            scope_implications: fields.scope_implications,
        })
    }
}

impl Rule {
    fn names_nothing(&self) -> bool {
        self.tools.is_empty() && self.prompts.is_empty() && self.resources.is_empty()
    }

    /// Whether the rule is about methods, whatever they are called on.
    pub(super) fn is_about_methods(&self) -> bool {
        self.names_nothing() && !self.methods.is_empty()
    }

    fn check(&self) -> Result<(), AuthorizationError> {
        let name = || self.name.clone();
        if self.names_nothing() && !(self.is_about_methods() && self.effect == Effect::Deny) {
            return Err(AuthorizationError::AboutNothing(name()));
        }
        if self.from.iter().any(Caller::is_empty) {
            return Err(AuthorizationError::AnyCaller(name()));
        }
        if self.from.iter().any(|caller| caller.claims.values().any(Vec::is_empty)) {
            return Err(AuthorizationError::ClaimWithoutValues(name()));
        }
        if self.effect == Effect::Deny && !self.requires.is_empty() {
            return Err(AuthorizationError::DenialWithRequirements(name()));
        }
        if self
            .requires
            .step_up
            .as_ref()
            .is_some_and(|step_up| *step_up == StepUp::default())
        {
            return Err(AuthorizationError::EmptyStepUp(name()));
        }
        if !self.side_effects.is_empty() && self.tools.is_empty() {
            return Err(AuthorizationError::SideEffectsWithoutTools(name()));
        }
        let reaches = |glob: &Glob| {
            Method::all()
                .iter()
                .any(|method| method.subject != Subject::Protocol && glob.fits(method.name))
        };
        if let Some(method) = self.methods.iter().find(|glob| !reaches(glob)) {
            return Err(AuthorizationError::Method {
                rule: name(),
                method: method.clone(),
            });
        }
        let held = self.from.iter().flat_map(|caller| &caller.scopes);
        match self.requires.scopes.iter().chain(held).find(|scope| !is_scope(scope)) {
            Some(scope) => Err(AuthorizationError::Scope(scope.clone())),
            None => Ok(()),
        }
    }
}

/// Whether `text` is a scope token (RFC 6749 section 3.3).
fn is_scope(text: &str) -> bool {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.bytes().all(fits)
}
