// SPDX-License-Identifier: Apache-2.0
//! Hosts that are addresses without a look-up, in every spelling that the system's resolver takes.
//!
//! Needed where nobody resolves for us: what a redirect names, and what a proxy is asked for. What is dialled is checked
//! as an address, after resolution, and needs none of this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a host is written as. Names of loopback (RFC 6761) count as the address that they always mean.
///
/// Taken are what `getaddrinfo` takes: one to four numbers with dots, each decimal, octal or hexadecimal, and IPv6 with a
/// zone, with brackets or without. Dots at the end do not make
/// another host of it.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split('%').next().unwrap_or(bare);
    let bare = bare.trim_end_matches('.');
    if is_localhost(bare) {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    match bare.parse::<Ipv6Addr>() {
        Ok(address) => Some(address.into()),
        Err(_) => numbers(bare).map(IpAddr::V4),
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The forms of `inet_aton`: the last number fills all the bytes that are left.
fn numbers(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let left = 32 - 8 * leading.len();
    if u64::from(*last) >> left != 0 {
        return None;
    }
    let high = leading
        .iter()
        .zip([24, 16, 8])
        .map(|(part, shift)| part << shift);
    Some(Ipv4Addr::from_bits(high.sum::<u32>() | last))
}

fn number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some("") => return Some(0),
        Some(hex) => (hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    let is_plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    is_plain
        .then(|| u32::from_str_radix(digits, radix).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_seen_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "169.254.169.254.",
            "169.254.169.254..",
            "2852039166",
            "0xa9fea9fe",
            "0XA9FEA9FE",
            "025177524776",
            "0251.0376.0251.0376",
            "0xa9.0xfe.0xa9.0xfe",
            "169.0xfe.0251.254",
            "169.254.43518",
            "169.16689662",
            "0000000000251.254.169.254",
        ] {
            let found = literal(host);
            assert_eq!(
                found,
                Some(Ipv4Addr::new(169, 254, 169, 254).into()),
                "{host}"
            );
        }
        for host in ["[fe80::1]", "fe80::1", "[fe80::1%25eth0]", "[FE80:0::1%lo]"] {
            assert_eq!(literal(host), "fe80::1".parse().ok(), "{host}");
        }
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.1",
            "0x7f.1",
            "2130706433",
            "017700000001",
        ] {
            assert_eq!(literal(host), Some(Ipv4Addr::LOCALHOST.into()), "{host}");
        }
        assert_eq!(literal("0"), Some(Ipv4Addr::UNSPECIFIED.into()));
        assert_eq!(literal("0x"), Some(Ipv4Addr::UNSPECIFIED.into()));
    }

    #[test]
    fn what_is_no_address_is_a_name() {
        let long = "1.".repeat(1 << 16);
        for host in [
            "",
            ".",
            "ghcr.io",
            "localhost.example",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "1.2.65536",
            "4294967296",
            "08.1.1.1",
            "1..2",
            "0xg",
            "-1",
            "+1",
            "1.2.3.4.example",
            &long,
        ] {
            assert_eq!(literal(host), None, "{host:.40}");
        }
    }
}
