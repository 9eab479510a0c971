// SPDX-License-Identifier: Apache-2.0
//! What the registry flags mean: credentials, trust, transport, and the session made of them.

use std::{io::Read, path::Path};

use wharf_oci::{
    Reference, Repository,
    registry::{
        Access, ArgoAccess, Client, Credentials, Options, ProxyRules, Session, Tls, Transport,
    },
};

use super::{
    Failure, argocd,
    args::{EgressArgs, LimitArgs, RegistryArgs, SettingsArgs},
    config, hosts_file,
    keychain::Keychain,
    output,
};

/// All authorities of a system are smaller.
const MAX_PEM: u64 = 1 << 20;
/// A password that is longer is a file that was piped in by mistake.
const MAX_PASSWORD: u64 = 1 << 16;

/// A reference argument.
pub(super) fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|error| Failure {
        exit: super::Exit::Usage,
        ..Failure::new(format!("{text:?} is not a reference"), error)
    })
}

/// A session with a repository, by the flags.
pub(super) async fn session(
    args: &RegistryArgs,
    limits: &LimitArgs,
    repository: &Repository,
) -> Result<Session, Failure> {
    let said = argocd(args, repository)?;
    let mut access = Access::from(said);
    access.credentials = credentials(args, access.credentials, repository).await?;
    access.tls = tls(args, access.tls)?;
    if args.insecure {
        access.transport = Transport::PlainHttpAllowed;
    }
    let client = client(&args.egress, &args.settings, limits)?;
    client
        .session(repository.clone(), &access)
        .map_err(|error| Failure::new(format!("could not reach {repository}"), error))
}

/// The process's client, by the flags, with the proxies that the environment names.
pub(super) fn client(
    egress: &EgressArgs,
    settings: &SettingsArgs,
    limits: &LimitArgs,
) -> Result<Client, Failure> {
    let proxy = ProxyRules::from_env()
        .map_err(|error| Failure::new("could not set up the proxy", error))?;
    let options = Options {
        egress: config::egress(egress)?,
        hosts: hosts_file::load(settings.registries_config.as_deref())?,
        proxy,
        limits: config::registry_limits(limits),
        ..Options::default()
    };
    Client::new(options).map_err(|error| Failure::new("could not make the registry client", error))
}

/// What the files say. Whom to trust is said by the flags, where they say it.
fn argocd(args: &RegistryArgs, repository: &Repository) -> Result<ArgoAccess, Failure> {
    if args.argocd_config.is_empty() {
        return Ok(ArgoAccess::default());
    }
    let mut said = argocd::read(&args.argocd_config)?
        .access_for(repository)
        .map_err(|error| Failure::new("could not use --argocd-config", error))?
        .unwrap_or_default();
    said.skip_verify &= args.ca_file.is_none() && !args.insecure_skip_tls_verify;
    if said.skip_verify {
        output::warn(&format!(
            "--argocd-config: 'insecure' is set for {repository}: whoever answers is taken for the registry"
        ));
    }
    Ok(said)
}

async fn credentials(
    args: &RegistryArgs,
    known: Credentials,
    repository: &Repository,
) -> Result<Credentials, Failure> {
    match &args.username {
        Some(name) if args.password_stdin => Ok(Credentials::basic(
            name.as_str(),
            password()?,
            "--username and --password-stdin",
        )),
        Some(_) => Err(Failure::usage(
            "--username needs --password-stdin: pipe the password in",
        )),
        None if known != Credentials::Anonymous => Ok(known),
        None => Keychain::of_environment().credentials_for(repository).await,
    }
}

fn password() -> Result<String, Failure> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(MAX_PASSWORD);
    input
        .read_to_string(&mut text)
        .map_err(|error| Failure::new("could not read the password from standard input", error))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        Err(Failure::usage("--password-stdin: standard input is empty"))
    } else {
        Ok(password.to_owned())
    }
}

fn tls(args: &RegistryArgs, mut tls: Tls) -> Result<Tls, Failure> {
    let failed = |what: &'static str| move |error| Failure::new(what, error);
    if args.insecure_skip_tls_verify {
        output::warn("--insecure-skip-tls-verify: whoever answers is taken for the registry");
        tls = tls.into_unverified();
    }
    if let Some(path) = &args.ca_file {
        let source = format!("--ca-file {}", path.display());
        tls = tls
            .with_ca_pem(&read_capped(path, MAX_PEM)?, &source)
            .map_err(failed("could not use the CA certificates"))?;
    }
    if let (Some(certificate), Some(key)) = (&args.cert_file, &args.key_file) {
        let source = format!(
            "--cert-file {} and --key-file {}",
            certificate.display(),
            key.display()
        );
        let (certificate, key) = (
            read_capped(certificate, MAX_PEM)?,
            read_capped(key, MAX_PEM)?,
        );
        tls = tls
            .with_client_certificate(&certificate, &key, &source)
            .map_err(failed("could not use the client certificate"))?;
    }
    Ok(tls)
}

/// The whole of a file that may not be large.
pub(super) fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("could not read {}", path.display()), error);
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Failure::plain(format!(
            "{} is larger than {limit} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}
