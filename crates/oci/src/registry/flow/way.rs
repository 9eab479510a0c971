// SPDX-License-Identifier: Apache-2.0
//! Which gates a request passes: whose word is taken for what.
//!
//! Pure. What a host says is believed for everybody who reaches it over the process's own network, names and proxies. A
//! proxy that a source brought may answer as any host it likes, with a CA that the same source brought: what comes through
//! it is its word alone, and holds for who goes through it ([`Way`]). And a host that is only asked because a registry
//! said so, as its token service or by a redirect, was asked for what that registry made up: what comes of it holds for
//! who was led there by the same registry ([`Key::led_by`]).

use crate::{
    Digest,
    registry::{origin::Origin, proxy::route::Route},
};

/// A host, and by whose network it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) origin: Origin,
    via: Via,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Via {
    /// Directly or through a proxy of the process. Another certificate that is trusted changes nothing here: nobody
    /// chooses by it who answers.
    Process,
    /// Through this proxy, which is set for a source or a host.
    Proxy(Digest),
}

impl Way {
    /// What is reached directly by the exceptions of a source's proxy is reached as by everybody.
    pub(crate) fn new(origin: Origin, route: &Route) -> Self {
        let proxy = match route {
            Route::Rules(_) => None,
            Route::Own(_) | Route::Fixed(_) => route.proxy(&origin),
        };
        let via = proxy.map_or(Via::Process, |proxy| Via::Proxy(proxy.id()));
        Self { origin, via }
    }

    /// Whether it is through a proxy that is not the process's.
    pub(super) fn is_through_proxy(&self) -> bool {
        self.via != Via::Process
    }
}

/// What there is a gate for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) to: Way,
    /// The registry that led there, if it was another host.
    pub(super) led_by: Option<Way>,
}

impl Key {
    /// Whether everybody passes it who asks the host.
    pub(super) fn is_for_all(&self) -> bool {
        self.led_by.is_none() && !self.to.is_through_proxy()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::{
        access::ProxyChoice,
        origin::Link,
        proxy::{Proxy, ProxyRules},
    };

    fn way(choice: &ProxyChoice, url: &str) -> Way {
        let origin = Link::parse(url).unwrap().origin;
        let environment = Arc::new(ProxyRules::through(proxy("http://process:1"), ""));
        Way::new(origin, &Route::new(choice, None, &environment))
    }

    fn proxy(address: &str) -> Proxy {
        Proxy::parse(address, None, None).unwrap()
    }

    #[test]
    fn only_a_proxy_of_a_source_makes_a_way_of_its_own() {
        let host = "https://r.example/";
        let usual = way(&ProxyChoice::Default, host);
        assert_eq!(usual, way(&ProxyChoice::Direct, host));
        let through = ProxyChoice::Through(proxy("http://own:1"));
        let other = ProxyChoice::Through(proxy("http://own:2"));
        let by = ProxyChoice::By(ProxyRules::through(
            proxy("http://own:1"),
            ".inside.example",
        ));
        assert!(way(&through, host).is_through_proxy() && !usual.is_through_proxy());
        assert_ne!(way(&through, host), way(&other, host));
        assert_eq!(way(&through, host), way(&by, host));
        let inside = "https://r.inside.example/";
        assert_eq!(way(&by, inside), way(&ProxyChoice::Default, inside));
    }
}
