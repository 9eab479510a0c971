// SPDX-License-Identifier: Apache-2.0
//! Docker's configuration file: as Kubernetes keeps it in pull secrets, and as Docker and Podman keep it on disk.
//!
//! Enters as the bytes of `.dockerconfigjson`, of the older `.dockercfg`, of `config.json` or of `auth.json`; leaves as the
//! [`Credentials`] for a repository. Entries are tried in reverse order of their keys, as the kubelet does, and the first that
//! matches is taken. No error quotes the document, which is full of secrets. Credential helpers are named to who asks for
//! them, and run by nobody here.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{JsonError, Repository, json, registry::problem::clean};

use super::{
    Credentials, Secret,
    docker_entry::EntryKey,
    helper::{Helper, HelperNameError},
};

/// The largest Secret that Kubernetes takes.
const MAX_DOCUMENT: usize = 1 << 20;
/// Kubernetes takes it with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Credentials for several registries.
#[derive(Clone)]
pub struct DockerConfig {
    entries: BTreeMap<EntryKey, Entry>,
    helpers: BTreeMap<EntryKey, String>,
    store: String,
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
    /// An object has a key twice, anywhere: one reader takes the first, another the last.
    #[error("the Docker configuration in {origin} has a key twice in one JSON object")]
    DuplicateKey {
        /// Where the text came from.
        origin: String,
    },
    /// Not UTF-8, or nested deeper or with more keys than any configuration.
    #[error(
        "the Docker configuration in {origin} is not UTF-8 without a byte order mark, or is nested too deep or has too many keys"
    )]
    Unusual {
        /// Where the text came from.
        origin: String,
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
    /// The text is larger than any configuration.
    #[error("the Docker configuration in {origin} is larger than {MAX_DOCUMENT} bytes")]
    TooLarge {
        /// Where the text came from.
        origin: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: Option<Entries>,
    // Of any type: a Secret whose helpers make no sense is as good as one without.
    #[serde(default, rename = "credHelpers")]
    helpers: serde_json::Value,
    #[serde(default, rename = "credsStore")]
    store: serde_json::Value,
}

/// As it stands there.
type Entries = BTreeMap<String, Option<RawEntry>>;

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
    Registry(Secret),
    Identity(Secret, Option<(String, Secret)>),
    Basic(String, Secret),
    Empty,
}

impl DockerConfig {
    /// Parses `.dockerconfigjson`. `source` says where it came from, for instance `secret apps/regcred`.
    pub fn parse(json: &[u8], source: &str) -> Result<Self, DockerConfigError> {
        let file: File = read(json, source)?;
        let helpers = file.helpers.as_object().into_iter().flatten();
        let named =
            helpers.filter_map(|(key, name)| Some((EntryKey::new(key), name.as_str()?.to_owned())));
        Ok(Self {
            helpers: named.collect(),
            store: file.store.as_str().unwrap_or_default().to_owned(),
            ..Self::of(file.auths.unwrap_or_default(), source)?
        })
    }

    /// Parses `.dockercfg`, which is the map of `auths` alone.
    pub fn parse_legacy(json: &[u8], source: &str) -> Result<Self, DockerConfigError> {
        Self::of(read(json, source)?, source)
    }

    /// The credentials for a repository, [`Credentials::Anonymous`] when no entry matches. Helpers are not asked.
    pub fn credentials_for(&self, repository: &Repository) -> Credentials {
        let source = self.source.clone();
        // Backwards, so that of two keys that match the longer path comes first, and a name before a pattern.
        let found = self
            .entries
            .iter()
            .rev()
            .find(|(key, _)| key.matches(repository));
        match found.map(|(_, entry)| entry.clone()) {
            Some(Entry::Registry(token)) => Credentials::RegistryToken { token, source },
            Some(Entry::Identity(token, basic)) => Credentials::IdentityToken {
                token,
                basic,
                source,
            },
            Some(Entry::Basic(username, password)) => {
                Credentials::basic(username, password, source)
            }
            Some(Entry::Empty) | None => Credentials::Anonymous,
        }
    }

    /// The helper that is to be asked for the credentials for a repository: that of its host (`credHelpers`), else the
    /// one for all (`credsStore`). Whoever runs it must trust who wrote this configuration.
    pub fn helper_for(&self, repository: &Repository) -> Result<Option<Helper>, HelperNameError> {
        let own = self
            .helpers
            .iter()
            .rev()
            .find(|(key, _)| key.matches(repository));
        match own.map_or(&self.store, |(_, name)| name).as_str() {
            "" => Ok(None),
            name => Ok(Some(Helper::new(name.parse()?, repository))),
        }
    }

    /// Of two keys that mean the same, the one that comes first and holds something counts.
    fn of(raw: Entries, source: &str) -> Result<Self, DockerConfigError> {
        let mut entries = BTreeMap::new();
        for (registry, raw) in raw {
            let key = EntryKey::new(&registry);
            let entry =
                Entry::of(raw.unwrap_or_default()).ok_or_else(|| DockerConfigError::Auth {
                    origin: source.to_owned(),
                    registry: clean(key.as_str(), 200),
                })?;
            if matches!(entries.get(&key), None | Some(Entry::Empty)) {
                entries.insert(key, entry);
            }
        }
        Ok(Self {
            entries,
            helpers: BTreeMap::new(),
            store: String::new(),
            source: source.to_owned(),
        })
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registries: Vec<_> = self.entries.keys().map(EntryKey::as_str).collect();
        f.debug_struct("DockerConfig")
            .field("registries", &registries)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// A token decides over name and password, and `auth` over `username` and `password`, as in go-containerregistry.
    fn of(raw: RawEntry) -> Option<Self> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(raw.registrytoken) {
            return Some(Self::Registry(token.into()));
        }
        let pair = match filled(raw.auth) {
            Some(auth) => Some(decode(&auth)?),
            None => match (filled(raw.username), filled(raw.password)) {
                (None, None) => None,
                (username, password) => Some((
                    username.unwrap_or_default(),
                    password.unwrap_or_default().into(),
                )),
            },
        };
        Some(match (filled(raw.identitytoken), pair) {
            (Some(token), pair) => {
                // Docker writes a name without a password beside the token.
                let pair = pair.filter(|(_, password)| !password.expose().is_empty());
                Self::Identity(token.into(), pair)
            }
            (None, Some((username, password))) => Self::Basic(username, password),
            (None, None) => Self::Empty,
        })
    }
}

fn read<T: DeserializeOwned>(text: &[u8], source: &str) -> Result<T, DockerConfigError> {
    let origin = source.to_owned();
    if text.len() > MAX_DOCUMENT {
        return Err(DockerConfigError::TooLarge { origin });
    }
    // Other texts of these errors may quote the document: a value, or a key.
    json::from_slice_strict(text, json::Limits::default()).map_err(|error| match error {
        JsonError::Malformed(error) => DockerConfigError::Json {
            origin,
            line: error.line(),
            column: error.column(),
        },
        JsonError::DuplicateKey(_) => DockerConfigError::DuplicateKey { origin },
        JsonError::TooDeep(_) | JsonError::TooManyKeys(_) | JsonError::Encoding => {
            DockerConfigError::Unusual { origin }
        }
    })
}

fn decode(auth: &str) -> Option<(String, Secret)> {
    let bytes = BASE64.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker pads with NUL on some platforms.
    let password = password.trim_end_matches('\0').into();
    Some((username.to_owned(), password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

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
            Credentials::IdentityToken { token, basic, .. } => {
                format!("identity {} {}", token.expose(), basic.is_some())
            }
            Credentials::RegistryToken { token, .. } => format!("registry {}", token.expose()),
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
            "identity t true"
        );
        let no_password = STANDARD.encode("00000000-0000-0000-0000-000000000000:");
        assert_eq!(
            of(&format!(
                r#"{{"auth":"{no_password}","identitytoken":"t"}}"#
            )),
            "identity t false"
        );
        let unpadded = STANDARD.encode("u:pw");
        let unpadded = unpadded.trim_end_matches('=');
        assert_eq!(
            of(&format!(r#"{{"auth":"{unpadded}"}}"#)),
            "u:pw from secret apps/regcred"
        );
        assert_eq!(
            of(r#"{"registrytoken":"r","identitytoken":"t"}"#),
            "registry r"
        );
        assert_eq!(of("null"), "anonymous");
        assert_eq!(of(r#"{"email":"a@b"}"#), "anonymous");
        assert_eq!(of(r#"{"auth":"","username":null}"#), "anonymous");
    }

    #[test]
    fn the_most_specific_entry_is_taken() {
        let json = r#"{"auths":{"r.example":{"username":"wide","password":"p"},"r.example/app":{"username":"narrow","password":"p"}}}"#;
        assert!(shown(json, "r.example/app/b").starts_with("narrow:"));
        assert!(shown(json, "r.example/bb").starts_with("wide:"));
        let json = r#"{"auths":{"*.example":{"username":"wide","password":"p"},"r.example":{"username":"narrow","password":"p"}}}"#;
        assert!(shown(json, "r.example/app").starts_with("narrow:"));
        assert!(shown(json, "s.example/app").starts_with("wide:"));
    }

    #[test]
    fn of_two_keys_for_the_same_the_first_that_holds_something_counts() {
        let json = r#"{"auths":{"r.example":{"username":"c","password":"p"},"http://r.example":{},
            "https://r.example/v1/":{"username":"b","password":"p"}}}"#;
        assert!(shown(json, "r.example/app").starts_with("b:"));
    }

    #[test]
    fn helpers_are_named_but_change_nothing() {
        let json = br#"{"auths":{"r.example":{"username":"u","password":"p"}},"credsStore":"pass",
            "credHelpers":{"ecr.example":"ecr-login","plain.example":"","evil.example":"../../bin/sh"}}"#;
        let config = DockerConfig::parse(json, "x").unwrap();
        let helper = |repository: &str| {
            let helper = config.helper_for(&repository.parse().unwrap());
            helper.map(|h| h.map(|h| (h.name.to_string(), h.server)))
        };
        let named = |name: &str, server: &str| Ok(Some((name.to_owned(), server.to_owned())));
        assert_eq!(helper("ecr.example/app"), named("ecr-login", "ecr.example"));
        assert_eq!(
            helper("r.example:5000/app"),
            named("pass", "r.example:5000")
        );
        assert_eq!(
            helper("alpine"),
            named("pass", "https://index.docker.io/v1/")
        );
        assert_eq!(helper("plain.example/app"), Ok(None));
        assert!(helper("evil.example/app").is_err());
        let from_entry = config.credentials_for(&"r.example/app".parse().unwrap());
        assert!(matches!(from_entry, Credentials::Basic { .. }));
        let from_helper = config.credentials_for(&"ecr.example/app".parse().unwrap());
        assert_eq!(from_helper, Credentials::Anonymous);
        let odd = br#"{"credsStore":7,"credHelpers":["x"]}"#;
        let odd = DockerConfig::parse(odd, "x").unwrap();
        assert_eq!(odd.helper_for(&"r.example/app".parse().unwrap()), Ok(None));
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
            r#"{"auths":{"r":{"username":"canary"},"r":{"username":"other"}}}"#.into(),
            r#"{"auths":{"r":{"username":"canary","username":"other"}}}"#.into(),
            r#"{"auths":["canary"]}"#.into(),
            r#"{"other":{"canary":1,"canary":2}}"#.into(),
            format!(r#"{{"canary":{}{}}}"#, "[".repeat(99), "]".repeat(99)),
            "\u{feff}{\"canary\":1}".into(),
            format!(r#"{{"canary":"{}"}}"#, "x".repeat(MAX_DOCUMENT)),
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
