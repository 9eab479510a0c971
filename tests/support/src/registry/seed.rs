// SPDX-License-Identifier: Apache-2.0
//! Placing content in the registry directly, also content that no registry would take.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::store::Manifest;
use super::{FakeRegistry, digest};

/// The media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a layer as Flux's command line pushes it.
pub const FLUX_CONTENT: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
/// The media type of the configuration that goes with [`FLUX_CONTENT`].
pub const FLUX_CONFIG: &str = "application/vnd.cncf.flux.config.v1+json";

/// What was placed in the registry, to compare with what was fetched from it.
#[derive(Clone, Debug)]
pub struct SeededArtifact {
    /// The repository's name.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest of the manifest.
    pub manifest_digest: String,
    /// The bytes of the manifest.
    pub manifest: Bytes,
    /// The digest of the (first) layer; empty when there is none.
    pub layer_digest: String,
    /// The bytes of the (first) layer; empty when there is none.
    pub layer: Bytes,
}

impl SeededArtifact {
    /// `tag@digest`, as a source's status shows it.
    pub fn revision(&self) -> String {
        format!("{}@{}", self.tag, self.manifest_digest)
    }
}

/// An artifact to push: layers and what the manifest says about them.
#[derive(Clone, Debug, Default)]
pub struct Artifact {
    layers: Vec<(String, Bytes)>,
    annotations: BTreeMap<String, String>,
    subject: Option<Value>,
    of_type: Option<String>,
}

impl Artifact {
    /// An artifact without layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer.
    pub fn layer(mut self, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        self.layers.push((media_type.to_owned(), bytes.into()));
        self
    }

    /// Sets an annotation of the manifest.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Makes the artifact refer to another one, as a signature does.
    pub fn subject(mut self, subject: &SeededArtifact) -> Self {
        self.subject = Some(json!({
            "mediaType": OCI_MANIFEST,
            "digest": subject.manifest_digest,
            "size": subject.manifest.len(),
        }));
        self
    }

    /// Sets the artifact's type.
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.of_type = Some(artifact_type.to_owned());
        self
    }

    fn manifest(&self, config: &[u8]) -> Bytes {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|(media_type, bytes)| descriptor(media_type, bytes))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(FLUX_CONFIG, config),
            "layers": layers,
        });
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
        if let Some(subject) = &self.subject {
            manifest["subject"] = subject.clone();
        }
        if let Some(artifact_type) = &self.of_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        manifest.to_string().into()
    }
}

impl FakeRegistry {
    /// Places an artifact with one layer under a tag.
    pub fn push_artifact(
        &self,
        repository: &str,
        tag: &str,
        layer: impl Into<Bytes>,
        media_type: &str,
    ) -> SeededArtifact {
        self.push(repository, tag, &Artifact::new().layer(media_type, layer))
    }

    /// Places an artifact under a tag.
    pub fn push(&self, repository: &str, tag: &str, artifact: &Artifact) -> SeededArtifact {
        const CONFIG: &[u8] = b"{}";
        self.put_blob(repository, CONFIG);
        for (_, bytes) in &artifact.layers {
            self.put_blob(repository, bytes.clone());
        }
        let manifest = artifact.manifest(CONFIG);
        let layer = artifact.layers.first().map(|(_, bytes)| bytes.clone());
        SeededArtifact {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            manifest_digest: self.put_manifest(repository, tag, OCI_MANIFEST, manifest.clone()),
            manifest,
            layer_digest: layer.as_deref().map(digest::sha256).unwrap_or_default(),
            layer: layer.unwrap_or_default(),
        }
    }

    /// Places an index under a tag; each child has a platform such as `linux/amd64`. Gives the index's digest.
    pub fn push_index(
        &self,
        repository: &str,
        tag: &str,
        children: &[(&str, &SeededArtifact)],
    ) -> String {
        let children: Vec<Value> = children
            .iter()
            .map(|(platform, artifact)| {
                let (os, architecture) = platform.split_once('/').unwrap_or((platform, ""));
                let mut child = descriptor(OCI_MANIFEST, &artifact.manifest);
                child["platform"] = json!({"os": os, "architecture": architecture});
                child
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
        self.put_manifest(repository, tag, OCI_INDEX, index.to_string())
    }

    /// Places bytes as a manifest, whatever they are, under a tag or a digest (also one that is not theirs).
    ///
    /// Gives the digest under which they are stored.
    pub fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> String {
        let manifest = Manifest {
            media_type: media_type.to_owned(),
            bytes: bytes.into(),
        };
        let mut store = self.shared().store();
        store
            .repository_mut(repository)
            .put_manifest(reference, manifest)
    }

    /// Places a blob; gives its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let mut store = self.shared().store();
        store.repository_mut(repository).put_blob(bytes.into())
    }

    /// Removes a tag, or a manifest with all its tags; says whether it was there.
    pub fn delete_manifest(&self, repository: &str, reference: &str) -> bool {
        let mut store = self.shared().store();
        let repository = store.repository_mut(repository);
        repository.tags.remove(reference).is_some() || repository.delete_manifest(reference)
    }

    /// Removes a blob; says whether it was there.
    pub fn delete_blob(&self, repository: &str, digest: &str) -> bool {
        let mut store = self.shared().store();
        store
            .repository_mut(repository)
            .blobs
            .remove(digest)
            .is_some()
    }

    /// The digest a tag points at.
    pub fn tag_digest(&self, repository: &str, tag: &str) -> Option<String> {
        let store = self.shared().store();
        store.repository(repository)?.tags.get(tag).cloned()
    }

    /// The bytes of a manifest, by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Bytes> {
        let store = self.shared().store();
        let (_, manifest) = store.repository(repository)?.resolve(reference)?;
        Some(manifest.bytes.clone())
    }

    /// The bytes of a blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.shared().store().blob(repository, digest).cloned()
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest::sha256(bytes), "size": bytes.len()})
}
