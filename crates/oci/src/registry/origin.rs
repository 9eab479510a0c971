// SPDX-License-Identifier: Apache-2.0
//! Where a request goes: scheme, host and port as a value, and the URLs a registry hands out.
//!
//! Enters as the registry's name or as a header (`Location`, a realm) that the other side chose; leaves as a [`Link`]
//! with an [`Origin`] that can be compared. Nothing here is ever printed with its query, which may be a signature.

use std::fmt;

use http::Uri;

/// How a host is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port: what credentials belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// Lower case; IPv6 literals keep their brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

impl Origin {
    /// Whether the port is the usual one of the scheme, and so is left out where the host is written.
    pub(crate) fn has_default_port(&self) -> bool {
        self.port == self.scheme.default_port()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.host)?;
        if self.has_default_port() {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// An absolute `http` or `https` URL without user information.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) uri: Uri,
    pub(crate) origin: Origin,
}

/// The query stays out: it may hold the signature of a storage service.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.uri.path())
    }
}

impl Link {
    /// The URL of a path on a registry (`host` or `host:port`).
    pub(crate) fn on(scheme: Scheme, registry: &str, path_and_query: &str) -> Option<Self> {
        Self::parse(&format!("{}://{registry}{path_and_query}", scheme.name()))
    }

    /// Parses an absolute URL.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let authority = uri.authority()?;
        // A name and password in a URL would be sent by nobody and shown by everybody.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|port| *port != 0)?,
            None => scheme.default_port(),
        };
        let host = authority.host().to_ascii_lowercase().into();
        Some(Self {
            uri,
            origin: Origin { scheme, host, port },
        })
    }

    /// Resolves what a `Location` header or realm says, relative to this URL (RFC 3986 section 4.2, without dot
    /// segments).
    pub(crate) fn join(&self, reference: &str) -> Option<Self> {
        let origin = &self.origin;
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", origin.scheme.name()));
        }
        let path = self.uri.path();
        let base = match reference.chars().next() {
            Some('/') => "",
            Some('?') => path,
            Some(_) => &path[..=path.rfind('/')?],
            None => return None,
        };
        Self::parse(&format!(
            "{}://{}:{}{base}{reference}",
            origin.scheme.name(),
            origin.host,
            origin.port
        ))
    }

    /// The same URL with one more query parameter, its value percent-encoded.
    pub(crate) fn with_query(&self, name: &str, value: &str) -> Option<Self> {
        let separator = if self.uri.query().is_some() { '&' } else { '?' };
        Self::parse(&format!(
            "{}{separator}{name}={}",
            self.uri,
            percent_encode(value)
        ))
    }
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?', '#']);
    end.is_some_and(|end| end > 0 && reference[end..].starts_with(':'))
}

/// Encodes everything but the unreserved characters of RFC 3986, so that no value can end its parameter.
pub(crate) fn percent_encode(value: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)])));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(text: &str) -> Link {
        Link::parse(text).unwrap()
    }

    #[test]
    fn origins_are_equal_when_scheme_host_and_port_are() {
        assert_eq!(
            link("https://Host.example/a").origin,
            link("https://host.example:443/b?c").origin
        );
        assert_ne!(
            link("https://host.example/").origin,
            link("http://host.example:443/").origin
        );
        assert_ne!(
            link("https://host.example/").origin,
            link("https://host.example:444/").origin
        );
        assert_eq!(
            link("https://[::1]:5000/").origin.to_string(),
            "https://[::1]:5000"
        );
    }

    #[test]
    fn what_is_no_plain_absolute_url_is_refused() {
        let huge = format!("https://a/{}", "b".repeat(1 << 20));
        for bad in [
            "",
            "/a",
            "ftp://a/",
            "https://",
            "https:///a",
            "https://u:p@a/",
            "https://@a/",
            "https://a:0/",
            "https://a:99999/",
            "https://a b/",
            "file:///etc/passwd",
            "https://a/ b",
            &huge,
        ] {
            assert!(Link::parse(bad).is_none(), "{bad:.40}");
        }
    }

    #[test]
    fn references_are_resolved_against_the_request() {
        let base = link("https://r.example/v2/a/blobs/uploads/?x=1");
        let joined = |text: &str| base.join(text).map(|link| link.uri.to_string());
        assert_eq!(
            joined("/v2/u?s=2").unwrap(),
            "https://r.example:443/v2/u?s=2"
        );
        assert_eq!(
            joined("id").unwrap(),
            "https://r.example:443/v2/a/blobs/uploads/id"
        );
        assert_eq!(
            joined("?s=2").unwrap(),
            "https://r.example:443/v2/a/blobs/uploads/?s=2"
        );
        assert_eq!(joined("//cdn.example/b").unwrap(), "https://cdn.example/b");
        assert_eq!(
            joined("http://cdn.example/b").unwrap(),
            "http://cdn.example/b"
        );
        assert_eq!(joined(""), None);
        assert_eq!(joined("javascript:x"), None);
    }

    #[test]
    fn a_value_cannot_leave_its_parameter() {
        let encoded = link("https://r/t?a=b")
            .with_query("scope", "x&y=z#é ")
            .unwrap();
        assert_eq!(
            encoded.uri.to_string(),
            "https://r/t?a=b&scope=x%26y%3Dz%23%C3%A9%20"
        );
    }

    #[test]
    fn debug_shows_no_query() {
        assert_eq!(
            format!("{:?}", link("https://s3.example/b?sig=canary")),
            "https://s3.example/b"
        );
    }
}
