// SPDX-License-Identifier: Apache-2.0
//! The documents of a file: sources and secrets.
//!
//! Pure: the text of a file goes in, its [`Document`]s come out, or the first [`Fault`]. A file is good or it is not: half
//! a file is nobody's intention. Kinds that are not ours are left out, because a directory may hold a
//! `kustomization.yaml` or manifests for other programs.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use wharf_api::{
    GROUP, KIND,
    v1::{OCIRepository, OCIRepositorySpec},
};

use super::{
    schema,
    yaml::{self, Fault, Node},
};
use crate::ports::Secret;

/// The namespace of an object that names none.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// What an object may have at the top.
const SOURCE_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
const SECRET_FIELDS: [&str; 7] = [
    "apiVersion",
    "kind",
    "metadata",
    "type",
    "data",
    "stringData",
    "immutable",
];
/// All of `ObjectMeta`: a file may come from `kubectl get -o yaml`.
const METADATA_FIELDS: [&str; 15] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "selfLink",
];
/// Kinds of the same group that other controllers act on.
const OTHER_KINDS: [&str; 5] = [
    "GitRepository",
    "Bucket",
    "HelmRepository",
    "HelmChart",
    "ExternalArtifact",
];

/// A document that means something here, and the line it starts at.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) line: u64,
    pub(super) object: Object,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Object {
    /// A source, in the shape of v1: metadata (name, namespace, labels, annotations) and spec.
    Source(Box<OCIRepository>),
    /// A secret: namespace, name, contents.
    Secret(String, String, Secret),
}

/// Reads the documents of a file.
pub(super) fn read(text: &str) -> Result<Vec<Document>, Fault> {
    let nodes = yaml::parse(text)?;
    let documents = nodes.iter().filter_map(|node| interpret(node).transpose());
    documents.collect()
}

fn interpret(node: &Node) -> Result<Option<Document>, Fault> {
    let word = |key| node.field(key).and_then(Node::text).unwrap_or_default();
    let (api_version, kind) = (word("apiVersion"), word("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let object = match (group, kind) {
        (GROUP, KIND) => Object::Source(Box::new(source(node, version)?)),
        (GROUP, kind) if !OTHER_KINDS.contains(&kind) => return Err(no_such_kind(node, kind)),
        ("", "Secret") => secret(node)?,
        ("", "List") => {
            return Err(Fault::at(
                node.line,
                "a List is not read: write its items as documents, with '---' between them",
            ));
        }
        _ => {
            tracing::debug!(
                line = node.line,
                api_version,
                kind,
                "a document of another kind is left out"
            );
            return Ok(None);
        }
    };
    Ok(Some(Document {
        line: node.line,
        object,
    }))
}

fn no_such_kind(node: &Node, kind: &str) -> Fault {
    let kind: String = kind.chars().filter(|c| !c.is_control()).take(64).collect();
    Fault::at(
        node.line,
        format!("{GROUP} has no kind {kind:?}, write 'kind: {KIND}'"),
    )
}

fn source(node: &Node, version: &str) -> Result<OCIRepository, Fault> {
    let Some(schema) = schema::of_spec(version) else {
        return Err(Fault::at(
            node.line,
            format!("apiVersion {GROUP}/{version} is not known, write '{GROUP}/v1'"),
        ));
    };
    schema::check_keys(node, &SOURCE_FIELDS, "")?;
    let metadata = metadata(node)?;
    let Some(spec) = node.field("spec") else {
        return Err(Fault::at(node.line, "spec.url is missing"));
    };
    schema::check(spec, schema, "spec")?;
    // Both versions have the same spec, and the schema was checked; what is left would be a defect of ours.
    let spec: OCIRepositorySpec = serde_json::from_value(spec.to_json())
        .map_err(|error| Fault::at(node.line, format!("spec cannot be read: {error}")))?;
    Ok(OCIRepository {
        metadata,
        spec,
        status: None,
    })
}

/// Name, namespace, labels and annotations. What only an API server knows (uid, generation) is left out.
fn metadata(node: &Node) -> Result<ObjectMeta, Fault> {
    let Some(metadata) = node.field("metadata") else {
        return Err(Fault::at(node.line, "metadata.name is missing"));
    };
    schema::check_keys(metadata, &METADATA_FIELDS, "metadata")?;
    let name = name(metadata, "name", 253, true)?;
    let Some(name) = name else {
        return Err(Fault::at(metadata.line, "metadata.name is missing"));
    };
    let namespace = name_of_namespace(metadata)?;
    Ok(ObjectMeta {
        name: Some(name),
        namespace: Some(namespace),
        labels: texts(metadata, "labels")?,
        annotations: texts(metadata, "annotations")?,
        ..ObjectMeta::default()
    })
}

fn name_of_namespace(metadata: &Node) -> Result<String, Fault> {
    let namespace = name(metadata, "namespace", 63, false)?;
    Ok(namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()))
}

/// A name as Kubernetes has them (RFC 1123). It becomes part of paths, so nothing else is let through.
fn name(metadata: &Node, key: &str, longest: usize, dots: bool) -> Result<Option<String>, Fault> {
    let Some(node) = metadata.field(key) else {
        return Ok(None);
    };
    let path = format!("metadata.{key}");
    let Some(text) = node.text() else {
        return Err(schema::wrong_type(node.line, &path, "string", &node.value));
    };
    let is_word = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !part.is_empty()
            && part.bytes().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let is_name = if dots {
        text.split('.').all(is_word)
    } else {
        is_word(text)
    };
    if is_name && text.len() <= longest {
        return Ok(Some(text.to_owned()));
    }
    let dots = if dots { ", '.'" } else { "" };
    let message = format!(
        "{path} must be at most {longest} of a-z, 0-9, '-'{dots}, and begin and end with a letter or digit"
    );
    Err(Fault::at(node.line, message))
}

fn texts(metadata: &Node, key: &str) -> Result<Option<BTreeMap<String, String>>, Fault> {
    let Some(node) = metadata.field(key) else {
        return Ok(None);
    };
    let mut texts = BTreeMap::new();
    schema::each_text(node, &format!("metadata.{key}"), |entry, text| {
        texts.insert(entry.key.clone(), text.to_owned());
        Ok(())
    })?;
    Ok(Some(texts))
}

fn secret(node: &Node) -> Result<Object, Fault> {
    schema::check_keys(node, &SECRET_FIELDS, "")?;
    let metadata = metadata(node)?;
    let mut data = BTreeMap::new();
    if let Some(encoded) = node.field("data") {
        schema::each_text(encoded, "data", |entry, text| {
            let plain = decode(text).ok_or_else(|| {
                Fault::at(entry.line, format!("data.{} is not base64", entry.key))
            })?;
            data.insert(entry.key.clone(), plain);
            Ok(())
        })?;
    }
    if let Some(plain) = node.field("stringData") {
        schema::each_text(plain, "stringData", |entry, text| {
            data.insert(entry.key.clone(), text.as_bytes().to_vec());
            Ok(())
        })?;
    }
    let kind = node
        .field("type")
        .and_then(Node::text)
        .unwrap_or("Opaque")
        .to_owned();
    let (namespace, name) = (
        metadata.namespace.unwrap_or_default(),
        metadata.name.unwrap_or_default(),
    );
    Ok(Object::Secret(namespace, name, Secret { kind, data }))
}

/// Line breaks inside are allowed, as in Kubernetes.
fn decode(text: &str) -> Option<Vec<u8>> {
    let packed: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    STANDARD.decode(packed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: OCIRepository\n";

    fn one(text: &str) -> Object {
        let mut documents = read(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0).object
    }

    fn fault(text: &str) -> Fault {
        read(text).unwrap_err()
    }

    fn secret(body: &str) -> Secret {
        let text =
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: apps}}\n{body}");
        let Object::Secret(_, _, secret) = one(&text) else {
            panic!("a secret")
        };
        secret
    }

    #[test]
    fn a_source_of_either_version_becomes_v1_in_the_default_namespace() {
        for version in ["v1", "v1beta2"] {
            let text = format!(
                "apiVersion: source.toolkit.fluxcd.io/{version}\nkind: OCIRepository\nmetadata:\n  name: app\n\
                 spec:\n  url: oci://a/b\n  interval: 1m\n"
            );
            let Object::Source(source) = one(&text) else {
                panic!("a source")
            };
            assert_eq!(source.metadata.namespace.as_deref(), Some("default"));
            assert_eq!(source.spec.timeout, "60s");
            assert_eq!(source.spec.provider, "generic");
        }
    }

    #[test]
    fn what_an_api_server_added_is_tolerated_and_not_believed() {
        let text = format!(
            "{HEAD}metadata:\n  name: app\n  uid: evil\n  generation: 99\n  resourceVersion: '7'\n  managedFields: []\n\
             spec: {{url: oci://a/b, interval: 1m}}\nstatus: {{observedGeneration: 99}}\n"
        );
        let Object::Source(source) = one(&text) else {
            panic!("a source")
        };
        assert_eq!(
            (
                source.metadata.uid,
                source.metadata.generation,
                source.status
            ),
            (None, None, None)
        );
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line_wherever_it_is() {
        let cases = [
            (
                "metadata: {name: a}\nspec: {url: a, interval: b}\nspecs: {}\n",
                5,
                "unknown field specs",
            ),
            (
                "metadata:\n  name: a\n  labls: {}\nspec: {url: a, interval: b}\n",
                5,
                "unknown field metadata.labls",
            ),
            (
                "metadata: {name: a}\nspec:\n  url: a\n  interval: b\n  verfy: {}\n",
                7,
                "unknown field spec.verfy",
            ),
        ];
        for (body, line, words) in cases {
            let fault = fault(&format!("{HEAD}{body}"));
            assert_eq!(fault.line, line);
            assert!(fault.message.starts_with(words), "{fault:?}");
        }
    }

    #[test]
    fn the_line_is_that_of_the_file_in_a_later_document() {
        let text = format!("a: 1\n---\nb: 2\n---\n{HEAD}metadata: {{name: a}}\nspec: {{url: a}}\n");
        assert_eq!(fault(&text), Fault::at(8, "spec.interval is missing"));
    }

    #[test]
    fn a_source_without_url_name_or_spec_is_refused() {
        let cases = [
            (
                "metadata: {name: a}\nspec: {interval: b}\n",
                "spec.url is missing",
            ),
            ("metadata: {name: a}\n", "spec.url is missing"),
            (
                "metadata: {}\nspec: {url: a, interval: b}\n",
                "metadata.name is missing",
            ),
            ("spec: {url: a, interval: b}\n", "metadata.name is missing"),
        ];
        for (body, words) in cases {
            assert_eq!(fault(&format!("{HEAD}{body}")).message, words);
        }
    }

    #[test]
    fn names_that_would_leave_a_directory_are_refused() {
        let long = "a".repeat(254);
        for bad in [
            "../../etc/x",
            "a/b",
            "..",
            ".",
            "A",
            "a_b",
            "-a",
            "a..b",
            "",
            "a\\nb",
            &long,
        ] {
            let fault = fault(&format!(
                "{HEAD}metadata: {{name: \"{bad}\"}}\nspec: {{url: a, interval: b}}\n"
            ));
            assert!(
                fault.message.starts_with("metadata.name must be"),
                "{bad}: {fault:?}"
            );
        }
        let fault = fault(&format!(
            "{HEAD}metadata: {{name: a, namespace: a.b}}\nspec: {{url: a, interval: b}}\n"
        ));
        assert!(
            fault.message.starts_with("metadata.namespace must be"),
            "{fault:?}"
        );
    }

    #[test]
    fn other_kinds_are_left_out() {
        let text = "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nresources: [a]\n---\n\
                    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n\
                    apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\n---\njust: yaml\n---\n- a list\n---\ntext\n";
        assert!(read(text).unwrap().is_empty());
    }

    #[test]
    fn a_kind_or_version_of_the_group_that_nobody_knows_is_refused() {
        let fault_of = |kind: &str, version: &str| {
            fault(&format!(
                "apiVersion: source.toolkit.fluxcd.io/{version}\nkind: {kind}\n"
            ))
        };
        assert!(
            fault_of("OciRepository", "v1")
                .message
                .contains("write 'kind: OCIRepository'")
        );
        assert!(
            fault_of("OCIRepository", "v2")
                .message
                .contains("write 'source.toolkit.fluxcd.io/v1'")
        );
        assert!(
            fault("apiVersion: v1\nkind: List\nitems: []\n")
                .message
                .contains("---")
        );
    }

    #[test]
    fn a_secret_is_decoded_and_string_data_wins() {
        let secret = secret(
            "type: kubernetes.io/tls\ndata:\n  a: aGk=\n  b: |\n    aGVs\n    bG8=\nstringData: {a: plain}\n",
        );
        assert_eq!(secret.kind, "kubernetes.io/tls");
        assert_eq!(secret.data["a"], b"plain");
        assert_eq!(secret.data["b"], b"hello");
    }

    #[test]
    fn an_empty_secret_is_a_secret() {
        let secret = secret("");
        assert_eq!((secret.kind.as_str(), secret.data.len()), ("Opaque", 0));
    }

    #[test]
    fn a_bad_secret_is_refused_without_showing_it() {
        let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
        let fault_of = |body: &str| fault(&format!("{head}{body}"));
        assert_eq!(
            fault_of("data:\n  password: hunter2!\n"),
            Fault::at(5, "data.password is not base64")
        );
        assert_eq!(
            fault_of("stringData:\n  pin: 1234\n"),
            Fault::at(
                5,
                "stringData.pin must be text, not a number, put it in quotes"
            )
        );
        assert!(
            fault_of("stringdata: {a: b}\n")
                .message
                .starts_with("unknown field stringdata")
        );
    }

    #[test]
    fn annotations_are_texts() {
        let body = "metadata: {name: a, annotations: {x: true}}\nspec: {url: a, interval: b}\n";
        let fault = fault(&format!("{HEAD}{body}"));
        assert_eq!(
            fault.message,
            "metadata.annotations.x must be text, not true or false, put it in quotes"
        );
    }
}
