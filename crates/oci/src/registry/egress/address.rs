// SPDX-License-Identifier: Apache-2.0
//! What kind of address an address is: a host of the internet, or one of those that are refused and why.
//!
//! Pure tables. Sources: the special-purpose registries of IANA (RFC 6890 and what was added since), and what cloud
//! providers document of their metadata services. The first row that holds an address says what it is.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::network::Network;

/// Why an address is not dialled, or a host not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The metadata or credential service of a cloud.
    CloudMetadata,
    /// `169.254.0.0/16` or `fe80::/10`.
    LinkLocal,
    /// `0.0.0.0`, `::`, multicast or broadcast. No registry is there; on Linux the unspecified address is loopback.
    NoHost,
    /// `127.0.0.0/8` or `::1`; refused by the strict rules only.
    Loopback,
    /// RFC 1918 or `fc00::/7`; refused by the strict rules only.
    Private,
    /// `100.64.0.0/10`; refused by the strict rules only.
    Shared,
    /// Reserved, documentation, benchmarking or tunnel addresses; refused by the strict rules only.
    Reserved,
    /// The host would be asked for through a proxy and is not listed; refused by the strict rules only.
    NotListed,
}

impl Refusal {
    /// All of them, for whoever counts.
    pub(super) const ALL: [Self; 8] = [
        Self::CloudMetadata,
        Self::LinkLocal,
        Self::NoHost,
        Self::Loopback,
        Self::Private,
        Self::Shared,
        Self::Reserved,
        Self::NotListed,
    ];

    /// The name, for a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloudMetadata => "cloud_metadata",
            Self::LinkLocal => "link_local",
            Self::NoHost => "no_host",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Reserved => "reserved",
            Self::NotListed => "not_listed",
        }
    }

    /// Whether it stands without the strict rules.
    pub(super) const fn is_always(self) -> bool {
        matches!(self, Self::CloudMetadata | Self::LinkLocal | Self::NoHost)
    }

    /// What Flux calls internal when it follows redirects, with what is always refused.
    pub(super) const fn is_internal(self) -> bool {
        self.is_always() || matches!(self, Self::Loopback | Self::Private)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CloudMetadata => "the address of a cloud metadata service",
            Self::LinkLocal => "a link-local address",
            Self::NoHost => "not the address of a host",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "an address shared by a provider's customers",
            Self::Reserved => "a reserved address",
            Self::NotListed => "not among the hosts that may be asked for through a proxy",
        })
    }
}

/// A range of addresses that are refused.
pub(super) struct Range {
    pub(super) network: Network,
    pub(super) refusal: Refusal,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8, refusal: Refusal) -> Range {
    let network = Network::v4(a, b, c, d, prefix);
    Range { network, refusal }
}

const fn v6(segments: [u16; 8], prefix: u8, refusal: Refusal) -> Range {
    let network = Network::v6(segments, prefix);
    Range { network, refusal }
}

const V4: &[Range] = &[
    // AWS, Azure, GCP and most others; the credential services of ECS tasks and EKS pods; Scaleway; Tencent Cloud.
    v4(169, 254, 169, 254, 32, Refusal::CloudMetadata),
    v4(169, 254, 170, 2, 32, Refusal::CloudMetadata),
    v4(169, 254, 170, 23, 32, Refusal::CloudMetadata),
    v4(169, 254, 42, 42, 32, Refusal::CloudMetadata),
    v4(169, 254, 0, 23, 32, Refusal::CloudMetadata),
    // Alibaba Cloud, Volcano Engine, Azure's wire server, Oracle Cloud's classic address.
    v4(100, 100, 100, 200, 32, Refusal::CloudMetadata),
    v4(100, 96, 0, 96, 32, Refusal::CloudMetadata),
    v4(168, 63, 129, 16, 32, Refusal::CloudMetadata),
    v4(192, 0, 0, 192, 32, Refusal::CloudMetadata),
    v4(169, 254, 0, 0, 16, Refusal::LinkLocal),
    v4(0, 0, 0, 0, 32, Refusal::NoHost),
    v4(224, 0, 0, 0, 4, Refusal::NoHost),
    v4(255, 255, 255, 255, 32, Refusal::NoHost),
    v4(127, 0, 0, 0, 8, Refusal::Loopback),
    v4(10, 0, 0, 0, 8, Refusal::Private),
    v4(172, 16, 0, 0, 12, Refusal::Private),
    v4(192, 168, 0, 0, 16, Refusal::Private),
    v4(100, 64, 0, 0, 10, Refusal::Shared),
    v4(0, 0, 0, 0, 8, Refusal::Reserved),
    v4(192, 0, 0, 0, 24, Refusal::Reserved),
    v4(192, 88, 99, 0, 24, Refusal::Reserved),
    v4(198, 18, 0, 0, 15, Refusal::Reserved),
    // Documentation.
    v4(192, 0, 2, 0, 24, Refusal::Reserved),
    v4(198, 51, 100, 0, 24, Refusal::Reserved),
    v4(203, 0, 113, 0, 24, Refusal::Reserved),
    v4(240, 0, 0, 0, 4, Refusal::Reserved),
];

const V6: &[Range] = &[
    // AWS keeps its instance, pod identity and time services in this network; then GCP, Oracle Cloud, Scaleway, Akamai
    // and Alibaba Cloud.
    v6(
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0],
        32,
        Refusal::CloudMetadata,
    ),
    v6(
        [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254],
        128,
        Refusal::CloudMetadata,
    ),
    v6(
        [0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe],
        128,
        Refusal::CloudMetadata,
    ),
    v6(
        [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042],
        128,
        Refusal::CloudMetadata,
    ),
    v6(
        [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1],
        128,
        Refusal::CloudMetadata,
    ),
    v6(
        [0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200],
        128,
        Refusal::CloudMetadata,
    ),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Refusal::LinkLocal),
    v6([0; 8], 128, Refusal::NoHost),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Refusal::NoHost),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Refusal::Loopback),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Refusal::Private),
    // Teredo and other protocol assignments, documentation twice, 6to4: what in 2000::/3 is no host of its own.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Refusal::Reserved),
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32, Refusal::Reserved),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Refusal::Reserved),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Refusal::Reserved),
    // Everything else but 2000::/3, the only part that is given out to hosts.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 3, Refusal::Reserved),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, Refusal::Reserved),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, Refusal::Reserved),
];

/// The range that says what an address is; nothing for a host of the internet.
pub(super) fn range_of(address: IpAddr) -> Option<&'static Range> {
    let find =
        |ranges: &'static [Range]| ranges.iter().find(|range| range.network.contains(address));
    match address {
        IpAddr::V4(_) => find(V4),
        IpAddr::V6(_) => find(V6),
    }
}

/// The address that is reached by dialling this one: the IPv4 address behind the mapped form and behind the prefix that
/// every NAT64 knows (RFC 6052).
pub(super) fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => from_halves(high, low).into(),
            _ => v6.into(),
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The IPv4 addresses that other translators and tunnels would make of an IPv6 address, should there be one on the way.
pub(super) fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let segments = address.segments();
    let mut found = match segments {
        // Compatible, translated (RFC 2765), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0x2002, high, low, ..] => {
            vec![from_halves(high, low)]
        }
        [0x0064, 0xff9b, 1, ..] => local_nat64(address),
        // Teredo, whose client is written inverted (RFC 4380).
        [0x2001, 0, server, server_low, _, _, high, low] => {
            vec![from_halves(server, server_low), from_halves(!high, !low)]
        }
        _ => Vec::new(),
    };
    // ISATAP (RFC 5214), in any network.
    if let [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] = segments {
        found.push(from_halves(high, low));
    }
    // Zeroes of something else: no translator leads into 0.0.0.0/8.
    found.retain(|v4| v4.octets()[0] != 0);
    found
}

/// `64:ff9b:1::/48` (RFC 8215) holds the address at a place that its own prefix length decides (RFC 6052, 2.2), which
/// cannot be seen: all of them.
fn local_nat64(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let octets = address.octets();
    // Octet 8 is skipped by every length but 96.
    [
        [6, 7, 9, 10],
        [7, 9, 10, 11],
        [9, 10, 11, 12],
        [12, 13, 14, 15],
    ]
    .map(|places| Ipv4Addr::from(places.map(|place: usize| octets[place])))
    .to_vec()
}

fn from_halves(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(address: &str) -> Option<Refusal> {
        range_of(reached(address.parse().unwrap())).map(|range| range.refusal)
    }

    #[test]
    fn hosts_of_the_internet_are_in_no_range() {
        for address in [
            "8.8.8.8",
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1",
            "2001:200::1",
            "2a00::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(what(address), None, "{address}");
        }
    }

    #[test]
    fn every_special_range_is_known_at_both_ends() {
        use Refusal::{Loopback, NoHost, Private, Reserved, Shared};
        for (refusal, addresses) in [
            (
                NoHost,
                ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1"],
            ),
            (
                Loopback,
                [
                    "127.0.0.0",
                    "127.255.255.255",
                    "::1",
                    "::ffff:127.0.0.1",
                    "64:ff9b::7f00:1",
                ],
            ),
            (
                Private,
                [
                    "10.0.0.0",
                    "172.31.255.255",
                    "192.168.255.255",
                    "fc00::1",
                    "fdff::1",
                ],
            ),
            (
                Shared,
                [
                    "100.64.0.0",
                    "100.127.255.255",
                    "100.99.0.1",
                    "::ffff:100.64.0.1",
                    "64:ff9b::6440:1",
                ],
            ),
            (
                Reserved,
                [
                    "0.0.0.1",
                    "198.19.255.255",
                    "203.0.113.9",
                    "2001:db8::1",
                    "2002:808:808::1",
                ],
            ),
            (
                Reserved,
                ["240.0.0.1", "192.0.0.1", "2001::1", "fec0::1", "4000::1"],
            ),
            (
                Reserved,
                [
                    "192.0.2.1",
                    "198.51.100.1",
                    "192.88.99.1",
                    "3fff::1",
                    "::8.8.8.8",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(what(address), Some(refusal), "{address}");
            }
        }
    }

    #[test]
    fn tunnels_and_translators_are_seen_through() {
        for address in [
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:0a9:fe:a9fe::",
            "64:ff9b:1::a9:fea9:fe00:0",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "2001:0:808:808:0:0:5601:5601",
            "2a00:1::5efe:a9fe:a9fe",
            "2a00:1::200:5efe:a9fe:a9fe",
        ] {
            let found = embedded(address.parse().unwrap());
            assert!(
                found.contains(&Ipv4Addr::new(169, 254, 169, 254)),
                "{address}: {found:?}"
            );
        }
        for address in ["::1", "2a00::1", "fe80::1"] {
            assert!(embedded(address.parse().unwrap()).is_empty(), "{address}");
        }
    }

    #[test]
    fn labels_are_a_fixed_set_of_different_words() {
        let words: std::collections::BTreeSet<_> = Refusal::ALL.map(Refusal::as_str).into();
        assert_eq!(words.len(), Refusal::ALL.len());
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place);
        }
    }
}
