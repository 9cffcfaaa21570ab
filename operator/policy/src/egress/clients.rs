//! The clients file: which pods of the endpoint have which addresses, so that the gateway's events can name them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Name of the file in the ConfigMap, beside the egress file.
pub const CLIENTS_FILE_NAME: &str = "clients.json";

/// Names of the endpoint's pods by their addresses, as the operator saw them. It decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EgressClients(BTreeMap<IpAddr, String>);

impl EgressClients {
    /// Pods with their addresses. An address that two pods have names neither: it cannot be told which one connects.
    pub fn new(pods: impl IntoIterator<Item = (IpAddr, String)>) -> Self {
        let mut named: BTreeMap<IpAddr, Option<String>> = BTreeMap::new();
        for (address, pod) in pods {
            named
                .entry(address.to_canonical())
                .and_modify(|known| *known = known.take().filter(|known| *known == pod))
                .or_insert(Some(pod));
        }
        let certain = named.into_iter().filter_map(|(address, pod)| Some((address, pod?)));
        Self(certain.collect())
    }

    /// Reads a clients file.
    ///
    /// # Errors
    ///
    /// When it is no map from addresses to names.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The file's text, byte-equal for equal clients.
    ///
    /// # Errors
    ///
    /// Never in practice: every address and name serializes.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The pod that has `address`, if one is known.
    pub fn name(&self, address: IpAddr) -> Option<&str> {
        self.0.get(&address.to_canonical()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_pod_is_known_by_each_of_its_addresses_however_they_are_written() {
        let pods = [
            ("10.244.0.7", "demo-1"),
            ("fd00::7", "demo-1"),
            ("10.244.0.8", "demo-2"),
        ];
        let clients = EgressClients::new(pods.map(|(address, pod)| (ip(address), pod.to_owned())));
        let read = EgressClients::parse(clients.to_text().unwrap().as_bytes()).unwrap();
        assert_eq!(read, clients);
        for (address, pod) in [
            ("10.244.0.7", Some("demo-1")),
            ("::ffff:10.244.0.8", Some("demo-2")),
            ("fd00::7", Some("demo-1")),
            ("10.244.0.9", None),
        ] {
            assert_eq!(read.name(ip(address)), pod, "{address}");
        }
    }

    #[test]
    fn an_address_that_two_pods_have_names_neither() {
        let pods = ["demo-1", "demo-2", "demo-2"].map(|pod| (ip("10.244.0.7"), pod.to_owned()));
        assert_eq!(EgressClients::new(pods), EgressClients::default());
    }
}
