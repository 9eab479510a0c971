// SPDX-License-Identifier: Apache-2.0
//! What the client may reach, and what may go with a request.
//!
//! Pure: an [`Egress`] is made of what the operator lists; an address, a host or an origin goes in, a verdict comes out.
//! The connector asks for every address of every hop, after resolution, so that names, literals and odd spellings of
//! literals are all held by the same rule; `request` and `authorize` ask where a rule is about more than an address.
//!
//! | | default | strict |
//! |---|---|---|
//! | link-local, cloud metadata | refused unless listed | the same |
//! | unspecified, multicast, broadcast | refused | the same |
//! | loopback, private, shared, reserved | dialled | refused unless listed |
//! | redirect to another host, an internal address written as such | refused unless listed | the same |
//! | redirect elsewhere | any read | blobs only |
//! | redirect from https to http, a sixth redirect | refused | the same |
//! | credentials on a redirect | dropped with the first other scheme, host or port, for good | the same |
//! | credentials to a token service | the one that is named; https if the registry is | the registry's own or a listed one, else none |
//! | credentials over plain HTTP, or TLS that is not verified | sent | refused |
//! | client certificate | to the registry and the token service, if they ask for one | the same, where credentials may go |
//! | through a proxy | refused are addresses that are refused above, written as such | only listed hosts |

mod address;
mod checks;
mod literal;
mod network;
mod realm;

use std::{fmt, net::IpAddr, str::FromStr};

use super::origin::{Origin, Scheme};

pub use address::Refusal;
pub(crate) use checks::Checks;
pub use checks::Dials;
pub(crate) use literal::literal;
pub use network::{Network, NetworkError};
pub use realm::{RealmPair, RealmPairError};

/// The rules for what is reached, with the operator's exceptions.
///
/// ```
/// use wharf_oci::registry::{Egress, StrictEgress};
///
/// let egress = Egress::strict(StrictEgress {
///     realms: vec!["registry.example=auth.example".parse()?],
///     proxied: vec!["*.registry.example".parse()?],
/// })
/// .allowing(["10.20.0.0/16".parse()?]);
/// assert!(egress.check("10.20.0.1".parse()?).is_ok());
/// assert!(egress.check("10.21.0.1".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    allowed: Vec<Network>,
    strict: Option<StrictEgress>,
}

/// What the strict rules except; their addresses are listed with [`Egress::allowing`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StrictEgress {
    /// Token services on another host that get credentials, beside those of Docker Hub and GitLab.com.
    pub realms: Vec<RealmPair>,
    /// Hosts that may be asked for through a proxy, which resolves their names itself.
    pub proxied: Vec<HostPattern>,
}

impl Egress {
    /// The strict rules: what is not clearly the registry's own is refused unless it is listed.
    pub fn strict(listed: StrictEgress) -> Self {
        Self {
            strict: Some(listed),
            ..Self::default()
        }
    }

    /// The same rules with networks that may be dialled although they would be refused.
    ///
    /// What is always refused is not opened in passing: link-local addresses are opened by networks that hold no others,
    /// and a metadata service only by its own address (`fd00:ec2::/32` for those of AWS). So `100.64.0.0/10` does not
    /// open `100.100.100.200`, and `fd00::/8` not `fd00:ec2::254`. What is no host is never opened.
    #[must_use]
    pub fn allowing(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.allowed.extend(networks);
        self
    }

    /// Whether the strict rules hold.
    pub fn is_strict(&self) -> bool {
        self.strict.is_some()
    }

    /// Answers whether an address may be dialled. An IPv6 address that stands for an IPv4 one (mapped, NAT64) is held to
    /// be that; one that a tunnel or translator would make an IPv4 address of has to pass as both.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let reached = address::reached(address);
        if let IpAddr::V6(v6) = reached {
            // First, as it tells more than that the form is reserved.
            for v4 in address::embedded(v6) {
                self.check_as_it_is(v4.into())?;
            }
        }
        self.check_as_it_is(reached)
    }

    /// Answers whether a host may be asked for through a proxy. What the proxy makes of a name is not known here: by
    /// default names pass (but for those that mean a metadata service), and what is written as an address passes if it
    /// may be dialled. Under the strict rules both have to be listed.
    ///
    /// `host` is as in a URL, without a port.
    pub fn check_proxied(&self, host: &str) -> Result<(), Refusal> {
        let literal = literal(host);
        if let Some(address) = literal {
            self.check(address)?;
        }
        if is_metadata_name(host) {
            return Err(Refusal::CloudMetadata);
        }
        let Some(strict) = &self.strict else {
            return Ok(());
        };
        let is_listed = strict.proxied.iter().any(|pattern| pattern.matches(host))
            || literal.is_some_and(|address| self.is_listed(address));
        if is_listed {
            Ok(())
        } else {
            Err(Refusal::NotListed)
        }
    }

    /// Whether a redirect may lead to another host that is written so. As in Flux, an internal address is refused, unless
    /// it is listed; names are the connector's business.
    pub(crate) fn check_redirect(&self, host: &str) -> Result<(), Refusal> {
        let Some(address) = literal(host) else {
            return Ok(());
        };
        self.check(address)?;
        let reached = address::reached(address);
        match address::range_of(reached).map(|range| range.refusal) {
            Some(refusal) if refusal.is_internal() && !self.is_listed(reached) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Whether a token service gets the credentials that belong to a registry.
    pub(crate) fn trusts_realm(&self, registry: &Origin, realm: &Origin) -> bool {
        let Some(strict) = &self.strict else {
            return true;
        };
        let is_secure = realm.scheme == Scheme::Https;
        is_secure
            && (realm::is_own(registry, realm) || realm::is_listed(&strict.realms, registry, realm))
    }

    /// Whether credentials may be sent in the clear, or to whoever answers.
    pub(crate) fn allows_exposed_credentials(&self) -> bool {
        self.strict.is_none()
    }

    /// Whether a read of something other than a blob may be answered by another origin.
    pub(crate) fn allows_documents_elsewhere(&self) -> bool {
        self.strict.is_none()
    }

    fn check_as_it_is(&self, address: IpAddr) -> Result<(), Refusal> {
        let Some(range) = address::range_of(address) else {
            return Ok(());
        };
        let is_open = match range.refusal {
            Refusal::NoHost => false,
            refusal if refusal.is_always() => self
                .listed(address)
                .any(|network| network.is_within(&range.network)),
            _ => self.strict.is_none() || self.is_listed(address),
        };
        if is_open { Ok(()) } else { Err(range.refusal) }
    }

    fn is_listed(&self, address: IpAddr) -> bool {
        self.listed(address).next().is_some()
    }

    fn listed(&self, address: IpAddr) -> impl Iterator<Item = &Network> {
        let holds = move |network: &&Network| network.contains(address);
        self.allowed.iter().filter(holds)
    }
}

/// Names that some clouds give their metadata services, wherever they are asked for.
fn is_metadata_name(host: &str) -> bool {
    const NAMES: [&str; 5] = [
        "metadata.google.internal",
        "metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.tencentyun.com",
    ];
    let name = host.trim_end_matches('.');
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// A host name, or all names below one: `ghcr.io`, `*.example.com`. No port: one host is one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// Lower case, without the star and without a dot at the end.
    name: Box<str>,
    is_suffix: bool,
}

/// A text is not a host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a host, expected a form such as ghcr.io or *.example.com, without scheme and port"
)]
pub struct HostPatternError(String);

impl HostPattern {
    /// Whether a host, as in a URL without the port, is meant.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        match host.strip_suffix(&*self.name) {
            Some("") => !self.is_suffix,
            Some(below) => self.is_suffix && below.len() > 1 && below.ends_with('.'),
            None => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let (name, is_suffix) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if !realm::is_host(name) || (is_suffix && !name.contains('.')) {
            return Err(HostPatternError(text.chars().take(140).collect()));
        }
        Ok(Self {
            name: name.to_ascii_lowercase().into(),
            is_suffix,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_suffix { "*." } else { "" };
        write!(f, "{star}{}", self.name)
    }
}

#[cfg(test)]
mod tests;
