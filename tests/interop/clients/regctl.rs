// SPDX-License-Identifier: Apache-2.0
//! regctl, of regclient. It pushes artifacts with an `artifactType` and the empty configuration of image-spec 1.1.

use std::path::Path;

use super::{Artifact, Pulled, go_program};
use crate::command::Program;
use crate::places::Place;

pub(super) async fn version() -> String {
    let regctl = Program::tool("regctl", Path::new("/")).arg("version");
    let told = regctl.args(["--format", "{{.VCSTag}}"]).text().await;
    told.unwrap_or_else(|error| error)
}

pub(super) async fn pull(
    place: &Place,
    artifact: &Artifact,
    work: &Path,
) -> Result<Pulled, String> {
    let reference = artifact.reference(place);
    let manifest =
        regctl(place, work).args(["manifest", "get", "--format", "raw-body", &reference]);
    let layer = regctl(place, work).args(["artifact", "get", &reference]);
    Ok(Pulled {
        manifest: manifest.output().await?,
        layer: layer.output().await?,
    })
}

pub(super) async fn push(
    place: &Place,
    artifact: &Artifact,
    archive: &Path,
    work: &Path,
) -> Result<String, String> {
    let reference = artifact.reference(place);
    let put = regctl(place, work)
        .args([
            "artifact",
            "put",
            "--artifact-type",
            "application/vnd.example.app",
        ])
        .args([
            "--file-media-type",
            "application/vnd.example.content.v1.tar+gzip",
            "--file",
        ])
        .arg(archive)
        .arg(&reference);
    put.output().await?;
    regctl(place, work)
        .args(["manifest", "head", &reference])
        .text()
        .await
}

/// Its own configuration says how to speak to a host; a token service is trusted by the file for all Go programs.
fn regctl(place: &Place, work: &Path) -> Program {
    let mut host = serde_json::json!({"tls": "disabled"});
    if let Some(pem) = place.authority() {
        host = serde_json::json!({"tls": "enabled", "regcert": pem});
    }
    if let Some((user, password)) = place.login {
        host["user"] = user.into();
        host["pass"] = password.into();
    }
    let file = work.join("regctl.json");
    let config = serde_json::json!({"hosts": {&*place.host: host}});
    std::fs::write(&file, config.to_string()).unwrap();
    go_program("regctl", place, work).env("REGCTL_CONFIG", file)
}
