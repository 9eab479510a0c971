// SPDX-License-Identifier: Apache-2.0
//! Pushing an artifact to a real registry, by the distribution-spec and without Wharf's help.

use http::Method;
use serde_json::json;
use wharf_test_support::registry::{FLUX_CONFIG, FLUX_CONTENT, OCI_MANIFEST, sha256};
use wharf_test_support::servers::http::Http;

/// What was pushed.
pub(crate) struct Published {
    pub(crate) revision: String,
    pub(crate) layer: Vec<u8>,
    pub(crate) layer_digest: String,
}

/// Pushes an artifact with one layer under a tag.
pub(crate) async fn publish(
    http: &Http,
    base: &str,
    repository: &str,
    tag: &str,
    layer: Vec<u8>,
) -> Published {
    const CONFIG: &[u8] = b"{}";
    let layer_digest = put_blob(http, base, repository, &layer).await;
    let config_digest = put_blob(http, base, repository, CONFIG).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": FLUX_CONFIG, "digest": config_digest, "size": CONFIG.len()},
        "layers": [{"mediaType": FLUX_CONTENT, "digest": layer_digest, "size": layer.len()}],
        "annotations": {
            "org.opencontainers.image.source": "https://example.com/app.git",
            "org.opencontainers.image.revision": "main@sha1:abc",
        },
    });
    let manifest = manifest.to_string();
    let url = format!("{base}/v2/{repository}/manifests/{tag}");
    let revision = format!("{tag}@{}", sha256(manifest.as_bytes()));
    let put = http
        .send(
            Method::PUT,
            &url,
            &[("content-type", OCI_MANIFEST)],
            manifest,
        )
        .await
        .unwrap();
    assert_eq!(put.status, 201, "{}", put.text());
    Published {
        revision,
        layer,
        layer_digest,
    }
}

async fn put_blob(http: &Http, base: &str, repository: &str, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let begun = http
        .send(
            Method::POST,
            &format!("{base}/v2/{repository}/blobs/uploads/"),
            &[],
            "",
        )
        .await
        .unwrap();
    let location = begun.header("location");
    let location = if location.starts_with('/') {
        format!("{base}{location}")
    } else {
        location.to_owned()
    };
    let separator = if location.contains('?') { '&' } else { '?' };
    let url = format!("{location}{separator}digest={digest}");
    let octets = [("content-type", "application/octet-stream")];
    let put = http
        .send(Method::PUT, &url, &octets, bytes.to_vec())
        .await
        .unwrap();
    assert_eq!(put.status, 201, "{}", put.text());
    digest
}
