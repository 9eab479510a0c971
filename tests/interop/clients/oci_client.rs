// SPDX-License-Identifier: Apache-2.0
//! The crate oci-client: a registry client in Rust of which Wharf has no line.

use std::fmt::Display;
use std::path::Path;

use bytes::Bytes;
use oci_client::Reference;
use oci_client::client::{
    Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol, Config, ImageLayer,
};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageManifest,
};
use oci_client::secrets::RegistryAuth;

use super::{Artifact, Pulled, only_layer};
use crate::places::Place;

/// As in the workspace's `Cargo.toml`.
pub(super) const VERSION: &str = "0.18";

pub(super) async fn pull(place: &Place, artifact: &Artifact) -> Result<Pulled, String> {
    let (client, reference, auth) = client(place, artifact);
    let manifest = client.pull_manifest_raw(&reference, &auth, &[OCI_IMAGE_MEDIA_TYPE]);
    let (manifest, _) = manifest
        .await
        .map_err(|error| told("get the manifest", &error))?;
    let mut layer = Vec::new();
    let digest = only_layer(&manifest)?;
    let blob = client.pull_blob(&reference, digest.as_str(), &mut layer);
    blob.await.map_err(|error| told("get the layer", &error))?;
    let manifest = manifest.to_vec();
    Ok(Pulled { manifest, layer })
}

pub(super) async fn push(
    place: &Place,
    artifact: &Artifact,
    archive: &Path,
) -> Result<String, String> {
    let (client, reference, auth) = client(place, artifact);
    let layer = std::fs::read(archive).unwrap();
    let layer = ImageLayer::new(layer, IMAGE_LAYER_GZIP_MEDIA_TYPE.to_owned(), None);
    let config = Config::new("{}", IMAGE_CONFIG_MEDIA_TYPE.to_owned(), None);
    let manifest = OciImageManifest::build(std::slice::from_ref(&layer), &config, None);
    client
        .store_auth_if_needed(reference.resolve_registry(), &auth)
        .await;
    push_blob(&client, &reference, layer.data, &manifest.layers[0].digest).await?;
    push_blob(&client, &reference, config.data, &manifest.config.digest).await?;
    let pushed = client.push_manifest(&reference, &manifest.into()).await;
    pushed.map_err(|error| told("push the manifest", &error))?;
    let digest = client.fetch_manifest_digest(&reference, &auth).await;
    digest.map_err(|error| told("ask for the digest", &error))
}

/// The registry of go-containerregistry takes a blob without telling its location, which the crate calls an error.
async fn push_blob(
    client: &Client,
    reference: &Reference,
    data: Bytes,
    digest: &str,
) -> Result<(), String> {
    match client.push_blob(reference, data, digest).await {
        Ok(_) => Ok(()),
        Err(OciDistributionError::RegistryNoLocationError)
            if client
                .blob_exists(reference, digest)
                .await
                .is_ok_and(|found| found) =>
        {
            Ok(())
        }
        Err(error) => Err(told("push a blob", &error)),
    }
}

fn client(place: &Place, artifact: &Artifact) -> (Client, Reference, RegistryAuth) {
    let certificate = |pem: &str| Certificate {
        encoding: CertificateEncoding::Pem,
        data: pem.as_bytes().to_vec(),
    };
    let config = ClientConfig {
        protocol: if place.authority().is_some() {
            ClientProtocol::Https
        } else {
            ClientProtocol::Http
        },
        tls_certs_only: place.authority().map(certificate).into_iter().collect(),
        ..ClientConfig::default()
    };
    let auth = place
        .login
        .map_or(RegistryAuth::Anonymous, |(user, password)| {
            RegistryAuth::Basic(user.to_owned(), password.to_owned())
        });
    let reference = artifact.reference(place).parse().unwrap();
    (Client::new(config), reference, auth)
}

fn told(what: &str, error: &impl Display) -> String {
    format!("oci-client could not {what}: {error}")
}
