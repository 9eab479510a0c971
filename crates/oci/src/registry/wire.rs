// SPDX-License-Identifier: Apache-2.0
//! One request and the head of its answer, over pooled connections.
//!
//! Knows no authorisation and follows nothing. Nothing is sent before the gate of the host lets it pass (`flow`). All that hyper can say of a failure is turned into a [`Problem`] here.

use std::{
    error::Error as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::{
    client::Timeouts,
    connector::{ConnectError, Connector},
    flow::{Flow, Slot},
    origin::{Origin, Scheme},
    problem::Problem,
};

const IDLE: Duration = Duration::from_secs(60);
/// As many as are used at the same time by default: a connection that is closed at once was made in vain.
const IDLE_PER_HOST: usize = 32;

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Connections with one set of TLS settings.
#[derive(Clone)]
pub(crate) struct Wire {
    client: legacy::Client<Connector, Body>,
    user_agent: HeaderValue,
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
    pub(crate) fn new(connector: Connector, user_agent: HeaderValue, flow: Arc<Flow>) -> Self {
        let timeouts = connector.timeouts;
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        Self {
            client,
            user_agent,
            flow,
            timeouts,
        }
    }

    /// Waits for the host's turn, sends a request and waits for the head of the answer, for `limit` at most once it is
    /// sent.
    pub(crate) async fn send(
        &self,
        host: &Origin,
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
        let is_read = request.method() == Method::GET;
        let ticket = self.flow.enter(host).await?;
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
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(problem(error, host)),
            Err(_) => Err(Problem::Timeout {
                host: host.clone(),
                what: "an answer",
                after: limit,
            }),
        }
    }
}

fn problem(error: legacy::Error, host: &Origin) -> Problem {
    let source = error.source();
    if let Some(error) = source.and_then(|source| source.downcast_ref::<ConnectError>()) {
        return Problem::Connect(error.clone());
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
