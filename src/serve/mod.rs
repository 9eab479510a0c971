// SPDX-License-Identifier: Apache-2.0
//! The HTTP servers: artifacts, health and metrics.
//!
//! What it is: HTTP/1.1 over plain TCP, GET and HEAD only, with a bound on everything a client can hold on to: headers,
//! connections, streams, and the time it makes no progress.
//!
//! What it is not: it changes nothing in the store and knows nothing of the engine. A request for an artifact that should
//! be there and is not leaves through a callback.
//!
//! How data enters and leaves: a [`Listener`] is bound first, so that a port in use is known before anything else starts;
//! [`serve`] then answers from a [`Handler`] until it is told to stop.

mod artifacts;
mod files;
mod health;
mod listener;
mod metrics;
mod progress;
mod response;
mod select;

#[cfg(test)]
mod tests;

use http::{Response, request::Parts};

pub use artifacts::{Artifacts, OnMiss};
pub use health::Health;
pub use listener::{Limits, Listener, ServeError, serve};
pub use metrics::{MetricsPage, Render};
pub use response::Body;

/// Answers requests. The body of a request is never read.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The answer to one request.
    fn answer(&self, request: &Parts) -> impl Future<Output = Response<Body>> + Send;
}
