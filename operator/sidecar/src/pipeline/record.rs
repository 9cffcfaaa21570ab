//! What the record keeps of a message.

use crate::audit::{Asked, CallArguments, Target};
use crate::wire::Call;
use crate::wire::era::Era;
use crate::wire::message::Reference;
use sallyport_policy::ArgumentsMode;

/// What is asked for.
pub fn asked(call: &Call, arguments: ArgumentsMode) -> Asked {
    let mut asked = Asked::default();
    asked.method(&call.method);
    if let Some(id) = &call.id {
        asked.id(id.get());
    }
    asked.target = match (call.method.as_str(), &call.reference) {
        ("tools/call", _) => call.name.as_deref().map(Target::tool),
        ("prompts/get", _) => call.name.as_deref().map(Target::prompt),
        (_, Some(Reference::Prompt(name))) => Some(Target::prompt(name)),
        (_, Some(Reference::Resource(uri))) => Some(Target::resource(uri)),
        (method, None) if method.starts_with("resources/") => call.uri.as_deref().map(Target::resource),
        _ => None,
    };
    asked.arguments = self::arguments(call, arguments);
    if let Some(task) = call.task_id.as_deref().or(call.meta.related_task.as_deref()) {
        asked.task(task);
    }
    if let Some(state) = &call.request_state {
        asked.request_state(state);
    }
    if let Some(info) = &call.client_info {
        asked.client_info(&info.name, &info.version);
    }
    if let Some(traceparent) = &call.meta.traceparent {
        asked.traceparent(traceparent);
    }
    asked
}

/// The call's arguments, if it has any.
pub fn arguments(call: &Call, mode: ArgumentsMode) -> Option<CallArguments> {
    let raw = call.arguments.as_deref()?;
    Some(CallArguments::new(raw.get(), mode))
}

/// The era and version that a request is of.
pub fn era(asked: &mut Asked, era: Era, version: Option<&str>) {
    asked.era = Some(match era {
        Era::Legacy => sallyport_audit::Era::Legacy,
        Era::Modern => sallyport_audit::Era::Modern,
    });
    if let Some(version) = version {
        asked.protocol_version(version);
    }
}
