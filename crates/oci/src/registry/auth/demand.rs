// SPDX-License-Identifier: Apache-2.0
//! What must be done to meet a challenge.
//!
//! Pure: the challenges of an answer and the credentials that there are go in; a [`Demand`] comes out, in which the realm
//! is an absolute URL that was judged, or the reason why the challenge cannot be met.

use crate::registry::{
    origin::{Link, Scheme},
    problem::{Problem, clean},
};

use super::{Credentials, challenge::Challenges};

/// How to get what the registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// The credentials say it all: a name and password, or a token that is taken as it is.
    Show,
    /// This service gives a token.
    Token(Service),
}

/// A token service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) realm: Realm,
    /// What it calls the registry.
    pub(crate) name: Option<String>,
}

/// Where a token service is, and what it may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) link: Link,
    /// Without, a token is asked for as nobody in particular.
    pub(crate) with_credentials: bool,
}

impl Demand {
    /// `registry` is the URL whose answer holds the challenges. A token is preferred to a password.
    pub(crate) fn of(
        challenges: &Challenges,
        registry: &Link,
        credentials: &Credentials,
    ) -> Result<Self, Problem> {
        if matches!(credentials, Credentials::RegistryToken { .. }) {
            return Ok(Self::Show);
        }
        if let Some(bearer) = &challenges.bearer {
            return Ok(Self::Token(Service {
                realm: realm_link(registry, &bearer.realm, credentials)?,
                name: bearer.service.clone(),
            }));
        }
        if !challenges.basic {
            return Err(Problem::Challenge {
                schemes: challenges.schemes.join(", "),
            });
        }
        match (credentials.pair(), credentials.source()) {
            (Some(_), _) => Ok(Self::Show),
            (None, Some(source)) => Err(Problem::CredentialForm {
                host: registry.origin.clone(),
                what: credentials.form(),
                credentials: source.to_owned(),
            }),
            (None, None) => Err(Problem::NoCredentials {
                host: registry.origin.clone(),
            }),
        }
    }
}

/// Whether and how a realm that a registry named is asked: the one place where that is decided.
///
/// A registry that is reached by HTTPS may not lead to plain HTTP at all. One that is reached by plain HTTP may, but
/// credentials go over plain HTTP only to the host that they would be sent to anyway.
pub(crate) fn realm_link(
    registry: &Link,
    realm: &str,
    credentials: &Credentials,
) -> Result<Realm, Problem> {
    let unusable = || Problem::Realm {
        realm: showable(realm),
    };
    let link = registry.join(realm).ok_or_else(unusable)?;
    if link.origin.scheme == Scheme::Http {
        if registry.origin.scheme == Scheme::Https {
            return Err(unusable());
        }
        if link.origin.host != registry.origin.host && *credentials != Credentials::Anonymous {
            return Err(unusable());
        }
    }
    Ok(Realm {
        link,
        with_credentials: true,
    })
}

/// What may be shown of a realm: no query, and of one with a name and password in it no more than the scheme, because
/// nobody can tell where a URL that is none has them.
fn showable(realm: &str) -> String {
    if realm.contains('@') {
        let scheme = realm.split_once("://").map(|(scheme, _)| scheme);
        return match scheme {
            Some(scheme) if scheme.bytes().all(|b| b.is_ascii_lowercase()) => {
                format!("{}://...", clean(scheme, 20))
            }
            _ => "...".to_owned(),
        };
    }
    let end = realm.find(['?', '#']).unwrap_or(realm.len());
    clean(&realm[..end], 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Credentials {
        Credentials::basic("u", "canary", "secret apps/regcred")
    }

    fn realm(registry: &str, realm: &str, credentials: &Credentials) -> Option<String> {
        let registry = Link::parse(registry).unwrap();
        realm_link(&registry, realm, credentials)
            .ok()
            .map(|realm| realm.link.uri.to_string())
    }

    fn demand(challenge: &str, credentials: &Credentials) -> Result<Demand, Problem> {
        let challenges = Challenges::parse([challenge.as_bytes()]);
        Demand::of(
            &challenges,
            &Link::parse("https://r.example/v2/a/tags/list").unwrap(),
            credentials,
        )
    }

    #[test]
    fn a_realm_is_absolute_or_relative_to_what_was_asked() {
        for (text, expected) in [
            ("https://auth.example/t?x=1", "https://auth.example/t?x=1"),
            ("/token", "https://r.example:443/token"),
            ("token", "https://r.example:443/v2/token"),
            ("//auth.example/t", "https://auth.example/t"),
        ] {
            assert_eq!(
                realm("https://r.example/v2/", text, &known()).as_deref(),
                Some(expected)
            );
        }
    }

    #[test]
    fn credentials_go_over_plain_http_only_where_they_go_anyway() {
        let nobody = Credentials::Anonymous;
        for (registry, text, as_known, as_nobody) in [
            ("https://r/v2/", "http://auth.r/token", false, false),
            ("https://r/v2/", "http://r/token", false, false),
            ("http://r/v2/", "https://auth.r/token", true, true),
            ("http://r:5000/v2/", "http://r:5001/token", true, true),
            ("http://r/v2/", "http://auth.r/token", false, true),
            (
                "https://r/v2/",
                "https://user:canary@auth.r/token",
                false,
                false,
            ),
            ("https://r/v2/", "ftp://auth.r/", false, false),
            ("https://r/v2/", "https://", false, false),
        ] {
            let got = [
                realm(registry, text, &known()),
                realm(registry, text, &nobody),
            ];
            assert_eq!(
                got.map(|link| link.is_some()),
                [as_known, as_nobody],
                "{registry} {text}"
            );
        }
    }

    #[test]
    fn an_unusable_realm_is_named_without_what_may_be_secret() {
        let error = demand(r#"Bearer realm="http://a.r/t?key=canary""#, &known())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("http://a.r/t") && !error.contains("canary"),
            "{error}"
        );
        for text in [
            "http://canary@a.r/",
            "http://u:can/ary?canary@a.r/",
            "canary:x@y",
            "user:canary@x://y",
        ] {
            let challenge = format!("Bearer realm=\"{text}\"");
            let error = demand(&challenge, &known()).unwrap_err().to_string();
            assert!(!error.contains("can"), "{text}: {error}");
        }
    }

    #[test]
    fn each_form_of_credentials_meets_what_it_can() {
        let identity = Credentials::identity_token("canary", "secret apps/regcred");
        let registry = Credentials::registry_token("canary", "secret apps/regcred");
        let both = r#"Basic realm="x", Bearer realm="https://auth.example/t""#;
        for credentials in [&known(), &identity, &Credentials::Anonymous] {
            assert!(matches!(
                demand(both, credentials).unwrap(),
                Demand::Token(_)
            ));
        }
        assert_eq!(demand(both, &registry).unwrap(), Demand::Show);
        assert_eq!(demand("Basic", &registry).unwrap(), Demand::Show);
        assert_eq!(demand("Basic", &known()).unwrap(), Demand::Show);
        let error = demand("Basic", &identity).unwrap_err().to_string();
        assert!(
            error.contains("secret apps/regcred") && error.contains("an identity token"),
            "{error}"
        );
        for (challenge, words) in [
            ("Basic", "no credentials were given"),
            ("Bearer", "names no realm"),
            ("Negotiate, Digest", "Negotiate, Digest"),
        ] {
            let error = demand(challenge, &Credentials::Anonymous)
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{challenge}: {error}");
        }
    }
}
