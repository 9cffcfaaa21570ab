//! What the operator is told of the tools.

use super::{Catalog, Digest, Observed, ToolPolicy};
use serde::{Deserialize, Serialize};

/// What the sidecar saw of the server's tools, beside what was pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftReport {
    /// Whether all tools were seen at least once. While not, nothing that is pinned can be called.
    pub observed: bool,
    /// Tools that were seen or pinned, by name.
    pub tools: Vec<ToolReport>,
    /// Definitions without a usable name.
    pub nameless: u32,
}

/// What was seen of one tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolReport {
    /// Its name.
    pub name: String,
    /// What of it holds.
    pub state: ToolState,
    /// The digest of its definition, if one was seen that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_sha256: Option<Digest>,
    /// The digests that were approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned_sha256: Vec<Digest>,
    /// In words, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What holds of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ToolState {
    /// It is as pinned.
    Pinned,
    /// It has no pin.
    Unpinned,
    /// It is not as pinned, or has just changed.
    Drifted,
    /// It is pinned and not there, or was not seen yet.
    Missing,
    /// The server defines it more than once.
    Duplicate,
    /// Its definition cannot be let through.
    Faulty,
}

impl DriftReport {
    /// Whether every pinned tool is as pinned, and nothing is faulty or there twice.
    pub fn is_clean(&self) -> bool {
        let clean = |tool: &ToolReport| matches!(tool.state, ToolState::Pinned | ToolState::Unpinned);
        self.observed && self.nameless == 0 && self.tools.iter().all(clean)
    }
}

impl Catalog {
    /// What was seen, beside what `policy` pins.
    pub fn report(&self, policy: &ToolPolicy) -> DriftReport {
        let unseen = policy.pins.names().filter(|name| !self.tools().contains_key(*name));
        let mut names: Vec<&str> = self.tools().keys().map(String::as_str).chain(unseen).collect();
        names.sort_unstable();
        DriftReport {
            observed: self.is_crawled(),
            tools: names.into_iter().map(|name| self.report_of(name, policy)).collect(),
            nameless: u32::try_from(self.nameless().len()).unwrap_or(u32::MAX),
        }
    }

    fn report_of(&self, name: &str, policy: &ToolPolicy) -> ToolReport {
        let mut report = ToolReport {
            name: name.to_owned(),
            state: ToolState::Missing,
            observed_sha256: None,
            pinned_sha256: policy.pins.of(name).collect(),
            detail: None,
        };
        match self.observed(name) {
            Observed::Unknown => {}
            Observed::Several => report.state = ToolState::Duplicate,
            Observed::Faulty(fault) => {
                report.state = ToolState::Faulty;
                report.detail = Some(fault.to_string());
            }
            Observed::Defined(definition) | Observed::Unsettled(definition) => {
                report.observed_sha256 = definition.digest();
                report.state = match self.observed(name) {
                    _ if report.pinned_sha256.is_empty() => ToolState::Unpinned,
                    Observed::Defined(_) if definition.is_as_pinned(policy, name) => ToolState::Pinned,
                    _ => ToolState::Drifted,
                };
                if report.state == ToolState::Pinned
                    && let Err(error) = definition.schema()
                {
                    report.state = ToolState::Faulty;
                    report.detail = Some(error.to_string());
                }
            }
        }
        report
    }
}
