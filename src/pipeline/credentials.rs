// SPDX-License-Identifier: Apache-2.0
//! Secret references of a source, turned into what the registry client needs.
//!
//! Enters as the names in a [`SourceSpec`]; leaves as an [`Access`]. The secrets are read each time with `get` and kept
//! nowhere. Source: the contract, sections 4.1 and 4.4.

use wharf_oci::registry::{Access, Credentials, DockerConfig, Tls, Transport};

use super::error::{Cause, Stage, StageError};
use crate::{
    ports::{PortError, Secret, SecretReader},
    source::{SourceId, spec::SourceSpec},
};

/// Reads the secrets that a source names.
pub async fn access(
    id: &SourceId,
    spec: &SourceSpec,
    secrets: &dyn SecretReader,
) -> Result<Access, StageError> {
    let credentials = match &spec.secret {
        Some(name) => {
            let secret = read(secrets, id, name)
                .await
                .map_err(|error| Stage::Credentials.failed(error))?;
            registry_credentials(&secret, &format!("secret {}/{name}", id.namespace), spec)?
        }
        None => Credentials::Anonymous,
    };
    let tls = match &spec.cert_secret {
        Some(name) => {
            let secret = read(secrets, id, name)
                .await
                .map_err(|error| Stage::Transport.failed(error))?;
            tls_material(&secret, &format!("secret {}/{name}", id.namespace))?
        }
        None => Tls::default(),
    };
    let transport = if spec.insecure {
        Transport::PlainHttpAllowed
    } else {
        Transport::Https
    };
    Ok(Access {
        credentials,
        tls,
        transport,
    })
}

async fn read(secrets: &dyn SecretReader, id: &SourceId, name: &str) -> Result<Secret, PortError> {
    secrets.read(&id.namespace, name).await
}

/// Any other type of secret is silently no credential in Flux; here too, but the registry's refusal will say that none
/// were given.
fn registry_credentials(
    secret: &Secret,
    source: &str,
    spec: &SourceSpec,
) -> Result<Credentials, StageError> {
    let (key, legacy) = match secret.kind.as_str() {
        "kubernetes.io/dockerconfigjson" => (".dockerconfigjson", false),
        "kubernetes.io/dockercfg" => (".dockercfg", true),
        _ => return Ok(Credentials::Anonymous),
    };
    let Some(json) = secret.data.get(key) else {
        return Err(
            Stage::Credentials.failed(Cause::Content(format!("{source} has no key '{key}'")))
        );
    };
    let config = if legacy {
        DockerConfig::parse_legacy(json, source)
    } else {
        DockerConfig::parse(json, source)
    };
    let config = config.map_err(|error| Stage::Credentials.failed(error))?;
    Ok(config.credentials_for(&spec.repository))
}

fn tls_material(secret: &Secret, source: &str) -> Result<Tls, StageError> {
    let entry = |key: &str, legacy: &str| {
        secret
            .data
            .get(key)
            .or_else(|| secret.data.get(legacy))
            .cloned()
    };
    let ca = entry("ca.crt", "caFile");
    let identity = match (entry("tls.crt", "certFile"), entry("tls.key", "keyFile")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err(missing(source, "tls.key")),
        (None, Some(_)) => return Err(missing(source, "tls.crt")),
    };
    if ca.is_none() && identity.is_none() {
        return Err(missing(source, "ca.crt"));
    }
    Tls::from_pem(
        ca.as_deref(),
        identity.as_ref().map(|(c, k)| (c.as_slice(), k.as_slice())),
        source,
    )
    .map_err(|error| Stage::Transport.failed(error))
}

fn missing(source: &str, key: &str) -> StageError {
    Stage::Transport.failed(Cause::Content(format!("{source} has no key '{key}'")))
}
