// SPDX-License-Identifier: Apache-2.0
//! Access to one repository: what a user of the client holds.
//!
//! Only the public face and the documentation of what it guarantees: each operation stands beside its like in
//! `manifests`, `download` and `push`, as a function of the [`Channel`](super::request::Channel) that it is done over. Which channels those are is
//! the [`ReadPath`]'s: reads go to mirrors first, everything else to the registry alone.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::fs::File;

use crate::{Descriptor, Digest, Repository, Resolved};

use super::{
    error::Error,
    manifests::{Document, Image, Target},
    mirrors::{By, ReadPath},
    push::{BlobPushed, Content, PushOptions, PushedReferrer},
    referrers::Referrers,
    tags::Tags,
};

/// Access to one repository. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<ReadPath>);

impl Session {
    pub(super) fn new(path: ReadPath) -> Self {
        Self(Arc::new(path))
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.0.home.repository
    }

    /// Finds the digest of a tag: HEAD, and GET where the registry does not answer HEAD well. A digest is its own
    /// answer, nothing is asked.
    pub async fn resolve(&self, target: &Target) -> Result<Resolved, Error> {
        if let Target::Digest(_) = target {
            return self.0.home.resolve(target).await;
        }
        let mut tries = self.0.tries(By::Word);
        loop {
            let found = tries
                .in_time(Box::pin(tries.channel().resolve(target)))
                .await;
            if let Some(found) = tries.settle(found) {
                let repository = self.repository().clone();
                return found.map(|found| Resolved {
                    repository,
                    ..found
                });
            }
        }
    }

    /// Gets a manifest or index by digest. Whatever the headers say, the bytes have this digest.
    pub async fn manifest(&self, digest: &Digest) -> Result<Document, Error> {
        let mut tries = self.0.tries(By::Digest);
        loop {
            let result = tries
                .in_time(Box::pin(tries.channel().manifest(digest)))
                .await;
            if let Some(result) = tries.settle(result) {
                return result;
            }
        }
    }

    /// Gets the image manifest; of an index the child for linux/amd64, or without a platform, that comes first.
    pub async fn image(&self, resolved: &Resolved) -> Result<Image, Error> {
        let mut tries = self.0.tries(By::Digest);
        loop {
            let result = tries
                .in_time(Box::pin(tries.channel().image(resolved)))
                .await;
            if let Some(result) = tries.settle(result) {
                return result;
            }
        }
    }

    /// The tags of the repository, page by page. Nothing is asked before the first [`Tags::next_page`].
    pub fn tags(&self) -> Tags {
        Tags::new(self.0.clone())
    }

    /// The manifests that say they refer to this one: from the referrers API, or from the index under the tag made of
    /// the digest where the registry has no such API.
    ///
    /// With `artifact_type` the registry is asked for this type only, and what it lists under another type is left out
    /// here. Registries know types badly (see [`Referrers::manifests`]): ask with `None` when nothing may be missed, as
    /// signatures may not, and look at the manifests themselves.
    ///
    /// An empty list means that the registry said there are none. Being denied (401, 403), limited (429) or not served
    /// (5xx) is an error, from the API as from the tag.
    ///
    /// Mirrors are not asked, not even those that are trusted with tags: one that keeps no referrers answers that there
    /// are none.
    pub async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, Error> {
        self.0.home.referrers(digest, artifact_type).await
    }

    /// Downloads a blob.
    ///
    /// Guarantees, if it returns `Ok`: the file holds exactly the blob, from its start, with the size and the digest of
    /// the descriptor; it is flushed to the system, not to the disk. The file is emptied first, and again before another
    /// attempt. On an error its content means nothing.
    pub async fn download(&self, descriptor: &Descriptor, file: &mut File) -> Result<(), Error> {
        let mut tries = self.0.tries(By::Digest);
        loop {
            let download = tries.channel().download(descriptor, file);
            let result = tries.at_leisure(download).await;
            if let Some(result) = tries.settle(result) {
                return result;
            }
        }
    }

    /// Whether the repository has a blob.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        self.0.home.has_blob(digest).await
    }

    /// Pushes a blob, unless it is there. The descriptor says its size and digest; the registry checks them.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        content: &Content,
    ) -> Result<BlobPushed, Error> {
        self.push_blob_with(descriptor, content, &PushOptions::default())
            .await
    }

    /// The same, in chunks or by taking it from another repository of the registry.
    pub async fn push_blob_with(
        &self,
        descriptor: &Descriptor,
        content: &Content,
        options: &PushOptions,
    ) -> Result<BlobPushed, Error> {
        let home = &self.0.home;
        home.push_blob(descriptor, content, options).await
    }

    /// Pushes a manifest or index under a tag or its digest, and gives the digest. What it names must be there: the
    /// registry refuses it otherwise. One with a subject is pushed as it is; see [`Self::push_referrer`].
    pub async fn push_manifest(
        &self,
        target: &Target,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<Digest, Error> {
        self.0.home.push_manifest(target, bytes, media_type).await
    }

    /// Pushes a manifest with a subject under its digest, and sees to it that it is listed among the subject's
    /// referrers: by the registry, or in the index under the tag that stands in for that.
    pub async fn push_referrer(
        &self,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<PushedReferrer, Error> {
        self.0.home.push_referrer(bytes, media_type).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("repository", &self.0.home.place)
            .field("credentials", &self.0.home.credentials)
            .finish_non_exhaustive()
    }
}
