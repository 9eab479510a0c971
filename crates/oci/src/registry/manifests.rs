// SPDX-License-Identifier: Apache-2.0
//! Reading manifests: a tag becomes a digest, a digest becomes a manifest, an index becomes the child for a platform.
//!
//! A tag is resolved once; what follows works on the digest, and no bytes are a manifest before their digest was
//! computed here. Source: distribution-spec "Pulling manifests"; the platform rule is Flux's.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::{
    Digest, ImageManifest, Index, Manifest, Resolved, Tag, manifest::Descriptor, media_type,
};

use super::{
    auth::Scope,
    body::{self, content_type},
    error::Error,
    problem::Problem,
    request::{Ask, Channel},
};

/// How deep indexes may be nested: an index, and one within it.
const MAX_INDEXES: u32 = 2;
/// The platform whose child is taken from an index, whatever machine this runs on.
const PLATFORM: (&str, &str) = ("linux", "amd64");
const SHOWN_PLATFORMS: usize = 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whatever the tag points at now.
    Tag(Tag),
    /// Exactly this.
    Digest(Digest),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Digest(digest) => write!(f, "digest {digest}"),
        }
    }
}

/// A manifest or index as the registry holds it, proved to have its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The bytes.
    pub bytes: Bytes,
    /// What the document says it is, or else the header; empty when neither does.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The bytes, parsed.
    pub manifest: Manifest,
}

/// An image manifest with the document it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The document; the child's, when an index was asked for.
    pub document: Document,
    /// The manifest.
    pub manifest: ImageManifest,
}

impl Channel {
    /// Finds the digest of a tag: HEAD, and GET where HEAD fails, whose error is the one that is told. A digest is its
    /// own answer, nothing is asked.
    ///
    /// What HEAD says is believed only so far: the manifest is got by this digest next and must have it, so that a wrong
    /// one ends in an error and not in other content.
    pub(crate) async fn resolve(&self, target: &Target) -> Result<Resolved, Error> {
        let (tag, digest) = match target {
            Target::Digest(digest) => (None, digest.clone()),
            Target::Tag(tag) => (Some(tag.clone()), self.resolve_tag(tag).await?),
        };
        Ok(Resolved {
            repository: self.repository.clone(),
            tag,
            digest,
        })
    }

    /// Gets a manifest or index by digest. Whatever the headers say, the bytes have this digest.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Result<Document, Error> {
        let mut attempts = self.attempts(format!("get manifest {digest}"));
        loop {
            match self.try_manifest(digest).await {
                Ok(document) => return Ok(document),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    /// Gets the image manifest; of an index the child for linux/amd64, or without a platform, that comes first.
    pub(crate) async fn image(&self, resolved: &Resolved) -> Result<Image, Error> {
        let mut document = self.manifest(&resolved.digest).await?;
        for _ in 0..MAX_INDEXES {
            let index = match document.manifest {
                Manifest::Image(ref manifest) => {
                    let manifest = manifest.clone();
                    return Ok(Image { document, manifest });
                }
                Manifest::Index(index) => index,
            };
            let child =
                choose(&index).map_err(|problem| self.unusable(&document.digest, problem))?;
            document = self.manifest(&child.digest).await?;
            let (expected, got) = (child.size, document.bytes.len() as u64);
            if expected != got {
                return Err(self.unusable(&child.digest, Problem::Size { expected, got }));
            }
        }
        match document.manifest {
            Manifest::Image(ref manifest) => {
                let manifest = manifest.clone();
                Ok(Image { document, manifest })
            }
            Manifest::Index(_) => {
                let problem = Problem::Nested { limit: MAX_INDEXES };
                Err(self.unusable(&document.digest, problem))
            }
        }
    }

    fn unusable(&self, digest: &Digest, problem: Problem) -> Error {
        self.error(&format!("use manifest {digest}"), 1, problem)
    }

    async fn resolve_tag(&self, tag: &Tag) -> Result<Digest, Error> {
        let mut attempts = self.attempts(format!("resolve tag {tag}"));
        loop {
            match self.try_resolve(tag).await {
                Ok(digest) => return Ok(digest),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    /// Once HEAD and, if that fails, once GET: there are proxies that close the connection on HEAD, registries that refuse
    /// it to whom they let read, and no answer to it has a body to explain itself with.
    async fn try_resolve(&self, tag: &Tag) -> Result<Digest, Problem> {
        match self.manifest_reply(Method::HEAD, tag.as_str()).await {
            Ok(reply) => {
                if let Some(digest) = digest_header(reply.response.headers()) {
                    return Ok(digest);
                }
            }
            Err(problem) if get_may_help(&problem) => {}
            Err(problem) => return Err(problem),
        }
        let (bytes, content_type) = self.manifest_bytes(tag.as_str()).await?;
        // A page that somebody on the way put there has a digest as well.
        Manifest::parse(&bytes, Some(&content_type)).map_err(Problem::Manifest)?;
        Ok(Digest::sha256_of(&bytes))
    }

    async fn try_manifest(&self, digest: &Digest) -> Result<Document, Problem> {
        let (bytes, content_type) = self.manifest_bytes(&digest.to_string()).await?;
        let got = Digest::of(digest.algorithm(), &bytes);
        if got != *digest {
            return Err(Problem::Digest {
                expected: digest.clone(),
                got,
            });
        }
        let manifest = Manifest::parse(&bytes, Some(&content_type)).map_err(Problem::Manifest)?;
        let media_type = said_type(&manifest).unwrap_or(content_type);
        Ok(Document {
            bytes,
            media_type,
            digest: got,
            manifest,
        })
    }

    /// The bytes of a manifest with their `Content-Type`.
    pub(crate) async fn manifest_bytes(&self, reference: &str) -> Result<(Bytes, String), Problem> {
        let reply = self.manifest_reply(Method::GET, reference).await?;
        let content_type = content_type(reply.response.headers());
        let host = reply.link.origin;
        let limit = self.limits.manifest;
        let bytes = body::collect(reply.response, &host, "the manifest", limit, &self.home).await?;
        Ok((bytes, content_type))
    }

    async fn manifest_reply(
        &self,
        method: Method,
        reference: &str,
    ) -> Result<super::request::Reply, Problem> {
        let link = self.link(&format!("manifests/{reference}")).await?;
        self.ask(&Ask::new(method, link, Scope::Pull).accepting(media_type::MANIFEST_ACCEPT))
            .await
    }
}

/// What HEAD may have met because it is HEAD. Not when the registry wants fewer requests or says when to come back; not when there is no connection,
/// no token or no such scheme, which GET would need as well: each failed login counts somewhere. After a 401 to credentials
/// GET shows them once more, since there are registries that answer only HEAD so.
fn get_may_help(problem: &Problem) -> bool {
    match problem {
        Problem::Answer { answer, .. } => {
            answer.status != StatusCode::TOO_MANY_REQUESTS && answer.retry_after.is_none()
        }
        Problem::Broken { .. }
        | Problem::Timeout { .. }
        | Problem::NoCredentials { .. }
        | Problem::CredentialForm { .. }
        | Problem::Challenge { .. }
        | Problem::Location { .. }
        | Problem::Redirects { .. }
        | Problem::Downgrade { .. }
        | Problem::InternalRedirect { .. }
        | Problem::Elsewhere { .. } => true,
        _ => false,
    }
}

/// A hint: the bytes decide as soon as they are there. Two that differ, or a digest of a page, hint at nothing.
fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    if content_type(headers) == "text/html" {
        return None;
    }
    let mut values = headers.get_all("docker-content-digest").iter();
    let first = values.next()?;
    if values.any(|other| other != first) {
        return None;
    }
    first.to_str().ok()?.parse().ok()
}

fn said_type(manifest: &Manifest) -> Option<String> {
    match manifest {
        Manifest::Image(image) => image.media_type.clone(),
        Manifest::Index(index) => index.media_type.clone(),
    }
}

/// The first entry for the platform, or for none in particular.
fn choose(index: &Index) -> Result<Descriptor, Problem> {
    let fits = |entry: &&Descriptor| match &entry.platform {
        None => true,
        Some(platform) => (platform.os.as_str(), platform.architecture.as_str()) == PLATFORM,
    };
    index.manifests.iter().find(fits).cloned().ok_or_else(|| {
        let platforms = index
            .manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref());
        let names: Vec<_> = platforms
            .take(SHOWN_PLATFORMS)
            .map(|platform| {
                super::problem::clean(&format!("{}/{}", platform.os, platform.architecture), 60)
            })
            .collect();
        let platforms = if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        };
        Problem::NoPlatform { platforms }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[Option<&str>]) -> Index {
        let entries: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(n, platform)| {
                let mut entry = serde_json::json!({"mediaType": "a/b", "digest": Digest::sha256_of(b""), "size": n});
                if let Some((os, architecture)) = platform.and_then(|text| text.split_once('/')) {
                    entry["platform"] = serde_json::json!({"os": os, "architecture": architecture});
                }
                entry
            })
            .collect();
        serde_json::from_value(serde_json::json!({"schemaVersion": 2, "manifests": entries}))
            .unwrap()
    }

    #[test]
    fn the_first_child_that_fits_is_taken() {
        let chosen =
            |platforms: &[Option<&str>]| choose(&index(platforms)).map(|child| child.size).ok();
        assert_eq!(
            chosen(&[Some("linux/arm64"), Some("linux/amd64"), None]),
            Some(1)
        );
        assert_eq!(
            chosen(&[Some("unknown/unknown"), None, Some("linux/amd64")]),
            Some(1)
        );
        assert_eq!(chosen(&[Some("windows/amd64")]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn an_index_without_our_platform_says_what_it_has() {
        let error = choose(&index(&[Some("linux/arm64"), Some("windows/amd64")]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("linux/arm64, windows/amd64"), "{error}");
        assert!(
            choose(&index(&[]))
                .unwrap_err()
                .to_string()
                .contains("only nothing")
        );
    }
}
