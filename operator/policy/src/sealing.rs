//! With which keys the sidecar seals what it hands to clients and wants back unchanged.

use serde::{Deserialize, Serialize};

/// Where the sealing keys are, and how replicas that share them find each other.
///
/// The closed choice is a key of one process: nothing that another replica sealed is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sealing {
    /// The file of the keys: one a line, 32 bytes in base64 (RFC 4648 section 4); the first seals, all open. It is read
    /// again when it changes. Without a file the key is random and ends with the process, which allows one replica only.
    pub keys_file: Option<String>,
    /// Port on the pod's own address at which replicas that share the keys ask each other to use up a confirmation.
    /// [`PEER_PORT`] where the operator renders it; without one, a confirmation is used up at the replica that asked.
    pub peer_port: Option<u16>,
}

/// The port that the operator renders and opens between the pods of one endpoint.
pub const PEER_PORT: u16 = 15081;

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn unless_told_otherwise_keys_are_those_of_one_process() {
        let sealing: Sealing = serde_json::from_str("{}").unwrap();
        assert_eq!(
            sealing,
            Sealing {
                keys_file: None,
                peer_port: None
            }
        );
    }

    #[test]
    fn an_unknown_rule_is_refused() {
        serde_json::from_str::<Sealing>(r#"{"keys": ["AAAA"]}"#).unwrap_err();
    }
}
