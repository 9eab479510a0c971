// SPDX-License-Identifier: Apache-2.0
//! How a registry is reached: with which credentials, which trust and over which transport.

use super::{
    auth::Credentials,
    proxy::{Proxy, ProxyRules},
    tls::Tls,
};

/// Everything that one source knows about reaching its registry. The default is anonymous, over HTTPS, with the
/// system's roots.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who asks.
    pub credentials: Credentials,
    /// Whom to trust, and the client certificate to show.
    pub tls: Tls,
    /// Whether plain HTTP will do.
    pub transport: Transport,
    /// Through which proxy.
    pub proxy: ProxyChoice,
}

/// Through which proxy a registry, its token service and all hosts that it redirects to are reached.
#[derive(Clone, Debug, Default)]
pub enum ProxyChoice {
    /// The one in the settings of the registry's host, or what the process's rules say (the environment).
    #[default]
    Default,
    /// None, whatever the process's rules say.
    Direct,
    /// This one for all hosts: `NO_PROXY` has no say.
    Through(Proxy),
    /// For each host what these rules say, whatever the process's say.
    By(ProxyRules),
}

/// Whether plain HTTP will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTPS, with plain HTTP only for names and addresses that Flux exempts: `localhost`, `*.localhost`, loopback
    /// and RFC 1918 addresses written as such.
    #[default]
    Https,
    /// HTTPS is tried first, then plain HTTP (`spec.insecure`). Whether certificates are verified is said by
    /// [`Tls`](super::Tls), not here.
    PlainHttpAllowed,
}
