// SPDX-License-Identifier: Apache-2.0
//! Content digests: parsed, compared and computed.
//!
//! Enters as text (`sha256:<64 lower-case hex>`) or as bytes to hash; leaves as a [`Digest`] that cannot be malformed.
//! Source: OCI image-spec, "Digests". Only the two registered algorithms exist here.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};
use sha2::{Digest as _, Sha256, Sha512};

/// A digest algorithm that the image-spec registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 64 hex characters. What registries use.
    Sha256,
    /// SHA-512, 128 hex characters.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of some content: an algorithm and its value in lower-case hex.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    /// No `:` between algorithm and value.
    #[error("digest {0:?} has no algorithm, expected a form such as sha256:<64 hex characters>")]
    NoAlgorithm(String),
    /// The algorithm is not one of [`Algorithm`].
    #[error("digest algorithm {0:?} is not supported, use sha256 or sha512")]
    UnknownAlgorithm(String),
    /// The value has the wrong length or characters other than `0-9a-f`.
    #[error(
        "digest value of {algorithm} must be {expected} lower-case hex characters, got {got:?}"
    )]
    Malformed {
        /// The algorithm's name.
        algorithm: &'static str,
        /// How many characters it has.
        expected: usize,
        /// What was there instead, cut to 140 characters.
        got: String,
    },
}

impl Digest {
    /// The SHA-256 digest of bytes in memory.
    pub fn sha256_of(bytes: &[u8]) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: hex(&Sha256::digest(bytes)),
        }
    }

    /// The digest of bytes in memory with the given algorithm.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value without the algorithm.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve characters of the value: enough for a person to tell two apart.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, value) = text
            .split_once(':')
            .ok_or_else(|| DigestError::NoAlgorithm(cut(text)))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::UnknownAlgorithm(cut(name))),
        };
        let is_hex = value
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if value.len() != algorithm.hex_len() || !is_hex {
            return Err(DigestError::Malformed {
                algorithm: algorithm.name(),
                expected: algorithm.hex_len(),
                got: cut(value),
            });
        }
        Ok(Self {
            algorithm,
            hex: value.into(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Computes a [`Digest`] over bytes that arrive in pieces.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of everything that was added.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest {
                algorithm: Algorithm::Sha256,
                hex: hex(&state.finalize()),
            },
            State::Sha512(state) => Digest {
                algorithm: Algorithm::Sha512,
                hex: hex(&state.finalize()),
            },
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

fn hex(bytes: &[u8]) -> Box<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from(DIGITS[usize::from(n)]))
        .collect::<String>()
        .into()
}

/// Errors quote what was given, but not a megabyte of it.
fn cut(text: &str) -> String {
    text.chars().take(140).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        let expected = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::sha256_of(b"").to_string(), expected);
        assert_eq!(
            Digest::of(Algorithm::Sha512, b"abc").to_string().len(),
            "sha512:".len() + 128
        );
    }

    #[test]
    fn hashing_in_pieces_gives_the_digest_of_the_whole() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"one ");
        hasher.update(b"two");
        assert_eq!(hasher.finish(), Digest::sha256_of(b"one two"));
    }

    #[test]
    fn text_survives_a_round_trip() {
        let digest = Digest::sha256_of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn malformed_digests_are_refused_with_what_was_expected() {
        let upper = format!("sha256:{}", "A".repeat(64));
        let short = format!("sha256:{}", "a".repeat(63));
        let huge = format!("sha256:{}", "a".repeat(1 << 20));
        for bad in [
            "",
            "sha256",
            "sha256:",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &upper,
            &short,
            &huge,
            "sha256:é",
        ] {
            let error = bad.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains("digest") && error.len() < 400, "{error}");
        }
    }
}
