// SPDX-License-Identifier: Apache-2.0
//! The identity of an object as the store knows it.
//!
//! Enters as a namespace and a name; leaves as an [`ArtifactKey`] whose parts are Kubernetes DNS names, and therefore safe
//! as components of a file path and of a URL.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Namespace and name of the object that an artifact belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "RawKey")]
pub struct ArtifactKey {
    namespace: Box<str>,
    name: Box<str>,
}

/// Why two texts are not the identity of an object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The namespace is not a DNS label (RFC 1123): at most 63 of `a-z`, `0-9` and `-`, not at an end.
    #[error(
        "namespace {0:?} is not a DNS label: use at most 63 lower-case letters, digits and '-'"
    )]
    Namespace(String),
    /// The name is not a DNS subdomain (RFC 1123): at most 253 characters, labels joined by dots.
    #[error(
        "name {0:?} is not a DNS name: use at most 253 lower-case letters, digits, '-' and '.'"
    )]
    Name(String),
}

impl ArtifactKey {
    /// Parses namespace and name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, KeyError> {
        if namespace.len() > 63 || !is_label(namespace) {
            return Err(KeyError::Namespace(cut(namespace)));
        }
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(KeyError::Name(cut(name)));
        }
        Ok(Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[derive(Deserialize)]
struct RawKey {
    namespace: String,
    name: String,
}

impl TryFrom<RawKey> for ArtifactKey {
    type Error = KeyError;

    fn try_from(raw: RawKey) -> Result<Self, KeyError> {
        Self::new(&raw.namespace, &raw.name)
    }
}

// Kubernetes bounds the labels of a name only by the name's own length.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

/// Errors quote what was given, but not a megabyte of it.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kubernetes_accepts_are_keys() {
        let long = "n".repeat(253);
        for (namespace, name) in [("default", "app"), ("a", "0.b-c.d"), ("kube-system", &long)] {
            let key = ArtifactKey::new(namespace, name).unwrap();
            assert_eq!((key.namespace(), key.name()), (namespace, name));
        }
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_no_key() {
        let long = "n".repeat(254);
        let huge = "n".repeat(1 << 20);
        for bad in [
            "", ".", "..", "a/b", "/a", "a\\b", "a\0", "A", "-a", "a-", "a..b", ".a", "a.", "ä",
            "a b", &long, &huge,
        ] {
            let error = ArtifactKey::new("ns", bad).unwrap_err();
            assert!(error.to_string().len() < 400, "{error}");
        }
        for bad in ["", "..", "a.b", "a/b", &"n".repeat(64)] {
            assert!(matches!(
                ArtifactKey::new(bad, "app"),
                Err(KeyError::Namespace(_))
            ));
        }
    }

    #[test]
    fn a_key_is_parsed_again_when_it_is_read() {
        let key = ArtifactKey::new("ns", "app").unwrap();
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<ArtifactKey>(&text).unwrap(), key);
        let hostile = r#"{"namespace":"ns","name":"../../etc"}"#;
        assert!(serde_json::from_str::<ArtifactKey>(hostile).is_err());
    }
}
