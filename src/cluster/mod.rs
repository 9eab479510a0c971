// SPDX-License-Identifier: Apache-2.0
//! All that talks to the Kubernetes API: the ports of cluster mode.
//!
//! What it is: a watch that keeps the sources in memory and turns changes into triggers; reads of secrets when they are
//! needed; one patch per status; events. What it is not: it decides nothing about a source, and it adds no finalizer, so
//! that a namespace never waits for this process.
//!
//! How data enters and leaves: objects enter through [`Watch::run`] and leave as [`crate::engine::Trigger`]s and through
//! the [`Ports`] that [`ports`] makes.

mod client;
mod events;
mod patch;
mod secrets;
mod sources;
mod status;
mod watch;

use std::{fmt, sync::Arc};

use kube::Client;

pub use client::{ConnectError, connect};
pub use sources::Scope;
pub use watch::Watch;

use self::{events::Events, secrets::Secrets, sources::Cache, status::Status};
use crate::ports::{PortError, Ports};

/// The ports over an API server, and the watch that feeds them.
pub fn ports(client: &Client, scope: Scope) -> (Ports, Watch) {
    let cache = Cache::default();
    let ports = Ports {
        sources: Arc::new(sources::Sources::new(
            client.clone(),
            cache.clone(),
            scope.clone(),
        )),
        secrets: Arc::new(Secrets::new(client.clone())),
        status: Arc::new(Status::new(client.clone(), cache.clone())),
        events: Arc::new(Events::new(client.clone())),
    };
    (ports, Watch::new(client.clone(), cache, scope))
}

/// What an API error means to the pipeline.
fn port_error(what: impl fmt::Display, error: kube::Error) -> PortError {
    let what = what.to_string();
    match &error {
        kube::Error::Api(status) if status.code == 404 => PortError::NotFound { what },
        kube::Error::Api(status) if status.code == 403 => PortError::Denied { what },
        kube::Error::Api(status) if status.code == 409 => PortError::Conflict { what },
        _ => PortError::Other {
            what,
            source: Box::new(error),
        },
    }
}
