// SPDX-License-Identifier: Apache-2.0
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
    let signed =
        r#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[],"signatures":[]}"#;
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
