// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in a run, by stage, and how it is told to the object's owner.
//!
//! Enters as the typed error of a part; leaves as a [`Failure`] with the contract's reason and prefix, and as a bounded
//! [`StageError::category`] for logs and metrics.

use std::{error::Error, time::Duration};

use wharf_oci::{
    archive::ArchiveError,
    registry::{self, DockerConfigError, ErrorKind, ProxyError, Retry, TlsError},
    select::NoMatch,
};

use crate::{
    ports::PortError,
    source::{
        report::{Failure, FailureKind},
        schedule::Setback,
    },
    store::{KeyError, StoreError},
};

/// Which step of a run failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the secret with registry credentials.
    Credentials,
    /// Reading the secret with the proxy's address.
    Proxy,
    /// Reading TLS material, building the client.
    Transport,
    /// Listing tags and taking one of them.
    Tag,
    /// Turning tag into digest.
    Resolve,
    /// Checking signatures.
    Verify,
    /// Reading the manifest.
    Manifest,
    /// Choosing and downloading the layer.
    Layer,
    /// Opening the layer, packing it.
    Pack,
    /// Writing to the store.
    Publish,
}

/// Why, in the type of the part that failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A secret or the API server.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The registry credentials in a secret.
    #[error(transparent)]
    Credentials(#[from] DockerConfigError),
    /// The TLS material in a secret.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy in a secret.
    #[error("{secret} cannot be used")]
    Proxy {
        /// Which secret.
        secret: String,
        /// What is wrong with it.
        #[source]
        source: ProxyError,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A namespace or name that cannot be a path in the store.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature.
    #[error(transparent)]
    Verify(#[from] wharf_verify::VerifyError),
    /// No tag is in the range.
    #[error(transparent)]
    NoMatch(#[from] NoMatch),
    /// What was found is not usable; the text says what and why.
    #[error("{0}")]
    Content(String),
    /// It took longer than `spec.timeout`.
    #[error("no answer within {0:?}, the source's timeout")]
    Timeout(Duration),
    /// Listing the tags took longer than `spec.timeout`. Half a list chooses no tag.
    #[error(
        "the list of tags goes on after {pages} pages with {tags} tags, which came within {after:?}, the source's timeout: raise spec.timeout"
    )]
    Listing {
        /// `spec.timeout`.
        after: Duration,
        /// The pages that came.
        pages: usize,
        /// The tags on them.
        tags: usize,
    },
    /// A worker thread was lost.
    #[error("an internal task ended without an answer")]
    Task,
}

/// A failed step.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct StageError {
    /// Which step.
    pub stage: Stage,
    /// Why.
    #[source]
    pub cause: Cause,
}

impl Cause {
    /// A disk that is full or broken is a storage failure, whichever step met it.
    fn is_our_disk(&self) -> bool {
        match self {
            Self::Store(_) => true,
            Self::Registry(error) => error.kind() == ErrorKind::Io,
            Self::Archive(error) => {
                matches!(error, ArchiveError::Spool(_) | ArchiveError::Write(_))
            }
            _ => false,
        }
    }

    fn setback(&self) -> Setback {
        let Self::Registry(error) = self else {
            return Setback::Failed;
        };
        match error.retry() {
            Retry::After(left) if error.is_held_back() => Setback::HeldBack(left),
            Retry::After(asked) => Setback::Asked(asked),
            Retry::Backoff | Retry::Terminal => Setback::Failed,
        }
    }
}

impl Stage {
    /// Makes an error of this step.
    pub fn failed(self, cause: impl Into<Cause>) -> StageError {
        StageError {
            stage: self,
            cause: cause.into(),
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Credentials | Self::Proxy | Self::Transport => "AuthenticationFailed",
            Self::Tag => "ReadOperationFailed",
            Self::Resolve | Self::Manifest => "OCIArtifactPullFailed",
            Self::Verify => "VerificationError",
            Self::Layer | Self::Pack => "OCIArtifactLayerOperationFailed",
            Self::Publish => "ArchiveOperationFailed",
        }
    }

    fn prefix(self, url: &str) -> String {
        match self {
            Self::Credentials => "failed to get credential: ".to_owned(),
            Self::Proxy => "failed to get proxy address: ".to_owned(),
            Self::Transport => format!("failed to generate transport for '{url}': "),
            Self::Tag => format!("failed to determine the artifact tag for '{url}': "),
            Self::Resolve => "failed to determine artifact digest: ".to_owned(),
            Self::Verify => "failed to verify the signature: ".to_owned(),
            Self::Manifest => format!("failed to pull artifact from '{url}': "),
            Self::Layer => format!("failed to get the layer of '{url}': "),
            Self::Pack => format!("failed to extract layer contents from '{url}': "),
            Self::Publish => "unable to archive artifact to storage: ".to_owned(),
        }
    }
}

impl StageError {
    /// One word from a fixed list, for logs and metrics.
    pub const fn category(&self) -> &'static str {
        match &self.cause {
            Cause::Port(_) => "api",
            Cause::Registry(_) => "registry",
            Cause::Credentials(_) | Cause::Tls(_) | Cause::Proxy { .. } => "credentials",
            Cause::Archive(_) => "archive",
            Cause::Store(_) | Cause::Key(_) => "store",
            Cause::Verify(_) => "verification",
            Cause::NoMatch(_) | Cause::Content(_) => "content",
            Cause::Timeout(_) | Cause::Listing { .. } => "timeout",
            Cause::Task => "internal",
        }
    }

    /// Whether the registry's certificate was refused because nobody vouches for it.
    pub fn is_about_trust(&self) -> bool {
        matches!(&self.cause, Cause::Registry(error) if error.is_about_trust())
    }

    /// The failure in the words of the contract. `seen` is the revision that was found before the step failed.
    pub fn into_failure(self, url: &str, seen: Option<String>) -> Failure {
        let setback = self.cause.setback();
        let (kind, reason) = match self.stage {
            _ if self.cause.is_our_disk() => (FailureKind::Storage, Stage::Publish.reason()),
            Stage::Publish => (FailureKind::Storage, Stage::Publish.reason()),
            Stage::Verify => (FailureKind::Verification, Stage::Verify.reason()),
            stage => (FailureKind::Fetch, stage.reason()),
        };
        let message = format!("{}{}", self.stage.prefix(url), chain(&self.cause));
        Failure {
            kind,
            reason,
            message,
            setback,
            seen,
        }
    }
}

/// An error with its causes, as one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // A transparent wrapper and its content say the same.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = cause.source();
    }
    text
}
