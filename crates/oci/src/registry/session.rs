// SPDX-License-Identifier: Apache-2.0
//! Access to one repository: what a user of the client holds.
//!
//! Only the public face and the documentation of what it guarantees: each operation stands beside its like in
//! `manifests`, `download` and `push`, as a function of the [`Channel`] that it is done over.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::fs::File;

use crate::{Descriptor, Digest, Repository, Resolved};

use super::{
    error::Error,
    manifests::{Document, Image, Target},
    push::Content,
    referrers::Referrers,
    request::Channel,
    tags::Tags,
};

/// Access to one repository. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<Channel>);

impl Session {
    pub(super) fn new(channel: Channel) -> Self {
        Self(Arc::new(channel))
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.0.repository
    }

    /// Finds the digest of a tag: HEAD, and GET where the registry does not answer HEAD well. A digest is its own
    /// answer, nothing is asked.
    ///
    /// The digest of a HEAD is the registry's claim. [`Self::manifest`] and [`Self::image`] get by that digest and prove
    /// it, so that a wrong one ends in an error and never in other content.
    pub async fn resolve(&self, target: &Target) -> Result<Resolved, Error> {
        self.0.resolve(target).await
    }

    /// Gets a manifest or index by digest. Whatever the headers say, the bytes have this digest.
    pub async fn manifest(&self, digest: &Digest) -> Result<Document, Error> {
        self.0.manifest(digest).await
    }

    /// Gets the image manifest; of an index the child for linux/amd64, or without a platform, that comes first. An index
    /// may stand within an index, not deeper.
    ///
    /// A descriptor's `urls` are never contacted and its `data` is never used: content comes from the registry, by digest.
    pub async fn image(&self, resolved: &Resolved) -> Result<Image, Error> {
        self.0.image(resolved).await
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
    pub async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, Error> {
        self.0.referrers(digest, artifact_type).await
    }

    /// Downloads a blob.
    ///
    /// Guarantees, if it returns `Ok`: the file holds exactly the blob, from its start, with the size and the digest of
    /// the descriptor; it is flushed to the system, not to the disk. The file is emptied first. A download that breaks off
    /// goes on where it was when the registry serves exactly the rest, and else starts anew; each further MiB gives it
    /// its attempts back, within [`super::Timeouts::transfer`] for all of them. On an error the file's content means
    /// nothing.
    pub async fn download(&self, descriptor: &Descriptor, file: &mut File) -> Result<(), Error> {
        self.0.download(descriptor, file).await
    }

    /// Whether the repository has a blob.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        self.0.has_blob(digest).await
    }

    /// Pushes a blob, unless it is there. The descriptor says its size and digest; the registry checks them.
    pub async fn push_blob(&self, descriptor: &Descriptor, content: &Content) -> Result<(), Error> {
        self.0.push_blob(descriptor, content).await
    }

    /// Pushes a manifest or index under a tag or its digest, and gives the digest.
    pub async fn push_manifest(
        &self,
        target: &Target,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<Digest, Error> {
        self.0.push_manifest(target, bytes, media_type).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("repository", &self.0.place)
            .field("credentials", &self.0.credentials)
            .finish_non_exhaustive()
    }
}
