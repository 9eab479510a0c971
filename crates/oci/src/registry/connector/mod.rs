// SPDX-License-Identifier: Apache-2.0
//! The one place where connections are made.
//!
//! A URL goes in, a connected stream comes out, plain or TLS. The name is resolved once, every address is checked against
//! [`super::egress::Egress`], exactly a checked address is dialled, and the peer is compared with it: there is no second look-up that
//! could answer otherwise. All hosts go this way: registries, token services, redirect targets, proxies. Behind a proxy
//! the target's name is the proxy's to resolve: then the proxy is what is checked and dialled, and of the target only what
//! is written as an address can be checked. When the proxy fails nothing goes past it.

mod error;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Uri};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service;

use super::{
    client::Timeouts,
    egress::Checks,
    origin::{Link, Scheme},
    proxy::{
        Proxy, ProxyKind,
        route::Route,
        tunnel::{self, Target},
    },
    stream::{Socket, Stream},
};

pub(crate) use error::{ConnectError, client_certificate_refusal};

/// Makes connections with one set of TLS settings, over one route.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) egress: Arc<Checks>,
    pub(crate) tls: Arc<ClientConfig>,
    /// For the proxy itself: always verified, and without the client certificate.
    pub(crate) proxy_tls: Arc<ClientConfig>,
    pub(crate) route: Route,
    pub(crate) user_agent: HeaderValue,
    pub(crate) timeouts: Timeouts,
}

impl Service<Uri> for Connector {
    type Response = Socket;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<Socket, ConnectError> {
        let link = Link::parse(&uri.to_string()).ok_or(ConnectError::NoHost)?;
        let host = link.origin.host.as_ref();
        let target = Target {
            host: host.trim_start_matches('[').trim_end_matches(']'),
            port: link.origin.port,
        };
        let scheme = link.origin.scheme;
        let Some(proxy) = self.route.proxy(&link.origin) else {
            let stream = self.dial_in_time(target).await?;
            return self.speak(scheme, target.host, stream).await;
        };
        self.check_behind_proxy(target)?;
        let mut stream = self.reach(proxy, target).await?;
        if self.route.forwarder(&link.origin).is_some() {
            return Ok(Socket::forwarded(stream));
        }
        self.tunnel(proxy, target, &mut stream).await?;
        self.speak(scheme, target.host, stream).await
    }

    /// Plain or TLS, over a stream to the host.
    async fn speak(
        &self,
        scheme: Scheme,
        host: &str,
        stream: impl Stream + 'static,
    ) -> Result<Socket, ConnectError> {
        match scheme {
            Scheme::Http => Ok(Socket::direct(stream)),
            Scheme::Https => self
                .handshake(&self.tls, host, stream)
                .await
                .map(Socket::direct),
        }
    }

    /// Names are the proxy's to resolve. An address that must not be dialled is not given to it, however it is written.
    fn check_behind_proxy(&self, target: Target<'_>) -> Result<(), ConnectError> {
        self.egress
            .check_proxied(target.host)
            .map_err(|refusal| ConnectError::RefusedBehindProxy {
                host: target.host.to_owned(),
                refusal,
            })
    }

    /// A connection to the proxy, which is as safe as its address says.
    async fn reach(
        &self,
        proxy: &Proxy,
        target: Target<'_>,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let host = proxy.host();
        let port = proxy.port();
        let reached = async {
            let stream = self.dial_in_time(Target { host, port }).await?;
            let stream: Box<dyn Stream> = match proxy.kind() {
                ProxyKind::Https => Box::new(self.handshake(&self.proxy_tls, host, stream).await?),
                ProxyKind::Http | ProxyKind::Socks5 => Box::new(stream),
            };
            Ok(stream)
        };
        reached.await.map_err(|cause| ConnectError::Proxy {
            proxy: proxy.to_string(),
            target: target.to_string(),
            cause: Box::new(cause),
        })
    }

    async fn tunnel(
        &self,
        proxy: &Proxy,
        target: Target<'_>,
        stream: &mut Box<dyn Stream>,
    ) -> Result<(), ConnectError> {
        let after = self.timeouts.tunnel;
        let opened = timeout(
            after,
            tunnel::open(stream, proxy, &target, &self.user_agent),
        )
        .await;
        match opened {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(ConnectError::Tunnel {
                proxy: proxy.to_string(),
                target: target.to_string(),
                failure,
            }),
            Err(_) => Err(ConnectError::Proxy {
                proxy: proxy.to_string(),
                target: target.to_string(),
                cause: Box::new(ConnectError::Timeout {
                    host: proxy.host().to_owned(),
                    what: "the wait for a connection through it",
                    after,
                }),
            }),
        }
    }

    async fn dial_in_time(&self, to: Target<'_>) -> Result<TcpStream, ConnectError> {
        let after = self.timeouts.connect;
        timeout(after, self.dial(to.host, to.port))
            .await
            .map_err(|_| ConnectError::Timeout {
                host: to.host.to_owned(),
                what: "connecting",
                after,
            })?
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let found = lookup_host((host, port))
            .await
            .map_err(|cause| ConnectError::Resolve {
                host: host.to_owned(),
                cause: Arc::new(cause),
            })?;
        let addresses = self.permitted(host, found)?;
        let share = self.timeouts.connect / u32::try_from(addresses.len()).unwrap_or(1).max(1);
        let mut last = ConnectError::NoAddress {
            host: host.to_owned(),
        };
        for address in addresses {
            self.egress.dialling();
            match dial_address(host, address, share).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The addresses that may be dialled; an error if there are only others.
    fn permitted(
        &self,
        host: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut permitted = Vec::new();
        let mut refused = None;
        let mut count = 0_usize;
        for address in found {
            match self.egress.check(address.ip()) {
                Ok(()) => permitted.push(address),
                Err(refusal) => {
                    count += 1;
                    refused = Some((address, refusal));
                }
            }
        }
        let Some((address, refusal)) = refused else {
            return Ok(permitted);
        };
        // One line, however many addresses whoever answers for the name made up.
        tracing::warn!(host, count, %address, %refusal, "addresses not dialled, one of them is shown");
        if permitted.is_empty() {
            let host = host.to_owned();
            return Err(ConnectError::Refused {
                host,
                address,
                refusal,
            });
        }
        Ok(permitted)
    }

    async fn handshake<S: Stream>(
        &self,
        config: &Arc<ClientConfig>,
        host: &str,
        stream: S,
    ) -> Result<TlsStream<S>, ConnectError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Name {
            host: host.to_owned(),
        })?;
        let after = self.timeouts.handshake;
        let handshake = TlsConnector::from(config.clone()).connect(name, stream);
        match timeout(after, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(cause)) => Err(ConnectError::of_stream(host, cause)),
            Err(_) => Err(ConnectError::Timeout {
                host: host.to_owned(),
                what: "the TLS handshake",
                after,
            }),
        }
    }
}

async fn dial_address(
    host: &str,
    address: SocketAddr,
    share: Duration,
) -> Result<TcpStream, ConnectError> {
    let failed = |cause| ConnectError::Dial {
        host: host.to_owned(),
        address,
        cause: Arc::new(cause),
    };
    let stream = timeout(share, TcpStream::connect(address))
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    if stream.peer_addr().map_err(failed)? != address {
        return Err(ConnectError::Peer {
            host: host.to_owned(),
            address,
        });
    }
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;

    use super::*;
    use crate::registry::{ErrorKind, ProxyChoice, Tls};

    const FORBIDDEN: [&str; 11] = [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ];

    fn connector() -> Connector {
        connector_through(&ProxyChoice::Direct)
    }

    fn connector_through(choice: &ProxyChoice) -> Connector {
        let tls = Tls::default().client_config(&RootCertStore::empty());
        let tls = Arc::new(tls.unwrap());
        Connector {
            egress: Arc::default(),
            tls: tls.clone(),
            proxy_tls: tls,
            route: Route::new(choice, None, &Arc::default()),
            user_agent: HeaderValue::from_static("test"),
            timeouts: Timeouts::default(),
        }
    }

    #[tokio::test]
    async fn forbidden_addresses_are_refused_however_they_are_written() {
        for host in FORBIDDEN {
            for scheme in ["http", "https"] {
                let uri: Uri = format!("{scheme}://{host}:1/").parse().unwrap();
                let error = connector().connect(&uri).await.err().unwrap();
                assert_eq!(error.kind(), ErrorKind::EgressDenied, "{host}: {error}");
            }
        }
    }

    /// The proxy is at a port where nobody listens: who asks it fails otherwise.
    #[tokio::test]
    async fn forbidden_addresses_are_not_given_to_a_proxy_either() {
        for address in ["http://127.0.0.1:1", "socks5://127.0.0.1:1"] {
            let proxy = Proxy::parse(address, None, None).unwrap();
            let connector = connector_through(&ProxyChoice::Through(proxy));
            for host in FORBIDDEN.into_iter().chain(["169.254.169.254."]) {
                for scheme in ["http", "https"] {
                    let uri: Uri = format!("{scheme}://{host}:1/").parse().unwrap();
                    let error = connector.connect(&uri).await.err().unwrap();
                    assert!(
                        matches!(error, ConnectError::RefusedBehindProxy { .. }),
                        "{host}: {error}"
                    );
                    assert_eq!(error.kind(), ErrorKind::EgressDenied);
                }
            }
            let uri: Uri = "https://r.example/".parse().unwrap();
            let error = connector.connect(&uri).await.err().unwrap();
            assert!(matches!(error, ConnectError::Proxy { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn the_address_of_a_proxy_is_held_by_the_same_rule() {
        let proxy = Proxy::parse("http://169.254.169.254:3128", None, None).unwrap();
        let connector = connector_through(&ProxyChoice::Through(proxy));
        let error = connector
            .connect(&Uri::from_static("https://r.example/"))
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::EgressDenied, "{error}");
    }

    #[test]
    fn a_name_with_one_good_address_is_reached_only_there() {
        let good: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let bad: SocketAddr = "169.254.169.254:5000".parse().unwrap();
        let permitted = connector().permitted("r.example", [bad, good].into_iter());
        assert_eq!(permitted.unwrap(), [good]);
    }
}
