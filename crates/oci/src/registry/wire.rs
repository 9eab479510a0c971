// SPDX-License-Identifier: Apache-2.0
//! One request and the head of its answer, over pooled connections.
//!
//! Knows no authorisation and follows nothing. Nothing is sent before the gate of the host lets it pass (`flow`). All that
//! hyper can say of a failure is turned into a [`Problem`] here.

use std::{
    error::Error as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use crate::Digest;

use super::{
    client::Timeouts,
    connector::{ConnectError, Connector, client_certificate_refusal},
    flow::{Flow, Slot, Way},
    origin::{Origin, Scheme},
    problem::Problem,
    proxy::{
        route::{Route, RouteId},
        tunnel::{ProxyFailure, Target},
    },
};

const IDLE: Duration = Duration::from_secs(60);
/// As many as are used at the same time by default: a connection that is closed at once was made in vain.
const IDLE_PER_HOST: usize = 32;

/// What tells wires apart.
pub(crate) type WireId = (Digest, RouteId);

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Connections with one set of TLS settings, over one route.
#[derive(Clone)]
pub(crate) struct Wire {
    client: legacy::Client<Connector, Body>,
    user_agent: HeaderValue,
    route: Route,
    /// Of the TLS settings.
    fingerprint: Digest,
    pub(crate) flow: Arc<Flow>,
    pub(crate) timeouts: Timeouts,
}

/// The body of an answer. Its request counts as under way as long as there is something to read of it.
pub(crate) struct Incoming {
    body: hyper::body::Incoming,
    slot: Option<Slot>,
}

impl Incoming {
    /// Only the body of a read that succeeded keeps its place: that is where the bytes are. What is left of other
    /// answers, challenges and redirects above all, may lie unread while the next request waits for a place, and would
    /// keep it waiting for ever.
    fn new(body: hyper::body::Incoming, keeps_place: bool, slot: Option<Slot>) -> Self {
        let slot = slot.filter(|_| keeps_place && !body.is_end_stream());
        Self { body, slot }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.slot = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Wire {
    pub(crate) fn new(connector: Connector, fingerprint: Digest, flow: Arc<Flow>) -> Self {
        let timeouts = connector.timeouts;
        let (user_agent, route) = (connector.user_agent.clone(), connector.route.clone());
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        Self {
            client,
            user_agent,
            route,
            fingerprint,
            flow,
            timeouts,
        }
    }

    /// The same connections, waited for so long.
    pub(crate) fn with(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// What connections are shared by: TLS settings and route.
    pub(crate) fn id(&self) -> WireId {
        (self.fingerprint.clone(), self.route.id())
    }

    /// What an answer may depend on beside the request: TLS settings and route.
    pub(crate) fn digest(&self) -> Digest {
        Digest::sha256_of(format!("{:?}", self.id()).as_bytes())
    }

    /// The way to a host from here.
    pub(crate) fn way(&self, to: &Origin) -> Way {
        Way::new(to.clone(), &self.route)
    }

    /// Waits for the host's turn, sends a request and waits for the head of the answer, for `limit` at most once it is
    /// sent. `led_by` is the registry that led to the host, where that is another one.
    pub(crate) async fn send(
        &self,
        host: &Origin,
        led_by: Option<&Way>,
        mut request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Problem> {
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        // Digests are over the bytes as stored; a coding on the way would only be in the way.
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        // Never one that came from elsewhere: it would reach the registry.
        headers.remove(header::PROXY_AUTHORIZATION);
        if let Some(value) = self.route.authorization(host) {
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        let is_read = request.method() == Method::GET;
        let ticket = self.flow.enter(&self.way(host), led_by).await?;
        let answer = self.exchange(host, request, limit).await;
        let slot = ticket.settle(&answer);
        let response = answer?;
        let keeps_place = is_read && response.status().is_success();
        Ok(response.map(|body| Incoming::new(body, keeps_place, slot)))
    }

    async fn exchange(
        &self,
        host: &Origin,
        request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<hyper::body::Incoming>, Problem> {
        match timeout(limit, self.client.request(request)).await {
            Ok(Ok(response)) => self.of_target(host, response),
            Ok(Err(error)) => Err(problem(error, host)),
            Err(_) => Err(Problem::Timeout {
                host: host.clone(),
                what: "an answer",
                after: limit,
            }),
        }
    }

    /// What a proxy that is sent whole URLs says for itself is not the target's answer.
    fn of_target(
        &self,
        host: &Origin,
        response: Response<hyper::body::Incoming>,
    ) -> Result<Response<hyper::body::Incoming>, Problem> {
        let status = response.status();
        if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Ok(response);
        }
        self.refused_by_proxy(host, status)
            .map_or(Ok(response), Err)
    }

    /// The failure that a status is, if it came from a proxy that is sent whole URLs.
    pub(crate) fn refused_by_proxy(&self, host: &Origin, status: StatusCode) -> Option<Problem> {
        let proxy = self.route.forwarder(host)?;
        let target = Target {
            host: host.host.trim_start_matches('[').trim_end_matches(']'),
            port: host.port,
        };
        Some(Problem::Connect(ConnectError::Tunnel {
            proxy: proxy.to_string(),
            target: target.to_string(),
            failure: ProxyFailure::of_status(status, "", proxy.login().is_some()),
        }))
    }
}

fn problem(error: legacy::Error, host: &Origin) -> Problem {
    let source = error.source();
    if let Some(error) = source.and_then(|source| source.downcast_ref::<ConnectError>()) {
        return Problem::Connect(error.clone());
    }
    if let Some(refusal) = tls_error(&error).and_then(client_certificate_refusal) {
        let host = host.host.to_string();
        return Problem::Connect(ConnectError::ClientCertificate { host, refusal });
    }
    let is_no_http = source
        .and_then(|source| source.downcast_ref::<hyper::Error>())
        .is_some_and(hyper::Error::is_parse);
    if is_no_http && host.scheme == Scheme::Http {
        return Problem::NotHttp { host: host.clone() };
    }
    Problem::Broken {
        host: host.clone(),
        cause: Box::new(error),
    }
}

/// What TLS said, if it is that which broke a connection.
fn tls_error(error: &legacy::Error) -> Option<&rustls::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        let within = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(tls) = within.and_then(|inner| inner.downcast_ref()) {
            return Some(tls);
        }
        next = error.source();
    }
    None
}
