// SPDX-License-Identifier: Apache-2.0
//! From bytes to a [`Manifest`] of exactly one kind.
//!
//! Whatever two readers could understand in two ways is refused: equal JSON keys, keys that some readers take for others,
//! documents of two kinds, a document and a header that disagree. Pure. Source: CVE-2021-41190 (one document, read as an
//! index by one program and as an image by another).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};

use crate::{JsonError, json, media_type};

use super::{ImageManifest, Index, Manifest};

/// Entries of an index; the largest ones known have some tens.
const MAX_ENTRIES: usize = 4_096;
/// Layers of an image; container images have 127 at most, other artifacts some hundreds.
const MAX_LAYERS: usize = 4_096;

/// Why a document is not a manifest that can be trusted to mean one thing.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, JSON that can be read in two ways, or a field has the wrong type.
    #[error("the manifest is not a valid JSON document of its kind")]
    Json(#[source] JsonError),
    /// Can be read as a manifest and as an index.
    #[error("the manifest is ambiguous: it has both 'manifests' and 'layers' or 'config'")]
    Ambiguous,
    /// A key that differs from one of ours in nothing but case, which some readers take for ours.
    #[error("the manifest is ambiguous: some readers take its key {0:?} for another one")]
    LikeAnother(String),
    /// The document and the `Content-Type` header disagree.
    #[error("the manifest says it is {document:?} but was sent as {header:?}")]
    TypeMismatch {
        /// The document's `mediaType`.
        document: String,
        /// The header's value.
        header: String,
    },
    /// Neither a manifest nor an index of a known kind.
    #[error(
        "the media type is {0:?}, expected an image manifest or index of OCI ({oci_manifest}, {oci_index}) or Docker schema 2 ({docker_manifest}, {docker_index})",
        oci_manifest = media_type::OCI_MANIFEST,
        oci_index = media_type::OCI_INDEX,
        docker_manifest = media_type::DOCKER_MANIFEST,
        docker_index = media_type::DOCKER_INDEX
    )]
    UnknownType(String),
    /// A Docker manifest of schema 1, signed or not.
    #[error(
        "the manifest is of Docker's schema 1, which is not supported; push the image again with a current tool"
    )]
    Schema1,
    /// `schemaVersion` is not 2.
    #[error("manifest schema version {0} is not supported, only 2 is")]
    SchemaVersion(u64),
    /// `schemaVersion` is not there.
    #[error("the manifest has no schema version")]
    NoSchemaVersion,
    /// More entries or layers than the limit.
    #[error("the manifest has more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl Manifest {
    /// Parses a document.
    ///
    /// `content_type` is the header of the answer, without parameters; absent or generic (`application/json`,
    /// `application/octet-stream`, `text/plain`) it decides nothing and the document must say what it is.
    ///
    /// Guarantees: no JSON object in the document has a key twice, it is nested 64 deep at most, and it has at most 4,096
    /// layers or entries. Its bytes are counted by who read them.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let probe: Probe =
            json::from_slice_strict(bytes, json::Limits::default()).map_err(ManifestError::Json)?;
        if let Some(key) = probe.like_another {
            return Err(ManifestError::LikeAnother(key));
        }
        if probe.has_manifests && probe.has_image {
            return Err(ManifestError::Ambiguous);
        }
        let kind = kind_of(
            probe.media_type.as_deref(),
            content_type,
            probe.has_manifests,
        )?;
        match probe.schema_version {
            Some(2) => {}
            Some(1) => return Err(ManifestError::Schema1),
            Some(other) => return Err(ManifestError::SchemaVersion(other)),
            None => return Err(ManifestError::NoSchemaVersion),
        }
        match kind {
            Kind::Index if probe.has_image => Err(ManifestError::Ambiguous),
            Kind::Image if probe.has_manifests => Err(ManifestError::Ambiguous),
            Kind::Image => image(bytes).map(Self::Image),
            Kind::Index => index(bytes).map(Self::Index),
        }
    }
}

fn image(bytes: &[u8]) -> Result<ImageManifest, ManifestError> {
    let image: ImageManifest = typed(bytes)?;
    within("layers", image.layers.len(), MAX_LAYERS)?;
    Ok(image)
}

fn index(bytes: &[u8]) -> Result<Index, ManifestError> {
    let index: Index = typed(bytes)?;
    within("entries", index.manifests.len(), MAX_ENTRIES)?;
    Ok(index)
}

/// The document was checked before.
fn typed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ManifestError> {
    let malformed = |error| ManifestError::Json(JsonError::Malformed(error));
    serde_json::from_slice(bytes).map_err(malformed)
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), ManifestError> {
    if count > limit {
        return Err(ManifestError::TooMany { what, limit });
    }
    Ok(())
}

/// What tells the kinds apart.
#[derive(Default)]
struct Probe {
    schema_version: Option<u64>,
    media_type: Option<String>,
    has_manifests: bool,
    /// `layers` or `config`.
    has_image: bool,
    /// The first key that Go's reader would take for one of these, and serde does not.
    like_another: Option<String>,
}

/// The keys that decide what a document is.
const DECIDING: [&str; 5] = [
    "schemaVersion",
    "mediaType",
    "manifests",
    "layers",
    "config",
];

impl<'de> Deserialize<'de> for Probe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Probe;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest or index")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Probe, M::Error> {
        let mut probe = Probe::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schemaVersion" => probe.schema_version = map.next_value()?,
                "mediaType" => probe.media_type = map.next_value()?,
                other => {
                    probe.has_manifests |= other == "manifests";
                    probe.has_image |= matches!(other, "layers" | "config");
                    map.next_value::<IgnoredAny>()?;
                    if is_like_another(other) {
                        probe.like_another.get_or_insert_with(|| cut(other));
                    }
                }
            }
        }
        Ok(probe)
    }
}

/// Go's reader compares keys without their case, and folds two letters beyond ASCII as well.
fn is_like_another(key: &str) -> bool {
    let folded = |text: &str| text.to_uppercase().to_lowercase();
    let is_like = |ours: &&str| **ours != *key && folded(ours) == folded(key);
    key.len() < 100 && DECIDING.iter().any(is_like)
}

fn cut(text: &str) -> String {
    text.chars().take(140).collect()
}

enum Kind {
    Image,
    Index,
}

fn kind_of(
    document: Option<&str>,
    header: Option<&str>,
    has_manifests: bool,
) -> Result<Kind, ManifestError> {
    let header = header.filter(|header| !is_generic(header));
    if let (Some(document), Some(header)) = (document, header)
        && document != header
    {
        return Err(ManifestError::TypeMismatch {
            document: cut(document),
            header: cut(header),
        });
    }
    match document.or(header) {
        Some(media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => Ok(Kind::Image),
        Some(media_type::OCI_INDEX | media_type::DOCKER_INDEX) => Ok(Kind::Index),
        Some(media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED) => {
            Err(ManifestError::Schema1)
        }
        Some(other) => Err(ManifestError::UnknownType(cut(other))),
        None if has_manifests => Ok(Kind::Index),
        None => Ok(Kind::Image),
    }
}

fn is_generic(content_type: &str) -> bool {
    matches!(
        content_type,
        "" | "application/json" | "application/octet-stream" | "text/plain"
    )
}

#[cfg(test)]
mod tests;
