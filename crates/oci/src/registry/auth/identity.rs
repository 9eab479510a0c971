// SPDX-License-Identifier: Apache-2.0
//! Who asks, as a value that can be compared and kept without keeping what is secret.
//!
//! Credentials and all else that makes one tenant another (the client certificate, the trust) go in; a hash comes out
//! whose key is made anew in each process, so that nothing can be guessed from it. Grants are found by it: two tenants
//! share one only if everything about them is the same.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use rustls::crypto::aws_lc_rs;

use crate::{Algorithm, Digest, Hasher};

use super::Credentials;

static KEY: LazyLock<[u8; 32]> = LazyLock::new(new_key);

/// Equal for equal credentials and surroundings, and only for those; where the credentials came from does not count.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Identity(Digest);

impl Identity {
    /// `surroundings` is the rest of what an answer may depend on.
    pub(crate) fn new(credentials: &Credentials, surroundings: &Digest) -> Self {
        let mut parts = vec![credentials.form(), surroundings.hex()];
        if let Credentials::IdentityToken { token, .. } | Credentials::RegistryToken { token, .. } =
            credentials
        {
            parts.push(token.expose());
        }
        if let Some((username, password)) = credentials.pair() {
            parts.extend([username, password.expose()]);
        }
        // As in HMAC the key is outside once more, so that no hash can be continued.
        Self(keyed(&[keyed(&parts).hex()]))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// Each part with its length before it, so that no two lists of parts are hashed as the same bytes.
fn keyed(parts: &[&str]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&*KEY);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finish()
}

fn new_key() -> [u8; 32] {
    let mut key = [0; 32];
    if aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut key)
        .is_err()
    {
        // Without randomness there is no TLS either; what the standard library has is enough to compare by.
        for (n, piece) in key.chunks_mut(8).enumerate() {
            piece.copy_from_slice(&RandomState::new().hash_one(n).to_be_bytes());
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(credentials: &Credentials) -> Identity {
        Identity::new(credentials, &Digest::sha256_of(b"tls"))
    }

    #[test]
    fn what_differs_in_any_part_has_another_identity() {
        let with_pair = |username: &str, password: &str| Credentials::IdentityToken {
            token: "t".into(),
            basic: Some((username.into(), password.into())),
            source: "x".into(),
        };
        let all = [
            Credentials::Anonymous,
            Credentials::basic("", "", "x"),
            Credentials::basic("a", "b", "x"),
            Credentials::basic("a", "c", "x"),
            Credentials::basic("a:b", "c", "x"),
            Credentials::basic("a", "b:c", "x"),
            Credentials::identity_token("t", "x"),
            Credentials::identity_token("u", "x"),
            with_pair("a", "b"),
            with_pair("a", "c"),
            Credentials::registry_token("t", "x"),
        ];
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!(id(one) == id(other), n == m, "{n} {m}");
            }
        }
    }

    #[test]
    fn the_same_from_elsewhere_is_the_same_but_not_over_another_tls() {
        let one = Credentials::basic("a", "b", "x");
        assert_eq!(id(&one), id(&Credentials::basic("a", "b", "y")));
        let elsewhere = Identity::new(&one, &Digest::sha256_of(b"other"));
        assert_ne!(id(&one), elsewhere);
        assert_eq!(format!("{:?}", id(&one)), "Identity");
    }
}
