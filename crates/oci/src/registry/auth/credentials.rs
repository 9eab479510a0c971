// SPDX-License-Identifier: Apache-2.0
//! Who asks: names, passwords and tokens that cannot be printed.
//!
//! Enter from whoever read them, with the place they were read from; leave as a value of `Authorization`, or as the
//! fields of a form that `token` sends. What is shown of them, by `Debug` and in errors, is that place.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;

use crate::registry::problem::Problem;

use super::{scrub::scrub, sensitive};

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
    /// A token that the token service takes for a new one (`grant_type=refresh_token`); the registry itself never sees it.
    IdentityToken {
        /// The token.
        token: Secret,
        /// A name and a password that came with it, for token services and registries that know no refresh tokens.
        basic: Option<(String, Secret)>,
        /// Where they came from.
        source: String,
    },
    /// A token that the registry takes as it is, whatever it asks for.
    RegistryToken {
        /// The token.
        token: Secret,
        /// Where it came from.
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

    /// A token for the token service, alone.
    pub fn identity_token(token: impl Into<Secret>, source: impl Into<String>) -> Self {
        Self::IdentityToken {
            token: token.into(),
            basic: None,
            source: source.into(),
        }
    }

    /// A token for the registry.
    pub fn registry_token(token: impl Into<Secret>, source: impl Into<String>) -> Self {
        Self::RegistryToken {
            token: token.into(),
            source: source.into(),
        }
    }

    /// Where they came from; nothing for [`Self::Anonymous`].
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Basic { source, .. }
            | Self::IdentityToken { source, .. }
            | Self::RegistryToken { source, .. } => Some(source),
        }
    }

    /// The form, for messages.
    pub(crate) const fn form(&self) -> &'static str {
        match self {
            Self::Anonymous => "nothing",
            Self::Basic { .. } => "a name and a password",
            Self::IdentityToken { .. } => "an identity token",
            Self::RegistryToken { .. } => "a registry token",
        }
    }

    /// The name and password, if there are any.
    pub(crate) fn pair(&self) -> Option<(&str, &Secret)> {
        match self {
            Self::Basic {
                username, password, ..
            } => Some((username, password)),
            Self::IdentityToken { basic, .. } => basic
                .as_ref()
                .map(|(username, password)| (username.as_str(), password)),
            Self::Anonymous | Self::RegistryToken { .. } => None,
        }
    }

    /// The header for Basic authentication; `None` where there is no name and password.
    pub(crate) fn basic_header(&self) -> Result<Option<HeaderValue>, Problem> {
        self.pair()
            .map(|(username, password)| {
                sensitive(&format!("Basic {}", encoded(username, password)))
            })
            .transpose()
    }

    /// Takes what is secret, and the name, out of a text that the other side wrote, should it repeat what it was sent.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let name = self.pair().map(|(username, _)| username);
        let secrets = self.secrets();
        let secrets = secrets.iter().map(Secret::expose);
        scrub(text, secrets.chain(name))
    }

    /// What must not be shown, in the forms in which it is sent: longer ones before those that they hold.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        if let Some((username, password)) = self.pair() {
            secrets.push(Secret::from(encoded(username, password)));
            // A name without a password may be a token itself.
            let is_alone = password.expose().is_empty();
            secrets.push(if is_alone {
                username.into()
            } else {
                password.clone()
            });
        }
        if let Self::IdentityToken { token, .. } | Self::RegistryToken { token, .. } = self {
            secrets.push(token.clone());
        }
        secrets
    }
}

fn encoded(username: &str, password: &Secret) -> String {
    STANDARD.encode(format!("{username}:{}", password.expose()))
}

impl fmt::Debug for Credentials {
    /// The name stays out as well: with some registries a token stands in its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Anonymous => return f.write_str("Anonymous"),
            Self::Basic { .. } => "Basic",
            Self::IdentityToken { .. } => "IdentityToken",
            Self::RegistryToken { .. } => "RegistryToken",
        };
        f.debug_struct(name)
            .field("source", &self.source().unwrap_or_default())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> [Credentials; 4] {
        [
            Credentials::basic(format!("{text}-name"), text, "secret apps/regcred"),
            Credentials::identity_token(text, "secret apps/regcred"),
            Credentials::registry_token(text, "secret apps/regcred"),
            Credentials::IdentityToken {
                token: text.into(),
                basic: Some((format!("{text}-name"), text.into())),
                source: "secret apps/regcred".into(),
            },
        ]
    }

    #[test]
    fn nothing_secret_is_shown() {
        for credentials in all("canary") {
            let shown = format!(
                "{credentials:?} {credentials:#?} {:?}",
                credentials.basic_header()
            );
            assert!(
                !shown.contains("canary") && !shown.contains("Y2FuYXJ5"),
                "{shown}"
            );
            assert!(shown.contains("secret apps/regcred"), "{shown}");
        }
    }

    #[test]
    fn what_the_other_side_repeats_is_scrubbed() {
        let credentials = Credentials::basic("canary-name", "canary-password", "x");
        let value = encoded("canary-name", &"canary-password".into());
        let text = credentials.scrub(&format!(
            "you sent Basic {value}, that is canary-name:canary-password"
        ));
        assert_eq!(text, "you sent Basic (secret), that is (secret):(secret)");
        for credentials in all("can+ary/") {
            let text = credentials.scrub("refresh_token=can%2Bary%2F, that is can+ary/");
            assert!(!text.contains("ary"), "{text}");
        }
        assert_eq!(Credentials::basic("a", "b", "x").scrub("a b"), "a b");
    }

    #[test]
    fn a_name_and_password_that_cannot_stand_in_a_header_still_can_in_base64() {
        let credentials = Credentials::basic("a\nb", "c\u{0}é", "x");
        assert!(credentials.basic_header().unwrap().unwrap().is_sensitive());
        assert!(Credentials::Anonymous.basic_header().unwrap().is_none());
    }
}
