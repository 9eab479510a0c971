// SPDX-License-Identifier: Apache-2.0
//! Who asks, and how that is proved to a registry.
//!
//! [`Credentials`] enter from a Docker configuration or the command line and know where they came from; a challenge of
//! the registry turns them into a [`Grant`], which is kept in [`grants`] and put on requests to that registry only.
//! Nothing here can be printed with its secret.

pub(crate) mod challenge;
mod docker_config;
pub(crate) mod grants;
pub(crate) mod token;

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;

use crate::{Digest, Repository};

use super::problem::Problem;

pub use docker_config::{DockerConfig, DockerConfigError};

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a secret text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A name and a password, sent as Basic authentication to the registry or to the token service that it names.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
        /// Where both came from, for messages: for instance `secret apps/regcred`.
        source: String,
    },
    /// Credentials of a form that is not supported yet. They fail when the registry asks for them, not before.
    Unsupported {
        /// The form, for instance `an identity token`.
        what: &'static str,
        /// Where they came from.
        source: String,
    },
}

impl Credentials {
    /// A name and a password.
    pub fn basic(
        username: impl Into<String>,
        password: impl Into<Secret>,
        source: impl Into<String>,
    ) -> Self {
        Self::Basic {
            username: username.into(),
            password: password.into(),
            source: source.into(),
        }
    }

    /// Where they came from; nothing for [`Self::Anonymous`].
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Basic { source, .. } | Self::Unsupported { source, .. } => Some(source),
        }
    }

    /// Equal for equal credentials and only for those; their source does not count.
    pub(crate) fn id(&self) -> Digest {
        match self {
            Self::Anonymous => Digest::sha256_of(b"anonymous"),
            Self::Basic { .. } => Digest::sha256_of(self.basic_value().as_bytes()),
            Self::Unsupported { what, source } => {
                Digest::sha256_of(format!("{what} of {source}").as_bytes())
            }
        }
    }

    /// The value of `Authorization` for Basic authentication; empty when there is nothing to send.
    fn basic_value(&self) -> String {
        match self {
            Self::Basic {
                username, password, ..
            } => {
                let pair = format!("{username}:{}", password.expose());
                format!("Basic {}", STANDARD.encode(pair))
            }
            Self::Anonymous | Self::Unsupported { .. } => String::new(),
        }
    }

    /// The header for Basic authentication; `None` for anonymous.
    pub(crate) fn basic_header(&self) -> Result<Option<HeaderValue>, Problem> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Basic { .. } => sensitive(&self.basic_value()).map(Some),
            Self::Unsupported { what, source } => Err(Problem::UnsupportedCredentials {
                what,
                credentials: source.clone(),
            }),
        }
    }

    /// Takes what is secret out of a text that the other side wrote, should it repeat what it was sent.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let Self::Basic {
            username, password, ..
        } = self
        else {
            return text.to_owned();
        };
        let encoded = self.basic_value();
        let encoded = encoded.trim_start_matches("Basic ");
        // Three letters would tear holes into every message and protect nobody.
        [encoded, password.expose(), username.as_str()]
            .into_iter()
            .filter(|secret| secret.len() > 3)
            .fold(text.to_owned(), |text, secret| {
                text.replace(secret, "(secret)")
            })
    }
}

impl fmt::Debug for Credentials {
    /// The name stays out as well: with some registries a token stands in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { source, .. } => f
                .debug_struct("Basic")
                .field("source", source)
                .finish_non_exhaustive(),
            Self::Unsupported { what, source } => f
                .debug_struct("Unsupported")
                .field("what", what)
                .field("source", source)
                .finish(),
        }
    }
}

/// What a session asks to be allowed to do with its repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Pull,
    Push,
    /// Push, and pull from another repository of the registry, given by its path.
    Mount(Arc<str>),
}

impl Scope {
    /// In the form of the distribution project's token specification.
    /// One text per repository, each of which is a parameter of the token request.
    pub(crate) fn of(&self, repository: &Repository) -> Vec<String> {
        let scope = |path: &str, actions| format!("repository:{path}:{actions}");
        let path = repository.path();
        match self {
            Self::Pull => vec![scope(path, "pull")],
            Self::Push => vec![scope(path, "pull,push")],
            Self::Mount(from) => vec![scope(path, "pull,push"), scope(from, "pull")],
        }
    }
}

/// A header value that no log shows. Fails if the text cannot stand in a header.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Problem::Header("the credentials cannot be sent in an HTTP header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let credentials =
            Credentials::basic("canary-name", "canary-password", "secret apps/regcred");
        let shown = format!(
            "{credentials:?} {:#?} {:?}",
            credentials,
            credentials.basic_header()
        );
        assert!(
            !shown.contains("canary") && !shown.contains("Y2FuYXJ5"),
            "{shown}"
        );
        assert!(shown.contains("secret apps/regcred"), "{shown}");
    }

    #[test]
    fn what_the_other_side_repeats_is_scrubbed() {
        let credentials = Credentials::basic("canary-name", "canary-password", "x");
        let value = credentials.basic_value();
        let text = credentials.scrub(&format!(
            "you sent {value}, that is canary-name:canary-password"
        ));
        assert_eq!(text, "you sent Basic (secret), that is (secret):(secret)");
    }

    #[test]
    fn different_credentials_have_different_ids() {
        let id = |name, password| Credentials::basic(name, password, "x").id();
        assert_ne!(id("a", "b"), id("a", "c"));
        assert_ne!(id("a", "b"), Credentials::Anonymous.id());
        assert_eq!(id("a", "b"), Credentials::basic("a", "b", "y").id());
    }
}
