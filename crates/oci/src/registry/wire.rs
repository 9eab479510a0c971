// SPDX-License-Identifier: Apache-2.0
//! One request and the head of its answer, over pooled connections.
//!
//! Knows no authorisation and follows nothing. All that hyper can say of a failure is turned into a [`Problem`] here.

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::{
    client::Timeouts,
    connector::{ConnectError, Connector},
    origin::{Origin, Scheme},
    problem::Problem,
};

const IDLE: Duration = Duration::from_secs(60);
const IDLE_PER_HOST: usize = 16;

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
    pub(crate) timeouts: Timeouts,
}

impl Wire {
    pub(crate) fn new(connector: Connector, user_agent: HeaderValue) -> Self {
        let timeouts = connector.timeouts;
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        Self {
            client,
            user_agent,
            timeouts,
        }
    }

    /// Sends a request and waits for the head of the answer, for `limit` at most.
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
