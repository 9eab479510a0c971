// SPDX-License-Identifier: Apache-2.0
//! Which token services belong to a registry under the strict rules.
//!
//! Pure: two origins and the operator's pairs go in, yes or no comes out. A realm is what the registry says, so only its
//! own host is taken at its word (threat: a registry that names a thief as its token service).

use std::str::FromStr;

use crate::registry::origin::Origin;

/// Registries whose token service is known to stand on another host.
const KNOWN: [(&str, &str); 4] = [
    ("docker.io", "auth.docker.io"),
    ("index.docker.io", "auth.docker.io"),
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// A registry and the token service that may have its credentials, on another host or port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmPair {
    registry: Place,
    realm: Place,
}

/// A text is not such a pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a registry and its token service, expected a form such as registry.example=auth.example or \
     registry.example:5000=auth.example:8443"
)]
pub struct RealmPairError(String);

/// A host, and the port if it is not that of the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: Box<str>,
    port: Option<u16>,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            Some(digits) => Some(digits.parse().ok().filter(|port| *port != 0)?),
            None => None,
        };
        let is_literal = host.strip_prefix('[').is_some_and(|host| {
            host.strip_suffix(']')
                .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
        });
        (is_literal || is_host(host)).then(|| Self {
            host: host.to_ascii_lowercase().into(),
            port,
        })
    }

    fn is(&self, origin: &Origin) -> bool {
        let port = self.port.unwrap_or_else(|| origin.scheme.default_port());
        *self.host == *origin.host && port == origin.port
    }
}

impl FromStr for RealmPair {
    type Err = RealmPairError;

    fn from_str(text: &str) -> Result<Self, RealmPairError> {
        text.split_once('=')
            .and_then(|(registry, realm)| {
                let (registry, realm) = (Place::parse(registry)?, Place::parse(realm)?);
                Some(Self { registry, realm })
            })
            .ok_or_else(|| RealmPairError(text.chars().take(140).collect()))
    }
}

/// Whether the token service is the registry's: the same host and port, where the default ports of the two schemes count
/// as one, so that a registry in plain HTTP may name its better self.
pub(super) fn is_own(registry: &Origin, realm: &Origin) -> bool {
    let is_default = |origin: &Origin| origin.port == origin.scheme.default_port();
    let is_same_port = registry.port == realm.port || (is_default(registry) && is_default(realm));
    registry.host == realm.host && is_same_port
}

/// Whether the pair is known or listed.
pub(super) fn is_listed(pairs: &[RealmPair], registry: &Origin, realm: &Origin) -> bool {
    let is_default = |origin: &Origin| origin.port == origin.scheme.default_port();
    let is_known = KNOWN.contains(&(&*registry.host, &*realm.host));
    (is_known && is_default(registry) && is_default(realm))
        || pairs
            .iter()
            .any(|pair| pair.registry.is(registry) && pair.realm.is(realm))
}

/// A host name as in a URL: letters, digits, hyphens and underscores between dots.
pub(super) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::origin::Link;

    fn origin(url: &str) -> Origin {
        Link::parse(url).unwrap().origin
    }

    #[test]
    fn a_token_service_of_its_own_has_the_host_and_the_port() {
        let registry = origin("https://r.example");
        assert!(is_own(&registry, &origin("https://R.example:443/token")));
        assert!(is_own(&origin("http://r.example"), &registry));
        for other in [
            "https://r.example:8443",
            "https://auth.r.example",
            "https://r.example.evil.example",
        ] {
            assert!(!is_own(&registry, &origin(other)), "{other}");
        }
        assert!(!is_own(&origin("http://r.example:5000"), &registry));
    }

    #[test]
    fn known_pairs_hold_for_the_ports_that_they_are_known_for() {
        let hub = origin("https://index.docker.io");
        assert!(is_listed(
            &[],
            &hub,
            &origin("https://auth.docker.io/token")
        ));
        for (registry, realm) in [
            ("https://index.docker.io", "https://auth.docker.io:8443"),
            ("https://index.docker.io:444", "https://auth.docker.io"),
            ("https://evil.example", "https://auth.docker.io"),
            ("https://index.docker.io", "https://gitlab.com"),
        ] {
            assert!(
                !is_listed(&[], &origin(registry), &origin(realm)),
                "{registry} {realm}"
            );
        }
    }

    #[test]
    fn a_listed_pair_is_exactly_that() {
        let pairs = [
            "R.example:5000=auth.example".parse().unwrap(),
            "[::1]=[::2]:8".parse().unwrap(),
        ];
        let holds = |registry, realm| is_listed(&pairs, &origin(registry), &origin(realm));
        assert!(holds("https://r.example:5000", "https://auth.example/t"));
        assert!(holds("https://[::1]", "https://[::2]:8"));
        assert!(!holds("https://r.example", "https://auth.example"));
        assert!(!holds(
            "https://r.example:5000",
            "https://auth.example:8443"
        ));
        assert!(!holds("https://auth.example", "https://r.example:5000"));
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        let huge = "a".repeat(1 << 20);
        for bad in [
            "",
            "=",
            "a",
            "a=",
            "=b",
            "a=b=c",
            "https://a=b",
            "a/b=c",
            "a:0=b",
            "a:x=b",
            "a:99999=b",
            "*.a=b",
            "a b=c",
            "[::1=b",
            "[x]=b",
            "u@a=b",
            "a..b=c",
            &huge,
        ] {
            let error = bad.parse::<RealmPair>().unwrap_err().to_string();
            assert!(error.len() < 400, "{bad:.20}");
        }
    }
}
