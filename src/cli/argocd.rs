// SPDX-License-Identifier: Apache-2.0
//! Files with Argo CD's Secrets and its `ConfigMap` of certificates, as `kubectl get -o yaml` prints them.
//!
//! Enters as YAML text: several documents, and lists of objects; leaves as an [`ArgoCd`]. Objects of other kinds are passed
//! over; a file in which nothing is of use is an error. No error quotes a value.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use wharf_oci::registry::ArgoCd;

use super::{Failure, registry::read_capped};

/// Some thousand Secrets.
const MAX_FILE: u64 = 16 << 20;
const MAX_NODES: usize = 1_000_000;
const MAX_DEPTH: usize = 32;
const CERTIFICATES: &str = "argocd-tls-certs-cm";

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "stringData")]
    string_data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    items: Option<Vec<Self>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// Reads the files.
pub(super) fn read(paths: &[impl AsRef<Path>]) -> Result<ArgoCd, Failure> {
    let mut argo = ArgoCd::default();
    for path in paths {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let text = String::from_utf8(read_capped(path, MAX_FILE)?)
            .map_err(|_| Failure::plain(format!("--argocd-config {shown} is not UTF-8 text")))?;
        add(&mut argo, &text, &shown)?;
    }
    Ok(argo)
}

fn add(argo: &mut ArgoCd, text: &str, shown: &str) -> Result<(), Failure> {
    let mut is_of_use = false;
    for object in objects(text, shown)? {
        is_of_use |= add_object(argo, object, shown)?;
    }
    if is_of_use {
        return Ok(());
    }
    Err(Failure::plain(format!(
        "--argocd-config {shown} has no Secret with the label argocd.argoproj.io/secret-type and type oci, and no ConfigMap \
         {CERTIFICATES}"
    )))
}

/// All objects of all documents, those within lists included.
fn objects(text: &str, shown: &str) -> Result<Vec<Object>, Failure> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! { max_events: MAX_NODES, max_depth: MAX_DEPTH },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
    };
    let documents: Vec<Object> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            // The parser's own words may quote a value.
            let line = error.location().map_or(0, |location| location.line());
            Failure::plain(format!(
                "--argocd-config {shown} is not YAML of Kubernetes objects (line {line})"
            ))
        })?;
    let flat = documents
        .into_iter()
        .flat_map(|mut document| match document.items.take() {
            Some(items) => items,
            None => vec![document],
        });
    Ok(flat.collect())
}

fn add_object(argo: &mut ArgoCd, object: Object, shown: &str) -> Result<bool, Failure> {
    let Metadata {
        name,
        namespace,
        labels,
    } = object.metadata;
    let kind = object.kind.to_ascii_lowercase();
    let namespace = namespace.map_or_else(String::new, |namespace| format!("{namespace}/"));
    let origin = format!("{kind} {namespace}{name} in {shown}");
    let data = object.data.unwrap_or_default();
    match kind.as_str() {
        "secret" => {
            let mut decoded = decoded(data, &origin)?;
            let plain = object.string_data.unwrap_or_default();
            decoded.extend(
                plain
                    .into_iter()
                    .map(|(key, text)| (key, text.into_bytes())),
            );
            argo.add_secret(&origin, &labels.unwrap_or_default(), &decoded)
                .map_err(|error| Failure::new("could not use --argocd-config", error))
        }
        "configmap" if name == CERTIFICATES => {
            let data = data.into_iter().map(|(key, text)| (key, text.into_bytes()));
            argo.add_certificates(&origin, &data.collect());
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn decoded(
    data: BTreeMap<String, String>,
    origin: &str,
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    data.into_iter()
        .map(|(key, text)| {
            let compact: String = text.split_ascii_whitespace().collect();
            let bytes = STANDARD
                .decode(compact)
                .map_err(|_| Failure::plain(format!("{origin}: data '{key}' is not base64")))?;
            Ok((key, bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let failure = add(&mut ArgoCd::default(), text, "f.yaml").unwrap_err();
        let cause =
            std::error::Error::source(&failure).map_or_else(String::new, ToString::to_string);
        format!("{failure}: {cause} {failure:?}")
    }

    fn source_of(argo: &ArgoCd, repository: &str) -> Option<String> {
        let access = argo.access_for(&repository.parse().unwrap()).unwrap();
        access?.credentials.source().map(ToOwned::to_owned)
    }

    const LABEL: &str = "labels: {argocd.argoproj.io/secret-type: repository}";

    #[test]
    fn documents_and_lists_are_read() {
        let text = format!(
            "# kubectl get secret -o yaml\napiVersion: v1\nkind: List\nitems:\n- kind: Secret\n  metadata:\n    name: a\n    \
             namespace: argocd\n    {LABEL}\n  type: Opaque\n  data:\n    type: b2Np\n    url: b2NpOi8vci5leGFtcGxlL2E=\n    \
             username: dQ==\n    password: |\n      Y2Fu\n      YXJ5\n- kind: Secret\n  metadata: {{name: other}}\n  data: {{x: eA==}}\n\
             ---\nkind: Secret\nmetadata: {{name: b, {LABEL}}}\nstringData: {{type: oci, url: 'oci://r.example/bb', username: u, \
             password: p}}\n---\n---\nkind: Service\nspec: {{ports: [1]}}\n"
        );
        let text = text.replace("L2E=", "L2Fh");
        let mut argo = ArgoCd::default();
        add(&mut argo, &text, "f.yaml").unwrap();
        assert_eq!(
            source_of(&argo, "r.example/aa").unwrap(),
            "secret argocd/a in f.yaml"
        );
        assert_eq!(
            source_of(&argo, "r.example/bb").unwrap(),
            "secret b in f.yaml"
        );
        assert!(!format!("{argo:?}").contains("canary"));
    }

    #[test]
    fn what_is_malformed_is_refused_without_being_quoted() {
        let secret = |data: &str| format!("kind: Secret\nmetadata: {{name: a, {LABEL}}}\n{data}\n");
        for (text, words) in [
            (String::new(), "has no Secret"),
            ("canary".into(), "not YAML of Kubernetes objects"),
            ("kind: [canary".into(), "not YAML of Kubernetes objects"),
            (
                secret("data: canary"),
                "not YAML of Kubernetes objects (line 3)",
            ),
            (secret("stringData: {a: canary, a: canary}"), "not YAML"),
            (secret("data: {type: canary!}"), "data 'type' is not base64"),
            (
                secret("stringData: {type: git, url: canary}"),
                "has no Secret",
            ),
            (
                secret("stringData: {type: oci, url: canary}"),
                "has no 'url'",
            ),
            (
                secret("stringData: {type: oci, url: 'oci://r.example/app', insecure: canary}"),
                "'insecure' is neither true nor false",
            ),
            (
                "kind: ConfigMap\nmetadata: {name: other}\ndata: {a: b}".into(),
                "has no Secret",
            ),
        ] {
            let got = error(&text);
            assert!(
                got.contains(words) && !got.contains("canary"),
                "{text}: {got}"
            );
        }
        let bomb = format!(
            "a: &a [{}]\nb: [{}]\n",
            "x,".repeat(5000),
            "*a,".repeat(5000)
        );
        assert!(error(&bomb).contains("not YAML"), "aliases");
    }
}
