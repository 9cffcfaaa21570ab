//! Whether a call may go on: rules, pins, bounds and schema of its arguments.

use super::denial::Denial;
use super::rules::Rules;
use crate::audit::Entry;
use crate::wire::Call;
use crate::wire::message::Reference;
use sallyport_audit::Pin;
use sallyport_policy::Principal;
use sallyport_policy::arguments::Arguments;
use sallyport_policy::authorization::{self, Decision, Target, TargetKind};
use sallyport_policy::tools::{Admitted, Catalog, Hints, MirroredArgument, SideEffect, ToolDenial};
use serde_json::value::RawValue;

/// What is known of a call that may go on.
#[derive(Clone, Debug)]
pub struct Permitted<'a> {
    /// Of a tool call: what the tool may do.
    pub side_effect: Option<SideEffect>,
    /// Of a tool call: the arguments that headers repeat.
    pub mirrored: &'a [MirroredArgument],
    /// Its arguments.
    pub arguments: Arguments,
}

/// Whether `principal` may make `call` at `now`, in seconds since 1970.
///
/// # Errors
///
/// Why not. What the caller may not know of is answered like what is not there.
pub fn decide<'a>(
    rules: &Rules,
    catalog: &'a Catalog,
    principal: &Principal,
    call: &Call,
    now: i64,
    entry: &mut Entry,
) -> Result<Permitted<'a>, Denial> {
    let policy = &rules.policy;
    let arguments = arguments(call.arguments.as_deref())?;
    check_subscribed(rules, principal, call, &arguments, now)?;
    let tool = call.name.as_deref().filter(|_| call.method == "tools/call");
    let admitted = tool.map(|name| catalog.admit(&policy.tools, name));
    let side_effect = match (&admitted, tool) {
        (Some(Ok(admitted)), _) => Some(admitted.side_effect),
        (_, Some(name)) => Some(policy.tools.side_effect(name, &Hints::default())),
        _ => None,
    };
    let target = target(call, side_effect);
    let asked = authorization::Call {
        principal,
        method: &call.method,
        target,
        arguments: &arguments,
    };
    match policy.authorization.decide(&asked, now) {
        Decision::Allow { rule } => {
            if let Some(rule) = rule {
                entry.rule(rule);
            }
        }
        Decision::Deny(denial) => {
            if let Some(rule) = denial.rule() {
                entry.rule(rule);
            }
            return Err(denied(denial, target));
        }
        Decision::NeedScopes { rule, scopes } => {
            entry.rule(rule);
            entry.required_scopes(scopes.iter().cloned().collect());
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            return Err(Denial::Unauthenticated(rules.authenticator.insufficient_scope(&scopes)));
        }
        Decision::StepUp { rule, step_up, scopes } => {
            entry.rule(rule);
            entry.required_scopes(scopes.iter().cloned().collect());
            let acr: Vec<&str> = step_up.acr.iter().map(String::as_str).collect();
            let rejection = rules
                .authenticator
                .insufficient_authentication(&acr, step_up.max_age_seconds);
            return Err(Denial::Unauthenticated(rejection));
        }
    }
    let mirrored = match (admitted, tool) {
        (Some(admitted), Some(name)) => check_tool(rules, name, admitted, &arguments, entry)?.mirrored,
        _ => &[],
    };
    Ok(Permitted {
        side_effect,
        mirrored,
        arguments,
    })
}

/// News of a resource goes to those who may subscribe to it, one by one.
fn check_subscribed(
    rules: &Rules,
    principal: &Principal,
    call: &Call,
    arguments: &Arguments,
    now: i64,
) -> Result<(), Denial> {
    for uri in &call.subscribed {
        let target = Some(Target::Resource(uri));
        let asked = authorization::Call {
            principal,
            method: "resources/subscribe",
            target,
            arguments,
        };
        match rules.policy.authorization.decide(&asked, now) {
            Decision::Allow { .. } => {}
            Decision::Deny(denial) => return Err(denied(denial, target)),
            Decision::NeedScopes { .. } | Decision::StepUp { .. } => {
                return Err(Denial::no_such(TargetKind::Resource, uri, "subscription_not_allowed"));
            }
        }
    }
    Ok(())
}

fn check_tool<'a>(
    rules: &Rules,
    name: &str,
    admitted: Result<Admitted<'a>, ToolDenial>,
    arguments: &Arguments,
    entry: &mut Entry,
) -> Result<Admitted<'a>, Denial> {
    let tools = &rules.policy.tools;
    let pin = tools.pins.of(name).next();
    if let Some(pin) = pin {
        entry.pin(Pin {
            sha256: pin.to_string(),
            matches: admitted.is_ok(),
        });
    }
    let admitted = admitted.map_err(|denial| {
        if denial.is_hidden() {
            Denial::no_such(TargetKind::Tool, name, denial.as_str())
        } else {
            Denial::Drift(denial)
        }
    })?;
    tools
        .check_arguments(name, arguments)
        .map_err(|violation| Denial::arguments(&violation, violation.as_str()))?;
    if let Some(schema) = admitted.schema {
        schema
            .check(arguments)
            .map_err(|violation| Denial::arguments(&violation, "input_schema"))?;
    }
    Ok(admitted)
}

fn arguments(raw: Option<&RawValue>) -> Result<Arguments, Denial> {
    Arguments::parse(raw).map_err(|violation| Denial::arguments(&violation, violation.as_str()))
}

fn target(call: &Call, side_effect: Option<SideEffect>) -> Option<Target<'_>> {
    match (call.method.as_str(), &call.reference) {
        ("tools/call", _) => Some(Target::Tool {
            name: call.name.as_deref()?,
            side_effect: side_effect?,
        }),
        ("prompts/get", _) => call.name.as_deref().map(Target::Prompt),
        ("completion/complete", Some(Reference::Prompt(name))) => Some(Target::Prompt(name)),
        ("completion/complete", Some(Reference::Resource(uri))) => Some(Target::Resource(uri)),
        ("resources/read" | "resources/subscribe" | "resources/unsubscribe", _) => {
            call.uri.as_deref().map(Target::Resource)
        }
        _ => None,
    }
}

fn denied(denial: authorization::Denial<'_>, target: Option<Target<'_>>) -> Denial {
    let reason = denial.as_str();
    match (denial, target) {
        (authorization::Denial::Hidden { .. }, Some(target)) => Denial::no_such(target.kind(), target.name(), reason),
        (authorization::Denial::Arguments { violation, .. }, _) => Denial::arguments(&violation, violation.as_str()),
        (authorization::Denial::MissingName | authorization::Denial::UnclearName, _) => Denial::Arguments {
            message: "the request does not name one tool, prompt or resource clearly".to_owned(),
            reason,
        },
        _ => Denial::NotAllowed { reason },
    }
}
