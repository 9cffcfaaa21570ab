//! How far a Deployment's roll-out is.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};

/// How far a Deployment's roll-out is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// There is none.
    Absent,
    /// Pods are being replaced or created.
    Progressing,
    /// The API server refuses to create pods.
    Refused(String),
    /// It took longer than its deadline.
    Overdue(String),
    /// Every pod is of the current template; `available` if enough of them are.
    Complete {
        /// Whether all wanted pods are available.
        available: bool,
    },
}

impl Rollout {
    /// Reads the Deployment's status.
    pub fn of(deployment: Option<&Deployment>) -> Self {
        let Some(deployment) = deployment else {
            return Self::Absent;
        };
        let status = deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let find = |type_: &str, value: &str| {
            let found = conditions
                .iter()
                .find(|condition| condition.type_ == type_ && condition.status == value);
            found.cloned()
        };
        let text = |condition: DeploymentCondition| condition.message.unwrap_or_default();
        if status.observed_generation < deployment.metadata.generation {
            return Self::Progressing;
        }
        if let Some(failure) = find("ReplicaFailure", "True") {
            return Self::Refused(text(failure));
        }
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let updated = status.updated_replicas.unwrap_or(0);
        let available = status.available_replicas.unwrap_or(0) >= wanted;
        let progressing = find("Progressing", "True").and_then(|condition| condition.reason);
        let settled = progressing.as_deref() == Some("NewReplicaSetAvailable") || available;
        if updated >= wanted && status.replicas.unwrap_or(0) <= updated && settled {
            return Self::Complete { available };
        }
        match find("Progressing", "False")
            .filter(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
        {
            Some(overdue) => Self::Overdue(text(overdue)),
            None => Self::Progressing,
        }
    }

    /// Whether all wanted pods are of the current template and available.
    pub fn is_available(&self) -> bool {
        matches!(self, Self::Complete { available: true })
    }
}
