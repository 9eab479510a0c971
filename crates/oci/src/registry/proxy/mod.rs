// SPDX-License-Identifier: Apache-2.0
//! The proxy that a registry is reached through.
//!
//! Enters as an address with a name and a password, from a Secret, a settings file or the environment; leaves as a
//! [`Proxy`] value. Which requests go through it is [`rules`]' and [`route`]'s business, how a connection is asked of it
//! [`tunnel`]'s and [`socks`]'. Nothing here can be printed with a password, and no error repeats the address, which may
//! hold one.

pub(crate) mod route;
mod rules;
mod socks;
pub(crate) mod tunnel;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri, uri::Authority};

use crate::{Algorithm, Digest, Hasher};

use super::auth::Secret;

pub use rules::{ProxyRules, ProxyRulesError};

/// The longest address that is read, as in Flux.
const MAX_ADDRESS: usize = 2048;
/// The longest name and password, in bytes: what SOCKS5 has room for (RFC 1929), and no HTTP proxy was seen to need more
/// than a token's length.
const MAX_SOCKS_CREDENTIAL: usize = 255;
const MAX_HTTP_CREDENTIAL: usize = 4096;

/// A proxy, with what it wants to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: ProxyKind,
    /// Lower case; IPv6 literals without brackets.
    host: Box<str>,
    port: u16,
    login: Option<Login>,
}

/// What is spoken with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProxyKind {
    Http,
    Https,
    Socks5,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: Secret,
    pub(crate) password: Secret,
}

/// A text is not the address of a proxy. It is not repeated here, as it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It is no URL with a host.
    #[error(
        "the proxy address is not a URL of the form http://host:port, https://host:port or socks5://host:port"
    )]
    Malformed,
    /// It has a scheme that is none of a proxy's.
    #[error("the proxy address has the scheme {0:?}, expected http, https or socks5")]
    Scheme(String),
    /// It is not text in UTF-8.
    #[error("the proxy address is not text in UTF-8")]
    NotText,
    /// It is longer than 2048 characters.
    #[error("the proxy address is longer than {MAX_ADDRESS} characters")]
    TooLong,
    /// The name or password is too long, empty where it must not be, or has characters that cannot be sent.
    #[error(
        "the proxy's username or password cannot be sent: too long, or with control characters"
    )]
    Login,
}

impl Proxy {
    /// Parses the address of a proxy: `http`, `https` or `socks5` (`socks5h` is the same), a host and optionally a port (80, 443, 1080).
    ///
    /// A path is ignored, as in Go. A name given here goes before one in the address; a password without a name is
    /// ignored, as in Flux.
    pub fn parse(
        address: &str,
        username: Option<&str>,
        password: Option<Secret>,
    ) -> Result<Self, ProxyError> {
        if address.chars().count() > MAX_ADDRESS {
            return Err(ProxyError::TooLong);
        }
        let uri: Uri = address.trim().parse().map_err(|_| ProxyError::Malformed)?;
        let kind = match uri.scheme_str() {
            Some("http") => ProxyKind::Http,
            Some("https") => ProxyKind::Https,
            // With either the name is the proxy's to resolve, as it is in Go.
            Some("socks5" | "socks5h") => ProxyKind::Socks5,
            Some(other) => return Err(ProxyError::Scheme(other.chars().take(20).collect())),
            None => return Err(ProxyError::Malformed),
        };
        let authority = uri.authority().ok_or(ProxyError::Malformed)?;
        let (host, port) = place(authority, kind)?;
        let login = match username.filter(|name| !name.is_empty()) {
            Some(name) => Some(Login {
                username: name.into(),
                password: password.unwrap_or_else(|| Secret::new("")),
            }),
            None => login_in(authority)?,
        };
        if !login.as_ref().is_none_or(|login| can_be_sent(login, kind)) {
            return Err(ProxyError::Login);
        }
        Ok(Self {
            kind,
            host,
            port,
            login,
        })
    }

    pub(crate) fn kind(&self) -> ProxyKind {
        self.kind
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The value of `Proxy-Authorization`; nothing where there is no name.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let login = self.login.as_ref()?;
        let pair = format!("{}:{}", login.username.expose(), login.password.expose());
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Equal for the same proxy with the same name and password, and only then: connections are never shared otherwise.
    pub(crate) fn id(&self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let login = self.login.as_ref();
        for part in [
            self.to_string().as_str(),
            login.map_or("", |login| login.username.expose()),
            login.map_or("", |login| login.password.expose()),
        ] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finish()
    }
}

/// Without name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.kind.scheme();
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl ProxyKind {
    const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 => 1080,
        }
    }
}

fn place(authority: &Authority, kind: ProxyKind) -> Result<(Box<str>, u16), ProxyError> {
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if host.is_empty() || host.contains('%') {
        return Err(ProxyError::Malformed);
    }
    let after_login = authority
        .as_str()
        .rsplit_once('@')
        .map_or(authority.as_str(), |(_, place)| place);
    let port = match after_login[authority.host().len()..].strip_prefix(':') {
        None | Some("") => kind.default_port(),
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(ProxyError::Malformed)?,
    };
    Ok((host.to_ascii_lowercase().into(), port))
}

/// The user information of a URL, percent-decoded.
fn login_in(authority: &Authority) -> Result<Option<Login>, ProxyError> {
    let Some((user_info, _)) = authority.as_str().rsplit_once('@') else {
        return Ok(None);
    };
    let (username, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decoded = |text| percent_decode(text).ok_or(ProxyError::Login);
    let (username, password) = (decoded(username)?, decoded(password)?);
    if username.is_empty() {
        return Ok(None);
    }
    Ok(Some(Login {
        username: username.into(),
        password: password.into(),
    }))
}

fn can_be_sent(login: &Login, kind: ProxyKind) -> bool {
    let limit = match kind {
        ProxyKind::Socks5 => MAX_SOCKS_CREDENTIAL,
        ProxyKind::Http | ProxyKind::Https => MAX_HTTP_CREDENTIAL,
    };
    let is_fit = |text: &str| text.len() <= limit && !text.chars().any(char::is_control);
    // In Basic authentication the first colon ends the name.
    let is_whole = kind == ProxyKind::Socks5 || !login.username.expose().contains(':');
    is_whole && is_fit(login.username.expose()) && is_fit(login.password.expose())
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Result<Proxy, ProxyError> {
        Proxy::parse(address, None, None)
    }

    fn login(proxy: &Proxy) -> Option<(&str, &str)> {
        let login = proxy.login()?;
        Some((login.username.expose(), login.password.expose()))
    }

    #[test]
    fn an_address_has_a_scheme_a_host_and_a_port() {
        for (address, shown) in [
            ("http://proxy.example", "http://proxy.example:80"),
            ("http://Proxy.example:3128/", "http://proxy.example:3128"),
            (
                "http://proxy.example:3128/path",
                "http://proxy.example:3128",
            ),
            ("https://proxy.example", "https://proxy.example:443"),
            ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
            ("socks5h://proxy.example", "socks5://proxy.example:1080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://u:p@proxy.example:1", "http://proxy.example:1"),
        ] {
            assert_eq!(parse(address).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        let long = format!("http://canary/{}", "a".repeat(2048));
        let huge = format!("http://canary{}", "a".repeat(1 << 20));
        for bad in [
            "",
            "canary",
            "canary:3128",
            "http://",
            "http:///canary",
            "http://canary:0",
            "http://canary:99999",
            "http://canary:port",
            "ftp://canary",
            "socks4://canary",
            "http://canary host",
            "http://user:canary%zz@host",
            "http://user:canary%0a@host",
            "http://user:canary\r\nX: y@host",
            "http://user:canary%ff@host",
            &long,
            &huge,
        ] {
            let error = parse(bad).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("canary") && text.len() < 300, "{text}");
        }
    }

    #[test]
    fn name_and_password_come_from_the_secret_or_the_address() {
        let both = Proxy::parse("http://a:b@p", Some("name"), Some("pass".into())).unwrap();
        assert_eq!(login(&both), Some(("name", "pass")));
        assert_eq!(
            login(&parse("http://a%40b:c%3Ad@p").unwrap()),
            Some(("a@b", "c:d"))
        );
        let alone = Proxy::parse("http://p", Some("name"), None).unwrap();
        assert_eq!(login(&alone), Some(("name", "")));
        let ignored = Proxy::parse("http://p", None, Some("canary".into())).unwrap();
        assert_eq!(login(&ignored), None);
        assert_eq!(ignored.authorization(), None);
        assert_eq!(
            both.authorization().unwrap().to_str().unwrap(),
            "Basic bmFtZTpwYXNz"
        );
        assert!(both.authorization().unwrap().is_sensitive());
    }

    #[test]
    fn a_login_that_cannot_be_sent_is_refused() {
        let long = "a".repeat(256);
        let with = |address, name: &str| Proxy::parse(address, Some(name), None);
        assert!(with("http://p", &long).is_ok());
        assert_eq!(with("socks5://p", &long), Err(ProxyError::Login));
        assert_eq!(with("http://p", "a:b"), Err(ProxyError::Login));
        assert_eq!(with("http://p", "a\nb"), Err(ProxyError::Login));
        assert_eq!(
            with("http://p", &"a".repeat(1 << 20)),
            Err(ProxyError::Login)
        );
    }

    #[test]
    fn nothing_secret_is_shown() {
        let proxy = parse("http://canary-name:canary-password@p").unwrap();
        let shown = format!("{proxy} {proxy:?} {proxy:#?} {:?}", proxy.authorization());
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn another_password_is_another_proxy() {
        let id = |address| parse(address).unwrap().id();
        assert_eq!(id("http://a:b@p"), id("http://a:b@P:80/"));
        assert_ne!(id("http://a:b@p"), id("http://a:c@p"));
        assert_ne!(id("http://a:b@p"), id("http://p"));
        assert_ne!(id("http://ab:c@p"), id("http://a:bc@p"));
        assert_ne!(id("http://p"), id("https://p:80"));
    }
}
