//! IP networks in CIDR notation.

use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

/// An IP network with all host bits zero (RFC 4632, RFC 4291). In files it is the text, as in `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a network in CIDR notation with all host bits zero, as in 203.0.113.10/32 or 2001:db8::/64")]
pub struct ParseNetworkError {
    text: String,
}

impl Network {
    /// The network that holds one address.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            prefix: width(address),
        }
    }

    /// Whether every address of `other` lies in this network.
    pub fn contains(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix <= other.prefix
            && masked(bits(other.address), self.prefix, width(other.address)) == bits(self.address)
    }

    /// Whether `address` lies in this network.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.contains(&Self::host(address))
    }

    /// Number of leading bits that are fixed.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The address, if the network holds no other.
    pub fn single(&self) -> Option<IpAddr> {
        (self.prefix == width(self.address)).then_some(self.address)
    }

    /// Whether this is an IPv4 network.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseNetworkError { text: text.to_owned() };
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let canonical = prefix.bytes().all(|byte| byte.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        let prefix: u8 = prefix.parse().map_err(|_| error())?;
        let width = width(address);
        let whole = canonical && prefix <= width && masked(bits(address), prefix, width) == bits(address);
        whole.then_some(Self { address, prefix }).ok_or_else(error)
    }
}

impl TryFrom<String> for Network {
    type Error = ParseNetworkError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn masked(bits: u128, prefix: u8, width: u8) -> u128 {
    let host_bits = u32::from(width - prefix);
    bits.checked_shr(host_bits)
        .unwrap_or(0)
        .checked_shl(host_bits)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_reads_as_it_is_written() {
        for text in [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "203.0.113.10/32",
            "2001:db8::/64",
            "::/0",
            "::1/128",
        ] {
            assert_eq!(network(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_network_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "example.com/8",
            "2001:db8::1/64",
            "::/129",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_contains_itself_and_what_is_narrower_of_the_same_family() {
        assert!(network("10.0.0.0/8").contains(&network("10.0.0.0/8")));
        assert!(network("10.0.0.0/8").contains(&network("10.255.0.0/16")));
        assert!(network("0.0.0.0/0").contains(&network("10.0.0.0/8")));
        assert!(!network("10.0.0.0/8").contains(&network("11.0.0.0/16")));
        assert!(!network("10.0.0.0/16").contains(&network("10.0.0.0/8")));
        assert!(!network("::/0").contains(&network("10.0.0.0/8")));
    }
}
