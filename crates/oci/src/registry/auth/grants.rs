// SPDX-License-Identifier: Apache-2.0
//! What registries have granted, kept until it ends.
//!
//! One per process. The key holds everything that a grant depends on, so that no grant of one tenant is used for
//! another: origin, repository, scope and the credentials themselves. Time is an argument.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use tokio::time::Instant;

use crate::{Digest, registry::origin::Origin};

use super::Scope;

/// The shortest life of a token, whatever the token service says (distribution's token specification).
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest: trust in a token service does not go further.
const LONGEST: Duration = Duration::from_secs(3600);
/// Kept back, so that a token does not end on its way.
const MARGIN: Duration = Duration::from_secs(10);
/// More than a large installation has; beyond it what ends first is forgotten.
const MAX_GRANTS: usize = 10_000;

/// What a grant depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) origin: Origin,
    pub(crate) repository: Box<str>,
    pub(crate) scope: Scope,
    /// [`super::Credentials::id`].
    pub(crate) credentials: Digest,
}

/// A value of `Authorization` that a registry accepts, with its life.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    pub(crate) lives: Duration,
}

impl Grant {
    /// Basic authentication: it does not end, but is asked for again from time to time.
    pub(crate) fn basic(header: HeaderValue) -> Self {
        Self {
            header,
            lives: LONGEST,
        }
    }

    /// A token whose service says for how many seconds it lives, or does not.
    pub(crate) fn token(header: HeaderValue, expires_in: Option<u64>) -> Self {
        let said = expires_in.map_or(SHORTEST, Duration::from_secs);
        Self {
            header,
            lives: said.clamp(SHORTEST, LONGEST),
        }
    }
}

/// All grants of the process.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<HashMap<Key, Entry>>);

#[derive(Debug)]
struct Entry {
    header: HeaderValue,
    ends: Instant,
}

impl Grants {
    /// The header to send, if one was granted and has not ended.
    pub(crate) fn header(&self, key: &Key, now: Instant) -> Option<HeaderValue> {
        let grants = self.lock();
        let entry = grants.get(key)?;
        (now < entry.ends).then(|| entry.header.clone())
    }

    /// Keeps a grant.
    pub(crate) fn keep(&self, key: Key, grant: Grant, now: Instant) {
        let mut grants = self.lock();
        if grants.len() >= MAX_GRANTS {
            grants.retain(|_, entry| now < entry.ends);
        }
        if grants.len() >= MAX_GRANTS {
            let first = grants
                .iter()
                .min_by_key(|(_, entry)| entry.ends)
                .map(|(key, _)| key.clone());
            first.map(|key| grants.remove(&key));
        }
        let ends = now + grant.lives.saturating_sub(MARGIN);
        grants.insert(
            key,
            Entry {
                header: grant.header,
                ends,
            },
        );
    }

    /// Forgets a grant that was refused, unless it was replaced meanwhile.
    pub(crate) fn forget(&self, key: &Key, refused: &HeaderValue) {
        let mut grants = self.lock();
        if grants
            .get(key)
            .is_some_and(|entry| entry.header == *refused)
        {
            grants.remove(key);
        }
    }

    /// A panic elsewhere leaves the map whole, since each change is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{auth::Credentials, origin::Link};

    fn key(repository: &str, credentials: &Credentials) -> Key {
        Key {
            origin: Link::parse("https://r.example/").unwrap().origin,
            repository: repository.into(),
            scope: Scope::Pull,
            credentials: credentials.id(),
        }
    }

    fn token(text: &'static str, expires_in: Option<u64>) -> Grant {
        Grant::token(HeaderValue::from_static(text), expires_in)
    }

    #[test]
    fn a_grant_is_found_only_by_all_that_it_depends_on() {
        let (grants, now) = (Grants::default(), Instant::now());
        let one = Credentials::basic("one", "secret", "x");
        grants.keep(key("a", &one), token("t", None), now);
        assert!(grants.header(&key("a", &one), now).is_some());
        let other = Credentials::basic("other", "secret", "x");
        let pushing = Key {
            scope: Scope::Push,
            ..key("a", &one)
        };
        let plain = Key {
            origin: Link::parse("http://r.example/").unwrap().origin,
            ..key("a", &one)
        };
        for key in [
            key("b", &one),
            key("a", &other),
            key("a", &Credentials::Anonymous),
            pushing,
            plain,
        ] {
            assert_eq!(grants.header(&key, now), None, "{key:?}");
        }
    }

    #[test]
    fn a_token_lives_as_long_as_said_between_a_minute_and_an_hour() {
        let now = Instant::now();
        let life = |expires_in| {
            let grants = Grants::default();
            let key = key("a", &Credentials::Anonymous);
            grants.keep(key.clone(), token("t", expires_in), now);
            (0..4000)
                .take_while(|s| grants.header(&key, now + Duration::from_secs(*s)).is_some())
                .count()
        };
        assert_eq!(
            [
                life(None),
                life(Some(0)),
                life(Some(300)),
                life(Some(u64::MAX))
            ],
            [50, 50, 290, 3590]
        );
    }

    #[test]
    fn a_refused_grant_is_forgotten_but_not_its_replacement() {
        let (grants, now) = (Grants::default(), Instant::now());
        let key = key("a", &Credentials::Anonymous);
        grants.keep(key.clone(), token("new", None), now);
        grants.forget(&key, &HeaderValue::from_static("old"));
        assert!(grants.header(&key, now).is_some());
        grants.forget(&key, &HeaderValue::from_static("new"));
        assert!(grants.header(&key, now).is_none());
    }

    #[test]
    fn there_is_a_bound() {
        let (grants, now) = (Grants::default(), Instant::now());
        for n in 0..MAX_GRANTS + 5 {
            grants.keep(
                key(&n.to_string(), &Credentials::Anonymous),
                token("t", None),
                now,
            );
        }
        assert_eq!(grants.lock().len(), MAX_GRANTS);
    }
}
