//! Events: one for each transition, never one for each reconcile.

use crate::error::words;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use sallyport_api::conditions::{self, reasons, types};

/// Longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;

/// Publishes events. A lost event is logged and never fails what it speaks of.
#[derive(Clone)]
pub struct Events(Recorder);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Normal or warning.
    pub type_: EventType,
    /// What happened, in one word.
    pub reason: String,
    /// What the operator did or saw.
    pub action: String,
    /// For people.
    pub note: String,
}

impl Events {
    /// Events of the operator pod `instance`.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter {
            controller: "sallyport.dev/operator".to_owned(),
            instance: Some(instance),
        };
        Self(Recorder::new(client, reporter))
    }

    /// Publishes one event on `regarding`, naming `related` if there is such an object.
    pub async fn publish(&self, regarding: &ObjectReference, related: Option<ObjectReference>, occurrence: Occurrence) {
        let Occurrence {
            type_,
            reason,
            action,
            note,
        } = occurrence;
        let event = Event {
            type_,
            reason,
            note: Some(truncated(note)),
            action,
            secondary: related,
        };
        if let Err(error) = self.0.publish(&event, regarding).await {
            tracing::warn!(
                reason = event.reason,
                error = words(&error),
                "an event was not published"
            );
        }
    }
}

/// What changed between two statuses that users should hear of.
pub fn transitions(old: &[Condition], new: &[Condition]) -> Vec<Occurrence> {
    let changed = new.iter().filter(|condition| {
        let before = conditions::get(old, &condition.type_);
        before.is_none_or(|before| before.status != condition.status || before.reason != condition.reason)
    });
    changed
        .filter_map(|condition| occurrence(condition, conditions::get(old, &condition.type_).is_some()))
        .collect()
}

fn occurrence(condition: &Condition, seen_before: bool) -> Option<Occurrence> {
    let holds = condition.status == "True";
    let type_ = match condition.type_.as_str() {
        types::READY if is_problem(&condition.reason) => EventType::Warning,
        types::READY => EventType::Normal,
        // What holds from the start is no news.
        types::CREDENTIALS_READY
        | types::QUOTA_SUFFICIENT
        | types::HARDENING_APPLIED
        | types::NETWORK_ENFORCED
        | types::TOOLS_PINNED
            if holds && seen_before =>
        {
            EventType::Normal
        }
        types::NETWORK_ENFORCED | types::TOOLS_PINNED if condition.status == "False" => EventType::Warning,
        types::CREDENTIALS_READY if condition.reason == reasons::KEYS_UNUSABLE => EventType::Warning,
        types::QUOTA_SUFFICIENT if !holds => EventType::Warning,
        types::EGRESS_WIDENED if holds => EventType::Warning,
        types::HARDENING_APPLIED if !holds => EventType::Normal,
        _ => return None,
    };
    Some(Occurrence {
        type_,
        reason: condition.reason.clone(),
        action: condition.type_.clone(),
        note: condition.message.clone(),
    })
}

fn is_problem(reason: &str) -> bool {
    [
        reasons::UNAVAILABLE,
        reasons::INVALID_SPEC,
        reasons::NAME_CONFLICT,
        reasons::UNSEAL_FAILED,
        reasons::NOT_ENFORCED,
        reasons::FAILED_CREATE,
        reasons::PROGRESS_DEADLINE_EXCEEDED,
        reasons::CONTAINER_NOT_STARTING,
        reasons::APPLY_FAILED,
    ]
    .contains(&reason)
}

fn truncated(mut note: String) -> String {
    if note.len() > MAX_NOTE {
        note.truncate(note.floor_char_boundary(MAX_NOTE - '…'.len_utf8()));
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn conditions(list: &[(&str, bool, &str)]) -> Vec<Condition> {
        let mut conditions = vec![];
        for (type_, status, reason) in list {
            sallyport_api::conditions::set(
                &mut conditions,
                type_,
                *status,
                reason,
                "m",
                None,
                Timestamp::UNIX_EPOCH,
            );
        }
        conditions
    }

    fn reasons_of(old: &[Condition], new: &[Condition]) -> Vec<(EventType, String)> {
        transitions(old, new)
            .into_iter()
            .map(|occurrence| (occurrence.type_, occurrence.reason))
            .collect()
    }

    #[test]
    fn a_transition_is_told_once_and_its_repetition_never() {
        let new = conditions(&[
            (types::READY, false, reasons::PROGRESSING),
            (types::RECONCILING, true, reasons::PROGRESSING),
            (types::CREDENTIALS_READY, true, reasons::CREDENTIALS_SYNCED),
            (types::QUOTA_SUFFICIENT, true, reasons::QUOTA_AVAILABLE),
        ]);
        assert_eq!(
            reasons_of(&[], &new),
            [(EventType::Normal, reasons::PROGRESSING.to_owned())]
        );
        assert_eq!(reasons_of(&new, &new), []);
        let failed = conditions(&[
            (types::READY, false, reasons::UNSEAL_FAILED),
            (types::STALLED, true, reasons::UNSEAL_FAILED),
            (types::CREDENTIALS_READY, false, reasons::UNSEAL_FAILED),
            (types::QUOTA_SUFFICIENT, false, reasons::QUOTA_EXCEEDED),
        ]);
        assert_eq!(
            reasons_of(&new, &failed),
            [
                (EventType::Warning, reasons::UNSEAL_FAILED.to_owned()),
                (EventType::Warning, reasons::QUOTA_EXCEEDED.to_owned()),
            ]
        );
        assert_eq!(
            reasons_of(&failed, &new),
            [
                (EventType::Normal, reasons::PROGRESSING.to_owned()),
                (EventType::Normal, reasons::CREDENTIALS_SYNCED.to_owned()),
                (EventType::Normal, reasons::QUOTA_AVAILABLE.to_owned()),
            ]
        );
    }

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let note = truncated("é".repeat(1000));
        assert!(note.len() <= MAX_NOTE && note.ends_with('…'), "{}", note.len());
        assert_eq!(truncated("short".to_owned()), "short");
    }
}
