//! The methods of MCP that clients call, of both eras, and what each is about.

use super::TargetKind;

/// A method that clients may call, with what its authorization is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// As on the wire.
    pub name: &'static str,
    /// What is authorized.
    pub subject: Subject,
}

/// What the authorization of a method is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing: the protocol's own plumbing, which every admitted caller may use. Rules do not reach it, since a client
    /// that is refused here falls back to the legacy era.
    Protocol,
    /// The method itself: allowed to every admitted caller unless a rule denies it by name. Lists are of this kind;
    /// they show only what the caller may use.
    Method,
    /// One tool, prompt or resource.
    Name(TargetKind),
    /// A prompt or a resource, as the request says (`completion/complete`).
    PromptOrResource,
    /// A task: belongs to the caller that made it; a rule may deny the tool that made it.
    Task,
}

/// All methods: client requests and notifications of 2025-06-18, 2025-11-25, 2026-07-28 and the tasks extension.
const METHODS: [Method; 25] = {
    use Subject::{Method as Itself, Name, PromptOrResource, Protocol, Task};
    const fn method(name: &'static str, subject: Subject) -> Method {
        Method { name, subject }
    }
    [
        method("initialize", Protocol),
        method("ping", Protocol),
        method("server/discover", Protocol),
        method("notifications/initialized", Protocol),
        method("notifications/cancelled", Protocol),
        method("notifications/progress", Protocol),
        method("notifications/roots/list_changed", Protocol),
        method("notifications/tasks/status", Protocol),
        method("tools/list", Itself),
        method("prompts/list", Itself),
        method("resources/list", Itself),
        method("resources/templates/list", Itself),
        method("logging/setLevel", Itself),
        method("subscriptions/listen", Itself),
        method("tasks/list", Itself),
        method("tools/call", Name(TargetKind::Tool)),
        method("prompts/get", Name(TargetKind::Prompt)),
        method("resources/read", Name(TargetKind::Resource)),
        method("resources/subscribe", Name(TargetKind::Resource)),
        method("resources/unsubscribe", Name(TargetKind::Resource)),
        method("completion/complete", PromptOrResource),
        method("tasks/get", Task),
        method("tasks/result", Task),
        method("tasks/cancel", Task),
        method("tasks/update", Task),
    ]
};

impl Method {
    /// The method called `name`, compared byte by byte; `None` for all that this build does not know.
    pub fn known(name: &str) -> Option<Self> {
        METHODS.into_iter().find(|method| method.name == name)
    }

    /// All methods that this build knows.
    pub const fn all() -> &'static [Self] {
        &METHODS
    }
}
