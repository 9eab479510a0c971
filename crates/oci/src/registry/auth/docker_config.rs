// SPDX-License-Identifier: Apache-2.0
//! Docker's configuration file, as Kubernetes keeps it in pull secrets.
//!
//! Enters as the bytes of `.dockerconfigjson` (or of the older `.dockercfg`); leaves as the [`Credentials`] for a
//! repository. Matching is the kubelet's: host and port exactly, path as a prefix, the most specific entry first. No
//! error quotes the document, which is full of secrets. Wildcard hosts and credential helpers are not read.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::Repository;

use super::{Credentials, Secret};

/// Credentials for several registries.
#[derive(Clone)]
pub struct DockerConfig {
    entries: BTreeMap<String, Entry>,
    source: String,
}

/// Why a text is not a Docker configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DockerConfigError {
    /// Not JSON, or a field has the wrong type.
    #[error(
        "the Docker configuration in {origin} is not valid JSON of that kind (line {line}, column {column})"
    )]
    Json {
        /// Where the text came from.
        origin: String,
        /// The line of the mistake, from 1.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// An `auth` is not base64 of `name:password`.
    #[error(
        "the Docker configuration in {origin} has an 'auth' for {registry:?} that is not base64 of name:password"
    )]
    Auth {
        /// Where the text came from.
        origin: String,
        /// The key of the entry.
        registry: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: Option<BTreeMap<String, RawEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Clone)]
enum Entry {
    Basic { username: String, password: Secret },
    Unsupported(&'static str),
    Empty,
}

impl DockerConfig {
    /// Parses `.dockerconfigjson`. `source` says where it came from, for instance `secret apps/regcred`.
    pub fn parse(json: &[u8], source: &str) -> Result<Self, DockerConfigError> {
        let file: File = serde_json::from_slice(json).map_err(|error| malformed(&error, source))?;
        Self::of(file.auths.unwrap_or_default(), source)
    }

    /// Parses `.dockercfg`, which is the map of `auths` alone.
    pub fn parse_legacy(json: &[u8], source: &str) -> Result<Self, DockerConfigError> {
        let entries = serde_json::from_slice(json).map_err(|error| malformed(&error, source))?;
        Self::of(entries, source)
    }

    /// The credentials for a repository, [`Credentials::Anonymous`] when no entry matches.
    pub fn credentials_for(&self, repository: &Repository) -> Credentials {
        let source = self.source.clone();
        // Backwards, so that of two keys that match the longer path comes first.
        let found = self
            .entries
            .iter()
            .rev()
            .find(|(key, _)| matches(key, repository));
        match found.map(|(_, entry)| entry) {
            Some(Entry::Basic { username, password }) => {
                Credentials::basic(username.clone(), password.clone(), source)
            }
            Some(Entry::Unsupported(what)) => Credentials::Unsupported { what, source },
            Some(Entry::Empty) | None => Credentials::Anonymous,
        }
    }

    fn of(raw: BTreeMap<String, RawEntry>, source: &str) -> Result<Self, DockerConfigError> {
        let mut entries = BTreeMap::new();
        for (registry, entry) in raw {
            let key = normalised(&registry);
            let entry = Entry::of(entry).ok_or_else(|| DockerConfigError::Auth {
                origin: source.to_owned(),
                registry: super::super::problem::clean(&key, 200),
            })?;
            entries.insert(key, entry);
        }
        Ok(Self {
            entries,
            source: source.to_owned(),
        })
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig")
            .field("registries", &self.entries.keys())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// `auth` decides over `username` and `password`; a token decides over both, as in Docker.
    fn of(raw: RawEntry) -> Option<Self> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if filled(raw.identitytoken).is_some() {
            return Some(Self::Unsupported("an identity token"));
        }
        if filled(raw.registrytoken).is_some() {
            return Some(Self::Unsupported("a registry token"));
        }
        if let Some(auth) = filled(raw.auth) {
            return decode(&auth);
        }
        let (username, password) = (filled(raw.username), filled(raw.password));
        if username.is_none() && password.is_none() {
            return Some(Self::Empty);
        }
        Some(Self::Basic {
            username: username.unwrap_or_default(),
            password: password.unwrap_or_default().into(),
        })
    }
}

fn decode(auth: &str) -> Option<Entry> {
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads with NUL on some platforms.
    let password = password.trim_end_matches('\0').into();
    Some(Entry::Basic {
        username: username.to_owned(),
        password,
    })
}

/// serde's own text may quote a value of the document, so only the place is taken over.
fn malformed(error: &serde_json::Error, source: &str) -> DockerConfigError {
    DockerConfigError::Json {
        origin: source.to_owned(),
        line: error.line(),
        column: error.column(),
    }
}

/// The key as `host[:port][/path]`: without scheme, and without the API's version that Docker writes after the host.
fn normalised(key: &str) -> String {
    let bare = key
        .trim()
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = match path.split_once('/').unwrap_or((path, "")) {
        ("v1" | "v2", rest) => rest,
        _ => path,
    };
    let host = match host.to_ascii_lowercase() {
        hub if matches!(hub.as_str(), "docker.io" | "registry-1.docker.io") => {
            "index.docker.io".into()
        }
        other => other,
    };
    match path.trim_end_matches('/') {
        "" => host,
        path => format!("{host}/{path}"),
    }
}

fn matches(key: &str, repository: &Repository) -> bool {
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    host.eq_ignore_ascii_case(repository.registry())
        && (path.is_empty() || repository.path().strip_prefix(path).is_some_and(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, repository: &str) -> String {
        let config = DockerConfig::parse(json.as_bytes(), "secret apps/regcred").unwrap();
        match config.credentials_for(&repository.parse().unwrap()) {
            Credentials::Basic {
                username,
                password,
                source,
            } => {
                format!("{username}:{} from {source}", password.expose())
            }
            Credentials::Unsupported { what, .. } => what.into(),
            Credentials::Anonymous => "anonymous".into(),
        }
    }

    fn config(key: &str) -> String {
        format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p"}}}}}}"#)
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        let of = |entry: &str| {
            shown(
                &format!(r#"{{"auths":{{"r.example":{entry}}}}}"#),
                "r.example/app",
            )
        };
        let auth = STANDARD.encode("u:p:q");
        assert_eq!(
            of(r#"{"username":"u","password":"p"}"#),
            "u:p from secret apps/regcred"
        );
        assert_eq!(
            of(&format!(r#"{{"auth":"{auth}"}}"#)),
            "u:p:q from secret apps/regcred"
        );
        assert_eq!(
            of(&format!(
                r#"{{"auth":"{auth}","username":"x","password":"y"}}"#
            )),
            "u:p:q from secret apps/regcred"
        );
        assert_eq!(
            of(&format!(r#"{{"auth":"{auth}","identitytoken":"t"}}"#)),
            "an identity token"
        );
        assert_eq!(of(r#"{"registrytoken":"t"}"#), "a registry token");
        assert_eq!(of(r#"{"email":"a@b"}"#), "anonymous");
        assert_eq!(of(r#"{"auth":"","username":null}"#), "anonymous");
    }

    #[test]
    fn keys_match_by_host_and_path_prefix() {
        for (key, repository, expected) in [
            ("r.example", "r.example/a/b", true),
            ("https://r.example", "r.example/app", true),
            ("https://r.example/v1/", "r.example/app", true),
            ("http://R.Example/v2/", "r.example/app", true),
            ("r.example:443", "r.example/app", false),
            ("r.example:5000", "r.example:5000/app", true),
            ("r.example", "r.example:5000/app", false),
            ("r.example/team", "r.example/team/app", true),
            ("r.example/team", "r.example/team", true),
            ("r.example/team", "r.example/teams/app", false),
            ("example", "r.example/app", false),
            ("r.example.evil", "r.example/app", false),
            ("https://index.docker.io/v1/", "alpine", true),
            ("docker.io", "org/app", true),
            ("", "r.example/app", false),
        ] {
            assert_eq!(
                shown(&config(key), repository) != "anonymous",
                expected,
                "{key} for {repository}"
            );
        }
    }

    #[test]
    fn the_most_specific_entry_is_taken() {
        let json = r#"{"auths":{"r.example":{"username":"wide","password":"p"},"r.example/app":{"username":"narrow","password":"p"}}}"#;
        assert!(shown(json, "r.example/app/b").starts_with("narrow:"));
        assert!(shown(json, "r.example/bb").starts_with("wide:"));
    }

    #[test]
    fn the_older_format_is_read() {
        let config =
            DockerConfig::parse_legacy(br#"{"r.example":{"username":"u","password":"p"}}"#, "x")
                .unwrap();
        assert!(matches!(
            config.credentials_for(&"r.example/app".parse().unwrap()),
            Credentials::Basic { .. }
        ));
    }

    #[test]
    fn a_malformed_document_is_named_without_being_quoted() {
        let no_colon = STANDARD.encode("canary");
        for bad in [
            String::new(),
            "<html>canary</html>".into(),
            r#"{"auths":"canary"}"#.into(),
            r#"{"auths":{"r":{"password":["canary"]}}}"#.into(),
            r#"{"auths":{"r":{"auth":"canary!"}}}"#.into(),
            format!(r#"{{"auths":{{"r":{{"auth":"{no_colon}"}}}}}}"#),
        ] {
            let error = DockerConfig::parse(bad.as_bytes(), "secret apps/regcred").unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                text.contains("secret apps/regcred") && !text.contains("canary"),
                "{text}"
            );
        }
        assert_eq!(shown("{}", "r.example/app"), "anonymous");
        assert_eq!(shown(r#"{"auths":null}"#, "r.example/app"), "anonymous");
    }

    #[test]
    fn debug_shows_registries_only() {
        let config = DockerConfig::parse(
            config("r.example")
                .replace("\"p\"", "\"canary\"")
                .as_bytes(),
            "x",
        )
        .unwrap();
        let text = format!("{config:?}");
        assert!(
            text.contains("r.example") && !text.contains("canary"),
            "{text}"
        );
    }
}
