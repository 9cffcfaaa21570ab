//! Amounts of compute resources, and their canonical Kubernetes notation.

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use std::{
    collections::BTreeMap,
    ops::{Add, Mul},
};

/// CPU, memory and disk, in whole base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Node-local disk in bytes.
    pub ephemeral_storage_bytes: i64,
}

impl Amounts {
    /// What the audit sidecar may use, unless the operator is told otherwise. The memory is what the default limits can come
    /// to; an endpoint whose own limits come to more gets more.
    pub const SIDECAR: Self = Self {
        cpu_milli: 100,
        memory_bytes: 208 << 20,
        ephemeral_storage_bytes: 64 << 20,
    };

    /// CPU as Kubernetes writes it: `250m`, `1`.
    pub fn cpu(&self) -> String {
        if self.cpu_milli % 1000 == 0 {
            (self.cpu_milli / 1000).to_string()
        } else {
            format!("{}m", self.cpu_milli)
        }
    }

    /// Memory as Kubernetes writes it: `256Mi`.
    pub fn memory(&self) -> String {
        binary(self.memory_bytes)
    }

    /// Disk as Kubernetes writes it: `128Mi`.
    pub fn ephemeral_storage(&self) -> String {
        binary(self.ephemeral_storage_bytes)
    }

    /// Requests and limits that are equal, so that a pod can be given no more and no less than it counts for.
    pub(crate) fn requirements(&self) -> ResourceRequirements {
        let list: BTreeMap<_, _> = [
            ("cpu", self.cpu()),
            ("ephemeral-storage", self.ephemeral_storage()),
            ("memory", self.memory()),
        ]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .into();
        ResourceRequirements {
            requests: Some(list.clone()),
            limits: Some(list),
            ..ResourceRequirements::default()
        }
    }
}

impl Add for Amounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli + other.cpu_milli,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            ephemeral_storage_bytes: self.ephemeral_storage_bytes + other.ephemeral_storage_bytes,
        }
    }
}

impl Mul<i64> for Amounts {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Self {
            cpu_milli: self.cpu_milli * times,
            memory_bytes: self.memory_bytes * times,
            ephemeral_storage_bytes: self.ephemeral_storage_bytes * times,
        }
    }
}

/// `bytes` with the largest binary suffix that keeps it whole, which is how the API server writes it too.
pub(crate) fn binary(bytes: i64) -> String {
    let mut number = bytes;
    let mut suffix = "";
    for next in ["Ki", "Mi", "Gi", "Ti"] {
        if number == 0 || number % 1024 != 0 {
            break;
        }
        number /= 1024;
        suffix = next;
    }
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_api_server_writes_them() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1536 << 20, "1536Mi"),
            (1 << 40, "1Ti"),
            (64_000_000, "62500Ki"),
        ] {
            assert_eq!(binary(bytes), text);
        }
        let cpu = |cpu_milli| {
            Amounts {
                cpu_milli,
                ..Amounts::default()
            }
            .cpu()
        };
        assert_eq!((cpu(250), cpu(2000)), ("250m".to_owned(), "2".to_owned()));
    }
}
