// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::registry::origin::Link;

fn origin(url: &str) -> Origin {
    Link::parse(url).unwrap().origin
}

fn strict() -> Egress {
    Egress::strict(StrictEgress::default())
}

fn allowing(rules: Egress, network: &str) -> Egress {
    rules.allowing([network.parse().unwrap()])
}

fn verdict(rules: &Egress, address: &str) -> Result<(), Refusal> {
    rules.check(address.parse().unwrap())
}

#[test]
fn registries_at_home_may_be_dialled_unless_the_rules_are_strict() {
    for (address, refusal) in [
        ("127.0.0.1", Refusal::Loopback),
        ("::1", Refusal::Loopback),
        ("::ffff:127.0.0.1", Refusal::Loopback),
        ("10.0.0.1", Refusal::Private),
        ("192.168.1.1", Refusal::Private),
        ("172.16.0.1", Refusal::Private),
        ("fd12::1", Refusal::Private),
        ("::ffff:10.0.0.1", Refusal::Private),
        ("64:ff9b::a00:1", Refusal::Private),
        ("100.64.0.1", Refusal::Shared),
        ("203.0.113.1", Refusal::Reserved),
        ("2001:db8::1", Refusal::Reserved),
        ("2002:808:808::1", Refusal::Reserved),
    ] {
        assert_eq!(verdict(&Egress::default(), address), Ok(()), "{address}");
        assert_eq!(verdict(&strict(), address), Err(refusal), "{address}");
    }
}

#[test]
fn hosts_of_the_internet_may_always_be_dialled() {
    for address in [
        "8.8.8.8",
        "2606:4700::1",
        "169.253.255.255",
        "169.255.0.0",
        "64:ff9b::8.8.8.8",
    ] {
        assert_eq!(verdict(&Egress::default(), address), Ok(()), "{address}");
        assert_eq!(verdict(&strict(), address), Ok(()), "{address}");
    }
}

#[test]
fn link_local_and_metadata_addresses_are_always_refused_in_every_wrapping() {
    for (refusal, addresses) in [
        (
            Refusal::LinkLocal,
            &[
                "169.254.0.1",
                "169.254.255.255",
                "fe80::1",
                "febf::1",
                "fe80::a9fe:a9fe",
                "::ffff:169.254.1.1",
            ][..],
        ),
        (
            Refusal::NoHost,
            &[
                "0.0.0.0",
                "::",
                "::ffff:0.0.0.0",
                "224.0.0.1",
                "ff02::1",
                "255.255.255.255",
            ],
        ),
        (
            Refusal::CloudMetadata,
            &[
                "169.254.169.254",
                "169.254.170.2",
                "169.254.170.23",
                "169.254.42.42",
                "169.254.0.23",
                "100.100.100.200",
                "100.96.0.96",
                "168.63.129.16",
                "192.0.0.192",
                "fd00:ec2::254",
                "fd00:ec2::23",
                "fd20:ce::254",
                "fd00:c1::a9fe:a9fe",
                "fd00:42::42",
                "fd00:a9fe:a9fe::1",
                "fd00:100::100:200",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b::6464:64c8",
            ],
        ),
    ] {
        for address in addresses {
            assert_eq!(
                verdict(&Egress::default(), address),
                Err(refusal),
                "{address}"
            );
            assert_eq!(verdict(&strict(), address), Err(refusal), "{address}");
        }
    }
    for wrapped in [
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:808:808:0:0:5601:5601",
        "2a00::5efe:a9fe:a9fe",
    ] {
        assert_eq!(
            verdict(&Egress::default(), wrapped),
            Err(Refusal::CloudMetadata),
            "{wrapped}"
        );
        assert!(verdict(&strict(), wrapped).is_err(), "{wrapped}");
    }
}

#[test]
fn the_operator_may_list_what_is_refused() {
    let rules = allowing(Egress::default(), "169.254.20.0/24");
    for (address, is_allowed) in [
        ("169.254.20.7", true),
        ("::ffff:169.254.20.7", true),
        ("169.254.21.7", false),
        ("169.254.169.254", false),
    ] {
        assert_eq!(verdict(&rules, address).is_ok(), is_allowed, "{address}");
    }
    let rules = allowing(strict(), "10.20.0.0/16");
    assert!(verdict(&rules, "10.20.3.4").is_ok() && verdict(&rules, "10.21.0.1").is_err());
    assert!(verdict(&rules, "64:ff9b::a14:304").is_ok());
    assert!(verdict(&allowing(strict(), "::1"), "::1").is_ok());
}

#[test]
fn a_wide_network_does_not_open_what_lies_in_it() {
    for (network, address) in [
        ("0.0.0.0/0", "169.254.169.254"),
        ("0.0.0.0/0", "169.254.1.1"),
        ("169.254.0.0/16", "169.254.169.254"),
        ("100.64.0.0/10", "100.100.100.200"),
        ("fd00::/8", "fd00:ec2::254"),
        ("::/0", "fe80::1"),
        ("::/0", "::ffff:169.254.169.254"),
        ("64:ff9b:1::/48", "64:ff9b:1::a9fe:a9fe"),
        ("2002::/16", "2002:a9fe:a9fe::1"),
        ("0.0.0.0", "0.0.0.0"),
    ] {
        for rules in [Egress::default(), strict()] {
            assert!(
                verdict(&allowing(rules, network), address).is_err(),
                "{network} {address}"
            );
        }
    }
    for (network, address) in [
        ("169.254.169.254", "169.254.169.254"),
        ("169.254.0.0/16", "169.254.1.1"),
        ("100.100.100.200/32", "100.100.100.200"),
        ("fd00:ec2::254", "fd00:ec2::254"),
        ("fd00:ec2::/32", "fd00:ec2::23"),
    ] {
        for rules in [Egress::default(), strict()] {
            assert_eq!(
                verdict(&allowing(rules, network), address),
                Ok(()),
                "{network} {address}"
            );
        }
    }
}

#[test]
fn redirects_lead_to_no_internal_address_that_is_written_as_such() {
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "a.localhost.",
        "10.0.0.1",
        "[::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "[fe80::1%25lo]",
        "169.254.169.254",
        "0.0.0.0",
        "0",
    ] {
        assert!(Egress::default().check_redirect(host).is_err(), "{host}");
        assert!(strict().check_redirect(host).is_err(), "{host}");
    }
    for host in [
        "8.8.8.8",
        "cdn.example",
        "10.0.0.1.example",
        "[2606:4700::1]",
    ] {
        assert_eq!(strict().check_redirect(host), Ok(()), "{host}");
    }
    assert_eq!(Egress::default().check_redirect("100.64.0.1"), Ok(()));
    let rules = allowing(Egress::default(), "10.0.0.0/8");
    assert_eq!(rules.check_redirect("10.1.2.3"), Ok(()));
}

#[test]
fn behind_a_proxy_names_pass_and_refused_addresses_do_not() {
    let rules = Egress::default();
    for host in ["ghcr.io", "10.0.0.1", "localhost", "[fd12::1]", "8.8.8.8"] {
        assert_eq!(rules.check_proxied(host), Ok(()), "{host}");
    }
    for host in [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:a9fe:a9fe]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0.0.0.0",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
    ] {
        assert!(rules.check_proxied(host).is_err(), "{host}");
    }
}

#[test]
fn behind_a_proxy_the_strict_rules_want_a_list() {
    let listed = StrictEgress {
        proxied: vec!["ghcr.io".parse().unwrap(), "*.example.com".parse().unwrap()],
        ..StrictEgress::default()
    };
    let rules = allowing(Egress::strict(listed), "10.0.0.0/8");
    for host in [
        "ghcr.io",
        "GHCR.io",
        "ghcr.io.",
        "a.example.com",
        "a.b.example.com",
        "10.1.1.1",
    ] {
        assert_eq!(rules.check_proxied(host), Ok(()), "{host}");
    }
    for host in [
        "evil-ghcr.io",
        "ghcr.io.evil.example",
        "example.com",
        ".example.com",
        "8.8.8.8",
        "a%2eexample.com",
    ] {
        assert_eq!(rules.check_proxied(host), Err(Refusal::NotListed), "{host}");
    }
    assert_eq!(
        rules.check_proxied("169.254.169.254"),
        Err(Refusal::CloudMetadata)
    );
    assert_eq!(rules.check_proxied("127.0.0.1"), Err(Refusal::Loopback));
}

#[test]
fn only_the_strict_rules_doubt_a_token_service() {
    let (registry, other) = (origin("https://r.example"), origin("https://auth.example"));
    assert!(Egress::default().trusts_realm(&registry, &other));
    assert!(!strict().trusts_realm(&registry, &other));
    assert!(strict().trusts_realm(&registry, &origin("https://r.example/token")));
    let listed = StrictEgress {
        realms: vec!["r.example=auth.example".parse().unwrap()],
        ..StrictEgress::default()
    };
    let rules = Egress::strict(listed);
    assert!(rules.trusts_realm(&registry, &other));
    assert!(!rules.trusts_realm(&registry, &origin("http://auth.example")));
    assert!(!strict().trusts_realm(&origin("http://r.example"), &origin("http://r.example")));
}

#[test]
fn what_is_no_host_pattern_is_refused() {
    let huge = "a".repeat(1 << 20);
    for bad in [
        "",
        "*",
        "*.",
        "*.com",
        "a:80",
        "https://a",
        "a/b",
        "**.a.b",
        "a.*.b",
        "a b",
        ".a",
        "a.",
        &huge,
    ] {
        assert!(bad.parse::<HostPattern>().is_err(), "{bad:.20}");
    }
    assert_eq!(
        "*.Example.com".parse::<HostPattern>().unwrap().to_string(),
        "*.example.com"
    );
}

#[test]
fn a_local_translator_that_is_listed_reaches_the_internet_and_no_metadata() {
    let rules = allowing(strict(), "64:ff9b:1::/48");
    assert_eq!(verdict(&rules, "64:ff9b:1::808:808"), Ok(()));
    assert_eq!(verdict(&Egress::default(), "64:ff9b:1::808:808"), Ok(()));
    assert!(verdict(&rules, "64:ff9b:1::a00:1").is_err());
}
