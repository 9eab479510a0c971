// SPDX-License-Identifier: Apache-2.0
//! Pushing to one repository: blobs first, then the manifest that names them.
//!
//! Blobs are sent in one piece. Source: distribution-spec "Pushing a blob monolithically" (POST then PUT) and "Pushing
//! manifests". Chunks and mounts come with their own requests beside these.

use std::{io, path::PathBuf};

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{HeaderValue, Method};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{Descriptor, Digest};

use super::{
    auth::Scope,
    error::{Error, ErrorKind},
    manifests::Target,
    origin::Link,
    problem::{Problem, clean},
    redirect,
    request::{Ask, Channel, Upload},
    wire::Body,
};

const PIECE: usize = 256 * 1024;

/// What is pushed. It may be read more than once.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file, which is not changed meanwhile.
    File(PathBuf),
}

impl Content {
    /// The content as the body of one request.
    pub(crate) async fn body(&self, size: u64) -> Result<Body, Problem> {
        let reading = |cause| Problem::Io {
            what: "reading the content to push",
            cause,
        };
        let (got, body) = match self {
            Self::Bytes(bytes) => {
                let body = Full::new(bytes.clone()).map_err(|never| match never {});
                (bytes.len() as u64, body.boxed_unsync())
            }
            Self::File(path) => {
                let file = File::open(path).await.map_err(reading)?;
                let got = file.metadata().await.map_err(reading)?.len();
                (got, pieces(file))
            }
        };
        if got != size {
            return Err(Problem::Size {
                expected: size,
                got,
            });
        }
        Ok(body)
    }
}

fn pieces(file: File) -> Body {
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        Ok::<_, io::Error>((read > 0).then(|| (Frame::data(piece.freeze()), file)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

impl Channel {
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let mut attempts = self.attempts(format!("look for blob {digest}"));
        loop {
            match self.try_has_blob(digest).await {
                Ok(found) => return Ok(found),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    pub(crate) async fn push_blob(
        &self,
        descriptor: &Descriptor,
        content: &Content,
    ) -> Result<(), Error> {
        let mut attempts = self.attempts(format!("push blob {}", descriptor.digest));
        loop {
            match self.try_push_blob(descriptor, content).await {
                Ok(()) => return Ok(()),
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
                Ok(digest) => return Ok(digest),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    async fn try_has_blob(&self, digest: &Digest) -> Result<bool, Problem> {
        let link = self.link(&format!("blobs/{digest}")).await?;
        // Asked for with the scope of a push: only who pushes looks, and one token is enough then.
        match self.ask(&Ask::new(Method::HEAD, link, Scope::Push)).await {
            Ok(_) => Ok(true),
            Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// As a whole it can be repeated: an upload that was left is forgotten by the registry, and a blob that arrived is
    /// seen.
    async fn try_push_blob(
        &self,
        descriptor: &Descriptor,
        content: &Content,
    ) -> Result<(), Problem> {
        if self.try_has_blob(&descriptor.digest).await? {
            return Ok(());
        }
        let link = self.link("blobs/uploads/").await?;
        let start = Ask::new(Method::POST, link, Scope::Push).with(Upload {
            content: Content::Bytes(Bytes::new()),
            size: 0,
            media_type: HeaderValue::from_static("application/octet-stream"),
        });
        let reply = self.ask(&start).await?;
        let place = redirect::location(&reply.link, reply.response.headers())?;
        let place = with_digest(&place, &descriptor.digest)?;
        let upload = Upload {
            content: content.clone(),
            size: descriptor.size,
            media_type: HeaderValue::from_static("application/octet-stream"),
        };
        self.ask(&Ask::new(Method::PUT, place, Scope::Push).with(upload))
            .await?;
        Ok(())
    }

    async fn try_push_manifest(
        &self,
        target: &Target,
        bytes: &Bytes,
        media_type: &str,
    ) -> Result<Digest, Problem> {
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
        let media_type = HeaderValue::from_str(media_type)
            .map_err(|_| Problem::Header("the media type cannot be sent in an HTTP header"))?;
        let content = Content::Bytes(bytes.clone());
        let upload = Upload {
            content,
            size: bytes.len() as u64,
            media_type,
        };
        let link = self.link(&format!("manifests/{reference}")).await?;
        let reply = self
            .ask(&Ask::new(Method::PUT, link, Scope::Push).with(upload))
            .await?;
        match reply.response.headers().get("docker-content-digest") {
            Some(value) if value.as_bytes() != digest.to_string().as_bytes() => {
                let got = clean(&String::from_utf8_lossy(value.as_bytes()), 140);
                Err(Problem::StoredAs {
                    expected: digest,
                    got,
                })
            }
            _ => Ok(digest),
        }
    }
}

/// The colon of a digest is written as it is: some registries sign the query that they gave out.
fn with_digest(place: &Link, digest: &Digest) -> Result<Link, Problem> {
    let separator = if place.uri.query().is_some() {
        '&'
    } else {
        '?'
    };
    Link::parse(&format!("{}{separator}digest={digest}", place.uri)).ok_or_else(|| {
        Problem::Location {
            host: place.origin.clone(),
        }
    })
}
