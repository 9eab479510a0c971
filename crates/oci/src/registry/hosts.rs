// SPDX-License-Identifier: Apache-2.0
//! What is set per registry host for the whole process: mirrors, trust, proxy, bounds.
//!
//! Pure: the parsed settings go in, the settings of one host come out. How a file says them is not known here, and what
//! is done with mirrors is in `mirrors`.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, str::FromStr, time::Duration};

use crate::{ReferenceError, Repository};

use super::{
    access::{Access, Transport},
    auth::Credentials,
    proxy::Proxy,
    tls::Tls,
};

/// The longest time that a rate may be over. Longer ones could not be counted without being written down.
const LONGEST_PER: Duration = Duration::from_secs(24 * 3600);

/// The settings of all hosts that have any.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    by_host: BTreeMap<String, Host>,
}

/// The settings of one host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Where to read before the host itself is asked, in this order.
    pub mirrors: Vec<Mirror>,
    /// Trust and client certificate, beside those of the source.
    pub tls: Option<Tls>,
    /// Whether the host may be spoken to in plain HTTP.
    pub plain_http: bool,
    /// The proxy, unless the source has one of its own.
    pub proxy: Option<Proxy>,
    /// Who asks when the host is asked as a mirror. Sources that name the host itself have their own credentials: these
    /// are never used for them.
    pub mirror_credentials: Credentials,
    /// How much it may be asked.
    pub limits: HostLimits,
}

/// Another registry with the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    registry: Box<str>,
    prefix: Box<str>,
    transport: Option<Transport>,
    resolves_tags: bool,
}

/// A text is not the place of a mirror. It is not repeated here, as it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a mirror is written as host[:port][/prefix], with https:// or http:// before it or not, and without a name, password, query or fragment"
)]
pub struct MirrorError;

/// How much a host may be asked by the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// Requests at the same time.
    pub concurrency: Option<NonZeroU32>,
    /// Requests in a time.
    pub rate: Option<Rate>,
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: NonZeroU32,
    /// In which time.
    pub per: Duration,
}

/// A text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is written as requests/time, for instance 20/s, 100/6h or 5000/1h30m, of at most 24h"
)]
pub struct RateError;

impl Hosts {
    /// Settings by host, as it stands in references: `ghcr.io`, `registry.example:5000`. Of two settings for what
    /// [`Self::name`] says is one host, the later counts.
    pub fn new(by_host: impl IntoIterator<Item = (String, Host)>) -> Self {
        let named = by_host.into_iter();
        Self {
            by_host: named
                .map(|(host, settings)| (Self::name(&host), settings))
                .collect(),
        }
    }

    /// The one name of a host that can be written in several ways: lower case, without the port 443 that every registry has
    /// where none is written, and Docker Hub's aliases as `docker.io`.
    pub fn name(registry: &str) -> String {
        let lower = registry.to_ascii_lowercase();
        match lower.strip_suffix(":443").unwrap_or(&lower) {
            "index.docker.io" | "registry-1.docker.io" | "docker.io" => "docker.io".to_owned(),
            name => name.to_owned(),
        }
    }

    /// The settings of a host.
    pub fn of(&self, registry: &str) -> Option<&Host> {
        self.by_host.get(&Self::name(registry))
    }

    /// How a registry that a source names is reached: by what the source says and what is set for the host.
    ///
    /// Trust adds up, and a source that is not verified stays so. The source's client certificate comes before the host's;
    /// plain HTTP is allowed when either allows it; credentials are the source's alone.
    pub(crate) fn access(&self, registry: &str, of_source: &Access) -> Access {
        let Some(host) = self.of(registry) else {
            return of_source.clone();
        };
        let mut access = of_source.clone();
        if let Some(tls) = &host.tls {
            access.tls = access.tls.beside(tls);
        }
        if host.plain_http {
            access.transport = Transport::PlainHttpAllowed;
        }
        access
    }

    /// How a mirror is reached: by what is set for its own host. Nothing of a source goes there.
    pub(crate) fn access_of_mirror(&self, mirror: &Mirror) -> Access {
        let host = self.of(&mirror.registry).cloned().unwrap_or_default();
        let of_host = Access {
            credentials: host.mirror_credentials,
            ..Access::default()
        };
        let mut access = self.access(&mirror.registry, &of_host);
        if let Some(transport) = mirror.transport {
            access.transport = transport;
        }
        access
    }
}

impl Mirror {
    /// Parses `host[:port][/prefix]`, to which `https://` or `http://` may be written. The prefix stands before the name
    /// of each repository. `resolves_tags` says whether it is also asked what a tag points at; else it is asked only for
    /// what a digest proves.
    pub fn parse(url: &str, resolves_tags: bool) -> Result<Self, MirrorError> {
        let (transport, place) = match url.split_once("://") {
            Some(("https", place)) => (Some(Transport::Https), place),
            Some(("http", place)) => (Some(Transport::PlainHttpAllowed), place),
            Some(_) => return Err(MirrorError),
            None => (None, url),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (registry, prefix) = place.split_once('/').unwrap_or((place, ""));
        let mirror = Self {
            registry: registry.to_ascii_lowercase().into(),
            prefix: prefix.into(),
            transport,
            resolves_tags,
        };
        // The grammar of repositories decides what may stand there.
        mirror.named("any").map_err(|_| MirrorError)?;
        Ok(mirror)
    }

    /// `host` or `host:port`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Whether it is asked what tags point at.
    pub fn resolves_tags(&self) -> bool {
        self.resolves_tags
    }

    /// Where it has a repository of the mirrored registry. Fails if the name becomes too long.
    pub(crate) fn repository(&self, of: &Repository) -> Result<Repository, ReferenceError> {
        self.named(of.path())
    }

    fn named(&self, path: &str) -> Result<Repository, ReferenceError> {
        let path = match &*self.prefix {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        };
        Repository::on(&self.registry, &path)
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        match &*self.prefix {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    /// Parses `20/s`, `100/6h`, `5000/1h30m`: units `s`, `m` and `h`, a missing number is 1.
    fn from_str(text: &str) -> Result<Self, RateError> {
        let (requests, per) = text.split_once('/').ok_or(RateError)?;
        let requests =
            whole(requests.trim()).and_then(|count| NonZeroU32::new(count).ok_or(RateError))?;
        let per = seconds(per.trim())?;
        if per.is_zero() || per > LONGEST_PER {
            return Err(RateError);
        }
        Ok(Self { requests, per })
    }
}

fn whole(digits: &str) -> Result<u32, RateError> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        digits.parse().map_err(|_| RateError)
    } else {
        Err(RateError)
    }
}

fn seconds(text: &str) -> Result<Duration, RateError> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(RateError)?;
        let (number, after) = rest.split_at(end);
        let number = if number.is_empty() && rest == text {
            1
        } else {
            whole(number)?
        };
        let unit = match after.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            _ => return Err(RateError),
        };
        total = total.saturating_add(Duration::from_secs(u64::from(number) * unit));
        rest = &after[1..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_is_one_host_by_all_its_names() {
        let host = Host {
            plain_http: true,
            ..Host::default()
        };
        for written in ["docker.io", "index.docker.io", "Registry-1.Docker.io:443"] {
            let hosts = Hosts::new([(written.to_owned(), host.clone())]);
            for asked in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
                assert!(hosts.of(asked).is_some(), "{written} {asked}");
            }
            assert!(hosts.of("ghcr.io").is_none());
        }
    }

    #[test]
    fn the_usual_port_makes_no_other_host() {
        let hosts = |written: &str| Hosts::new([(written.to_owned(), Host::default())]);
        for host in ["ghcr.io", "10.0.0.1", "[::1]", "[2001:db8::443]"] {
            let with_port = format!("{host}:443");
            assert!(hosts(host).of(&with_port).is_some(), "{host}");
            assert!(hosts(&with_port).of(host).is_some(), "{host}");
            assert!(hosts(host).of(&format!("{host}:4443")).is_none(), "{host}");
            assert!(hosts(host).of(&format!("{host}:80")).is_none(), "{host}");
        }
    }

    #[test]
    fn a_mirror_is_a_host_with_a_prefix() {
        let at = |url: &str, repository: &str| {
            let of: Repository = repository.parse().unwrap();
            let mirror = Mirror::parse(url, false).unwrap();
            mirror.repository(&of).unwrap().to_string()
        };
        assert_eq!(
            at("https://Mirror.example:5000/hub/cache/", "nginx"),
            "mirror.example:5000/hub/cache/library/nginx"
        );
        assert_eq!(at("mirror", "ghcr.io/a/b"), "mirror/a/b");
        assert_eq!(at("http://10.0.0.1", "ghcr.io/a/b"), "10.0.0.1/a/b");
        assert_eq!(at("docker.io", "ghcr.io/a/b"), "index.docker.io/a/b");
    }

    #[test]
    fn what_is_no_mirror_is_refused_without_being_repeated() {
        let long = format!("m.example/{}", "x".repeat(300));
        for bad in [
            "",
            "https://",
            "ftp://m.example",
            "https://user:canary@m.example",
            "m.example?x=canary",
            "m.example/a#canary",
            "m.example/../v2",
            "m.example//a",
            "m.example/UPPER",
            "m.example:0",
            "m.example:99999",
            "m example",
            "/prefix",
            &long,
        ] {
            let error = Mirror::parse(bad, false).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{bad}");
        }
    }

    #[test]
    fn a_name_that_becomes_too_long_is_no_place() {
        let mirror = Mirror::parse(&format!("m.example/{}", "p".repeat(100)), false).unwrap();
        let of: Repository = format!("r.example/{}", "x".repeat(200)).parse().unwrap();
        assert!(mirror.repository(&of).is_err());
    }

    #[test]
    fn rates_are_counts_in_a_time() {
        let of = |text: &str| {
            let rate: Rate = text.parse().unwrap();
            (rate.requests.get(), rate.per.as_secs())
        };
        assert_eq!(of("20/s"), (20, 1));
        assert_eq!(of("100/6h"), (100, 21_600));
        assert_eq!(of(" 5000 / 1h30m "), (5000, 5400));
        for bad in [
            "",
            "/",
            "20",
            "20/",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "20/0s",
            "20/25h",
            "20/d",
            "20/10",
            "4294967296/s",
            "1/99999999999h",
            "1/4294967295h",
            "20/s/s",
            "20/hm",
            "1/é",
        ] {
            assert_eq!(bad.parse::<Rate>(), Err(RateError), "{bad}");
        }
    }

    #[test]
    fn nothing_of_a_source_goes_to_a_mirror() {
        let mirror = Mirror::parse("https://m.example", false).unwrap();
        let host = Host {
            mirror_credentials: Credentials::basic("m", "secret", "the settings"),
            plain_http: true,
            ..Host::default()
        };
        let hosts = Hosts::new([("m.example".to_owned(), host)]);
        let access = hosts.access_of_mirror(&mirror);
        assert_eq!(access.credentials.source(), Some("the settings"));
        assert_eq!(access.transport, Transport::Https);
        // And nothing of the mirror to who names its host as a registry.
        let named = hosts.access("m.example", &Access::default());
        assert_eq!(named.credentials, Credentials::Anonymous);
        assert_eq!(named.transport, Transport::PlainHttpAllowed);
    }
}
