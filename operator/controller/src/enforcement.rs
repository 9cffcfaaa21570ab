//! Whether the network policies of an endpoint's pods are enforced: measured, never assumed.
//!
//! The proof has two halves. A pod tells that it was refused the canary and, unless a rule opens it, the API server: its guard by having let the
//! server start, its sidecar by a round of attempts made while the operator waits for the answer. The operator tells
//! that there was something to be refused: it reached the canary at the same address before and after.

use crate::{canary, context::Context, sidecar};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;
use sallyport_api::conditions::{Status, reasons};
use sallyport_policy::enforcement::{Destination, EnforcementReport, GUARD_REACHED, KubernetesApi, Verdict};
use sallyport_render::{GUARD_CONTAINER, SIDECAR_CONTAINER};
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

const PATH: &str = "/enforcement";
/// Longer than a round of attempts that are met with silence.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a measurement is good for reconciles that other events trigger.
const FRESH: Duration = Duration::from_mins(1);
/// Until what was proven is measured again. Pods of endpoints that require enforcement tell sooner: they lose readiness.
pub const EVERY: Duration = Duration::from_mins(5);
/// Until pods that run are asked again because the proof failed.
const SOON: Duration = Duration::from_secs(10);
/// How long a proven endpoint keeps its word while a measurement cannot be made, as while the operator is replaced.
const GRACE: Duration = Duration::from_mins(2);
/// The guard's last words are cut to this many characters.
const MAX_TEXT: usize = 512;

/// What was found of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// It is refused what no rule allows.
    Proven,
    /// It reaches it.
    Open(String),
    /// It was refused while the canary did not answer the operator either.
    Unwitnessed,
    /// It cannot be told yet.
    Unproven(String),
}

/// How far a pod is.
enum Stage {
    /// Its sidecar can be asked.
    Running(IpAddr),
    /// All that is known is what its guard did.
    Starting(Finding),
}

/// What was found of all pods of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Pods cannot be told of a canary: its Service does not exist.
    NoCanary,
    /// The pods were looked at.
    Measured {
        /// Pods that are there and not on their way out.
        pods: usize,
        /// Those that are refused what no rule allows.
        proven: usize,
        /// Those that reach it.
        open: usize,
        /// Those that were refused while nobody could witness it.
        unwitnessed: usize,
        /// Whether a sidecar could be asked, so that asking again may tell more.
        asked: bool,
        /// Whether the API server was among what must be refused.
        api: KubernetesApi,
        /// What stands in the way, of the first pod by name.
        obstacle: Option<String>,
    },
}

/// Nothing was looked at yet.
impl Default for Enforcement {
    fn default() -> Self {
        Self::of(&[], false, KubernetesApi::default())
    }
}

impl Enforcement {
    fn of(findings: &[(String, Finding)], asked: bool, api: KubernetesApi) -> Self {
        let count = |wanted: fn(&Finding) -> bool| findings.iter().filter(|(_, finding)| wanted(finding)).count();
        let obstacle = |open: bool| {
            findings.iter().find_map(|(pod, finding)| match finding {
                Finding::Open(why) if open => Some(format!("pod {pod}: {why}")),
                Finding::Unproven(why) if !open => Some(format!("pod {pod}: {why}")),
                _ => None,
            })
        };
        Self::Measured {
            pods: findings.len(),
            proven: count(|finding| *finding == Finding::Proven),
            open: count(|finding| matches!(finding, Finding::Open(_))),
            unwitnessed: count(|finding| *finding == Finding::Unwitnessed),
            asked,
            api,
            obstacle: obstacle(true).or_else(|| obstacle(false)),
        }
    }

    /// Status, reason and message of the condition `NetworkEnforced`.
    pub fn condition(&self) -> (Status, &'static str, String) {
        let Self::Measured {
            pods,
            proven,
            open,
            unwitnessed,
            api,
            obstacle,
            ..
        } = self
        else {
            return (
                Status::Unknown,
                reasons::CANARY_UNREACHABLE,
                "the Service of the operator's canary does not exist, so that no pod can be told what it must be refused; install the operator's chart again"
                    .to_owned(),
            );
        };
        let obstacle = obstacle.as_ref().map_or_else(String::new, |text| format!("; {text}"));
        if *open > 0 {
            let message = format!("{open} of {pods} pods reach what no rule allows{obstacle}");
            (Status::False, reasons::NOT_ENFORCED, message)
        } else if *pods == 0 {
            (Status::Unknown, reasons::NOT_MEASURED, "no pod runs yet".to_owned())
        } else if proven == pods {
            let refused = match api {
                KubernetesApi::Forbidden => "the operator's canary and the Kubernetes API, which no rule allows",
                KubernetesApi::Allowed => {
                    "the operator's canary, which no rule allows; the Kubernetes API is open to them by egress.allow"
                }
            };
            let message = format!("{proven} of {pods} pods are refused {refused}");
            (Status::True, reasons::ENFORCED, message)
        } else if *unwitnessed > 0 {
            let message = format!(
                "{proven} of {pods} pods are proven closed; the others were refused too, but the operator's canary does not answer the operator itself: does a NetworkPolicy keep it from its own Service?"
            );
            (Status::Unknown, reasons::CANARY_UNREACHABLE, message)
        } else {
            let message = format!("{proven} of {pods} pods are proven closed{obstacle}");
            (Status::Unknown, reasons::NOT_MEASURED, message)
        }
    }

    /// When to measure again.
    pub fn again(&self) -> Duration {
        match self {
            Self::Measured {
                pods, proven, asked, ..
            } if *asked && proven < pods => SOON,
            _ => EVERY,
        }
    }
}

/// Asks every pod of `pods` that runs, and reads of the others what their guards did.
pub async fn measure(context: &Context, pods: &[Pod], api: KubernetesApi) -> Enforcement {
    let canaries = context.canaries.borrow().clone().unwrap_or_default();
    if canaries.is_empty() {
        return Enforcement::NoCanary;
    }
    let mut stages: Vec<_> = pods
        .iter()
        .filter(|pod| counts(pod))
        .map(|pod| (pod.name_any(), stage(pod)))
        .collect();
    stages.sort_by(|(one, _), (other, _)| one.cmp(other));
    let asked = stages.iter().any(|(_, stage)| matches!(stage, Stage::Running(_)));
    let before = asked && canary::is_alive(&canaries).await;
    let ask = async |(name, stage): (String, Stage)| match stage {
        Stage::Starting(finding) => (name, Err(finding)),
        Stage::Running(address) => {
            let address = SocketAddr::new(address, context.admin_port);
            let report = sidecar::get::<EnforcementReport>(address, PATH, DEADLINE).await;
            (name, report.map_err(|error| Finding::Unproven(error.to_string())))
        }
    };
    let answers = join_all(stages.into_iter().map(ask)).await;
    let witnessed = before && canary::is_alive(&canaries).await;
    let findings: Vec<_> = answers
        .into_iter()
        .map(|(name, answer)| {
            let finding = answer.map_or_else(|finding| finding, |report| judge(&report, api, &canaries, witnessed));
            (name, finding)
        })
        .collect();
    Enforcement::of(&findings, asked, api)
}

/// Whether a pod is there to stay.
fn counts(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

fn stage(pod: &Pod) -> Stage {
    let status = pod.status.as_ref();
    let find = |name: &str| {
        let statuses = status.and_then(|status| status.init_container_statuses.as_ref());
        statuses.into_iter().flatten().find(|status| status.name == name)
    };
    let runs = |status: &ContainerStatus| status.state.as_ref().is_some_and(|state| state.running.is_some());
    let address = status.and_then(|status| status.pod_ip.as_ref()?.parse().ok());
    match address.filter(|_| find(SIDECAR_CONTAINER).is_some_and(runs)) {
        Some(address) => Stage::Running(address),
        None => Stage::Starting(find(GUARD_CONTAINER).map_or_else(not_begun, guarded)),
    }
}

fn not_begun() -> Finding {
    Finding::Unproven("its guard has not begun".to_owned())
}

/// What a guard did last; while it tries again, what it did before.
fn guarded(status: &ContainerStatus) -> Finding {
    let ends = [&status.state, &status.last_state];
    let ended = ends.into_iter().flatten().find_map(|state| state.terminated.as_ref());
    match ended {
        None => Finding::Unproven("its guard is measuring".to_owned()),
        Some(ended) if ended.exit_code == 0 => Finding::Unproven("its audit sidecar does not run yet".to_owned()),
        Some(ended) if ended.exit_code == i32::from(GUARD_REACHED) => Finding::Open(last_words(ended)),
        Some(ended) => Finding::Unproven(format!("its guard failed: {}", last_words(ended))),
    }
}

fn last_words(ended: &ContainerStateTerminated) -> String {
    let message = ended.message.as_deref().map(str::trim).unwrap_or_default();
    if message.is_empty() {
        return format!("exit code {}", ended.exit_code);
    }
    sidecar::plain(message, MAX_TEXT)
}

/// `witnessed`: whether the canary answered the operator before and after.
fn judge(report: &EnforcementReport, api: KubernetesApi, canaries: &[SocketAddr], witnessed: bool) -> Finding {
    let tried: BTreeSet<_> = report
        .observations
        .iter()
        .filter(|seen| seen.destination == Destination::Canary)
        .map(|seen| seen.address)
        .collect();
    let worst = || report.worst(api).map_or_else(String::new, ToString::to_string);
    match report.verdict(api) {
        Verdict::Reached => Finding::Open(worst()),
        Verdict::Inconclusive => Finding::Unproven(worst()),
        Verdict::Refused if tried != canaries.iter().copied().collect() => {
            Finding::Unproven("it tried the canary at an address that is not the canary's any more".to_owned())
        }
        Verdict::Refused if witnessed => Finding::Proven,
        Verdict::Refused => Finding::Unwitnessed,
    }
}

/// When each endpoint was measured. Lost with the process: the next one measures everything once.
#[derive(Debug, Default)]
pub struct Measurements(Mutex<HashMap<(String, String), Memory>>);

#[derive(Clone, Copy, Debug)]
struct Memory {
    last: Instant,
    /// Since when a proven endpoint could not be proven again.
    doubted_since: Option<Instant>,
}

impl Measurements {
    /// Whether what was measured last is too old.
    pub fn is_due(&self, namespace: &str, endpoint: &str) -> bool {
        let memory = self.lock().get(&key(namespace, endpoint)).copied();
        memory.is_none_or(|memory| memory.doubted_since.is_some() || memory.last.elapsed() >= FRESH)
    }

    /// Remembers what was measured, and gives it back to be told; `None`: an endpoint that was `proven` keeps its word for
    /// a while though it cannot be told now. That a pod is open, or that there is no canary, is told at once.
    pub fn settle(&self, namespace: &str, endpoint: &str, measured: Enforcement, proven: bool) -> Option<Enforcement> {
        let cannot_tell = measured != Enforcement::NoCanary && measured.condition().0 == Status::Unknown;
        let doubt = cannot_tell && proven;
        let mut memories = self.lock();
        let key = key(namespace, endpoint);
        let known = memories.get(&key).and_then(|memory| memory.doubted_since);
        let doubted_since = doubt.then(|| known.unwrap_or_else(Instant::now));
        let memory = Memory {
            last: Instant::now(),
            doubted_since,
        };
        memories.insert(key, memory);
        match doubted_since {
            Some(since) if since.elapsed() < GRACE => None,
            _ => Some(measured),
        }
    }

    /// Forgets an endpoint that is gone.
    pub fn forget(&self, namespace: &str, endpoint: &str) {
        self.lock().remove(&key(namespace, endpoint));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(namespace: &str, endpoint: &str) -> (String, String) {
    (namespace.to_owned(), endpoint.to_owned())
}

#[cfg(test)]
mod tests;
