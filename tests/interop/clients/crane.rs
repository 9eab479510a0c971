// SPDX-License-Identifier: Apache-2.0
//! crane, of go-containerregistry. It pushes images with Docker's media types.

use std::path::Path;

use super::{Artifact, Pulled, docker_config, go_program, only_layer};
use crate::command::Program;
use crate::places::Place;

pub(super) async fn version() -> String {
    let told = Program::tool("crane", Path::new("/"))
        .arg("version")
        .text()
        .await;
    told.unwrap_or_else(|error| error)
}

pub(super) async fn pull(
    place: &Place,
    artifact: &Artifact,
    work: &Path,
) -> Result<Pulled, String> {
    let manifest = crane(place, work)
        .arg("manifest")
        .arg(artifact.reference(place));
    let manifest = manifest.output().await?;
    let blob = format!("{}@{}", artifact.name(place), only_layer(&manifest)?);
    let layer = crane(place, work).arg("blob").arg(blob).output().await?;
    Ok(Pulled { manifest, layer })
}

pub(super) async fn push(
    place: &Place,
    artifact: &Artifact,
    archive: &Path,
    work: &Path,
) -> Result<String, String> {
    let pushed = crane(place, work).args([
        "append",
        "--new_tag",
        &artifact.reference(place),
        "--new_layer",
    ]);
    // It prints `name@digest`.
    let told = pushed.arg(archive).text().await?;
    let digest = told.rsplit_once('@').map(|(_, digest)| digest.to_owned());
    digest.ok_or_else(|| format!("no digest in {told:?}"))
}

/// Credentials are in Docker's configuration file: where there are tokens, a refresh token in place of a password.
fn crane(place: &Place, work: &Path) -> Program {
    let crane = go_program("crane", place, work);
    match place.identity_entry().or_else(|| place.login_entry()) {
        Some(entry) => crane.env("DOCKER_CONFIG", docker_config(place, &entry, work)),
        None => crane,
    }
}
