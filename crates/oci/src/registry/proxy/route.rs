// SPDX-License-Identifier: Apache-2.0
//! The way to a target: directly, or through which proxy.
//!
//! Pure: a session's [`ProxyChoice`](crate::registry::ProxyChoice), the host's settings and the process's rules become a
//! [`Route`]; for an [`Origin`] it gives the proxy. Connections are shared only where the route is the same.

use std::sync::Arc;

use http::HeaderValue;

use crate::{
    Digest,
    registry::{
        access::ProxyChoice,
        origin::{Origin, Scheme},
    },
};

use super::{Proxy, ProxyKind, ProxyRules};

/// How all targets of a wire are reached.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// By what the process says for each.
    Rules(Arc<ProxyRules>),
    /// By what the source says for each.
    Own(Arc<ProxyRules>),
    /// Through this proxy or, without one, directly; `NO_PROXY` has no say.
    Fixed(Option<Arc<Proxy>>),
}

impl Route {
    /// The source's choice goes before the host's setting, that before the environment.
    pub(crate) fn new(choice: &ProxyChoice, host: Option<&Proxy>, rules: &Arc<ProxyRules>) -> Self {
        match (choice, host) {
            (ProxyChoice::Through(proxy), _) | (ProxyChoice::Default, Some(proxy)) => {
                Self::Fixed(Some(Arc::new(proxy.clone())))
            }
            (ProxyChoice::By(own), _) => Self::Own(Arc::new(own.clone())),
            (ProxyChoice::Direct, _) => Self::Fixed(None),
            (ProxyChoice::Default, None) => Self::Rules(rules.clone()),
        }
    }

    /// The proxy for a target; nothing if it is reached directly.
    pub(crate) fn proxy(&self, target: &Origin) -> Option<&Proxy> {
        match self {
            Self::Rules(rules) | Self::Own(rules) => rules.of(target),
            Self::Fixed(proxy) => proxy.as_deref(),
        }
    }

    /// The proxy that is asked for the whole URL instead of for a tunnel.
    ///
    /// Plain HTTP through an HTTP proxy goes in absolute form, as in Go: proxies commonly allow tunnels to port 443 only.
    pub(crate) fn forwarder(&self, target: &Origin) -> Option<&Proxy> {
        let proxy = self.proxy(target)?;
        (target.scheme == Scheme::Http && proxy.kind() != ProxyKind::Socks5).then_some(proxy)
    }

    /// `Proxy-Authorization` for a request to this target. Inside a tunnel there is none: it would reach the registry.
    pub(crate) fn authorization(&self, target: &Origin) -> Option<HeaderValue> {
        self.forwarder(target)?.authorization()
    }

    /// Equal for equal routes of one process, and only for those.
    pub(crate) fn id(&self) -> RouteId {
        match self {
            Self::Rules(_) => RouteId::Rules,
            Self::Own(rules) => RouteId::By(rules.id()),
            Self::Fixed(None) => RouteId::Direct,
            Self::Fixed(Some(proxy)) => RouteId::Through(proxy.id()),
        }
    }
}

/// What tells routes apart without holding a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RouteId {
    Rules,
    Direct,
    Through(Digest),
    By(Digest),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::origin::Link;

    fn proxy(address: &str) -> Proxy {
        Proxy::parse(address, None, None).unwrap()
    }

    fn target(url: &str) -> Origin {
        Link::parse(url).unwrap().origin
    }

    fn environment() -> Arc<ProxyRules> {
        let value = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://environment:1".to_owned()),
            "NO_PROXY" => Some("r.example".to_owned()),
            _ => None,
        };
        Arc::new(ProxyRules::from_variables(value).unwrap())
    }

    #[test]
    fn the_source_goes_before_the_host_and_the_host_before_the_environment() {
        let (own, host) = (proxy("http://own:1"), proxy("http://host:1"));
        let shown = |choice: &ProxyChoice, host: Option<&Proxy>, url| {
            let route = Route::new(choice, host, &environment());
            route.proxy(&target(url)).map(ToString::to_string)
        };
        let through = ProxyChoice::Through(own);
        let (ours, other) = ("https://r.example/", "https://other.example/");
        assert_eq!(shown(&through, Some(&host), ours).unwrap(), "http://own:1");
        assert_eq!(shown(&through, None, ours).unwrap(), "http://own:1");
        assert_eq!(shown(&ProxyChoice::Direct, Some(&host), other), None);
        let default = ProxyChoice::Default;
        assert_eq!(shown(&default, Some(&host), ours).unwrap(), "http://host:1");
        assert_eq!(shown(&default, None, ours), None);
        assert_eq!(
            shown(&default, None, other).unwrap(),
            "http://environment:1"
        );
    }

    #[test]
    fn a_source_with_rules_of_its_own_is_asked_for_each_target() {
        let host = proxy("http://host:1");
        let by = |address, no_proxy| {
            let choice = ProxyChoice::By(ProxyRules::through(proxy(address), no_proxy));
            Route::new(&choice, Some(&host), &environment())
        };
        let route = by("http://own:1", ".inside.example");
        let shown = |url| route.proxy(&target(url)).map(ToString::to_string);
        assert_eq!(shown("https://r.example/").unwrap(), "http://own:1");
        assert_eq!(shown("http://r.example/").unwrap(), "http://own:1");
        assert_eq!(shown("https://blobs.inside.example/"), None);
        assert_eq!(shown("http://127.0.0.1:5000/"), None);

        assert_eq!(route.id(), by("http://own:1", " .INSIDE.example,").id());
        for other in [
            by("http://own:1", ""),
            by("http://own:2", ".inside.example"),
            by("http://u:p@own:1", ".inside.example"),
            Route::new(&ProxyChoice::Default, None, &environment()),
        ] {
            assert_ne!(route.id(), other.id());
        }
    }

    #[test]
    fn the_proxy_sees_its_password_only_where_it_reads_the_request() {
        let authorization = |address, url| {
            let choice = ProxyChoice::Through(proxy(address));
            let route = Route::new(&choice, None, &Arc::default());
            route.authorization(&target(url)).is_some()
        };
        assert!(authorization("http://a:b@p", "http://r.example/"));
        assert!(authorization("https://a:b@p", "http://r.example/"));
        assert!(!authorization("http://a:b@p", "https://r.example/"));
        assert!(!authorization("socks5://a:b@p", "http://r.example/"));
        assert!(!authorization("http://p", "http://r.example/"));
    }
}
