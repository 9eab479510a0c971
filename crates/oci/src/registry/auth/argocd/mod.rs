// SPDX-License-Identifier: Apache-2.0
//! Argo CD's settings for OCI repositories, as a source of credentials and trust.
//!
//! Pure: the decoded maps of Secrets with the label `argocd.argoproj.io/secret-type` (`repository` or `repo-creds`, with
//! `type: oci`) and of the `ConfigMap` `argocd-tls-certs-cm` go in; what they say about one repository comes out as an
//! [`ArgoAccess`]. No error quotes a value.
//!
//! As in Argo CD a `repository` counts for exactly its URL and a `repo-creds` for all below its URL, the longest first;
//! what the former leaves open is taken from the latter. Other than in Argo CD, a URL ends where a path segment ends:
//! `oci://ghcr.io/org` is not for `oci://ghcr.io/organisation`, and no host is a prefix of another. Certificates are
//! added to the system's roots instead of replacing them.

use std::{collections::BTreeMap, str::from_utf8};

use crate::Repository;
use crate::registry::{
    access::{Access, ProxyChoice, Transport},
    problem::clean,
    proxy::{Proxy, ProxyError, ProxyRules},
    tls::{Tls, TlsError},
};

use super::{Credentials, Secret, docker_entry::registry_name};

const SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";

/// All of Argo CD's settings that were read.
#[derive(Clone, Default)]
pub struct ArgoCd {
    repositories: Vec<Entry>,
    templates: Vec<Entry>,
    /// By host without port.
    certificates: BTreeMap<String, Certificates>,
}

/// What Argo CD's settings say about one repository. [`Access::from`] makes of it what a client is asked with.
#[derive(Clone, Debug, Default)]
pub struct ArgoAccess {
    /// Who asks; [`Credentials::Anonymous`] if nobody is named.
    pub credentials: Credentials,
    /// Trust, and the client certificate.
    pub tls: Tls,
    /// Whether plain HTTP will do (`insecureOCIForceHttp`).
    pub transport: Transport,
    /// Whether certificates shall not be verified (`insecure`), although there may be some to verify with.
    pub skip_verify: bool,
    /// The proxy.
    pub proxy: Option<Proxy>,
    /// The hosts for which it is not used, as in `NO_PROXY`. Without a proxy it says nothing.
    pub no_proxy: Option<String>,
}

impl From<ArgoAccess> for Access {
    /// As in Argo CD: `insecure` goes before certificates; `noProxy` is asked for each host, the token service's and those
    /// of redirects too; without a proxy the process's rules count.
    fn from(said: ArgoAccess) -> Self {
        let no_proxy = said.no_proxy.unwrap_or_default();
        Self {
            credentials: said.credentials,
            tls: if said.skip_verify {
                said.tls.into_unverified()
            } else {
                said.tls
            },
            transport: said.transport,
            proxy: said.proxy.map_or(ProxyChoice::Default, |proxy| {
                ProxyChoice::By(ProxyRules::through(proxy, &no_proxy))
            }),
        }
    }
}

/// Why one of Argo CD's Secrets or its `ConfigMap` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgoCdError {
    /// The URL is missing, or not of the form `oci://host[:port][/path]`.
    #[error("{origin} has no 'url' of the form oci://host[:port]/path")]
    Url {
        /// Which one.
        origin: String,
    },
    /// A value is not text.
    #[error("{origin}: '{key}' is not UTF-8 text")]
    Text {
        /// Which one.
        origin: String,
        /// The key of the value.
        key: String,
    },
    /// A value is neither true nor false.
    #[error("{origin}: '{key}' is neither true nor false")]
    Bool {
        /// Which one.
        origin: String,
        /// The key of the value.
        key: &'static str,
    },
    /// One of two keys that belong together is missing.
    #[error("{origin} has no '{key}'")]
    Missing {
        /// Which one.
        origin: String,
        /// The key that is missing.
        key: &'static str,
    },
    /// The certificates cannot be used.
    #[error("{origin}: the TLS settings cannot be used")]
    Tls {
        /// Which one.
        origin: String,
        /// Why not.
        #[source]
        cause: TlsError,
    },
    /// The proxy's address cannot be used.
    #[error("{origin}: the 'proxy' cannot be used")]
    Proxy {
        /// Which one.
        origin: String,
        /// Why not.
        #[source]
        cause: ProxyError,
    },
    /// Two are for the same URL, and nothing says which one is meant.
    #[error("{first} and {second} are for the same URL")]
    Ambiguous {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

#[derive(Clone)]
struct Entry {
    origin: String,
    registry: String,
    path: String,
    /// For one project of Argo CD only.
    has_project: bool,
    settings: Settings,
}

#[derive(Clone, Default)]
struct Settings {
    pair: Option<(String, Secret, String)>,
    identity: Option<(Vec<u8>, Secret, String)>,
    proxy: Option<Proxy>,
    no_proxy: Option<String>,
    skip_verify: bool,
    plain_http: bool,
}

#[derive(Clone)]
struct Certificates {
    pem: Vec<u8>,
    origin: String,
}

impl ArgoCd {
    /// Adds a Secret: its labels and its decoded data. `origin` is its name for messages, for instance
    /// `secret argocd/private-repo`. Says whether it was one for OCI repositories; others are passed over.
    pub fn add_secret(
        &mut self,
        origin: &str,
        labels: &BTreeMap<String, String>,
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<bool, ArgoCdError> {
        let data = Data { origin, data };
        let kind = labels.get(SECRET_TYPE).map(String::as_str);
        let list = match kind {
            Some("repository") => &mut self.repositories,
            Some("repo-creds") => &mut self.templates,
            _ => return Ok(false),
        };
        if data.text("type")? != Some("oci") {
            return Ok(false);
        }
        let entry = data.entry()?;
        let same = |other: &&Entry| {
            (&other.registry, &other.path, other.has_project)
                == (&entry.registry, &entry.path, entry.has_project)
        };
        if let Some(other) = list.iter().find(same) {
            return Err(ArgoCdError::Ambiguous {
                first: other.origin.clone(),
                second: entry.origin,
            });
        }
        list.push(entry);
        Ok(true)
    }

    /// Adds the data of `argocd-tls-certs-cm`: PEM text by host without port.
    pub fn add_certificates(&mut self, origin: &str, data: &BTreeMap<String, Vec<u8>>) {
        for (host, pem) in data {
            let certificates = Certificates {
                pem: pem.clone(),
                origin: format!("{origin} (key {})", clean(host, 200)),
            };
            self.certificates.insert(registry_name(host), certificates);
        }
    }

    /// What all that was added says about a repository; `None` if nothing does.
    pub fn access_for(&self, repository: &Repository) -> Result<Option<ArgoAccess>, ArgoCdError> {
        let own = self
            .repositories
            .iter()
            .filter(|entry| entry.is_for(repository))
            .min_by_key(|entry| entry.has_project);
        let template = self
            .templates
            .iter()
            .filter(|entry| entry.is_above(repository))
            .max_by_key(|entry| (entry.path.len(), !entry.has_project));
        let host = repository.host().trim_matches(['[', ']']);
        let certificates = self.certificates.get(&host.to_ascii_lowercase());
        if own.is_none() && template.is_none() && certificates.is_none() {
            return Ok(None);
        }
        let settings = |entry: Option<&Entry>| {
            entry.map_or_else(Settings::default, |entry| entry.settings.clone())
        };
        settings(own)
            .or(settings(template))
            .access(certificates)
            .map(Some)
    }
}

impl std::fmt::Debug for ArgoCd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |list: &[Entry]| {
            let names = list.iter().map(|entry| entry.origin.clone());
            names.collect::<Vec<_>>()
        };
        f.debug_struct("ArgoCd")
            .field("repositories", &names(&self.repositories))
            .field("templates", &names(&self.templates))
            .field("certificates", &self.certificates.keys())
            .finish()
    }
}

impl Entry {
    fn is_for(&self, repository: &Repository) -> bool {
        let path = repository.path();
        let is_path = path == self.path
            // What Docker Hub calls official has a path that nobody writes.
            || path.strip_prefix("library/").is_some_and(|rest| rest == self.path);
        self.registry.eq_ignore_ascii_case(repository.registry()) && is_path
    }

    fn is_above(&self, repository: &Repository) -> bool {
        let below = repository.path().strip_prefix(self.path.as_str());
        self.registry.eq_ignore_ascii_case(repository.registry())
            && (self.path.is_empty()
                || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

impl Settings {
    /// What is not set here is taken from there.
    fn or(self, other: Self) -> Self {
        let (proxy, no_proxy) = match self.proxy {
            Some(proxy) => (Some(proxy), self.no_proxy),
            None => (other.proxy, self.no_proxy.or(other.no_proxy)),
        };
        Self {
            pair: self.pair.or(other.pair),
            identity: self.identity.or(other.identity),
            proxy,
            no_proxy,
            skip_verify: self.skip_verify || other.skip_verify,
            plain_http: self.plain_http || other.plain_http,
        }
    }

    fn access(self, certificates: Option<&Certificates>) -> Result<ArgoAccess, ArgoCdError> {
        let mut tls = Tls::default();
        if let Some(Certificates { pem, origin }) = certificates {
            let added = tls.with_ca_pem(pem, origin);
            tls = added.map_err(|cause| tls_error(origin, cause))?;
        }
        if let Some((certificate, key, origin)) = &self.identity {
            let added = tls.with_client_certificate(certificate, key.expose().as_bytes(), origin);
            tls = added.map_err(|cause| tls_error(origin, cause))?;
        }
        Ok(ArgoAccess {
            credentials: self
                .pair
                .map_or(Credentials::Anonymous, |(username, password, origin)| {
                    Credentials::basic(username, password, origin)
                }),
            tls,
            transport: if self.plain_http {
                Transport::PlainHttpAllowed
            } else {
                Transport::Https
            },
            skip_verify: self.skip_verify,
            proxy: self.proxy,
            no_proxy: self.no_proxy,
        })
    }
}

fn tls_error(origin: &str, cause: TlsError) -> ArgoCdError {
    ArgoCdError::Tls {
        origin: origin.to_owned(),
        cause,
    }
}

/// The data of one Secret.
struct Data<'a> {
    origin: &'a str,
    data: &'a BTreeMap<String, Vec<u8>>,
}

impl<'a> Data<'a> {
    fn entry(&self) -> Result<Entry, ArgoCdError> {
        let url = self.text("url")?.and_then(location);
        let (registry, path) = url.ok_or_else(|| ArgoCdError::Url {
            origin: self.origin.to_owned(),
        })?;
        Ok(Entry {
            origin: self.origin.to_owned(),
            registry,
            path,
            has_project: self.text("project")?.is_some(),
            settings: self.settings()?,
        })
    }

    fn settings(&self) -> Result<Settings, ArgoCdError> {
        let origin = || self.origin.to_owned();
        let pair = match (self.text("username")?, self.text("password")?) {
            (None, None) => None,
            (username, password) => Some((
                username.unwrap_or_default().to_owned(),
                password.unwrap_or_default().into(),
                origin(),
            )),
        };
        let (certificate, key) = ("tlsClientCertData", "tlsClientCertKey");
        let missing = |key| ArgoCdError::Missing {
            origin: origin(),
            key,
        };
        let identity = match (self.text(certificate)?, self.text(key)?) {
            (None, None) => None,
            (Some(pem), Some(key)) => Some((pem.as_bytes().to_vec(), key.into(), origin())),
            (None, Some(_)) => return Err(missing(certificate)),
            (Some(_), None) => return Err(missing(key)),
        };
        let proxy = self
            .text("proxy")?
            .map(|address| Proxy::parse(address, None, None))
            .transpose();
        Ok(Settings {
            pair,
            identity,
            proxy: proxy.map_err(|cause| ArgoCdError::Proxy {
                origin: origin(),
                cause,
            })?,
            no_proxy: self.text("noProxy")?.map(ToOwned::to_owned),
            skip_verify: self.is_set("insecure")?,
            plain_http: self.is_set("insecureOCIForceHttp")?,
        })
    }

    /// A text that is not empty.
    fn text(&self, key: &str) -> Result<Option<&'a str>, ArgoCdError> {
        let Some(bytes) = self.data.get(key) else {
            return Ok(None);
        };
        let text = from_utf8(bytes).map_err(|_| ArgoCdError::Text {
            origin: self.origin.to_owned(),
            key: key.to_owned(),
        })?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// What Go's `strconv.ParseBool` takes.
    fn is_set(&self, key: &'static str) -> Result<bool, ArgoCdError> {
        match self.text(key)?.unwrap_or("false") {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(ArgoCdError::Bool {
                origin: self.origin.to_owned(),
                key,
            }),
        }
    }
}

/// Registry and path of `oci://host[:port][/path]`.
fn location(url: &str) -> Option<(String, String)> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_sound = scheme.eq_ignore_ascii_case("oci")
        && !authority.is_empty()
        && !authority.contains(['@', '?', '#']);
    is_sound.then(|| {
        (
            registry_name(authority),
            path.trim_end_matches('/').to_owned(),
        )
    })
}

#[cfg(test)]
mod tests;
