// SPDX-License-Identifier: Apache-2.0
//! Manifests and indexes as values.
//!
//! Enters as the bytes of a registry's answer with its `Content-Type`; leaves as a [`Manifest`] of exactly one kind.
//! Descriptor `urls` and inline `data` are not represented: no host that a manifest names is contacted, and content comes
//! only from the registry, by digest. How a document becomes one of these is `parse`. Sources: OCI image-spec "Image
//! Manifest" and "Image Index"; CVE-2020-15157 for `urls`.

mod parse;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{Digest, Repository, Tag, media_type};

pub use parse::ManifestError;

/// A pointer to content: what it is, its digest and its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes; at most 2^63 - 1, as Go programs can read it.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// The type of the artifact, in the entries of an index. Registries write it as they understand it or not at all, so
    /// that it is a hint and proves nothing of the manifest that it points at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations, inert text.
    #[serde(
        default,
        deserialize_with = "null_as_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The platform, in the entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What an index entry was built for; what is not said is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// For instance `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// For instance `linux`.
    #[serde(default)]
    pub os: String,
}

/// A manifest with a configuration and layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// The media type, when the document says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact, when it is not an image (image-spec 1.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration object.
    pub config: Descriptor,
    /// The layers, in order.
    #[serde(deserialize_with = "null_as_empty", default)]
    pub layers: Vec<Descriptor>,
    /// The manifest this one refers to (image-spec 1.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations, inert text.
    #[serde(
        default,
        deserialize_with = "null_as_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, usually one per platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The media type, when the document says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests, in order.
    #[serde(deserialize_with = "null_as_empty", default)]
    pub manifests: Vec<Descriptor>,
    /// Annotations, inert text.
    #[serde(
        default,
        deserialize_with = "null_as_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// What a registry holds under a tag or digest.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// An image manifest, OCI or Docker schema 2.
    Image(ImageManifest),
    /// An index, OCI or Docker manifest list.
    Index(Index),
}

/// A tag or digest, resolved once: everything that follows works on this digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Where it was found.
    pub repository: Repository,
    /// The tag it was resolved from; absent when a digest was asked for.
    pub tag: Option<Tag>,
    /// The digest of the manifest (of the index, when there is one).
    pub digest: Digest,
}

impl Descriptor {
    /// A descriptor of content with nothing else to say about it.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

impl ImageManifest {
    /// An OCI manifest that says its media type and refers to nothing.
    pub fn new(
        config: Descriptor,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations,
        }
    }
}

impl Resolved {
    /// The revision in Flux's form: `<tag>@<digest>`, or `<digest>` alone when a digest was asked for.
    pub fn revision(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{tag}@{}", self.digest),
            None => self.digest.to_string(),
        }
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    match i64::try_from(size) {
        Ok(_) => Ok(size),
        Err(_) => Err(D::Error::custom("the size is larger than 2^63 - 1")),
    }
}

/// Go programs write `null` for an empty list or map.
fn null_as_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
