// SPDX-License-Identifier: Apache-2.0
//! The one place where connections are made.
//!
//! A URL goes in, a connected stream comes out, plain or TLS. The name is resolved once, every address is checked against
//! [`super::egress::Egress`], exactly a checked address is dialled, and the peer is compared with it: there is no second look-up that
//! could answer otherwise. All hosts go this way: registries, token services, redirect targets.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, InvalidMessage};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{
    client::Timeouts,
    egress::{Gate, Refusal},
    error::ErrorKind,
    tls::CertificateProblem,
};

/// Makes connections with one set of TLS settings.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) egress: Arc<Gate>,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) timeouts: Timeouts,
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The URL has no host that can be dialled.
    #[error("the URL names no host that can be dialled")]
    NoHost,
    /// The host is written in a way that no certificate can be for.
    #[error("{host} is not a name or address that a TLS certificate can be for")]
    Name { host: String },
    /// The name did not resolve.
    #[error("host name {host} could not be resolved")]
    Resolve {
        host: String,
        #[source]
        cause: Arc<io::Error>,
    },
    /// The name resolved to nothing.
    #[error("host name {host} has no address")]
    NoAddress { host: String },
    /// Every address is one that must not be dialled.
    #[error(
        "{host} is at {address}, {refusal}, which is never dialled unless the operator allows it"
    )]
    Refused {
        host: String,
        address: SocketAddr,
        refusal: Refusal,
    },
    /// The address did not accept the connection.
    #[error("no connection to {host} at {address}")]
    Dial {
        host: String,
        address: SocketAddr,
        #[source]
        cause: Arc<io::Error>,
    },
    /// The socket's other end is not what was dialled.
    #[error("the connection to {host} at {address} has another peer")]
    Peer { host: String, address: SocketAddr },
    /// Nothing happened for too long.
    #[error("no answer from {host} within {} s during {what}", after.as_secs_f32())]
    Timeout {
        host: String,
        what: &'static str,
        after: Duration,
    },
    /// The certificate was not accepted.
    #[error(transparent)]
    Certificate(Box<CertificateProblem>),
    /// The answer to the handshake was not TLS.
    #[error(
        "{host} answers the TLS handshake in something that is not TLS: if it speaks plain HTTP, allow that (`insecure: true`)"
    )]
    NotTls { host: String },
    /// The connection was closed during the handshake.
    #[error(
        "{host} closed the connection during the TLS handshake: if it speaks plain HTTP, allow that (`insecure: true`)"
    )]
    TlsClosed {
        host: String,
        #[source]
        cause: Arc<io::Error>,
    },
    /// The handshake failed otherwise.
    #[error("the TLS handshake with {host} failed")]
    Handshake {
        host: String,
        #[source]
        cause: Arc<io::Error>,
    },
}

impl ConnectError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::NoHost | Self::Name { .. } => ErrorKind::Protocol,
            Self::Resolve { .. }
            | Self::NoAddress { .. }
            | Self::Dial { .. }
            | Self::Peer { .. } => ErrorKind::Unreachable,
            Self::Refused { .. } => ErrorKind::EgressDenied,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Certificate(_)
            | Self::NotTls { .. }
            | Self::TlsClosed { .. }
            | Self::Handshake { .. } => ErrorKind::Tls,
        }
    }

    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. } | Self::Dial { .. } | Self::TlsClosed { .. }
        )
    }

    /// Whether the other side may speak plain HTTP on the same port.
    pub(crate) fn is_not_tls(&self) -> bool {
        matches!(self, Self::NotTls { .. } | Self::TlsClosed { .. })
    }

    /// Whether plain HTTP may work where HTTPS did not: no TLS was spoken.
    pub(crate) fn leaves_plain_http_open(&self) -> bool {
        self.is_not_tls() || matches!(self, Self::Dial { .. } | Self::Timeout { .. })
    }

    /// The explanation for an error of rustls that reached us through a stream.
    pub(crate) fn of_stream(host: &str, cause: io::Error) -> Self {
        let host = host.to_owned();
        let tls = cause
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(problem) = tls.and_then(CertificateProblem::within) {
            return Self::Certificate(Box::new(problem.clone()));
        }
        match tls {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                Self::NotTls { host }
            }
            None if is_close(&cause) => Self::TlsClosed {
                host,
                cause: Arc::new(cause),
            },
            _ => Self::Handshake {
                host,
                cause: Arc::new(cause),
            },
        }
    }
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// A connection, plain or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl Stream for TcpStream {}
impl Stream for tokio_rustls::client::TlsStream<TcpStream> {}

impl Connection for Box<dyn Stream> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<TokioIo<Box<dyn Stream>>, ConnectError> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or(ConnectError::NoHost)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let after = self.timeouts.connect;
        let stream =
            timeout(after, self.dial(host, port))
                .await
                .map_err(|_| ConnectError::Timeout {
                    host: host.to_owned(),
                    what: "connecting",
                    after,
                })??;
        if is_tls {
            return self.handshake(host, stream).await;
        }
        Ok(TokioIo::new(Box::new(stream)))
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
        for address in found {
            match self.egress.check(address.ip()) {
                Ok(()) => permitted.push(address),
                Err(refusal) => {
                    tracing::warn!(host, %address, %refusal, "address not dialled");
                    let host = host.to_owned();
                    refused = Some(ConnectError::Refused {
                        host,
                        address,
                        refusal,
                    });
                }
            }
        }
        match refused {
            Some(error) if permitted.is_empty() => Err(error),
            _ => Ok(permitted),
        }
    }

    async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TokioIo<Box<dyn Stream>>, ConnectError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Name {
            host: host.to_owned(),
        })?;
        let after = self.timeouts.handshake;
        let handshake = TlsConnector::from(self.tls.clone()).connect(name, stream);
        match timeout(after, handshake).await {
            Ok(Ok(stream)) => Ok(TokioIo::new(Box::new(stream))),
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
    use crate::registry::Tls;

    fn connector() -> Connector {
        let tls = Tls::default()
            .client_config(&RootCertStore::empty())
            .unwrap();
        Connector {
            egress: Arc::default(),
            tls: Arc::new(tls),
            timeouts: Timeouts::default(),
        }
    }

    #[tokio::test]
    async fn forbidden_addresses_are_refused_however_they_are_written() {
        for host in [
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
        ] {
            for scheme in ["http", "https"] {
                let uri: Uri = format!("{scheme}://{host}:1/").parse().unwrap();
                let error = connector().connect(&uri).await.err().unwrap();
                assert_eq!(error.kind(), ErrorKind::EgressDenied, "{host}: {error}");
            }
        }
    }

    #[test]
    fn a_name_with_one_good_address_is_reached_only_there() {
        let good: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let bad: SocketAddr = "169.254.169.254:5000".parse().unwrap();
        let permitted = connector().permitted("r.example", [bad, good].into_iter());
        assert_eq!(permitted.unwrap(), [good]);
    }
}
