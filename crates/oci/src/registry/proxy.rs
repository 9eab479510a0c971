// SPDX-License-Identifier: Apache-2.0
//! The proxy that a registry is reached through.
//!
//! Pure: an address with a name and a password goes in, a [`Proxy`] comes out. Which requests go through it is decided
//! in the connector.

use std::fmt;

use http::Uri;

use super::auth::Secret;

/// A proxy, with what it wants to see.
#[derive(Clone)]
pub struct Proxy {
    pub(crate) uri: Uri,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
}

/// A text is not the address of a proxy. It is not repeated here, as it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the proxy address is not a URL of the form http://host:port, https://host:port or socks5://host:port"
)]
pub struct ProxyError;

impl Proxy {
    /// Parses the address of a proxy. A password without a name is ignored, as in Flux.
    pub fn parse(
        address: &str,
        username: Option<&str>,
        password: Option<Secret>,
    ) -> Result<Self, ProxyError> {
        let uri: Uri = address.parse().map_err(|_| ProxyError)?;
        Ok(Self {
            uri,
            username: username.map(ToOwned::to_owned),
            password,
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.uri.host())
            .finish_non_exhaustive()
    }
}
