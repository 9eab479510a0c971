// SPDX-License-Identifier: Apache-2.0
//! Which addresses may be dialled.
//!
//! Pure: an address goes in, a [`Refusal`] or nothing comes out. The connector asks it for every address of every hop,
//! after resolution, so that names, literals and odd spellings of literals are all held by the same rule. Always
//! refused are link-local addresses and the metadata services of clouds, also when they are wrapped into an IPv6
//! address; private and loopback addresses are the usual home of a registry and are allowed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// The rule for addresses, with the operator's exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    allowed: Vec<Network>,
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `169.254.0.0/16` or `fe80::/10`.
    LinkLocal,
    /// The metadata or credential service of a cloud.
    CloudMetadata,
}

impl Egress {
    /// The rule with networks that the operator allows although they would be refused.
    pub fn allowing(networks: impl IntoIterator<Item = Network>) -> Self {
        Self {
            allowed: networks.into_iter().collect(),
        }
    }

    /// Answers whether an address may be dialled.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.allowed.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        match refusal(address) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }
}

impl Egress {
    /// Answers whether a proxy may be asked for a host: names are the proxy's to resolve, but what is written as an
    /// address, in whatever spelling, is held by the same rule as one that is dialled here.
    pub fn check_proxied(&self, host: &str) -> Result<(), Refusal> {
        literal(host).map_or(Ok(()), |address| self.check(address))
    }
}

/// The address that a host is written as, read as generously as any resolver reads it (`inet_aton`): decimal, octal and
/// hexadecimal parts, one to four of them, also with a dot behind.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split('%').next()?.trim_end_matches('.');
    if let Ok(address) = bare.parse() {
        return Some(address);
    }
    let parts: Vec<u64> = bare.split('.').map(number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    let width = 8 * (4_u32.checked_sub(u32::try_from(leading.len()).ok()?)?);
    if width == 0 || *last >= 1 << width || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let high = leading.iter().fold(0, |bits, part| bits << 8 | part);
    let bits = u32::try_from(high << width | last).ok()?;
    Some(Ipv4Addr::from_bits(bits).into())
}

fn number(part: &str) -> Option<u64> {
    let lower = part.to_ascii_lowercase();
    let (digits, radix) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (lower.as_str(), 10),
    };
    let is_number = digits.chars().all(|digit| digit.is_digit(radix));
    is_number
        .then(|| u64::from_str_radix(digits, radix).ok())
        .flatten()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LinkLocal => "a link-local address",
            Self::CloudMetadata => "the address of a cloud metadata service",
        })
    }
}

/// A network in CIDR form, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// A text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network, expected a form such as 169.254.169.254/32 or fd00:ec2::/32")]
pub struct NetworkError(String);

impl Network {
    /// Whether the address is inside. An IPv4-mapped IPv6 address counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => same_prefix(
                base.to_bits().into(),
                address.to_bits().into(),
                32,
                self.prefix,
            ),
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                same_prefix(base.to_bits(), address.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError(text.chars().take(140).collect());
        let (base, prefix) = text.split_once('/').unwrap_or((text, ""));
        let base: IpAddr = base.parse().map_err(|_| malformed())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            "" if !text.contains('/') => width,
            digits => digits.parse().map_err(|_| malformed())?,
        };
        if prefix > width {
            return Err(malformed());
        }
        Ok(Self { base, prefix })
    }
}

fn same_prefix(a: u128, b: u128, width: u8, prefix: u8) -> bool {
    let differing = (a ^ b).checked_shr(u32::from(width - prefix));
    prefix == 0 || differing == Some(0)
}

fn refusal(address: IpAddr) -> Option<Refusal> {
    match address {
        IpAddr::V4(v4) => refusal_v4(v4),
        IpAddr::V6(v6) => refusal_v6(v6).or_else(|| embedded_v4(v6).and_then(refusal_v4)),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<Refusal> {
    /// Alibaba Cloud, Azure's wire server, Oracle Cloud's classic address.
    const METADATA: [Ipv4Addr; 3] = [
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(168, 63, 129, 16),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    /// AWS, Azure, GCP and most others; then the credential services of ECS tasks and EKS pods.
    const LINK_LOCAL_METADATA: [Ipv4Addr; 3] = [
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(169, 254, 170, 2),
        Ipv4Addr::new(169, 254, 170, 23),
    ];
    if METADATA.contains(&address) || LINK_LOCAL_METADATA.contains(&address) {
        return Some(Refusal::CloudMetadata);
    }
    address.is_link_local().then_some(Refusal::LinkLocal)
}

fn refusal_v6(address: Ipv6Addr) -> Option<Refusal> {
    match address.segments() {
        // AWS keeps its instance, pod identity and time services in fd00:ec2::/32; GCP's is fd20:ce::254.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => {
            Some(Refusal::CloudMetadata)
        }
        _ => address
            .is_unicast_link_local()
            .then_some(Refusal::LinkLocal),
    }
}

/// The IPv4 address that a translator or tunnel would make of an IPv6 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // In order: mapped and compatible, translated (RFC 2765), NAT64 (RFC 6052), local NAT64 (RFC 8215).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x0064, 0xff9b, 1, _, _, _, high, low]
        // 6to4 (RFC 3056).
        | [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str) -> Result<(), Refusal> {
        Egress::default().check(address.parse().unwrap())
    }

    #[test]
    fn registries_at_home_may_be_dialled() {
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "::1",
            "fd12::1",
            "8.8.8.8",
            "2606:4700::1",
            "100.64.0.1",
            "::ffff:10.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
        ] {
            assert_eq!(check(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn link_local_and_metadata_addresses_are_refused_in_every_wrapping() {
        for address in [
            "169.254.0.1",
            "169.254.255.255",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.1.1",
        ] {
            assert_eq!(check(address), Err(Refusal::LinkLocal), "{address}");
        }
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert_eq!(check(address), Err(Refusal::CloudMetadata), "{address}");
        }
    }

    #[test]
    fn the_operator_may_list_what_is_refused() {
        let egress = Egress::allowing(["169.254.20.0/24".parse().unwrap()]);
        assert_eq!(egress.check("169.254.20.7".parse().unwrap()), Ok(()));
        assert_eq!(egress.check("::ffff:169.254.20.7".parse().unwrap()), Ok(()));
        assert!(egress.check("169.254.21.7".parse().unwrap()).is_err());
        assert!(egress.check("169.254.169.254".parse().unwrap()).is_err());
    }

    #[test]
    fn behind_a_proxy_every_spelling_of_an_address_is_checked_and_names_are_not() {
        let check = |host| Egress::default().check_proxied(host);
        for host in [
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "0xa9fea9fe",
            "0XA9FEA9FE",
            "0251.0376.0251.0376",
            "0xa9.0xfe.0xa9.0xfe",
            "169.254.43518",
            "169.16689662",
            "fe80::1",
            "fe80::1%eth0",
            "[::ffff:169.254.169.254]",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
        ] {
            assert!(check(host).is_err(), "{host}");
        }
        let huge = "1".repeat(1 << 20);
        for host in [
            "r.example",
            "169.254.169.254.example",
            "10.0.0.1",
            "1.2.3.4.5",
            "999999999999",
            "0xzz",
            "169.254.169.2540000000",
            "",
            ".",
            "-1",
            "+1",
            &huge,
        ] {
            assert_eq!(check(host), Ok(()), "{host:.30}");
        }
    }

    #[test]
    fn networks_are_parsed_strictly() {
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("1.2.3.4".parse().unwrap()));
        assert!(!all.contains("::2".parse().unwrap()));
        let one: Network = "fe80::1".parse().unwrap();
        assert!(
            one.contains("fe80::1".parse().unwrap()) && !one.contains("fe80::2".parse().unwrap())
        );
        let huge = "1".repeat(1 << 20);
        for bad in [
            "",
            "/",
            "1.2.3.4/",
            "1.2.3.4/33",
            "::/129",
            "1.2.3/8",
            "1.2.3.4/-1",
            "a/8",
            &huge,
        ] {
            let error = bad.parse::<Network>().unwrap_err().to_string();
            assert!(error.len() < 300, "{bad:.20}");
        }
    }
}
