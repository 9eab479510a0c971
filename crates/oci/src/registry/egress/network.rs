// SPDX-License-Identifier: Apache-2.0
//! Networks in CIDR form, as an operator writes them and as the tables of [`super::address`] hold them.
//!
//! Pure: a text goes in, a [`Network`] comes out.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A network in CIDR form, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// A text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a network, expected a form such as 10.20.0.0/16, 169.254.169.254 or fd00:ec2::/32"
)]
pub struct NetworkError(String);

impl Network {
    pub(super) const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self {
            base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    pub(super) const fn v6(segments: [u16; 8], prefix: u8) -> Self {
        Self {
            base: IpAddr::V6(Ipv6Addr::from_segments(segments)),
            prefix,
        }
    }

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

    /// Whether all of this network is inside the other one.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.prefix >= other.prefix && other.contains(self.base)
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
            // The number parser takes a sign as well.
            digits if digits.starts_with('+') => return Err(malformed()),
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

#[cfg(test)]
mod tests {
    use super::*;

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
            "1.2.3.4/+8",
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

    #[test]
    fn a_network_is_within_itself_and_wider_ones() {
        let is_within = |a: &str, b: &str| {
            let (a, b): (Network, Network) = (a.parse().unwrap(), b.parse().unwrap());
            a.is_within(&b)
        };
        assert!(is_within("10.1.0.0/16", "10.0.0.0/8"));
        assert!(is_within("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!is_within("10.0.0.0/8", "10.1.0.0/16"));
        assert!(!is_within("11.0.0.0/16", "10.0.0.0/8"));
        assert!(!is_within("fd00::/8", "10.0.0.0/8"));
    }
}
