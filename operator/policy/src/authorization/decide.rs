//! The decision.

use super::resource::has_one_reading;
use super::{Authorization, Effect, Method, Rule, StepUp, Subject};
use crate::Principal;
use crate::arguments::{Arguments, Violation};
use crate::tools::SideEffect;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who calls.
    pub principal: &'a Principal,
    /// The method, as the body of the request says.
    pub method: &'a str,
    /// What the method is called on: the tool, prompt or resource that the body names; for a task the tool that made it,
    /// if that is known. `None` where the method has no name.
    pub target: Option<Target<'a>>,
    /// The arguments; those of a call without arguments are [`Arguments::default`].
    pub arguments: &'a Arguments,
}

/// What a method is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A tool.
    Tool {
        /// Its name.
        name: &'a str,
        /// What it may do, as [`ToolPolicy::side_effect`](crate::tools::ToolPolicy::side_effect) says.
        side_effect: SideEffect,
    },
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A resource, by its URI; a resource template, by its URI template.
    Resource(&'a str),
}

/// What kind of thing has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetKind {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource or resource template.
    Resource,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It may go on.
    Allow {
        /// The rule that allows it; `None` for what needs no rule.
        rule: Option<&'a str>,
    },
    /// It is denied.
    Deny(Denial<'a>),
    /// It would be allowed by a token with more scopes: 403, `error="insufficient_scope"`.
    NeedScopes {
        /// The rule that would allow it.
        rule: &'a str,
        /// All scopes that the operation needs, those that the caller has included (mcp.md A10).
        scopes: &'a BTreeSet<String>,
    },
    /// It would be allowed after another authentication of the user: 401, `error="insufficient_user_authentication"`
    /// (RFC 9470 section 3).
    StepUp {
        /// The rule that would allow it.
        rule: &'a str,
        /// What the authentication must be like.
        step_up: &'a StepUp,
        /// All scopes that the operation needs, so that the new token has them too.
        scopes: &'a BTreeSet<String>,
    },
}

/// Why a call is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial<'a> {
    /// The method is none that this build knows.
    UnknownMethod,
    /// The request names nothing where the method needs a name, or something of another kind.
    MissingName,
    /// The name can be read in more than one way, so that no rule can be relied on.
    UnclearName,
    /// The caller may not know that there is such a tool, prompt or resource: it is answered that there is none.
    Hidden {
        /// The rule that denies it; `None` where no rule allows it.
        rule: Option<&'a str>,
    },
    /// The caller may not do this.
    NotAllowed {
        /// The rule that denies it; `None` where no rule allows it.
        rule: Option<&'a str>,
    },
    /// The arguments are out of the bounds of every rule that would allow the call.
    Arguments {
        /// The first of these rules.
        rule: &'a str,
        /// What is out of bounds.
        violation: Violation,
    },
}

impl<'a> Target<'a> {
    /// What kind it is of.
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Tool { .. } => TargetKind::Tool,
            Self::Prompt(_) => TargetKind::Prompt,
            Self::Resource(_) => TargetKind::Resource,
        }
    }

    /// Its name or URI.
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Tool { name, .. } | Self::Prompt(name) | Self::Resource(name) => name,
        }
    }

    /// The method that a caller who may see it may use.
    const fn method(&self) -> &'static str {
        match self {
            Self::Tool { .. } => "tools/call",
            Self::Prompt(_) => "prompts/get",
            Self::Resource(_) => "resources/read",
        }
    }
}

impl Denial<'_> {
    /// As in audit records and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::UnknownMethod => "unknown_method",
            Self::MissingName => "missing_name",
            Self::UnclearName => "unclear_name",
            Self::Hidden { .. } => "hidden",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Arguments { .. } => "arguments",
        }
    }

    /// The rule that is to be named in the audit record.
    pub const fn rule(&self) -> Option<&str> {
        match self {
            Self::UnknownMethod | Self::MissingName | Self::UnclearName => None,
            Self::Hidden { rule } | Self::NotAllowed { rule } => *rule,
            Self::Arguments { rule, .. } => Some(rule),
        }
    }
}

/// Seconds by which the clocks of the issuer and of the sidecar may differ.
const LEEWAY_SECONDS: i64 = 60;

impl Authorization {
    /// What becomes of `call` at `now`, in seconds since the Unix epoch.
    ///
    /// Of several rules that would allow it, one that allows it as it is counts first; then one that asks for another
    /// authentication; then the one that asks for the fewest scopes that the caller lacks.
    pub fn decide(&self, call: &Call<'_>, now: i64) -> Decision<'_> {
        let Some(method) = Method::known(call.method) else {
            return Decision::Deny(Denial::UnknownMethod);
        };
        match (method.subject, call.target) {
            (Subject::Protocol, _) => Decision::Allow { rule: None },
            (Subject::Method, _) | (Subject::Task, None) => self.decide_unnamed(call),
            (Subject::Name(kind), Some(target)) if target.kind() == kind => self.decide_named(call, &target, now),
            (Subject::PromptOrResource, Some(target)) if target.kind() != TargetKind::Tool => {
                self.decide_named(call, &target, now)
            }
            (Subject::Task, Some(target)) if target.kind() == TargetKind::Tool => self.decide_task(call, &target),
            _ => Decision::Deny(Denial::MissingName),
        }
    }

    /// Whether lists show `target` to `principal`: whether there are arguments, scopes and an authentication with which
    /// the principal may use it.
    pub fn may_see(&self, principal: &Principal, target: &Target<'_>) -> bool {
        if self.is_of_everybody() {
            return true;
        }
        if !has_clear_name(target) {
            return false;
        }
        let scopes = self.with_implied(principal.scopes.iter().map(String::as_str));
        let fits = |rule: &&Rule| rule.fits(principal, &scopes, target.method(), Some(target));
        let denied = self.of(Effect::Deny).any(|rule| fits(&rule));
        !denied && self.of(Effect::Allow).any(|rule| fits(&rule))
    }

    fn of(&self, effect: Effect) -> impl Iterator<Item = &Rule> {
        self.rules().iter().filter(move |rule| rule.effect == effect)
    }

    fn denying(&self, call: &Call<'_>, scopes: &BTreeSet<&str>) -> Option<&str> {
        self.of(Effect::Deny)
            .find(|rule| rule.fits(call.principal, scopes, call.method, call.target.as_ref()))
            .map(|rule| rule.name.as_str())
    }

    fn decide_unnamed(&self, call: &Call<'_>) -> Decision<'_> {
        let call = Call { target: None, ..*call };
        let scopes = self.with_implied(call.principal.scopes.iter().map(String::as_str));
        match self.denying(&call, &scopes) {
            Some(rule) => Decision::Deny(Denial::NotAllowed { rule: Some(rule) }),
            None => Decision::Allow { rule: None },
        }
    }

    /// A task was decided on when it was made; what is asked now is whether its tool is still open to the caller.
    fn decide_task(&self, call: &Call<'_>, tool: &Target<'_>) -> Decision<'_> {
        if self.may_see(call.principal, tool) {
            self.decide_unnamed(call)
        } else {
            Decision::Deny(Denial::Hidden { rule: None })
        }
    }

    fn decide_named(&self, call: &Call<'_>, target: &Target<'_>, now: i64) -> Decision<'_> {
        if self.is_of_everybody() {
            return Decision::Allow { rule: None };
        }
        if !has_clear_name(target) {
            return Decision::Deny(Denial::UnclearName);
        }
        let scopes = self.with_implied(call.principal.scopes.iter().map(String::as_str));
        let denial = |rule| {
            if self.may_see(call.principal, target) {
                Denial::NotAllowed { rule }
            } else {
                Denial::Hidden { rule }
            }
        };
        if let Some(rule) = self.denying(call, &scopes) {
            return Decision::Deny(denial(Some(rule)));
        }
        let mut violation = None;
        let mut challenge: Option<(usize, Decision<'_>)> = None;
        for rule in self.of(Effect::Allow) {
            if !rule.fits(call.principal, &scopes, call.method, Some(target)) {
                continue;
            }
            let bounds = rule.requires.arguments.as_ref();
            if let Some(Err(found)) = bounds.map(|bounds| bounds.check(call.arguments)) {
                violation.get_or_insert(Denial::Arguments {
                    rule: &rule.name,
                    violation: found,
                });
                continue;
            }
            match rule.challenge(call.principal, &scopes, now) {
                None => return Decision::Allow { rule: Some(&rule.name) },
                Some((missing, asked)) => {
                    if challenge.as_ref().is_none_or(|(least, _)| missing < *least) {
                        challenge = Some((missing, asked));
                    }
                }
            }
        }
        match (challenge, violation) {
            (Some((_, asked)), _) => asked,
            (None, Some(violation)) => Decision::Deny(violation),
            (None, None) => Decision::Deny(denial(None)),
        }
    }
}

impl Rule {
    /// Whether the rule is about this call, its requirements aside.
    fn fits(&self, principal: &Principal, scopes: &BTreeSet<&str>, method: &str, target: Option<&Target<'_>>) -> bool {
        let named = match target {
            _ if self.is_about_methods() => true,
            None => false,
            Some(Target::Tool { name, side_effect }) => {
                let has_effect = self.side_effects.is_empty() || self.side_effects.contains(side_effect);
                has_effect && self.tools.iter().any(|tool| tool.fits(name))
            }
            Some(Target::Prompt(name)) => self.prompts.iter().any(|prompt| prompt.fits(name)),
            Some(Target::Resource(uri)) => self.resources.iter().any(|resource| resource.fits(uri)),
        };
        named
            && (self.methods.is_empty() || self.methods.iter().any(|glob| glob.fits(method)))
            && (self.from.is_empty() || self.from.iter().any(|caller| caller.fits(principal, scopes)))
    }

    /// What the caller must be asked for, if anything, with the number of scopes that it lacks.
    fn challenge(&self, principal: &Principal, scopes: &BTreeSet<&str>, now: i64) -> Option<(usize, Decision<'_>)> {
        let needed = &self.requires.scopes;
        let missing = needed.iter().filter(|scope| !scopes.contains(scope.as_str())).count();
        if missing > 0 {
            let asked = Decision::NeedScopes {
                rule: &self.name,
                scopes: needed,
            };
            return Some((missing, asked));
        }
        let step_up = self.requires.step_up.as_ref()?;
        let asked = Decision::StepUp {
            rule: &self.name,
            step_up,
            scopes: needed,
        };
        (!step_up.is_met_by(principal, now)).then_some((0, asked))
    }
}

impl StepUp {
    /// Whether the caller's authentication suffices at `now`, in seconds since the Unix epoch.
    pub fn is_met_by(&self, principal: &Principal, now: i64) -> bool {
        let class = self.acr.is_empty() || principal.acr.as_ref().is_some_and(|acr| self.acr.contains(acr));
        let age = self.max_age_seconds.is_none_or(|limit| {
            principal.auth_time.is_some_and(|at| {
                let age = now.saturating_sub(at);
                age >= -LEEWAY_SECONDS && age <= i64::from(limit)
            })
        });
        class && age
    }
}

/// Whether patterns can be relied on for the name of `target`.
fn has_clear_name(target: &Target<'_>) -> bool {
    match target {
        Target::Tool { name, .. } | Target::Prompt(name) => {
            !name.is_empty() && crate::tools::hidden::find(name).is_none()
        }
        Target::Resource(uri) => has_one_reading(uri),
    }
}
