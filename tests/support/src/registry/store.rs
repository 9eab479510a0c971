// SPDX-License-Identifier: Apache-2.0
//! What the registry holds, in memory: per repository its tags, manifests and blobs, and the uploads under way.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::digest;

#[derive(Default)]
pub(crate) struct Store {
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<String, Upload>,
    uploads_started: u64,
}

#[derive(Default)]
pub(crate) struct Repository {
    /// From tag to the digest of a manifest.
    pub(crate) tags: BTreeMap<String, String>,
    /// From digest to manifest.
    pub(crate) manifests: BTreeMap<String, Manifest>,
    /// From digest to content.
    pub(crate) blobs: BTreeMap<String, Bytes>,
}

#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// Exactly as pushed: the digest is over these.
    pub(crate) bytes: Bytes,
}

pub(crate) struct Upload {
    pub(crate) repository: String,
    pub(crate) received: BytesMut,
}

impl Store {
    pub(crate) fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name)
    }

    /// The repository, made when it is not there: a push creates it.
    pub(crate) fn repository_mut(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Option<&Bytes> {
        self.repository(repository)?.blobs.get(digest)
    }

    /// Opens an upload session and names it.
    pub(crate) fn start_upload(&mut self, repository: &str) -> String {
        self.uploads_started += 1;
        let session = format!("upload-{}", self.uploads_started);
        let upload = Upload {
            repository: repository.to_owned(),
            received: BytesMut::new(),
        };
        self.uploads.insert(session.clone(), upload);
        session
    }

    /// The session, if it belongs to this repository.
    pub(crate) fn upload_mut(&mut self, repository: &str, session: &str) -> Option<&mut Upload> {
        self.uploads
            .get_mut(session)
            .filter(|upload| upload.repository == repository)
    }

    pub(crate) fn end_upload(&mut self, session: &str) -> Option<Upload> {
        self.uploads.remove(session)
    }
}

impl Repository {
    /// The digest and manifest behind a tag or digest.
    pub(crate) fn resolve(&self, reference: &str) -> Option<(&str, &Manifest)> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        let (digest, manifest) = self.manifests.get_key_value(digest)?;
        Some((digest, manifest))
    }

    pub(crate) fn put_blob(&mut self, bytes: Bytes) -> String {
        let digest = digest::sha256(&bytes);
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    /// Stores a manifest and, when `reference` is a tag, points the tag at it. Nothing is checked.
    pub(crate) fn put_manifest(&mut self, reference: &str, manifest: Manifest) -> String {
        if reference.contains(':') {
            self.manifests.insert(reference.to_owned(), manifest);
            return reference.to_owned();
        }
        let digest = digest::sha256(&manifest.bytes);
        self.manifests.insert(digest.clone(), manifest);
        self.tags.insert(reference.to_owned(), digest.clone());
        digest
    }

    /// Removes a manifest with the tags that point at it; says whether it was there.
    pub(crate) fn delete_manifest(&mut self, digest: &str) -> bool {
        self.tags.retain(|_, target| target != digest);
        self.manifests.remove(digest).is_some()
    }
}

impl Manifest {
    /// The document; `Null` when the bytes are not JSON (only possible for content that was seeded).
    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}
