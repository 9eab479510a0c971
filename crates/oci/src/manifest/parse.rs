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
        for size in [
            "-1",
            "1.5",
            "3.0",
            "3e0",
            "\"7\"",
            "9223372036854775808",
            "18446744073709551616",
            "1e400",
            "null",
            "[3]",
            "03",
            "0x3",
        ] {
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

    fn refused(text: &str) -> ManifestError {
        Manifest::parse(text.as_bytes(), None).unwrap_err()
    }

    #[test]
    fn the_largest_size_is_read() {
        let text = image("").replace("\"size\":3", "\"size\":9223372036854775807");
        assert!(Manifest::parse(text.as_bytes(), None).is_ok());
    }

    #[test]
    fn a_document_that_two_readers_read_in_two_ways_is_refused() {
        let index = r#"{"schemaVersion":2,"manifests":[],"#;
        for both in [
            format!("{index}\"layers\":null}}"),
            format!("{index}\"config\":{{}}}}"),
            image(r#""manifests":null,"#),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","layers":[]}}"#,
                media_type::OCI_INDEX
            ),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
                media_type::OCI_MANIFEST
            ),
        ] {
            assert!(matches!(refused(&both), ManifestError::Ambiguous), "{both}");
        }
        for key in [
            "Layers",
            "LAYERS",
            "layer\u{17f}",
            "MediaType",
            "mediatype",
            "Config",
            "Manifests",
        ] {
            let text = image(&format!("\"{key}\":null,"));
            assert!(
                matches!(refused(&text), ManifestError::LikeAnother(got) if got == key),
                "{key}"
            );
        }
    }

    #[test]
    fn equal_keys_are_refused_at_every_depth() {
        for text in [
            image(r#""schemaVersion":2,"#),
            image(r#""x":{"y":[{"z":1,"z":2}]},"#),
            image("").replace(r#""size":3"#, r#""size":3,"size":4"#),
            image("").replace(
                r#""annotations":null"#,
                r#""annotations":{"a":"1","\u0061":"2"}"#,
            ),
        ] {
            let error = refused(&text);
            assert!(
                matches!(error, ManifestError::Json(JsonError::DuplicateKey(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn deep_documents_other_encodings_and_what_follows_the_end_are_refused() {
        let nested = |depth: usize| format!("\"x\":{}{},", "[".repeat(depth), "]".repeat(depth));
        assert!(Manifest::parse(image(&nested(63)).as_bytes(), None).is_ok());
        assert!(matches!(
            refused(&image(&nested(64))),
            ManifestError::Json(JsonError::TooDeep(64))
        ));
        let text = image("");
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [
            utf16,
            format!("\u{feff}{text}").into_bytes(),
            [text.as_bytes(), b"\xff"].concat(),
        ] {
            let got = Manifest::parse(&bytes, None);
            assert!(
                matches!(got, Err(ManifestError::Json(JsonError::Encoding))),
                "{got:?}"
            );
        }
        for rest in ["x", "{}", "\0", ","] {
            assert!(
                matches!(refused(&format!("{text}{rest}")), ManifestError::Json(_)),
                "{rest}"
            );
        }
        assert!(Manifest::parse(format!("{text}\n").as_bytes(), None).is_ok());
    }

    #[test]
    fn schema_1_is_refused_by_name_in_all_its_forms() {
        let signed = r#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[],"signatures":[]}"#;
        for (text, header) in [
            (signed.to_owned(), None),
            (signed.to_owned(), Some(media_type::DOCKER_SCHEMA1)),
            (signed.to_owned(), Some(media_type::DOCKER_SCHEMA1_SIGNED)),
            (image(""), Some(media_type::DOCKER_SCHEMA1_SIGNED)),
        ] {
            let error = Manifest::parse(text.as_bytes(), header).unwrap_err();
            assert!(matches!(error, ManifestError::Schema1), "{error}");
            assert!(error.to_string().contains("schema 1"));
        }
        for version in [
            "0",
            "3",
            "-2",
            "2.0",
            "\"2\"",
            "null",
            "18446744073709551617",
        ] {
            let text = image("").replace(
                r#""schemaVersion":2"#,
                &format!("\"schemaVersion\":{version}"),
            );
            assert!(Manifest::parse(text.as_bytes(), None).is_err(), "{version}");
        }
    }

    #[test]
    fn an_unknown_type_is_named_with_what_was_expected() {
        let text = image(r#""mediaType":"application/vnd.cncf.helm.config.v1+json","#);
        let error = refused(&text).to_string();
        assert!(
            error.contains("\"application/vnd.cncf.helm.config.v1+json\""),
            "{error}"
        );
        assert!(
            error.contains(media_type::OCI_MANIFEST) && error.contains(media_type::DOCKER_INDEX),
            "{error}"
        );
    }

    #[test]
    fn lists_have_limits() {
        let entry = format!(r#"{{"mediaType":"a/b","digest":"{D}","size":1}}"#);
        let list = |count: usize| vec![entry.as_str(); count].join(",");
        let index = |count| format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, list(count));
        assert!(Manifest::parse(index(4096).as_bytes(), None).is_ok());
        assert!(matches!(
            refused(&index(4097)),
            ManifestError::TooMany { limit: 4096, .. }
        ));
        let layers = format!(
            r#"{{"schemaVersion":2,"config":{entry},"layers":[{}]}}"#,
            list(100_000)
        );
        assert!(
            refused(&layers)
                .to_string()
                .contains("more than 4096 layers")
        );
    }

    #[test]
    fn digests_that_are_none_are_refused() {
        for bad in [
            "",
            "sha256:",
            "sha256:00",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "../../x",
            &D.to_uppercase(),
        ] {
            let text = image("").replace(D, bad);
            assert!(matches!(refused(&text), ManifestError::Json(_)), "{bad}");
        }
    }

    #[test]
    fn what_a_platform_does_not_say_is_empty() {
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a/b","digest":"{D}","size":1,"platform":{{"architecture":"amd64"}}}}]}}"#
        );
        let Manifest::Index(index) = Manifest::parse(text.as_bytes(), None).unwrap() else {
            panic!("not an index")
        };
        let platform = index.manifests[0].platform.clone().unwrap();
        assert_eq!(
            (platform.os.as_str(), platform.architecture.as_str()),
            ("", "amd64")
        );
    }

    #[test]
    fn no_part_and_no_mutation_of_a_manifest_makes_the_parser_fall() {
        let text = image(
            r#""mediaType":"application/vnd.oci.image.manifest.v1+json","é":[1,-2.5e3,"\u00e9"],"#,
        );
        let whole = text.as_bytes();
        for end in 0..whole.len() {
            assert!(Manifest::parse(&whole[..end], None).is_err());
            let _ = Manifest::parse(&whole[end..], Some(media_type::OCI_INDEX));
            for other in [
                b'"', b'{', b'}', b'[', b']', b',', b':', b'\\', 0, 0x80, 0xff, b'9', b'-', b'e',
            ] {
                let mut bytes = whole.to_vec();
                bytes[end] = other;
                let _ = Manifest::parse(&bytes, None);
                bytes.insert(end, other);
                let _ = Manifest::parse(&bytes, Some(media_type::OCI_MANIFEST));
            }
        }
    }
}
