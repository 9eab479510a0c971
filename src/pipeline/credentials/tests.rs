// SPDX-License-Identifier: Apache-2.0

use wharf_test_support::tls::{Authority, LOCAL};

use super::*;
use crate::pipeline::error::chain;

type Entries<'a> = &'a [(&'a str, &'a [u8])];

fn secret(entries: Entries<'_>) -> Secret {
    let entries = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_vec()));
    Secret {
        kind: "Opaque".to_owned(),
        data: entries.collect(),
    }
}

/// The message of the condition.
fn told<T: std::fmt::Debug>(result: Result<T, StageError>) -> (Stage, String) {
    let error = result.unwrap_err();
    let stage = error.stage;
    let failure = error.into_failure("oci://r.example/app", None);
    assert_eq!(failure.reason, "AuthenticationFailed");
    (stage, failure.message)
}

#[test]
fn a_proxy_is_read_with_its_name_and_password() {
    let full: Entries<'_> = &[
        ("address", b"http://proxy.example:3128"),
        ("username", b"robot"),
        ("password", b"canary"),
    ];
    for count in 1..=3 {
        let proxy = proxy(&secret(&full[..count]), "secret apps/proxy").unwrap();
        assert_eq!(proxy.to_string(), "http://proxy.example:3128");
        assert!(!format!("{proxy:?}").contains("canary"));
    }
}

#[test]
fn a_secret_without_a_usable_proxy_is_told_without_its_content() {
    let long = format!("http://canary.example/{}", "a".repeat(2048));
    let huge = vec![b'a'; 1 << 20];
    let cases: [(Entries<'_>, &str); 9] = [
        (&[], "has the keys [], it wants 'address'"),
        (&[("Address", b"http://canary")], "has the keys [Address]"),
        (&[("address", b"")], "it wants 'address'"),
        (&[("address", b"canary")], "not a URL of the form"),
        (
            &[("address", b"ftp://canary")],
            "expected http, https or socks5",
        ),
        (&[("address", b"\xff\xfecanary")], "'address' is not text"),
        (&[("address", long.as_bytes())], "longer than 2048"),
        (&[("address", &huge)], "longer than 2048"),
        (
            &[("address", b"http://p"), ("username", b"canary\n")],
            "cannot be sent",
        ),
    ];
    for (entries, words) in cases {
        let (stage, text) = told(proxy(&secret(entries), "secret apps/proxy"));
        assert_eq!(stage, Stage::Proxy);
        assert!(
            text.starts_with("failed to get proxy address: secret apps/proxy"),
            "{text}"
        );
        assert!(text.contains(words), "{words}: {text}");
        assert!(!text.contains("canary") && text.len() < 400, "{text}");
    }
}

#[test]
fn trust_is_read_from_new_keys_and_old_ones() {
    let authority = Authority::new("Test CA");
    let leaf = authority.leaf(LOCAL);
    let (ca, certificate, key) = (
        authority.pem().as_bytes(),
        leaf.certificate_pem().as_bytes(),
        leaf.key_pem().as_bytes(),
    );
    let cases: [Entries<'_>; 6] = [
        &[("ca.crt", ca)],
        &[("caFile", ca)],
        &[("ca.crt", ca), ("caFile", b"garbage")],
        &[("tls.crt", certificate), ("tls.key", key)],
        &[("certFile", certificate), ("tls.key", key), ("caFile", ca)],
        // The type kubernetes.io/tls demands both keys, so that people leave them empty.
        &[("ca.crt", ca), ("tls.crt", b""), ("tls.key", b"")],
    ];
    for entries in cases {
        let read = tls_material(&secret(entries), "secret apps/ca");
        assert!(read.is_ok(), "{:?}", read.map_err(|error| chain(&error)));
    }
}

#[test]
fn trust_that_is_missing_or_broken_is_told_with_the_keys() {
    let leaf = Authority::new("Test CA").leaf(LOCAL);
    let (certificate, key) = (leaf.certificate_pem().as_bytes(), leaf.key_pem().as_bytes());
    let huge = b"-----BEGIN CERTIFICATE-----\n".repeat(50_000);
    let many: Vec<String> = (0..30).map(|number| format!("key-{number:02}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|key| (key.as_str(), &b"x"[..])).collect();
    let cases: [(Entries<'_>, &str); 9] = [
        (
            &[("registry.crt", certificate)],
            "has the keys [registry.crt], it wants 'ca.crt'",
        ),
        (&[], "has the keys [], it wants 'ca.crt'"),
        (&many, "key-09, ...], it wants 'ca.crt'"),
        (&[("tls.crt", certificate)], "it wants 'tls.key'"),
        (&[("keyFile", key)], "it wants 'tls.crt'"),
        (&[("ca.crt", b"canary")], "failed to parse CA certificate"),
        (&[("ca.crt", &huge)], "larger than 1048576 bytes"),
        (
            &[("tls.crt", certificate), ("tls.key", b"canary")],
            "failed to parse TLS certificate and key",
        ),
        (
            &[("tls.crt", b"canary"), ("tls.key", key)],
            "the certificate is not usable PEM",
        ),
    ];
    for (entries, words) in cases {
        let (stage, text) = told(tls_material(&secret(entries), "secret apps/ca"));
        assert_eq!(stage, Stage::Transport);
        assert!(
            text.contains(words) && text.contains("secret apps/ca"),
            "{words}: {text}"
        );
        assert!(!text.contains("canary") && text.len() < 500, "{text}");
    }
}
