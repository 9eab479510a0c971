// SPDX-License-Identifier: Apache-2.0
//! Which hosts are reached through which proxy, as the environment says.
//!
//! Pure: the values of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` go in, for a target a proxy or nothing comes out. The
//! meaning is that of Go's `golang.org/x/net/http/httpproxy`, which Flux, Docker and kubectl share. One difference: an
//! address that cannot be used is an error and not as if it were unset, because traffic that should have gone through a
//! proxy must not go past it.

use std::{ffi::OsString, net::IpAddr};

use crate::{
    Algorithm, Digest, Hasher,
    registry::{
        egress::Network,
        origin::{Origin, Scheme},
    },
};

use super::{Proxy, ProxyError};

const VARIABLES: [&str; 6] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// The proxies of a process, and the hosts that are reached without one. The default has no proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// A variable of the environment is not the address of a proxy. Its value is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {variable} cannot be used")]
pub struct ProxyRulesError {
    /// Its name.
    pub variable: &'static str,
    /// What is wrong with it.
    #[source]
    pub cause: ProxyError,
}

/// What an entry of `NO_PROXY` exempts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    Network(Network),
    Address(IpAddr, Option<String>),
    Domain {
        /// With a leading dot.
        suffix: String,
        /// Whether the name without the dot counts too.
        with_apex: bool,
        port: Option<String>,
    },
}

impl ProxyRules {
    /// The rules in the environment of this process.
    ///
    /// Fails if a variable holds what is no proxy address, or one of them, also of the exceptions, is not text in UTF-8.
    pub fn from_env() -> Result<Self, ProxyRulesError> {
        Self::from_os_variables(|name| std::env::var_os(name))
    }

    fn from_os_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ProxyRulesError> {
        let is_text = |name: &str| variable(name).is_none_or(|value| value.to_str().is_some());
        if let Some(variable) = VARIABLES.into_iter().find(|name| !is_text(name)) {
            let cause = ProxyError::NotText;
            return Err(ProxyRulesError { variable, cause });
        }
        Self::from_variables(|name| variable(name)?.into_string().ok())
    }

    /// The rules in these variables, each upper case first, then lower case; empty counts as unset.
    ///
    /// As in Go, `HTTP_PROXY` is not read in a CGI process (`REQUEST_METHOD` is set), where a client could set it by a
    /// header.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProxyRulesError> {
        let first = |upper: &'static str, lower: &'static str| {
            [upper, lower].into_iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.is_empty())?;
                Some((name, value))
            })
        };
        let proxy = |found: Option<(&'static str, String)>| {
            let parse = |(variable, value): (_, String)| {
                address(&value).map_err(|cause| ProxyRulesError { variable, cause })
            };
            found.map(parse).transpose()
        };
        let is_cgi = variable("REQUEST_METHOD").is_some_and(|method| !method.is_empty());
        let http = first("HTTP_PROXY", "http_proxy").filter(|_| !is_cgi);
        let no_proxy = first("NO_PROXY", "no_proxy").map_or_else(String::new, |(_, value)| value);
        Ok(Self {
            http: proxy(http)?,
            https: proxy(first("HTTPS_PROXY", "https_proxy"))?,
            exceptions: exceptions(&no_proxy),
        })
    }

    /// This proxy for HTTP and HTTPS, but for the hosts in a list as `NO_PROXY` has them. As with the environment, what is
    /// on this machine needs no proxy.
    pub fn through(proxy: Proxy, no_proxy: &str) -> Self {
        Self {
            http: Some(proxy.clone()),
            https: Some(proxy),
            exceptions: exceptions(no_proxy),
        }
    }

    /// Equal for equal rules, and only for those.
    pub(crate) fn id(&self) -> Digest {
        let id = |proxy: &Option<Proxy>| proxy.as_ref().map(Proxy::id);
        let parts = format!(
            "{:?} {:?} {:?}",
            id(&self.http),
            id(&self.https),
            self.exceptions
        );
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(parts.as_bytes());
        hasher.finish()
    }

    /// The proxy for a target; nothing if it is reached directly.
    pub(crate) fn of(&self, target: &Origin) -> Option<&Proxy> {
        let proxy = match target.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        }?;
        (!self.is_exempt(&target.host, target.port)).then_some(proxy)
    }

    fn is_exempt(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = host.parse().ok();
        let is_here = match address {
            Some(address) => address.to_canonical().is_loopback(),
            None => host == "localhost",
        };
        let port = port.to_string();
        is_here
            || self
                .exceptions
                .iter()
                .any(|exception| exception.covers(host, address, &port))
    }
}

impl Exception {
    fn covers(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let same_port = |wanted: &Option<String>| wanted.as_ref().is_none_or(|p| p == port);
        match (self, address) {
            (Self::All, _) => true,
            (Self::Network(network), Some(address)) => network.contains(address),
            (Self::Address(own, wanted), Some(address)) => {
                own.to_canonical() == address.to_canonical() && same_port(wanted)
            }
            (
                Self::Domain {
                    suffix,
                    with_apex,
                    port: wanted,
                },
                None,
            ) => {
                let is_inside = host.ends_with(suffix.as_str())
                    || (*with_apex && suffix.strip_prefix('.') == Some(host));
                is_inside && same_port(wanted)
            }
            _ => false,
        }
    }
}

/// As in Go, a text without a scheme is taken for the address of an HTTP proxy.
fn address(text: &str) -> Result<Proxy, ProxyError> {
    let text = text.trim();
    if text.contains("://") {
        Proxy::parse(text, None, None)
    } else {
        Proxy::parse(&format!("http://{text}"), None, None)
    }
}

fn exceptions(list: &str) -> Vec<Exception> {
    let entries = list.split(',').map(|entry| entry.trim().to_lowercase());
    let mut found = Vec::new();
    for entry in entries.filter(|entry| !entry.is_empty()) {
        if entry == "*" {
            return vec![Exception::All];
        }
        found.extend(exception(&entry));
    }
    found
}

fn exception(entry: &str) -> Option<Exception> {
    if let Some(network) = entry.contains('/').then(|| entry.parse().ok()).flatten() {
        return Some(Exception::Network(network));
    }
    let (host, port) = split_port(entry);
    let port = port.map(ToOwned::to_owned);
    if let Ok(address) = host.parse() {
        return Some(Exception::Address(address, port));
    }
    let suffix = match host.strip_prefix("*.") {
        Some(rest) => format!(".{rest}"),
        None => host.to_owned(),
    };
    if suffix.is_empty() {
        return None;
    }
    let with_apex = !suffix.starts_with('.');
    let suffix = if with_apex {
        format!(".{suffix}")
    } else {
        suffix
    };
    Some(Exception::Domain {
        suffix,
        with_apex,
        port,
    })
}

/// Host and port as Go's `net.SplitHostPort` tells them apart; all of it is the host where there is no port.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    if let Some(rest) = entry.strip_prefix('[') {
        return match rest.split_once("]:") {
            Some((host, port)) => (host, Some(port)),
            None => (rest.trim_end_matches(']'), None),
        };
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::origin::Link;

    const BOTH: [(&str, &str); 2] = [
        ("HTTP_PROXY", "http://plain:1"),
        ("HTTPS_PROXY", "http://secure:2"),
    ];

    fn rules(variables: &[(&str, &str)]) -> Result<ProxyRules, ProxyRulesError> {
        ProxyRules::from_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn of(rules: &ProxyRules, url: &str) -> Option<String> {
        rules
            .of(&Link::parse(url).unwrap().origin)
            .map(ToString::to_string)
    }

    fn is_exempt(no_proxy: &str, host: &str) -> bool {
        let rules = rules(&[BOTH[0], BOTH[1], ("NO_PROXY", no_proxy)]).unwrap();
        of(&rules, &format!("https://{host}/")).is_none()
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let both = rules(&BOTH).unwrap();
        assert_eq!(of(&both, "http://r.example/").unwrap(), "http://plain:1");
        assert_eq!(of(&both, "https://r.example/").unwrap(), "http://secure:2");
        assert_eq!(of(&ProxyRules::default(), "https://r.example/"), None);
        let one = rules(&BOTH[..1]).unwrap();
        assert_eq!(of(&one, "https://r.example/"), None);
    }

    #[test]
    fn upper_case_goes_before_lower_case_and_empty_is_unset() {
        let found = rules(&[
            ("HTTPS_PROXY", ""),
            ("https_proxy", "lower:8080"),
            ("HTTP_PROXY", "upper"),
            ("http_proxy", "lower"),
        ])
        .unwrap();
        assert_eq!(
            of(&found, "https://r.example/").unwrap(),
            "http://lower:8080"
        );
        assert_eq!(of(&found, "http://r.example/").unwrap(), "http://upper:80");
    }

    #[test]
    fn a_cgi_process_does_not_take_a_proxy_that_a_client_could_have_named() {
        let found = rules(&[BOTH[0], BOTH[1], ("REQUEST_METHOD", "GET")]).unwrap();
        assert_eq!(of(&found, "http://r.example/"), None);
        assert!(of(&found, "https://r.example/").is_some());
    }

    #[test]
    fn what_is_on_this_machine_needs_no_proxy() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1",
            "127.9.9.9:5000",
            "[::1]:5000",
        ] {
            assert!(is_exempt("", host), "{host}");
        }
        for host in ["a.localhost", "10.0.0.1", "[fd00::1]", "r.example"] {
            assert!(!is_exempt("", host), "{host}");
        }
    }

    #[test]
    fn exceptions_mean_what_they_mean_in_go() {
        for (no_proxy, host, expected) in [
            ("*", "r.example", true),
            ("x, *", "10.0.0.1", true),
            ("r.example", "r.example", true),
            ("r.example", "R.Example:5000", true),
            ("r.example", "a.r.example", true),
            ("r.example", "ar.example", false),
            (".r.example", "r.example", false),
            (".r.example", "a.r.example", true),
            ("*.r.example", "r.example", false),
            ("*.r.example", "a.b.r.example", true),
            ("r.example:5000", "r.example:5000", true),
            ("r.example:5000", "r.example", false),
            ("r.example:443", "r.example", true),
            (" r.example , other ", "r.example", true),
            ("10.0.0.0/8", "10.1.2.3:5000", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:5000", "10.1.2.3:5000", true),
            ("10.1.2.3:5000", "10.1.2.3", false),
            ("fd00::/8", "[fd00::1]", true),
            ("fd00::1", "[fd00::1]:5000", true),
            ("[fd00::1]:5000", "[fd00::1]:5000", true),
            ("[fd00::1]:5000", "[fd00::1]", false),
            ("[fd00::1]", "[fd00::1]", true),
            ("3.example", "10.0.0.3", false),
            (".3", "10.0.0.3", false),
            (":5000", "r.example:5000", false),
            (",,", "r.example", false),
            ("10.0.0.0/99", "10.0.0.1", false),
        ] {
            assert_eq!(is_exempt(no_proxy, host), expected, "{no_proxy:?} {host}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_text_is_not_the_same_as_none() {
        use std::os::unix::ffi::OsStringExt as _;
        for name in VARIABLES {
            let error = ProxyRules::from_os_variables(|asked| {
                (asked == name).then(|| OsString::from_vec(b"http://canary\xff:1".to_vec()))
            })
            .unwrap_err();
            assert_eq!((error.variable, &error.cause), (name, &ProxyError::NotText));
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_the_same_as_none() {
        for bad in [
            "ftp://canary",
            "http://",
            "http://canary:port",
            "canary host",
            " ",
        ] {
            let error = rules(&[("https_proxy", bad)]).unwrap_err();
            let text = format!("{error} {} {error:?}", error.cause);
            assert_eq!(error.variable, "https_proxy");
            assert!(!text.contains("canary"), "{text}");
        }
        let huge = "a,".repeat(1 << 20);
        assert!(rules(&[BOTH[1], ("NO_PROXY", &huge)]).is_ok());
    }
}
