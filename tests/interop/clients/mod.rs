// SPDX-License-Identifier: Apache-2.0
//! The other clients, each with its own way to say the same: push an archive as the only layer, pull manifest and layer.

mod crane;
mod oci_client;
mod oras;
mod regctl;
mod skopeo;

use std::path::{Path, PathBuf};

use serde_json::Value;
use wharf_test_support::servers::Grant;

use crate::command::Program;
use crate::places::Place;

/// A client that is not Wharf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    Skopeo,
    Regctl,
    Crane,
    OciCrate,
    Oras,
}

/// Where in a registry.
pub(crate) struct Artifact {
    pub(crate) repository: String,
    pub(crate) tag: String,
}

/// What a client gave back, byte for byte.
pub(crate) struct Pulled {
    pub(crate) manifest: Vec<u8>,
    pub(crate) layer: Vec<u8>,
}

impl Artifact {
    pub(crate) fn new(repository: &str, tag: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        }
    }

    /// `127.0.0.1:port/repository:tag`
    pub(crate) fn reference(&self, place: &Place) -> String {
        format!("{}/{}:{}", place.host, self.repository, self.tag)
    }

    /// `127.0.0.1:port/repository`
    fn name(&self, place: &Place) -> String {
        format!("{}/{}", place.host, self.repository)
    }
}

impl Client {
    pub(crate) const ALL: [Self; 5] = [
        Self::Skopeo,
        Self::Regctl,
        Self::Crane,
        Self::OciCrate,
        Self::Oras,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Skopeo => "skopeo",
            Self::Regctl => "regctl",
            Self::Crane => "crane",
            Self::OciCrate => "oci-client",
            Self::Oras => "oras-py",
        }
    }

    pub(crate) async fn version(self) -> String {
        match self {
            Self::Skopeo => skopeo::version().await,
            Self::Regctl => regctl::version().await,
            Self::Crane => crane::version().await,
            Self::OciCrate => oci_client::VERSION.to_owned(),
            Self::Oras => oras::version().await,
        }
    }

    /// How it tells a token service who it is.
    pub(crate) fn grant(self) -> Grant {
        match self {
            Self::Crane => Grant::RefreshToken,
            _ => Grant::Basic,
        }
    }

    /// Pulls by tag. `work` is a folder for whatever it needs.
    pub(crate) async fn pull(
        self,
        place: &Place,
        artifact: &Artifact,
        work: &Path,
    ) -> Result<Pulled, String> {
        match self {
            Self::Skopeo => skopeo::pull(place, artifact, work).await,
            Self::Regctl => regctl::pull(place, artifact, work).await,
            Self::Crane => crane::pull(place, artifact, work).await,
            Self::OciCrate => oci_client::pull(place, artifact).await,
            Self::Oras => oras::pull(place, artifact, work).await,
        }
    }

    /// Pushes an archive (tar+gzip) as the only layer, and gives the digest of the manifest.
    pub(crate) async fn push(
        self,
        place: &Place,
        artifact: &Artifact,
        archive: &Path,
        work: &Path,
    ) -> Result<String, String> {
        match self {
            Self::Skopeo => skopeo::push(place, artifact, archive, work).await,
            Self::Regctl => regctl::push(place, artifact, archive, work).await,
            Self::Crane => crane::push(place, artifact, archive, work).await,
            Self::OciCrate => oci_client::push(place, artifact, archive).await,
            Self::Oras => oras::push(place, artifact, archive, work).await,
        }
    }
}

/// The digest of the only layer of a manifest.
fn only_layer(manifest: &[u8]) -> Result<String, String> {
    let manifest: Value =
        serde_json::from_slice(manifest).map_err(|error| format!("the manifest: {error}"))?;
    match manifest["layers"].as_array().map(Vec::as_slice) {
        Some([layer]) => Ok(layer["digest"].as_str().unwrap_or_default().to_owned()),
        _ => Err(format!("not one layer: {manifest}")),
    }
}

/// A program written in Go takes trust from a file that it is told of.
fn go_program(name: &str, place: &Place, work: &Path) -> Program {
    let program = Program::tool(name, work);
    match place.authority_file() {
        Some(file) => program.env("SSL_CERT_FILE", file),
        None => program,
    }
}

/// A folder with Docker's configuration file, which has this entry for the registry.
pub(crate) fn docker_config(place: &Place, entry: &Value, work: &Path) -> PathBuf {
    let config = serde_json::json!({"auths": {&*place.host: entry}});
    let folder = work.join("docker");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder
}
