// SPDX-License-Identifier: Apache-2.0
//! Wharf's side of a cell: the program as people run it, and the library as others link it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wharf_oci::registry::{Access, Client, Credentials, Options, Session, Target, Tls};
use wharf_oci::{Reference, Tag};
use wharf_test_support::servers::Launch;

use crate::clients::{Artifact, docker_config};
use crate::places::Place;

/// The program that `make interop` has built, beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let program = target.join("wharf");
    assert!(program.is_file(), "wharf is not built: run `make interop`");
    program
}

/// What `wharf push` says of what it pushed.
pub(crate) struct Pushed {
    pub(crate) manifest: String,
    pub(crate) layer: String,
}

/// Pushes a folder. Who asks is said by flag.
pub(crate) async fn push(
    place: &Place,
    artifact: &Artifact,
    folder: &Path,
) -> Result<Pushed, String> {
    let mut launch = launch("push", place).arg(folder);
    let mut stdin = "";
    if let Some((username, password)) = place.login {
        launch = launch.args(["--username", username, "--password-stdin"]);
        stdin = password;
    }
    let told = run(launch.arg(artifact.reference(place)), stdin).await?;
    let told: Value = serde_json::from_str(&told).map_err(|error| format!("{told}: {error}"))?;
    let digest = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
    Ok(Pushed {
        manifest: digest("digest"),
        layer: digest("layer"),
    })
}

/// Pulls into a folder. Who asks is said by Docker's configuration file.
pub(crate) async fn pull(
    place: &Place,
    artifact: &Artifact,
    folder: &Path,
    work: &Path,
) -> Result<(), String> {
    let mut launch = launch("pull", place).arg(artifact.reference(place));
    if let Some(entry) = place.login_entry() {
        launch = launch.env("DOCKER_CONFIG", docker_config(place, &entry, work));
    }
    run(launch.arg(folder), "").await.map(drop)
}

fn launch(verb: &str, place: &Place) -> Launch {
    let launch = Launch::new(program()).arg(verb);
    match place.authority_file() {
        Some(file) => launch.arg("--ca-file").arg(file),
        None => launch,
    }
}

async fn run(launch: Launch, stdin: &str) -> Result<String, String> {
    let output = launch.args(["-o", "json"]).output(stdin).await;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("wharf: {}\n{told}", output.status))
}

/// What the library finds under a tag.
pub(crate) struct Found {
    pub(crate) digest: String,
    pub(crate) layer: Vec<u8>,
}

/// Resolves the tag and downloads the only layer.
pub(crate) async fn find(place: &Place, artifact: &Artifact, work: &Path) -> Result<Found, String> {
    let session = session(place, artifact).map_err(|error| told(&*error))?;
    let tag: Tag = artifact.tag.parse().unwrap();
    let download = async {
        let resolved = session.resolve(&Target::Tag(tag)).await?;
        let image = session.image(&resolved).await?;
        let [layer] = image.manifest.layers.as_slice() else {
            return Err(format!("{} layers", image.manifest.layers.len()).into());
        };
        let path = work.join("downloaded");
        let mut file = tokio::fs::File::create_new(&path).await?;
        session.download(layer, &mut file).await?;
        Ok::<_, Box<dyn std::error::Error>>(Found {
            digest: resolved.digest.to_string(),
            layer: std::fs::read(&path)?,
        })
    };
    download.await.map_err(|error| told(&*error))
}

fn session(place: &Place, artifact: &Artifact) -> Result<Session, Box<dyn std::error::Error>> {
    let reference: Reference = artifact.reference(place).parse()?;
    let mut access = Access::default();
    if let Some(pem) = place.authority() {
        access.tls = Tls::from_pem(Some(pem.as_bytes()), None, "the test's authority")?;
    }
    if let Some((username, password)) = place.login {
        access.credentials = Credentials::basic(username, password, "the test");
    }
    Ok(Client::new(Options::default())?.session(reference.repository, &access)?)
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
