// SPDX-License-Identifier: Apache-2.0
//! Credential helpers, as a Docker configuration names them.
//!
//! Values only: nothing is run here, and nothing in this crate runs one. A controller that reads a configuration from a
//! Secret never does, since whoever may write Secrets would choose a program; the command line does, see its `keychain`.

use std::{fmt, str::FromStr};

use crate::Repository;

use super::docker_entry::HUB;

const MAX_NAME: usize = 64;

/// A program that knows the credentials for a registry, and the name under which it knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Which program.
    pub name: HelperName,
    /// What is written to its standard input.
    pub server: String,
}

/// The name of a credential helper: letters, digits, `-`, `_` and `.`, starting with a letter or digit, so that it can
/// be nothing but a part of a file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperName(Box<str>);

/// A text is not the name of a credential helper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a credential helper: 1 to 64 letters, digits, '-', '_' and '.', starting with a letter or digit"
)]
pub struct HelperNameError(String);

impl Helper {
    pub(super) fn new(name: HelperName, repository: &Repository) -> Self {
        // Docker keeps its own registry under the address that it had in the days of version 1.
        let server = match repository.registry() {
            HUB => "https://index.docker.io/v1/".to_owned(),
            registry => registry.to_owned(),
        };
        Self { name, server }
    }
}

impl HelperName {
    /// The program, to be looked up in `PATH`.
    pub fn program(&self) -> String {
        format!("docker-credential-{}", self.0)
    }
}

impl FromStr for HelperName {
    type Err = HelperNameError;

    fn from_str(text: &str) -> Result<Self, HelperNameError> {
        let is_good = text.len() <= MAX_NAME
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if is_good {
            Ok(Self(text.into()))
        } else {
            Err(HelperNameError(crate::registry::problem::clean(text, 80)))
        }
    }
}

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_be_a_path() {
        for good in ["pass", "ecr-login", "osxkeychain", "a.b_c"] {
            let name: HelperName = good.parse().unwrap();
            assert_eq!(name.program(), format!("docker-credential-{good}"));
        }
        let long = "x".repeat(65);
        for bad in [
            "", ".", "..", "../x", "/bin/sh", "a/b", "a\\b", "a b", "a\n", "a\0", "-x", "é", &long,
        ] {
            assert!(bad.parse::<HelperName>().is_err(), "{bad:?}");
        }
    }
}
