// SPDX-License-Identifier: Apache-2.0
//! Manifests and indexes as values.
//!
//! Enters as the bytes of a registry's answer with its `Content-Type`; leaves as a [`Manifest`] of exactly one kind.
//! Descriptor `urls` and inline `data` are not represented, so nothing can follow them. Sources: OCI image-spec
//! "Image Manifest" and "Image Index"; CVE-2021-41190 for the refusal of documents that can be read as both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Repository, Tag, media_type};

/// A pointer to content: what it is, its digest and its size in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
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

/// What an index entry was built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// For instance `amd64`.
    pub architecture: String,
    /// For instance `linux`.
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

/// Why a document is not a manifest that can be trusted to mean one thing.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a field has the wrong type.
    #[error("the manifest is not a valid JSON document of its kind")]
    Json(#[source] serde_json::Error),
    /// Can be read as a manifest and as an index.
    #[error("the manifest is ambiguous: it has both 'manifests' and 'layers' or 'config'")]
    Ambiguous,
    /// The document and the `Content-Type` header disagree.
    #[error("the manifest says it is {document:?} but was sent as {header:?}")]
    TypeMismatch {
        /// The document's `mediaType`.
        document: String,
        /// The header's value.
        header: String,
    },
    /// Neither a manifest nor an index of a known kind.
    #[error("media type {0:?} is not an OCI or Docker schema 2 manifest or index")]
    UnknownType(String),
    /// `schemaVersion` is not 2.
    #[error("manifest schema version {0} is not supported, only 2 is")]
    SchemaVersion(u64),
}

/// The fields that tell the kinds apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Parses a document.
    ///
    /// `content_type` is the header of the answer, without parameters; absent or generic (`application/json`,
    /// `application/octet-stream`, `text/plain`) it decides nothing and the document must say what it is.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let probe: Probe = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let is_image = probe.layers.is_some() || probe.config.is_some();
        if probe.manifests.is_some() && is_image {
            return Err(ManifestError::Ambiguous);
        }
        let kind = kind_of(
            probe.media_type.as_deref(),
            content_type,
            probe.manifests.is_some(),
        )?;
        match probe.schema_version {
            Some(2) => {}
            other => return Err(ManifestError::SchemaVersion(other.unwrap_or_default())),
        }
        match kind {
            Kind::Image => serde_json::from_slice(bytes).map(Self::Image),
            Kind::Index => serde_json::from_slice(bytes).map(Self::Index),
        }
        .map_err(ManifestError::Json)
    }
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
            document: document.to_owned(),
            header: header.to_owned(),
        });
    }
    match document.or(header) {
        Some(media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST) => Ok(Kind::Image),
        Some(media_type::OCI_INDEX | media_type::DOCKER_INDEX) => Ok(Kind::Index),
        Some(other) => Err(ManifestError::UnknownType(
            other.chars().take(140).collect(),
        )),
        None if has_manifests => Ok(Kind::Index),
        None => Ok(Kind::Image),
    }
}

fn is_generic(content_type: &str) -> bool {
    matches!(
        content_type,
        "application/json" | "application/octet-stream" | "text/plain"
    )
}

/// Go programs write `null` for an empty list or map.
fn null_as_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"a/b","digest":"{D}","size":2}},"layers":[{{"mediaType":"c/d","digest":"{D}","size":3,"annotations":null}}]}}"#
        )
    }

    #[test]
    fn an_image_manifest_is_read_with_its_layers() {
        let text = image(r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#);
        let Manifest::Image(manifest) =
            Manifest::parse(text.as_bytes(), Some(media_type::OCI_MANIFEST)).unwrap()
        else {
            panic!("not an image")
        };
        assert_eq!((manifest.layers.len(), manifest.layers[0].size), (1, 3));
    }

    #[test]
    fn an_index_is_told_by_its_content_when_nothing_says_its_type() {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a/b","digest":"{D}","size":1}}]}}"#
        );
        assert!(matches!(
            Manifest::parse(text.as_bytes(), None),
            Ok(Manifest::Index(_))
        ));
    }

    #[test]
    fn a_document_that_is_both_is_refused() {
        let text = image(r#""manifests":[],"#);
        assert!(matches!(
            Manifest::parse(text.as_bytes(), None),
            Err(ManifestError::Ambiguous)
        ));
    }

    #[test]
    fn header_and_document_must_agree() {
        let text = image(r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#);
        let got = Manifest::parse(text.as_bytes(), Some(media_type::OCI_INDEX));
        assert!(matches!(got, Err(ManifestError::TypeMismatch { .. })));
        assert!(Manifest::parse(text.as_bytes(), Some("application/json")).is_ok());
    }

    #[test]
    fn sizes_that_are_no_sizes_and_foreign_documents_are_refused() {
        for size in ["-1", "1.5", "\"7\"", "18446744073709551616", "null"] {
            let text = image("").replace("\"size\":3", &format!("\"size\":{size}"));
            assert!(
                matches!(
                    Manifest::parse(text.as_bytes(), None),
                    Err(ManifestError::Json(_))
                ),
                "{size}"
            );
        }
        for bad in [
            "",
            "<html></html>",
            "[]",
            "{}",
            r#"{"schemaVersion":1}"#,
            "null",
        ] {
            assert!(Manifest::parse(bad.as_bytes(), None).is_err(), "{bad}");
        }
    }
}
