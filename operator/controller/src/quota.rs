//! Whether a namespace's quotas leave room for an endpoint.

use k8s_openapi::{
    api::core::v1::{ResourceQuota, ScopedResourceSelectorRequirement},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;
use sallyport_api::{labels, quantity::Amount, v1alpha1};
use sallyport_render::{Amounts, Footprint};
use std::fmt;

/// A quota that leaves too little of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    quota: String,
    resource: String,
    needed: String,
    left: String,
    hard: String,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            quota,
            resource,
            needed,
            left,
            hard,
        } = self;
        write!(
            formatter,
            "needs {needed} more of {resource}, quota {quota} has {left} left of {hard}"
        )
    }
}

/// What is missing for `footprint`, of which `running` pods are counted in the quotas already.
///
/// The operator's own quota is left out: it is made to fit.
pub fn shortfalls(
    quotas: &[ResourceQuota],
    footprint: Footprint,
    running: i64,
    priority_class: &str,
) -> Vec<Shortfall> {
    let missing_pods = (footprint.pods - running).max(0);
    let share = |total: i64| total / footprint.pods.max(1) * missing_pods;
    let needed = Amounts {
        cpu_milli: share(footprint.amounts.cpu_milli),
        memory_bytes: share(footprint.amounts.memory_bytes),
        ephemeral_storage_bytes: share(footprint.amounts.ephemeral_storage_bytes),
    };
    let foreign = quotas.iter().filter(|quota| quota.name_any() != labels::QUOTA);
    let counting = foreign.filter(|quota| counts_endpoint_pods(quota, priority_class));
    counting
        .flat_map(|quota| of_quota(quota, missing_pods, needed))
        .collect()
}

fn of_quota(quota: &ResourceQuota, pods: i64, needed: Amounts) -> Vec<Shortfall> {
    let status = quota.status.clone().unwrap_or_default();
    let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
    let shortfall = |(resource, limit): (&String, &Quantity)| {
        let unit = Unit::of(resource)?;
        let need = unit.of_amounts(pods, needed);
        let limit = unit.read(limit)?;
        let left = limit - used.get(resource).and_then(|used| unit.read(used)).unwrap_or(0);
        (need > left).then(|| Shortfall {
            quota: quota.name_any(),
            resource: resource.clone(),
            needed: unit.write(need),
            left: unit.write(left.max(0)),
            hard: unit.write(limit),
        })
    };
    hard.iter().filter_map(shortfall).collect()
}

/// What a quota's resource name counts of a pod.
#[derive(Clone, Copy)]
enum Unit {
    Pods,
    Cpu,
    Memory,
    EphemeralStorage,
}

impl Unit {
    fn of(resource: &str) -> Option<Self> {
        match resource {
            "pods" | "count/pods" => Some(Self::Pods),
            "cpu" | "requests.cpu" | "limits.cpu" => Some(Self::Cpu),
            "memory" | "requests.memory" | "limits.memory" => Some(Self::Memory),
            "ephemeral-storage" | "requests.ephemeral-storage" | "limits.ephemeral-storage" => {
                Some(Self::EphemeralStorage)
            }
            _ => None,
        }
    }

    fn of_amounts(self, pods: i64, amounts: Amounts) -> i64 {
        match self {
            Self::Pods => pods,
            Self::Cpu => amounts.cpu_milli,
            Self::Memory => amounts.memory_bytes,
            Self::EphemeralStorage => amounts.ephemeral_storage_bytes,
        }
    }

    fn read(self, quantity: &Quantity) -> Option<i64> {
        let amount = Amount::new(&*quantity.0);
        let number = if matches!(self, Self::Cpu) {
            amount.milli()
        } else {
            amount.units()
        };
        i64::try_from(number.ok()?).ok()
    }

    fn write(self, number: i64) -> String {
        match self {
            Self::Pods => number.to_string(),
            Self::Cpu => Amounts {
                cpu_milli: number,
                ..Amounts::default()
            }
            .cpu(),
            Self::Memory | Self::EphemeralStorage => Amounts {
                memory_bytes: number,
                ..Amounts::default()
            }
            .memory(),
        }
    }
}

/// Whether the quota's scopes take in endpoint pods: they have a priority class, no deadline, and requests.
fn counts_endpoint_pods(quota: &ResourceQuota, priority_class: &str) -> bool {
    let Some(spec) = &quota.spec else {
        return false;
    };
    let exists = |scope: &String| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".to_owned(),
        values: None,
    };
    let scopes = spec.scopes.iter().flatten().map(exists);
    let selected = spec
        .scope_selector
        .iter()
        .flat_map(|selector| selector.match_expressions.clone().unwrap_or_default());
    scopes.chain(selected).all(|requirement| {
        let listed = requirement.values.iter().flatten().any(|value| value == priority_class);
        match (requirement.scope_name.as_str(), requirement.operator.as_str()) {
            ("NotTerminating" | "NotBestEffort", _) | ("PriorityClass", "Exists") => true,
            ("PriorityClass", "In") => listed,
            ("PriorityClass", "NotIn") => !listed,
            _ => false,
        }
    })
}

/// The most that an endpoint can use while it changes from one footprint to another: as many pods as the larger has, each
/// as large as the larger's.
///
/// A quota that shrank at once would leave no room for the first new pod beside the old ones.
pub fn hull(one: Footprint, other: Footprint) -> Footprint {
    let pods = one.pods.max(other.pods);
    let per_pod = |footprint: Footprint, total: i64| total / footprint.pods.max(1);
    let larger = |amount: fn(&Amounts) -> i64| {
        per_pod(one, amount(&one.amounts)).max(per_pod(other, amount(&other.amounts))) * pods
    };
    Footprint {
        pods,
        amounts: Amounts {
            cpu_milli: larger(|amounts| amounts.cpu_milli),
            memory_bytes: larger(|amounts| amounts.memory_bytes),
            ephemeral_storage_bytes: larger(|amounts| amounts.ephemeral_storage_bytes),
        },
    }
}

/// Reads a footprint that was published in a status.
pub fn published(footprint: &v1alpha1::Footprint) -> Option<Footprint> {
    let read = |unit: Unit, text: &str| unit.read(&Quantity(text.to_owned()));
    Some(Footprint {
        pods: i64::from(footprint.pods),
        amounts: Amounts {
            cpu_milli: read(Unit::Cpu, &footprint.cpu)?,
            memory_bytes: read(Unit::Memory, &footprint.memory)?,
            ephemeral_storage_bytes: read(Unit::EphemeralStorage, &footprint.ephemeral_storage)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn footprint(pods: i64, cpu_milli: i64, memory_mib: i64) -> Footprint {
        let amounts = Amounts {
            cpu_milli: cpu_milli * pods,
            memory_bytes: (memory_mib << 20) * pods,
            ephemeral_storage_bytes: (64 << 20) * pods,
        };
        Footprint { pods, amounts }
    }

    fn quota(spec: &Value, hard: &Value, used: &Value) -> ResourceQuota {
        let object = json!({"metadata": {"name": "team-a"}, "spec": spec, "status": {"hard": hard, "used": used}});
        serde_json::from_value(object).unwrap()
    }

    fn missing(quota: ResourceQuota, running: i64) -> Vec<String> {
        let shortfalls = shortfalls(&[quota], footprint(3, 400, 256), running, "sallyport-endpoint");
        shortfalls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_does_not_fit_is_named_with_numbers() {
        let hard = json!({"limits.cpu": "1", "requests.memory": "1Gi", "pods": "10", "services": "0"});
        let used = json!({"limits.cpu": "700m", "requests.memory": "512Mi", "pods": "8"});
        assert_eq!(
            missing(quota(&json!({}), &hard, &used), 0),
            [
                "needs 1200m more of limits.cpu, quota team-a has 300m left of 1",
                "needs 3 more of pods, quota team-a has 2 left of 10",
                "needs 768Mi more of requests.memory, quota team-a has 512Mi left of 1Gi",
            ]
        );
    }

    #[test]
    fn pods_that_run_already_are_not_needed_again() {
        let full = |used: &str| {
            quota(
                &json!({}),
                &json!({"limits.cpu": "1200m"}),
                &json!({"limits.cpu": used}),
            )
        };
        assert_eq!(missing(full("800m"), 2), [""; 0]);
        assert_eq!(
            missing(full("900m"), 2),
            ["needs 400m more of limits.cpu, quota team-a has 300m left of 1200m"]
        );
        assert_eq!(missing(full("1200m"), 3), [""; 0]);
    }

    #[test]
    fn only_quotas_whose_scopes_take_in_endpoint_pods_count() {
        let selector = |operator: &str, values: Value| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values},
            ]}})
        };
        let table = [
            ("unscoped", json!({}), true),
            ("not best effort", json!({"scopes": ["NotBestEffort"]}), true),
            ("not terminating", json!({"scopes": ["NotTerminating"]}), true),
            ("best effort", json!({"scopes": ["BestEffort"]}), false),
            ("terminating", json!({"scopes": ["Terminating"]}), false),
            (
                "cross-namespace affinity",
                json!({"scopes": ["CrossNamespacePodAffinity"]}),
                false,
            ),
            ("our class", selector("In", json!(["sallyport-endpoint"])), true),
            ("another class", selector("In", json!(["batch"])), false),
            ("not another class", selector("NotIn", json!(["batch"])), true),
            ("not our class", selector("NotIn", json!(["sallyport-endpoint"])), false),
            ("any class", selector("Exists", json!([])), true),
            ("no class", selector("DoesNotExist", json!([])), false),
        ];
        for (name, spec, counts) in table {
            let quota = quota(&spec, &json!({"pods": "0"}), &json!({"pods": "0"}));
            assert_eq!(!missing(quota, 0).is_empty(), counts, "{name}");
        }
    }

    #[test]
    fn a_changing_endpoint_needs_room_for_old_and_new_pods() {
        let (old, new) = (footprint(2, 1000, 64), footprint(6, 100, 128));
        assert_eq!(hull(old, new), footprint(6, 1000, 128));
        assert_eq!(hull(hull(old, new), new), hull(old, new));
        assert_eq!(hull(new, new), new);
    }

    #[test]
    fn a_published_footprint_reads_back() {
        let footprint = footprint(3, 250, 384);
        assert_eq!(published(&footprint.into()), Some(footprint));
        assert_eq!(published(&v1alpha1::Footprint::default()), None);
    }
}
