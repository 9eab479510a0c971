// SPDX-License-Identifier: Apache-2.0
//! What the pipeline needs from the world that holds the sources: to read them and their secrets, to write their status,
//! to announce events. Each trait has two real implementations: the API server ([`crate::cluster`]) and a directory
//! ([`crate::standalone`]).

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures::future::BoxFuture;
use wharf_api::v1::{OCIRepository, OCIRepositoryStatus};

use crate::source::{SourceId, report::Event};

/// The world, as the pipeline sees it.
#[derive(Clone)]
pub struct Ports {
    /// Reads sources.
    pub sources: Arc<dyn SourceReader>,
    /// Reads secrets.
    pub secrets: Arc<dyn SecretReader>,
    /// Writes status.
    pub status: Arc<dyn StatusWriter>,
    /// Announces events.
    pub events: Arc<dyn EventSink>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// Why the world did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It is not there.
    #[error("{what} not found")]
    NotFound {
        /// What was looked for, for instance `secret apps/regcred`.
        what: String,
    },
    /// We may not.
    #[error("{what} may not be read: access is denied")]
    Denied {
        /// What was looked for.
        what: String,
    },
    /// It changed since it was read; the next event brings the new state.
    #[error("{what} changed in the meantime")]
    Conflict {
        /// What was written.
        what: String,
    },
    /// It exists, but is not one of those this process looks after: it left the label selector. Its artifacts stay
    /// until somebody says otherwise.
    #[error("{what} does not match the label selector any more")]
    NotOurs {
        /// What was looked for.
        what: String,
    },
    /// Anything else; worth another try.
    #[error("{what}")]
    Other {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The contents of a secret. Its `Debug` shows the keys, never a value.
#[derive(Clone, Default)]
pub struct Secret {
    /// The type, for instance `kubernetes.io/dockerconfigjson`.
    pub kind: String,
    /// The decoded data.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("kind", &self.kind)
            .field("keys", &self.data.keys())
            .finish()
    }
}

/// Reads sources.
pub trait SourceReader: Send + Sync {
    /// The newest known state; `None` only when it is certain that the object is gone.
    fn read<'a>(
        &'a self,
        id: &'a SourceId,
    ) -> BoxFuture<'a, Result<Option<Arc<OCIRepository>>, PortError>>;
}

/// Reads secrets, always in the source's own namespace.
pub trait SecretReader: Send + Sync {
    /// The secret of that name.
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Secret, PortError>>;
}

/// Writes status.
pub trait StatusWriter: Send + Sync {
    /// Replaces the status of the object as it was read, and gives back the object as it stands afterwards, so that a
    /// second write of the same run starts from there. Called after every run; what is the same is not written again.
    ///
    /// Guarantees: one write at most; [`PortError::Conflict`] and no write when the object is no longer the one that was
    /// read (another version of the status, or another uid).
    fn write<'a>(
        &'a self,
        source: &'a OCIRepository,
        status: &'a OCIRepositoryStatus,
    ) -> BoxFuture<'a, Result<Arc<OCIRepository>, PortError>>;
}

/// Announces events. Best effort: losing one is logged by the sink and changes nothing else.
pub trait EventSink: Send + Sync {
    /// Announces an event about a source.
    fn publish<'a>(&'a self, source: &'a OCIRepository, event: &'a Event) -> BoxFuture<'a, ()>;
}
