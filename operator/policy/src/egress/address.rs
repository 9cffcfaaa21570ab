//! What kind of address a name has resolved to.
//!
//! Sources: the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and its updates), RFC 6052 (NAT64),
//! RFC 3056 (6to4), RFC 4380 (Teredo), and the documentation of the clouds' metadata services.

use crate::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in the form in which it is judged and dialled: an IPv4-mapped IPv6 address is the IPv4 address that it
/// stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// What it is.
    pub class: AddressClass,
}

/// What an address is, from the gateway's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// An address of the public Internet.
    Public,
    /// An address of somebody's own network: reached only when a CIDR rule names it.
    Private(PrivateRange),
    /// Where a cloud hands out credentials. Never reached, whatever the rules say.
    Metadata,
    /// Nothing that a host name may mean. Never reached, whatever the rules say.
    Forbidden(ForbiddenRange),
}

/// Ranges that only a CIDR rule opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateRange {
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918).
    Rfc1918,
    /// 100.64.0.0/10 (RFC 6598).
    SharedAddressSpace,
    /// fc00::/7 (RFC 4193).
    UniqueLocal,
}

/// Ranges that nothing opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForbiddenRange {
    /// 0.0.0.0/8 and ::.
    Unspecified,
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// 169.254.0.0/16, fe80::/10 and the former site-local fec0::/10.
    LinkLocal,
    /// 224.0.0.0/4 and ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// Ranges that only appear in documents.
    Documentation,
    /// 198.18.0.0/15 and 2001:2::/48.
    Benchmarking,
    /// Blocks of the IETF's own protocols, discard and anycast relays included.
    Protocol,
    /// 240.0.0.0/4 and all of IPv6 that is not assigned.
    Reserved,
    /// An IPv4 address inside an IPv6 one that some router would unpack: NAT64, 6to4, Teredo, IPv4-compatible.
    EmbeddedIpv4,
}

use AddressClass::{Forbidden, Metadata, Private};
use ForbiddenRange::{
    Benchmarking, Broadcast, Documentation, EmbeddedIpv4, LinkLocal, Loopback, Multicast, Protocol, Reserved,
    Unspecified,
};

type Range<A> = (A, u8, AddressClass);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// An IPv6 address by its first four groups and its last.
const fn v6(a: u16, b: u16, c: u16, d: u16, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, last)
}

/// The first range that holds an address decides; what is in none is public.
const IPV4: &[Range<Ipv4Addr>] = &[
    (v4(169, 254, 169, 254), 32, Metadata),
    (v4(169, 254, 170, 2), 32, Metadata),
    (v4(169, 254, 170, 23), 32, Metadata),
    (v4(100, 100, 100, 200), 32, Metadata),
    (v4(168, 63, 129, 16), 32, Metadata),
    (v4(192, 0, 0, 192), 32, Metadata),
    (v4(0, 0, 0, 0), 8, Forbidden(Unspecified)),
    (v4(127, 0, 0, 0), 8, Forbidden(Loopback)),
    (v4(169, 254, 0, 0), 16, Forbidden(LinkLocal)),
    (v4(192, 0, 0, 0), 24, Forbidden(Protocol)),
    (v4(192, 88, 99, 0), 24, Forbidden(Protocol)),
    (v4(192, 0, 2, 0), 24, Forbidden(Documentation)),
    (v4(198, 51, 100, 0), 24, Forbidden(Documentation)),
    (v4(203, 0, 113, 0), 24, Forbidden(Documentation)),
    (v4(198, 18, 0, 0), 15, Forbidden(Benchmarking)),
    (v4(224, 0, 0, 0), 4, Forbidden(Multicast)),
    (v4(255, 255, 255, 255), 32, Forbidden(Broadcast)),
    (v4(240, 0, 0, 0), 4, Forbidden(Reserved)),
    (v4(10, 0, 0, 0), 8, Private(PrivateRange::Rfc1918)),
    (v4(172, 16, 0, 0), 12, Private(PrivateRange::Rfc1918)),
    (v4(192, 168, 0, 0), 16, Private(PrivateRange::Rfc1918)),
    (v4(100, 64, 0, 0), 10, Private(PrivateRange::SharedAddressSpace)),
];

/// As [`IPV4`]; what is in none is public only inside 2000::/3, all that is assigned for unicast.
const IPV6: &[Range<Ipv6Addr>] = &[
    (v6(0xfd00, 0xec2, 0, 0, 0x254), 128, Metadata),
    (v6(0xfd00, 0xec2, 0, 0, 0x23), 128, Metadata),
    (v6(0xfd20, 0xce, 0, 0, 0x254), 128, Metadata),
    (v6(0, 0, 0, 0, 0), 128, Forbidden(Unspecified)),
    (v6(0, 0, 0, 0, 1), 128, Forbidden(Loopback)),
    (v6(0, 0, 0, 0, 0), 96, Forbidden(EmbeddedIpv4)),
    (v6(0x64, 0xff9b, 0, 0, 0), 96, Forbidden(EmbeddedIpv4)),
    (v6(0x64, 0xff9b, 1, 0, 0), 48, Forbidden(EmbeddedIpv4)),
    (v6(0x2002, 0, 0, 0, 0), 16, Forbidden(EmbeddedIpv4)),
    (v6(0x2001, 0, 0, 0, 0), 32, Forbidden(EmbeddedIpv4)),
    (v6(0x2001, 2, 0, 0, 0), 48, Forbidden(Benchmarking)),
    (v6(0x2001, 0, 0, 0, 0), 23, Forbidden(Protocol)),
    (v6(0x2001, 0xdb8, 0, 0, 0), 32, Forbidden(Documentation)),
    (v6(0x3fff, 0, 0, 0, 0), 20, Forbidden(Documentation)),
    (v6(0x100, 0, 0, 0, 0), 64, Forbidden(Protocol)),
    (v6(0x5f00, 0, 0, 0, 0), 16, Forbidden(Protocol)),
    (v6(0xfe80, 0, 0, 0, 0), 10, Forbidden(LinkLocal)),
    (v6(0xfec0, 0, 0, 0, 0), 10, Forbidden(LinkLocal)),
    (v6(0xff00, 0, 0, 0, 0), 8, Forbidden(Multicast)),
    (v6(0xfc00, 0, 0, 0, 0), 7, Private(PrivateRange::UniqueLocal)),
];

/// Everything assigned for unicast on the Internet.
const IPV6_UNICAST: (Ipv6Addr, u8) = (v6(0x2000, 0, 0, 0, 0), 3);

impl Address {
    /// Judges `ip`.
    pub fn of(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let class = match ip {
            IpAddr::V4(ip) => class_of_ipv4(ip),
            IpAddr::V6(ip) => class_of_ipv6(ip),
        };
        Self { ip, class }
    }
}

/// Every network that holds no public address, for fences that know of networks alone. What they leave of IPv4, and of
/// [`PUBLIC_IPV6`], is public.
pub fn not_public() -> impl Iterator<Item = Network> {
    let ipv4 = IPV4.iter().map(|(base, prefix, _)| (IpAddr::V4(*base), *prefix));
    let ipv6 = IPV6.iter().map(|(base, prefix, _)| (IpAddr::V6(*base), *prefix));
    ipv4.chain(ipv6)
        .filter_map(|(base, prefix)| format!("{base}/{prefix}").parse().ok())
}

/// The network that holds every public IPv6 address: all that is assigned for unicast on the Internet.
pub const PUBLIC_IPV6: &str = "2000::/3";

fn class_of_ipv4(ip: Ipv4Addr) -> AddressClass {
    let lies_in = |base: Ipv4Addr, prefix: u8| (ip.to_bits() ^ base.to_bits()) >> (32 - prefix) == 0;
    let found = IPV4.iter().find(|(base, prefix, _)| lies_in(*base, *prefix));
    found.map_or(AddressClass::Public, |(_, _, class)| *class)
}

fn class_of_ipv6(ip: Ipv6Addr) -> AddressClass {
    let lies_in = |base: Ipv6Addr, prefix: u8| (ip.to_bits() ^ base.to_bits()) >> (128 - prefix) == 0;
    match IPV6.iter().find(|(base, prefix, _)| lies_in(*base, *prefix)) {
        // The inner address says more: whoever tries for credentials is to be called so.
        Some((_, _, Forbidden(EmbeddedIpv4))) if embedded(ip).into_iter().any(|ip| class_of_ipv4(ip) == Metadata) => {
            Metadata
        }
        Some((_, _, class)) => *class,
        None if lies_in(IPV6_UNICAST.0, IPV6_UNICAST.1) => AddressClass::Public,
        None => Forbidden(Reserved),
    }
}

/// The IPv4 addresses that a translator may find in `ip`, which lies in one of the ranges for that.
fn embedded(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [first, second, third, fourth, fifth, _, seventh, eighth] = ip.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (first, second, third) {
        // RFC 3056: right after the prefix.
        (0x2002, ..) => vec![of(second, third)],
        // RFC 4380: the server, and the client with every bit turned.
        (0x2001, 0, _) => vec![of(third, fourth), of(!seventh, !eighth)],
        // RFC 6052 section 2.2, a 48-bit prefix: around the octet u; or a longer prefix inside, with the address last.
        (0x64, 0xff9b, 1) => vec![of(fourth, fifth << 8 | ip.segments()[5] >> 8), of(seventh, eighth)],
        _ => vec![of(seventh, eighth)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(text: &str) -> AddressClass {
        Address::of(text.parse().unwrap()).class
    }

    /// First and last address of a range, its class, and a public address outside.
    const RANGES: &[(&str, &str, AddressClass, &str)] = &[
        ("0.0.0.0", "0.255.255.255", Forbidden(Unspecified), "1.0.0.0"),
        ("10.0.0.0", "10.255.255.255", Private(PrivateRange::Rfc1918), "11.0.0.0"),
        (
            "100.64.0.0",
            "100.127.255.255",
            Private(PrivateRange::SharedAddressSpace),
            "100.128.0.0",
        ),
        ("127.0.0.0", "127.255.255.255", Forbidden(Loopback), "128.0.0.0"),
        ("169.254.0.0", "169.254.255.255", Forbidden(LinkLocal), "169.255.0.0"),
        (
            "172.16.0.0",
            "172.31.255.255",
            Private(PrivateRange::Rfc1918),
            "172.32.0.0",
        ),
        ("192.0.0.0", "192.0.0.255", Forbidden(Protocol), "192.0.1.0"),
        ("192.0.2.0", "192.0.2.255", Forbidden(Documentation), "192.0.3.0"),
        ("192.88.99.0", "192.88.99.255", Forbidden(Protocol), "192.88.100.0"),
        (
            "192.168.0.0",
            "192.168.255.255",
            Private(PrivateRange::Rfc1918),
            "192.169.0.0",
        ),
        ("198.18.0.0", "198.19.255.255", Forbidden(Benchmarking), "198.20.0.0"),
        (
            "198.51.100.0",
            "198.51.100.255",
            Forbidden(Documentation),
            "198.51.101.0",
        ),
        ("203.0.113.0", "203.0.113.255", Forbidden(Documentation), "203.0.114.0"),
        ("224.0.0.0", "239.255.255.255", Forbidden(Multicast), "223.255.255.255"),
        ("240.0.0.0", "255.255.255.254", Forbidden(Reserved), "223.255.255.254"),
        ("255.255.255.255", "255.255.255.255", Forbidden(Broadcast), "9.9.9.9"),
        ("::", "::", Forbidden(Unspecified), "2600::"),
        ("::1", "::1", Forbidden(Loopback), "2600::1"),
        ("::2", "::ffff:ffff", Forbidden(EmbeddedIpv4), "2600::2"),
        ("64:ff9b::", "64:ff9b::ffff:ffff", Forbidden(EmbeddedIpv4), "2600::"),
        (
            "64:ff9b:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            Forbidden(EmbeddedIpv4),
            "2600::",
        ),
        ("100::", "100::ffff:ffff:ffff:ffff", Forbidden(Protocol), "2600::"),
        (
            "2001::",
            "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(EmbeddedIpv4),
            "2001:200::",
        ),
        (
            "2001:2::",
            "2001:2:0:ffff:ffff:ffff:ffff:ffff",
            Forbidden(Benchmarking),
            "2001:200::",
        ),
        (
            "2001:1::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(Protocol),
            "2001:200::",
        ),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(Documentation),
            "2001:db9::",
        ),
        (
            "2002::",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(EmbeddedIpv4),
            "2003::",
        ),
        (
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(Documentation),
            "3fff:1000::",
        ),
        ("4000::", "5eff::", Forbidden(Reserved), "3ffe::"),
        (
            "5f00::",
            "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(Protocol),
            "2600::",
        ),
        (
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Private(PrivateRange::UniqueLocal),
            "2600::",
        ),
        (
            "fe80::",
            "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(LinkLocal),
            "2600::",
        ),
        (
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(LinkLocal),
            "2600::",
        ),
        (
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Forbidden(Multicast),
            "2600::",
        ),
    ];

    #[test]
    fn every_range_is_known_by_its_first_and_last_address_and_left_right_outside() {
        for (first, last, expected, outside) in RANGES {
            assert_eq!(class(first), *expected, "{first}");
            assert_eq!(class(last), *expected, "{last}");
            assert_eq!(class(outside), AddressClass::Public, "{outside}");
        }
    }

    #[test]
    fn metadata_services_are_known_in_every_disguise() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "2001:0:102:304:0:0:5601:5601",
        ] {
            assert_eq!(class(text), Metadata, "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_judged_and_dialled_as_the_one_that_it_stands_for() {
        for (text, plain) in [
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::ffff:9.9.9.9", "9.9.9.9"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ] {
            let address = Address::of(text.parse().unwrap());
            assert_eq!(address, Address::of(plain.parse().unwrap()));
            assert_eq!(address.ip.to_string(), plain);
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "140.82.121.4",
            "2606:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert_eq!(class(text), AddressClass::Public, "{text}");
        }
    }

    #[test]
    fn what_the_networks_leave_is_public() {
        let closed: Vec<_> = not_public().collect();
        assert_eq!(closed.len(), IPV4.len() + IPV6.len(), "every range is a network");
        let unicast: Network = PUBLIC_IPV6.parse().unwrap();
        for ip in [
            "9.9.9.9",
            "11.0.0.1",
            "2606:4700::1111",
            "10.1.2.3",
            "198.19.0.1",
            "2002::1",
            "fd00::1",
            "4000::1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            let open = (ip.is_ipv4() || unicast.holds(ip)) && !closed.iter().any(|network| network.holds(ip));
            assert_eq!(open, Address::of(ip).class == AddressClass::Public, "{ip}");
        }
    }

    proptest! {
        #[test]
        fn no_public_address_lies_in_a_range_that_std_knows_as_special(bits: u32) {
            let ip = Ipv4Addr::from_bits(bits);
            if class_of_ipv4(ip) == AddressClass::Public {
                prop_assert!(!ip.is_private() && !ip.is_loopback() && !ip.is_link_local() && !ip.is_multicast());
                prop_assert!(!ip.is_unspecified() && !ip.is_broadcast() && !ip.is_documentation());
            }
        }

        #[test]
        fn no_public_address_lies_outside_of_unicast(bits: u128) {
            let ip = IpAddr::V6(Ipv6Addr::from_bits(bits));
            let unicast: Network = "2000::/3".parse().unwrap();
            if Address::of(ip).ip.is_ipv6() && Address::of(ip).class == AddressClass::Public {
                prop_assert!(unicast.holds(ip));
            }
        }
    }
}
