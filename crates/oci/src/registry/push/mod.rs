// SPDX-License-Identifier: Apache-2.0
//! Pushing to one repository: blobs first, then the manifest that names them.
//!
//! A blob goes in one piece or in chunks (`blob`), read from a [`Content`]; a manifest or index goes as it is (here), and
//! one with a subject is listed among the referrers of that (`referrer`). Mirrors are never pushed to. Source:
//! distribution-spec "Push".

mod blob;
mod content;
mod pace;
mod referrer;

use std::num::NonZeroU64;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::{Digest, Manifest, ManifestError, Repository, media_type};

use super::{
    auth::Scope,
    body::{content_length, content_type},
    error::{Error, ErrorKind},
    manifests::Target,
    problem::{Problem, clean},
    request::{Ask, Channel, Reply, Upload},
};

pub use content::Content;
pub(crate) use content::{Part, Taken};
pub(crate) use pace::paced;
pub use referrer::{Listed, PushedReferrer};

/// How a blob is pushed. The default is in one piece, with nothing to mount.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Another repository of the same registry that may have the blob already, so that the registry need not be sent it.
    /// It is asked for once; where the registry declines, the blob is sent.
    pub mount_from: Option<Repository>,
    /// Send in chunks of so many bytes (or as many as the registry wants at least), each of which can be sent again
    /// without the ones before it. Without this the blob goes in one piece, and in chunks only when the registry answers
    /// 413 to that.
    pub chunk: Option<NonZeroU64>,
}

/// What was done to have a blob in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobPushed {
    /// Nothing: it was there.
    Existed,
    /// The registry took it from the other repository.
    Mounted,
    /// It was sent.
    Uploaded {
        /// In so many requests, counting those that were sent again.
        chunks: u64,
    },
}

impl BlobPushed {
    /// The name, for output and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Existed => "existed",
            Self::Mounted => "mounted",
            Self::Uploaded { .. } => "uploaded",
        }
    }
}

impl Channel {
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let mut attempts = self.attempts(format!("look for blob {digest}"));
        loop {
            match self.try_has_blob(digest, None).await {
                Ok(found) => return Ok(found),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    pub(crate) async fn push_manifest(
        &self,
        target: &Target,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<Digest, Error> {
        let mut attempts = self.attempts(format!("push manifest as {target}"));
        loop {
            match self.try_push_manifest(target, &bytes, media_type).await {
                Ok((digest, _)) => return Ok(digest),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    /// With a size, only a blob of this size is there.
    async fn try_has_blob(&self, digest: &Digest, size: Option<u64>) -> Result<bool, Problem> {
        let link = self.link(&format!("blobs/{digest}")).await?;
        // Asked for with the scope of a push: only who pushes looks, and one token is enough then.
        match self.ask(&Ask::new(Method::HEAD, link, Scope::Push)).await {
            Ok(reply) => shows_blob(&reply, digest, size),
            Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// The digest, and the registry's answer.
    async fn try_push_manifest(
        &self,
        target: &Target,
        bytes: &Bytes,
        media_type: &str,
    ) -> Result<(Digest, Reply), Problem> {
        let (reference, digest) = match target {
            Target::Tag(tag) => (tag.to_string(), Digest::sha256_of(bytes)),
            Target::Digest(digest) => (digest.to_string(), Digest::of(digest.algorithm(), bytes)),
        };
        if let Target::Digest(expected) = target
            && *expected != digest
        {
            return Err(Problem::Digest {
                expected: expected.clone(),
                got: digest,
            });
        }
        self.check_manifest(bytes, media_type)?;
        let media_type = HeaderValue::from_str(media_type)
            .map_err(|_| Problem::Header("the media type cannot be sent in an HTTP header"))?;
        let upload = Upload::whole(
            Content::Bytes(bytes.clone()),
            bytes.len() as u64,
            media_type,
        );
        let link = self.link(&format!("manifests/{reference}")).await?;
        let ask = Ask::new(Method::PUT, link, Scope::Push).with(upload);
        let reply = self.ask(&ask).await?;
        stored_as(reply.response.headers(), &digest)?;
        check_stored(&reply, &digest)?;
        Ok((digest, reply))
    }

    /// What no client could read again is not pushed.
    fn check_manifest(&self, bytes: &[u8], media_type: &str) -> Result<Manifest, Problem> {
        let limit = self.limits.manifest;
        if bytes.len() as u64 > limit {
            let what = "the manifest";
            return Err(Problem::TooLarge { what, limit });
        }
        if !is_manifest_type(media_type) {
            let named = clean(media_type, 140);
            return Err(Problem::Manifest(ManifestError::UnknownType(named)));
        }
        Manifest::parse(bytes, Some(media_type)).map_err(Problem::Manifest)
    }
}

fn is_manifest_type(media_type: &str) -> bool {
    matches!(
        media_type,
        media_type::OCI_MANIFEST
            | media_type::OCI_INDEX
            | media_type::DOCKER_MANIFEST
            | media_type::DOCKER_INDEX
    )
}

/// Whether a success means that the blob is there. Whoever shows a page of his own in place of every answer has no blob, and
/// one that he is believed to have is never pushed.
fn shows_blob(reply: &Reply, digest: &Digest, size: Option<u64>) -> Result<bool, Problem> {
    let headers = reply.response.headers();
    let is_other = |said: &Digest| said.algorithm() == digest.algorithm() && said != digest;
    match said_digest(headers) {
        Some(said) if said == *digest => Ok(true),
        said if said.as_ref().is_some_and(is_other) || content_type(headers) == "text/html" => {
            Err(Problem::NotBlob {
                host: reply.link.origin.clone(),
                digest: digest.clone(),
            })
        }
        // To send it once more costs bytes; to leave it out costs the artifact.
        _ => Ok(size.is_none_or(|size| content_length(headers).is_none_or(|said| said == size))),
    }
}

/// 201, or another success of a registry that names what it stored.
fn check_stored(reply: &Reply, digest: &Digest) -> Result<(), Problem> {
    let status = reply.status();
    let is_named = || said_digest(reply.response.headers()).is_some_and(|said| said == *digest);
    if status == StatusCode::CREATED || is_named() {
        return Ok(());
    }
    Err(Problem::NotStored {
        host: reply.link.origin.clone(),
        status,
    })
}

fn said_digest(headers: &HeaderMap) -> Option<Digest> {
    headers
        .get("docker-content-digest")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// A registry that says what it stored must say what was sent. Some say nothing.
fn stored_as(headers: &HeaderMap, digest: &Digest) -> Result<(), Problem> {
    match headers.get("docker-content-digest") {
        Some(value) if value.as_bytes() != digest.to_string().as_bytes() => {
            let got = clean(&String::from_utf8_lossy(value.as_bytes()), 140);
            Err(Problem::StoredAs {
                expected: digest.clone(),
                got,
            })
        }
        _ => Ok(()),
    }
}
