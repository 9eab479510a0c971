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

use std::{sync::Arc, time::Duration};

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

/// How long a request other than a watch may take, with the client's own retries.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for the answer to a request about `what`, within the deadline.
async fn answered<T>(
    what: String,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, PortError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|error| port_error(what, error)),
        Err(_) => Err(PortError::Other {
            what,
            source: format!("no answer from the API server within {DEADLINE:?}").into(),
        }),
    }
}

/// What an API error means to the pipeline.
fn port_error(what: String, error: kube::Error) -> PortError {
    let kube::Error::Api(status) = error else {
        return PortError::Other {
            what,
            source: Box::new(error),
        };
    };
    match status.code {
        403 => PortError::Denied { what },
        404 => PortError::NotFound { what },
        409 => PortError::Conflict { what },
        // The client's own text repeats the whole answer as a data structure; an object's owner reads this.
        code => PortError::Other {
            what,
            source: format!("the API server answers {code}: {}", status.message).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::pipeline::error::chain;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "Reason").with_code(code)))
    }

    #[test]
    fn an_answer_means_the_same_whatever_was_asked() {
        let error = |code| port_error("secret apps/s".to_owned(), api(code, "words"));
        assert_eq!(error(404).to_string(), "secret apps/s not found");
        assert!(matches!(error(403), PortError::Denied { .. }));
        assert!(matches!(error(409), PortError::Conflict { .. }));
        assert_eq!(
            chain(&error(500)),
            "secret apps/s: the API server answers 500: words"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_ends_at_the_deadline() {
        let error = answered(
            "secret apps/s".to_owned(),
            std::future::pending::<kube::Result<()>>(),
        )
        .await;
        assert_eq!(
            chain(&error.unwrap_err()),
            "secret apps/s: no answer from the API server within 30s"
        );
    }
}
