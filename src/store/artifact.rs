// SPDX-License-Identifier: Apache-2.0
//! What is known about an artifact: the values that go into the store and come out of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_oci::Digest;

use super::{ArtifactKey, layout};

/// How the stored bytes were made from the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Packer {
    /// They are the layer's own bytes.
    Passthrough,
    /// They were packed again, by the rules of this version.
    Repack(u32),
}

/// An artifact that is about to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewArtifact {
    /// The object it belongs to.
    pub key: ArtifactKey,
    /// The revision, `<tag>@<digest>` or `<digest>`.
    pub revision: String,
    /// The digest of the manifest it was made from. It names the artifact in its path.
    pub manifest_digest: Digest,
    /// The digest of the bytes that are stored and served.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The uid of the object, so that an object made anew under the same name does not inherit.
    pub uid: String,
    /// Annotations of the manifest that go into the status.
    pub metadata: BTreeMap<String, String>,
    /// How the bytes were made.
    pub packer: Packer,
    /// The trust fingerprint: what was verified, under which keys, identities, policy and root.
    pub trust: String,
}

/// An artifact in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredArtifact {
    /// The object it belongs to.
    pub key: ArtifactKey,
    /// The revision, `<tag>@<digest>` or `<digest>`.
    pub revision: String,
    /// The digest of the manifest it was made from.
    pub manifest_digest: Digest,
    /// The digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// When it was published, in whole seconds.
    pub at: Timestamp,
    /// The order of publication in this store. Clocks go backwards and two artifacts may share a second; this does not.
    pub sequence: u64,
    /// The uid of the object.
    pub uid: String,
    /// Annotations of the manifest that go into the status.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How the bytes were made.
    pub packer: Packer,
    /// The trust fingerprint.
    pub trust: String,
}

impl StoredArtifact {
    /// The path it is served under, `ocirepository/<namespace>/<name>/<manifest digest>.tar.gz`, without a leading slash.
    pub fn path(&self) -> String {
        layout::artifact_path(&self.key, &self.manifest_digest)
    }

    /// The path under which the object's current artifact is served.
    pub fn latest_path(&self) -> String {
        layout::latest_path(&self.key)
    }

    pub(super) fn new(new: NewArtifact, at: Timestamp, sequence: u64) -> Self {
        Self {
            key: new.key,
            revision: new.revision,
            manifest_digest: new.manifest_digest,
            digest: new.digest,
            size: new.size,
            at: whole_seconds(at),
            sequence,
            uid: new.uid,
            metadata: new.metadata,
            packer: new.packer,
            trust: new.trust,
        }
    }
}

/// Status and `Last-Modified` know seconds only; what is kept must be what was said.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
