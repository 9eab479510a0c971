// SPDX-License-Identifier: Apache-2.0
//! The Python library oras, through a script of ours. It pushes files with their names as titles.

use std::path::Path;

use super::{Artifact, Pulled};
use crate::command::Program;
use crate::places::Place;

const SCRIPT: &str = include_str!("oras.py");

pub(super) async fn version() -> String {
    let python = Program::tool("oras-python", Path::new("/"));
    let told = python
        .args(["-c", "import oras; print(oras.__version__)"])
        .text()
        .await;
    told.unwrap_or_else(|error| error)
}

pub(super) async fn pull(
    place: &Place,
    artifact: &Artifact,
    work: &Path,
) -> Result<Pulled, String> {
    let folder = work.join("pulled");
    std::fs::create_dir(&folder).unwrap();
    let layer = oras("pull", place, artifact, &folder).text().await?;
    Ok(Pulled {
        manifest: std::fs::read(folder.join("manifest.json")).map_err(|error| error.to_string())?,
        layer: std::fs::read(&layer).map_err(|error| format!("{layer}: {error}"))?,
    })
}

pub(super) async fn push(
    place: &Place,
    artifact: &Artifact,
    archive: &Path,
    work: &Path,
) -> Result<String, String> {
    oras("push", place, artifact, work)
        .arg(archive.file_name().unwrap())
        .text()
        .await
}

fn oras(verb: &str, place: &Place, artifact: &Artifact, work: &Path) -> Program {
    let python = Program::tool("oras-python", work);
    let auth = if place.has_tokens() { "token" } else { "basic" };
    let mut oras = python
        .args(["-c", SCRIPT, verb, &artifact.reference(place)])
        .env("REGISTRY_AUTH", auth);
    if let Some(file) = place.authority_file() {
        oras = oras.env("CA_FILE", file);
    }
    if let Some((user, password)) = place.login {
        oras = oras
            .env("REGISTRY_USER", user)
            .env("REGISTRY_PASSWORD", password);
    }
    oras
}
