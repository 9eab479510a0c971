// SPDX-License-Identifier: Apache-2.0
//! Secret references of a source, turned into what the registry client needs.
//!
//! Enters as the names in a [`SourceSpec`]; leaves as an [`Access`]. The secrets are read each time with `get` and kept
//! nowhere. Source: the contract, sections 4.1 and 4.4.

use wharf_oci::registry::{
    Access, Credentials, DockerConfig, Proxy, ProxyChoice, Secret as Password, Tls, Transport,
};

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
    let proxy = match &spec.proxy_secret {
        Some(name) => {
            let secret = read(secrets, id, name)
                .await
                .map_err(|error| Stage::Proxy.failed(error))?;
            ProxyChoice::Through(proxy(&secret, &format!("secret {}/{name}", id.namespace))?)
        }
        None => ProxyChoice::Default,
    };
    let tls = match &spec.cert_secret {
        Some(name) => {
            let secret = read(secrets, id, name)
                .await
                .map_err(|error| Stage::Transport.failed(error))?;
            tls_material(&secret, &format!("secret {}/{name}", id.namespace))?
        }
        // As in Flux: who names what to trust wants it verified.
        None if spec.insecure => Tls::unverified(),
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
        proxy,
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

fn proxy(secret: &Secret, source: &str) -> Result<Proxy, StageError> {
    let text = |key: &str| match secret.data.get(key) {
        None => Ok(None),
        Some(bytes) => String::from_utf8(bytes.clone()).map(Some).map_err(|_| {
            let complaint = format!("{source}: key '{key}' is not text");
            Stage::Proxy.failed(Cause::Content(complaint))
        }),
    };
    let address = text("address")?.filter(|address| !address.is_empty());
    let address = address.ok_or_else(|| wants(Stage::Proxy, secret, source, "address"))?;
    let (username, password) = (text("username")?, text("password")?);
    Proxy::parse(&address, username.as_deref(), password.map(Password::new)).map_err(|error| {
        Stage::Proxy.failed(Cause::Proxy {
            secret: source.to_owned(),
            source: error,
        })
    })
}

fn tls_material(secret: &Secret, source: &str) -> Result<Tls, StageError> {
    let entry = |key: &str, legacy: &str| {
        let filled = |key: &str| secret.data.get(key).filter(|value| !value.is_empty());
        filled(key).or_else(|| {
            let value = filled(legacy)?;
            tracing::warn!(
                secret = source,
                "the key '{legacy}' is deprecated, use '{key}'"
            );
            Some(value)
        })
    };
    let ca = entry("ca.crt", "caFile").map(Vec::as_slice);
    let pair = (entry("tls.crt", "certFile"), entry("tls.key", "keyFile"));
    let missing = |key| Err(wants(Stage::Transport, secret, source, key));
    let identity = match pair {
        (Some(certificate), Some(key)) => Some((certificate.as_slice(), key.as_slice())),
        (None, None) if ca.is_none() => return missing("ca.crt"),
        (None, None) => None,
        (Some(_), None) => return missing("tls.key"),
        (None, Some(_)) => return missing("tls.crt"),
    };
    Tls::from_pem(ca, identity, source).map_err(|error| Stage::Transport.failed(error))
}

/// Whoever misspelt a key sees both spellings.
fn wants(stage: Stage, secret: &Secret, source: &str, key: &str) -> StageError {
    const SHOWN: usize = 10;
    let keys: Vec<&str> = secret.data.keys().map(String::as_str).take(SHOWN).collect();
    let more = if secret.data.len() > SHOWN {
        ", ..."
    } else {
        ""
    };
    stage.failed(Cause::Content(format!(
        "{source} has the keys [{}{more}], it wants '{key}'",
        keys.join(", ")
    )))
}

#[cfg(test)]
mod tests;
