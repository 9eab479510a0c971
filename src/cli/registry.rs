// SPDX-License-Identifier: Apache-2.0
//! What the registry flags mean: credentials, trust, transport, and the session made of them.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use wharf_oci::{
    Reference, Repository,
    registry::{
        Access, Client, Credentials, DockerConfig, Options, ProxyChoice, ProxyRules, Session, Tls,
        Transport,
    },
};

use super::{
    Failure,
    args::{EgressArgs, RegistryArgs, SettingsArgs},
    config, hosts_file, output,
};

/// A Docker config file is small; one that is not is none.
const MAX_CONFIG: u64 = 1 << 20;
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
pub(super) fn session(args: &RegistryArgs, repository: &Repository) -> Result<Session, Failure> {
    let access = Access {
        credentials: credentials(args, repository)?,
        tls: tls(args)?,
        transport: transport(args),
        proxy: ProxyChoice::Default,
    };
    let client = client(&args.egress, &args.settings)?;
    client
        .session(repository.clone(), &access)
        .map_err(|error| Failure::new(format!("could not reach {repository}"), error))
}

/// The process's client, by the flags, with the proxies that the environment names.
pub(super) fn client(egress: &EgressArgs, settings: &SettingsArgs) -> Result<Client, Failure> {
    let proxy = ProxyRules::from_env()
        .map_err(|error| Failure::new("could not set up the proxy", error))?;
    let options = Options {
        egress: config::egress(egress)?,
        hosts: hosts_file::load(settings.registries_config.as_deref())?,
        proxy,
        ..Options::default()
    };
    Client::new(options).map_err(|error| Failure::new("could not make the registry client", error))
}

fn transport(args: &RegistryArgs) -> Transport {
    if args.insecure {
        Transport::PlainHttpAllowed
    } else {
        Transport::Https
    }
}

fn credentials(args: &RegistryArgs, repository: &Repository) -> Result<Credentials, Failure> {
    match &args.username {
        Some(name) if args.password_stdin => Ok(Credentials::basic(
            name.as_str(),
            password()?,
            "--username and --password-stdin",
        )),
        Some(_) => Err(Failure::usage(
            "--username needs --password-stdin: pipe the password in",
        )),
        None => from_docker_config(repository),
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

/// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`; where there is none, nobody in particular asks.
fn from_docker_config(repository: &Repository) -> Result<Credentials, Failure> {
    let Some(path) = docker_config() else {
        return Ok(Credentials::Anonymous);
    };
    let shown = path.display().to_string();
    let config = DockerConfig::parse(&read_capped(&path, MAX_CONFIG)?, &shown);
    let config = config
        .map_err(|error| Failure::new(format!("{shown} is not a Docker config file"), error))?;
    Ok(config.credentials_for(repository))
}

fn docker_config() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let directory =
        named.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")))?;
    Some(directory.join("config.json")).filter(|path| path.is_file())
}

fn tls(args: &RegistryArgs) -> Result<Tls, Failure> {
    let failed = |what: &'static str| move |error| Failure::new(what, error);
    let mut tls = if args.insecure_skip_tls_verify {
        output::warn("--insecure-skip-tls-verify: whoever answers is taken for the registry");
        Tls::unverified()
    } else {
        Tls::default()
    };
    if let Some(path) = &args.ca_file {
        let source = format!("--ca-file {}", path.display());
        tls = tls
            .with_ca_pem(&read_capped(path, MAX_CONFIG)?, &source)
            .map_err(failed("could not use the CA certificates"))?;
    }
    if let (Some(certificate), Some(key)) = (&args.cert_file, &args.key_file) {
        let source = format!(
            "--cert-file {} and --key-file {}",
            certificate.display(),
            key.display()
        );
        let (certificate, key) = (
            read_capped(certificate, MAX_CONFIG)?,
            read_capped(key, MAX_CONFIG)?,
        );
        tls = tls
            .with_client_certificate(&certificate, &key, &source)
            .map_err(failed("could not use the client certificate"))?;
    }
    Ok(tls)
}

/// A file of at most `limit` bytes.
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
