// SPDX-License-Identifier: Apache-2.0
//! Sockets and connections: accepted up to a limit, each in a task that this module owns, and ended in time.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Handler, progress::Progress};

// Out of file descriptors: the next accept would fail at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones wait to be accepted.
    pub connections: usize,
    /// Bytes of a request's line and headers. At least 8,192.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// The time for a request's headers to arrive, which is also how long a connection may be idle.
    pub header_time: Duration,
    /// How long a client may take nothing of an answer.
    pub write_stall: Duration,
    /// How long answers under way may go on after the server was told to stop.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            header_bytes: 8192,
            headers: 64,
            header_time: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process listens there.
    #[error(
        "address {address} is in use by another process: stop it, or choose another one with {flag}"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Any other reason.
    #[error("cannot listen on {address}, given by {flag}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A bound socket that nothing is accepted from yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address. `flag` is the flag that set it, for the error.
    ///
    /// The unspecified IPv6 address means all addresses, and falls back to IPv4 on a machine without IPv6.
    pub async fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, ServeError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse {
                address,
                flag,
                source,
            },
            _ => ServeError::Bind {
                address,
                flag,
                source,
            },
        };
        let socket = match TcpListener::bind(address).await {
            Err(e) if is_without_ipv6(address, &e) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
            }
            bound => bound,
        };
        let socket = socket.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that the system chose when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers requests until `stop` is cancelled.
///
/// Guarantees: when it returns, no task of it is left. Connections that are idle end at once, answers under way have
/// [`Limits::shutdown`] to finish. A panic in the handler ends its connection and nothing else.
pub async fn serve<H: Handler>(
    listener: Listener,
    handler: H,
    limits: Limits,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let (socket, permit) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener.socket, &permits) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let connection = connection(socket, handler.clone(), limits, stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    finish(connections, limits.shutdown).await;
}

fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(|code| Some(code.raw_os_error()));
    address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && codes.contains(&error.raw_os_error())
}

async fn accept(
    socket: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match socket.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // The client gave up while it waited.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection<H: Handler>(
    socket: TcpStream,
    handler: H,
    limits: Limits,
    stop: CancellationToken,
) {
    // Only a matter of latency.
    let _ = socket.set_nodelay(true);
    let io = TokioIo::new(Progress::new(socket, limits.write_stall));
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.answer(&request.into_parts().0).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes.max(8192))
        .max_header_size(limits.header_bytes)
        .max_headers(limits.headers)
        .serve_connection(io, service);
    tokio::pin!(connection);
    // What a client does wrong is not worth a log line; its connection ends.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "connection ended");
    }
}

async fn finish(mut connections: JoinSet<()>, patience: Duration) {
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(patience, all_ended).await.is_err() {
        connections.shutdown().await;
    }
}
