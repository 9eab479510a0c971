// SPDX-License-Identifier: Apache-2.0
//! References: which repository, and which tag or digest in it.
//!
//! Enters as text from a person or a CR; leaves as a [`Repository`], [`Tag`] or [`Reference`] that is safe to put into a
//! request path. Sources: distribution-spec "Pulling manifests" for names and tags; Docker's rule for the registry part
//! (the first segment is a host only if it has a `.` or `:` or is `localhost`), as Flux applies it.

use std::{fmt, str::FromStr};

use crate::{Digest, DigestError};

const DOCKER_HUB: &str = "index.docker.io";
const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;

/// A repository in a registry, for instance `ghcr.io/org/app`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: Box<str>,
    path: Box<str>,
}

/// A tag: 1 to 128 characters from `[A-Za-z0-9_.-]`, not starting with `.` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// A repository with an optional tag and an optional digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag, if one was written.
    pub tag: Option<Tag>,
    /// The digest, if one was written. It decides over the tag.
    pub digest: Option<Digest>,
}

/// Why a text is not a repository, tag or reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The registry part is not `host` or `host:port`.
    #[error("registry {0:?} is not a host name or address with an optional port")]
    Registry(String),
    /// The repository path is empty, too long or has a character that names may not have.
    #[error(
        "repository name {0:?} is invalid: 2 to 255 characters from a-z, 0-9, '.', '_', '-' and '/', in non-empty segments"
    )]
    Path(String),
    /// The repository has a tag or digest where only a repository may stand.
    #[error(
        "{0:?} names a tag or digest where only a repository may stand, remove the part from ':' or '@' on"
    )]
    NotBare(String),
    /// The tag does not match the grammar.
    #[error(
        "tag {0:?} is invalid: 1 to 128 characters from A-Z, a-z, 0-9, '_', '.' and '-', not starting with '.' or '-'"
    )]
    Tag(String),
    /// The digest after `@` does not parse.
    #[error("the part after '@' is not a digest")]
    Digest(#[source] DigestError),
}

impl Repository {
    /// A repository on a registry that is known to be one, whatever its name looks like.
    pub(crate) fn on(registry: &str, path: &str) -> Result<Self, ReferenceError> {
        if !is_authority(registry) {
            return Err(ReferenceError::Registry(cut(registry)));
        }
        if !is_path(path) {
            return Err(ReferenceError::Path(cut(path)));
        }
        let registry = if registry == "docker.io" {
            DOCKER_HUB
        } else {
            registry
        };
        Ok(Self {
            registry: registry.into(),
            path: path.into(),
        })
    }

    /// The registry as `host` or `host:port`; Docker Hub is `index.docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry, for instance `org/app`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host without its port (IPv6 literals keep their brackets).
    pub fn host(&self) -> &str {
        split_port(&self.registry).0
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (registry, path) = split_registry(text);
        let registry = if registry == "docker.io" {
            DOCKER_HUB
        } else {
            registry
        };
        if !is_authority(registry) {
            return Err(ReferenceError::Registry(cut(registry)));
        }
        if path.contains([':', '@']) {
            return Err(ReferenceError::NotBare(cut(text)));
        }
        let is_official = registry == DOCKER_HUB && !path.is_empty() && !path.contains('/');
        let path = if is_official {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if !is_path(&path) {
            return Err(ReferenceError::Path(cut(&path)));
        }
        Ok(Self {
            registry: registry.into(),
            path: path.into(),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl Tag {
    /// The tag `latest`, which stands for an absent one.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The tag under which a manifest's referrers are listed where the registry has no API for them: its digest, cut to
    /// what a tag may be. Source: distribution-spec "Referrers Tag Schema".
    pub(crate) fn of_referrers(subject: &Digest) -> Self {
        let algorithm = subject.algorithm().name();
        Self(format!("{algorithm:.32}-{:.64}", subject.hex()).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let starts_well = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        if text.len() > MAX_TAG || !starts_well || !text.bytes().all(allowed) {
            return Err(ReferenceError::Tag(cut(text)));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Parses `repository[:tag][@digest]`; a leading `oci://` is accepted.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(ReferenceError::Digest)?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; one before it belongs to a port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[name_start..].split_once(':') {
            Some((name, tag)) => (&rest[..name_start + name.len()], Some(tag.parse()?)),
            None => (rest, None),
        };
        Ok(Self {
            repository: repository.parse()?,
            tag,
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest
            .iter()
            .try_for_each(|digest| write!(f, "@{digest}"))
    }
}

fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (first, rest),
        _ => (DOCKER_HUB, text),
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    let host_ok = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(host),
    };
    host_ok && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn is_host_name(host: &str) -> bool {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 253
        && host
            .strip_suffix('.')
            .unwrap_or(host)
            .split('.')
            .all(label_ok)
}

/// `.` and `..` as segments would change the request path, so they are refused beyond what the grammar of Flux does.
fn is_path(path: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/');
    let segment_ok = |segment: &str| !segment.is_empty() && segment.bytes().any(|b| b != b'.');
    (2..=MAX_PATH).contains(&path.len())
        && path.bytes().all(allowed)
        && path.split('/').all(segment_ok)
}

fn cut(text: &str) -> String {
    text.chars().take(140).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    fn repository(text: &str) -> String {
        text.parse::<Repository>().unwrap().to_string()
    }

    #[test]
    fn the_registry_part_is_found_as_docker_finds_it() {
        assert_eq!(repository("ghcr.io/org/app"), "ghcr.io/org/app");
        assert_eq!(repository("localhost/app"), "localhost/app");
        assert_eq!(repository("registry:5000/app"), "registry:5000/app");
        assert_eq!(repository("[::1]:5000/app"), "[::1]:5000/app");
        assert_eq!(repository("alpine"), "index.docker.io/library/alpine");
        assert_eq!(repository("org/app"), "index.docker.io/org/app");
        assert_eq!(
            repository("docker.io/alpine"),
            "index.docker.io/library/alpine"
        );
    }

    #[test]
    fn malformed_repositories_are_refused() {
        let huge = format!("ghcr.io/{}", "a".repeat(1 << 20));
        for bad in [
            "",
            "ghcr.io/",
            "ghcr.io/A",
            "ghcr.io/a b",
            "ghcr.io/a//b",
            "ghcr.io/../x",
            "ghcr.io/a/../b",
            "host:0/ab",
            "host:99999/ab",
            "ho st.io/ab",
            "[::g]:1/ab",
            "ghcr.io/app?x=1",
            "ghcr.io/a%2e",
            "ghcr.io/app#",
            &huge,
        ] {
            let error = bad.parse::<Repository>().unwrap_err().to_string();
            assert!(error.len() < 500, "{bad:.60}: {error}");
        }
    }

    #[test]
    fn a_tag_or_digest_in_a_repository_is_named() {
        for bad in ["ghcr.io/org/app:1.0", "ghcr.io/org/app@sha256:aa"] {
            assert!(
                matches!(bad.parse::<Repository>(), Err(ReferenceError::NotBare(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn references_carry_tag_and_digest() {
        let digest = Digest::sha256_of(b"x");
        for text in [
            "ghcr.io/org/app".to_owned(),
            "host:5000/app:v1".into(),
            format!("ghcr.io/org/app:v1@{digest}"),
            format!("ghcr.io/org/app@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!(
            "oci://ghcr.io/org/app:v1".parse::<Reference>().unwrap().tag,
            Some("v1".parse().unwrap())
        );
    }

    #[test]
    fn the_tag_of_referrers_is_the_digest_cut_to_what_a_tag_may_be() {
        let short = Digest::sha256_of(b"x");
        let long = Digest::of(Algorithm::Sha512, b"x");
        for (digest, text) in [
            (&short, format!("sha256-{}", short.hex())),
            (&long, format!("sha512-{}", &long.hex()[..64])),
        ] {
            let tag = Tag::of_referrers(digest);
            assert_eq!(tag.as_str(), text);
            assert_eq!(text.parse::<Tag>().unwrap(), tag);
        }
    }

    #[test]
    fn malformed_tags_are_refused() {
        let long = "a".repeat(129);
        for bad in ["", ".a", "-a", "a b", "a/b", "a:b", "é", "a\n", &long] {
            assert!(bad.parse::<Tag>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("_1.2-x".parse::<Tag>().is_ok());
    }
}
