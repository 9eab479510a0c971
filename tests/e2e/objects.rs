// SPDX-License-Identifier: Apache-2.0
//! Objects to apply, and what is read of them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// The annotation that asks for a run at once.
pub(crate) const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// A source of the tag `1.0.0` that is looked at every two seconds, over plain HTTP.
pub(crate) fn source(name: &str, url: &str) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": {"name": name},
        "spec": {"url": url, "interval": "2s", "insecure": true, "ref": {"tag": "1.0.0"}},
    })
}

/// A source that speaks TLS and trusts the authorities in the secret `ca`.
pub(crate) fn tls_source(name: &str, url: &str) -> Value {
    let mut source = source(name, url);
    source["spec"]["insecure"] = json!(false);
    source["spec"]["certSecretRef"] = json!({"name": "ca"});
    source
}

/// A secret with an authority's certificate.
pub(crate) fn ca_secret(name: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "data": {"ca.crt": STANDARD.encode(pem)},
    })
}

/// A secret with a user and a password for a registry, as `kubectl create secret docker-registry` makes it.
pub(crate) fn docker_secret(name: &str, host: &str, username: &str, password: &str) -> Value {
    let auth = STANDARD.encode(format!("{username}:{password}"));
    let config =
        json!({"auths": {host: {"username": username, "password": password, "auth": auth}}});
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": STANDARD.encode(config.to_string())},
    })
}

/// Status, reason and message of a condition; empty when it is not there.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> [&'a str; 3] {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == kind));
    ["status", "reason", "message"]
        .map(|field| found.and_then(|c| c[field].as_str()).unwrap_or_default())
}

/// Whether it is Ready, as `kubectl wait` and Flux's consumers see it.
pub(crate) fn is_ready(object: &Value) -> bool {
    let is_current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    condition(object, "Ready")[0] == "True" && is_current
}

/// The revision that is served; empty when none is.
pub(crate) fn revision(object: &Value) -> &str {
    object["status"]["artifact"]["revision"]
        .as_str()
        .unwrap_or_default()
}
