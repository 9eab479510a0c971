// SPDX-License-Identifier: Apache-2.0
//! skopeo, which copies between a registry and an OCI layout in a folder.

use std::path::Path;

use serde_json::{Value, json};
use wharf_test_support::registry::{FLUX_CONFIG, FLUX_CONTENT, OCI_MANIFEST, sha256};

use super::{Artifact, Pulled, only_layer};
use crate::command::Program;
use crate::places::Place;

pub(super) async fn version() -> String {
    let told = Program::tool("skopeo", Path::new("/"))
        .arg("--version")
        .text()
        .await;
    // `skopeo version 1.9.3`
    told.map_or_else(|error| error, |told| told.replace("skopeo version ", ""))
}

pub(super) async fn pull(
    place: &Place,
    artifact: &Artifact,
    work: &Path,
) -> Result<Pulled, String> {
    let layout = work.join("layout");
    skopeo(place, "src", work)
        .arg(format!("docker://{}", artifact.reference(place)))
        .arg(format!("oci:{}:pulled", layout.display()))
        .output()
        .await?;
    let index: Value = serde_json::from_slice(&read(&layout.join("index.json"))?)
        .map_err(|error| error.to_string())?;
    let digest = index["manifests"][0]["digest"].as_str().unwrap_or_default();
    let manifest = read(&blob(&layout, digest))?;
    let layer = read(&blob(&layout, &only_layer(&manifest)?))?;
    Ok(Pulled { manifest, layer })
}

pub(super) async fn push(
    place: &Place,
    artifact: &Artifact,
    archive: &Path,
    work: &Path,
) -> Result<String, String> {
    let (layout, digest) = (work.join("layout"), work.join("digest"));
    lay_out(&layout, &read(archive)?);
    skopeo(place, "dest", work)
        .arg("--digestfile")
        .arg(&digest)
        .arg(format!("oci:{}:pushed", layout.display()))
        .arg(format!("docker://{}", artifact.reference(place)))
        .output()
        .await?;
    String::from_utf8(read(&digest)?).map_err(|error| error.to_string())
}

/// `skopeo copy`, with how to reach the registry on the side that is meant.
fn skopeo(place: &Place, side: &str, work: &Path) -> Program {
    let flag = |name: &str| format!("--{side}-{name}");
    let skopeo = Program::tool("skopeo", work);
    let mut copy = skopeo.args(["--insecure-policy", "copy", "--quiet"]);
    copy = match place.certificates() {
        Some(folder) => copy.arg(flag("cert-dir")).arg(folder),
        None => copy.arg(flag("tls-verify=false")),
    };
    match place.login {
        Some((user, password)) => copy.arg(flag("creds")).arg(format!("{user}:{password}")),
        None => copy,
    }
}

/// An OCI layout with one artifact, as Flux's command line would make its manifest.
fn lay_out(layout: &Path, layer: &[u8]) {
    let config = b"{}";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": FLUX_CONFIG, "digest": sha256(config), "size": config.len()},
        "layers": [{"mediaType": FLUX_CONTENT, "digest": sha256(layer), "size": layer.len()}],
    });
    let manifest = manifest.to_string();
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": OCI_MANIFEST, "digest": sha256(manifest.as_bytes()), "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": "pushed"},
        }],
    });
    let index = index.to_string();
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let files: [(&Path, &[u8]); 5] = [
        (
            &layout.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        ),
        (&layout.join("index.json"), index.as_bytes()),
        (&blob(layout, &sha256(config)), config),
        (&blob(layout, &sha256(layer)), layer),
        (
            &blob(layout, &sha256(manifest.as_bytes())),
            manifest.as_bytes(),
        ),
    ];
    for (path, bytes) in files {
        std::fs::write(path, bytes).unwrap();
    }
}

fn blob(layout: &Path, digest: &str) -> std::path::PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
