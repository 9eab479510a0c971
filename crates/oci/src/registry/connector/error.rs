// SPDX-License-Identifier: Apache-2.0
//! Why there is no connection, as a value.
//!
//! Enters as what the resolver, the socket, the proxy or rustls said; leaves as one [`ConnectError`] that names the host, and
//! knows its kind and whether another try, or plain HTTP, may help. Nothing is dialled or retried here.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{AlertDescription, InvalidMessage};

use crate::registry::{
    egress::Refusal, error::ErrorKind, proxy::tunnel::ProxyFailure, tls::CertificateProblem,
};

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
    /// The target is written as an address that must not be dialled, and a proxy would dial it.
    #[error("{host} is {refusal}, which no proxy is asked to dial unless the operator allows it")]
    RefusedBehindProxy { host: String, refusal: Refusal },
    /// There is no connection to the proxy.
    #[error("the proxy {proxy}, through which {target} is to be reached, cannot be reached itself")]
    Proxy {
        proxy: String,
        target: String,
        #[source]
        cause: Box<Self>,
    },
    /// The proxy makes no connection to the target.
    #[error("the proxy {proxy}, asked for {target}, {failure}")]
    Tunnel {
        proxy: String,
        target: String,
        failure: ProxyFailure,
    },
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
    /// The other side does not like who we are.
    #[error("{host} {refusal}")]
    ClientCertificate { host: String, refusal: &'static str },
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
            Self::Refused { .. } | Self::RefusedBehindProxy { .. } => ErrorKind::EgressDenied,
            Self::Proxy { cause, .. } => cause.kind(),
            Self::Tunnel { failure, .. } if failure.is_transient() => ErrorKind::Unreachable,
            Self::Tunnel { .. } => ErrorKind::Proxy,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Certificate(_)
            | Self::NotTls { .. }
            | Self::TlsClosed { .. }
            | Self::ClientCertificate { .. }
            | Self::Handshake { .. } => ErrorKind::Tls,
        }
    }

    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Dial { .. } | Self::TlsClosed { .. } => true,
            Self::Proxy { cause, .. } => cause.is_transient(),
            Self::Tunnel { failure, .. } => failure.is_transient(),
            _ => false,
        }
    }

    /// Whether the other side may speak plain HTTP on the same port.
    pub(crate) fn is_not_tls(&self) -> bool {
        matches!(self, Self::NotTls { .. } | Self::TlsClosed { .. })
    }

    /// Whether plain HTTP may work where HTTPS did not: no TLS was spoken.
    pub(crate) fn leaves_plain_http_open(&self) -> bool {
        match self {
            Self::Dial { .. } | Self::Timeout { .. } => true,
            // Many proxies make tunnels to port 443 only, and forward plain HTTP to any.
            Self::Tunnel { failure, .. } => failure.is_about_the_tunnel(),
            _ => self.is_not_tls(),
        }
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
        if let Some(refusal) = tls.and_then(client_certificate_refusal) {
            return Self::ClientCertificate { host, refusal };
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

/// What the other side says of our certificate, if it is that. In TLS 1.3 it comes after the handshake, instead of an
/// answer.
pub(crate) fn client_certificate_refusal(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::AlertReceived(alert) = error else {
        return None;
    };
    Some(match alert {
        AlertDescription::CertificateRequired => {
            "wants a client certificate and got none (`tls.crt` and `tls.key`)"
        }
        AlertDescription::CertificateExpired => "refuses the client certificate: it has expired",
        AlertDescription::CertificateRevoked => "refuses the client certificate: it is revoked",
        AlertDescription::UnknownCA => {
            "refuses the client certificate: it does not know who signed it"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError => {
            "refuses the client certificate, or wants one and got none (`tls.crt` and `tls.key`)"
        }
        _ => return None,
    })
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
