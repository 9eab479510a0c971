// SPDX-License-Identifier: Apache-2.0
//! The ports over a directory: sources and secrets from its files, status to files, events to the printer.
//!
//! Nothing here decides: [`super::world`] does, and what it knows is put on disk and shown.

use std::{io, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use wharf_api::v1::{OCIRepository, OCIRepositoryStatus};

use super::{
    Shared,
    progress::{Standing, standing_of},
    world::{Lookup, Refused},
};
use crate::{
    ports::{EventSink, PortError, Secret, SecretReader, SourceReader, StatusWriter},
    source::{SourceId, report::Event, spec::id_of},
};

impl SourceReader for Shared {
    fn read<'a>(
        &'a self,
        id: &'a SourceId,
    ) -> BoxFuture<'a, Result<Option<Arc<OCIRepository>>, PortError>> {
        let found = match self.world.source(id) {
            Lookup::Found(source) => Ok(Some(source)),
            Lookup::Gone => Ok(None),
            Lookup::Uncertain => Err(other(
                format!("could not tell whether OCIRepository {id} is still wanted"),
                io::Error::other("a file of the directory cannot be used"),
            )),
        };
        futures::future::ready(found).boxed()
    }
}

impl SecretReader for Shared {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Secret, PortError>> {
        let secret = self.world.secret(namespace, name);
        let found = secret.ok_or_else(|| PortError::NotFound {
            what: format!("secret {namespace}/{name}"),
        });
        futures::future::ready(found).boxed()
    }
}

impl StatusWriter for Shared {
    fn write<'a>(
        &'a self,
        source: &'a OCIRepository,
        status: &'a OCIRepositoryStatus,
    ) -> BoxFuture<'a, Result<Arc<OCIRepository>, PortError>> {
        async move {
            let id = id_of(source);
            let written = self.write_status(&id, source, status).await;
            match &written {
                Ok(source) => {
                    self.printer.status(source, Timestamp::now());
                    self.note(&id, standing_of(source));
                }
                // Somebody who waits for this source must not wait for a disk to be repaired.
                Err(PortError::Other { .. }) => self.note(&id, Standing::Failed),
                Err(_) => {}
            }
            written
        }
        .boxed()
    }
}

impl EventSink for Shared {
    fn publish<'a>(&'a self, source: &'a OCIRepository, event: &'a Event) -> BoxFuture<'a, ()> {
        self.printer.event(source, event, Timestamp::now());
        futures::future::ready(()).boxed()
    }
}

impl Shared {
    async fn write_status(
        &self,
        id: &SourceId,
        source: &OCIRepository,
        status: &OCIRepositoryStatus,
    ) -> Result<Arc<OCIRepository>, PortError> {
        let what = || format!("OCIRepository {id}");
        let next = self
            .world
            .prepare(source, status)
            .map_err(|refused| refusal(refused, what()))?;
        if next.metadata.resource_version == source.metadata.resource_version {
            return Ok(next);
        }
        self.save(&next)
            .await
            .map_err(|error| other(format!("could not write the status of {}", what()), error))?;
        match self.world.commit(source, &next) {
            Ok(()) => Ok(next),
            Err(refused) => {
                // What is on disk now belongs to nobody if the source went away meanwhile.
                if refused == Refused::Gone {
                    self.forget_status(id);
                }
                Err(refusal(refused, what()))
            }
        }
    }

    async fn save(&self, source: &Arc<OCIRepository>) -> io::Result<()> {
        let (state, source) = (Arc::clone(&self.state), Arc::clone(source));
        let saved = tokio::task::spawn_blocking(move || state.save(&source)).await;
        saved.unwrap_or_else(|_| Err(io::Error::other("the task that writes was lost")))
    }

    /// Removes a status file. Failing costs a file that the next start reads in vain.
    pub(super) fn forget_status(&self, id: &SourceId) {
        if let Err(error) = self.state.remove(id) {
            tracing::warn!(source = %id, error = %error, "could not remove the status file of a source that is gone");
        }
    }

    pub(super) fn note(&self, id: &SourceId, standing: Standing) {
        self.progress
            .send_if_modified(|progress| progress.note(id, standing));
    }
}

fn refusal(refused: Refused, what: String) -> PortError {
    match refused {
        Refused::Gone => PortError::NotFound { what },
        Refused::Conflict => PortError::Conflict { what },
    }
}

fn other(what: String, error: io::Error) -> PortError {
    PortError::Other {
        what,
        source: Box::new(error),
    }
}
