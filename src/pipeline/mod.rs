// SPDX-License-Identifier: Apache-2.0
//! The effects of a run, in order: resolve, verify, fetch, pack, publish.
//!
//! Enters as a [`FetchPlan`] that [`crate::source`] decided on; leaves as an [`Outcome`] that it concludes from. Each step
//! hands a type to the next that only it can make, so a step cannot be left out. The order of things on disk is the
//! store's; the decision whether anything has to be fetched at all is made on the digest, after verification.

pub mod credentials;
pub mod error;
mod layer;
mod tag;

use std::time::Duration;

use jiff::Timestamp;
use wharf_oci::{
    Resolved, Tag,
    archive::{self, Limits},
    registry::{self, Client, Session},
};
use wharf_verify::{Policy, Trusted};

use self::{
    error::{Cause, Stage, StageError},
    layer::Packed,
};
use crate::{
    ports::SecretReader,
    source::{
        SourceId,
        plan::{FetchPlan, Form, Stored},
        report::Outcome,
        spec::{SourceSpec, Target},
    },
    store::{ArtifactKey, NewArtifact, Packer, Store, StoredArtifact},
};

/// What the steps work with: one of each for the whole process.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The registry client.
    pub client: Client,
    /// The artifact store.
    pub store: Store,
    /// The bounds of archives.
    pub limits: Limits,
    /// How layers are treated.
    pub layers: LayerOptions,
}

/// How layers are treated.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerOptions {
    /// Re-pack always, even what could be served as it is.
    pub always_repack: bool,
    /// Refuse an artifact with several layers instead of taking the first.
    pub strict: bool,
}

/// Runs the five steps. Never fails: a failure is an outcome too.
pub async fn run(
    id: &SourceId,
    uid: &str,
    plan: &FetchPlan,
    secrets: &dyn SecretReader,
    tools: &Tools,
) -> Outcome {
    let mut seen = None;
    // Boxed, as it holds all that a request may be waiting in.
    match Box::pin(steps(id, uid, plan, secrets, tools, &mut seen)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::debug!(source = %id, stage = ?error.stage, category = error.category(), "run failed");
            let place = error
                .is_about_trust()
                .then(|| place_of_trust(id, &plan.spec));
            let mut failure = error.into_failure(&plan.spec.url, seen);
            failure.message.extend(place);
            Outcome::Failed(failure)
        }
    }
}

/// Where the certificate that is missing has to be put: the client knows which one, not what a source is.
fn place_of_trust(id: &SourceId, spec: &SourceSpec) -> String {
    let namespace = &id.namespace;
    match &spec.cert_secret {
        Some(name) => format!(
            "; the trusted ones are in key 'ca.crt' of secret {namespace}/{name} (spec.certSecretRef)"
        ),
        None => format!(
            "; spec.certSecretRef is not set: put it into key 'ca.crt' of a secret in namespace {namespace} and name that there"
        ),
    }
}

async fn steps(
    id: &SourceId,
    uid: &str,
    plan: &FetchPlan,
    secrets: &dyn SecretReader,
    tools: &Tools,
    seen: &mut Option<String>,
) -> Result<Outcome, StageError> {
    let access = credentials::access(id, &plan.spec, secrets).await?;
    let session = tools
        .client
        .session(plan.spec.repository.clone(), &access)
        .map_err(|e| Stage::Transport.failed(e))?;
    let resolved = resolve(&session, &plan.spec).await?;
    *seen = Some(resolved.revision());
    let trusted = wharf_verify::verify(resolved, &Policy::NotRequired)
        .map_err(|e| Stage::Verify.failed(e))?;
    if let Some(stored) = unchanged(plan, &trusted, tools.layers) {
        return Ok(Outcome::Unchanged(stored));
    }
    let fetched = layer::fetch(&session, &plan.spec, trusted, tools).await?;
    let packed = layer::pack(fetched, tools).await?;
    let warnings = packed.warnings.clone();
    let stored = publish(id, uid, packed, tools).await?;
    Ok(Outcome::Stored(as_stored(&stored), warnings))
}

/// Step 1. A digest is what it is: no request is made for it, as in Flux. Of a range the tag is chosen first, and that tag
/// is resolved once.
async fn resolve(session: &Session, spec: &SourceSpec) -> Result<Resolved, StageError> {
    match &spec.target {
        Target::Digest(digest) => Ok(Resolved {
            repository: spec.repository.clone(),
            tag: None,
            digest: digest.clone(),
        }),
        Target::Tag(tag) => resolve_tag(session, tag.clone(), spec.timeout).await,
        Target::Semver(policy) => {
            let tag = tag::choose(session, policy, spec.timeout).await;
            let tag = tag.map_err(|error| Stage::Tag.failed(error))?;
            resolve_tag(session, tag, spec.timeout).await
        }
    }
}

async fn resolve_tag(
    session: &Session,
    tag: Tag,
    timeout: Duration,
) -> Result<Resolved, StageError> {
    let target = registry::Target::Tag(tag);
    within(timeout, Stage::Resolve, session.resolve(&target)).await
}

/// What is stored is what is there: the same revision, under the same trust, in the form that would be made today.
fn unchanged(plan: &FetchPlan, trusted: &Trusted, layers: LayerOptions) -> Option<Stored> {
    let is_same = |stored: &&Stored| {
        stored.revision == trusted.resolved().revision()
            && stored.trust == trusted.fingerprint()
            && is_current(stored.form, layers)
    };
    plan.stored.as_ref().filter(is_same).cloned()
}

fn is_current(form: Form, layers: LayerOptions) -> bool {
    match form {
        Form::Layer => !layers.always_repack,
        Form::Packed(version) => version == archive::PACKER_VERSION,
    }
}

/// Step 5.
async fn publish(
    id: &SourceId,
    uid: &str,
    packed: Packed,
    tools: &Tools,
) -> Result<StoredArtifact, StageError> {
    let key =
        ArtifactKey::new(&id.namespace, &id.name).map_err(|error| Stage::Publish.failed(error))?;
    let artifact = NewArtifact {
        key,
        revision: packed.trusted.resolved().revision(),
        manifest_digest: packed.trusted.resolved().digest.clone(),
        digest: packed.digest,
        size: packed.size,
        uid: uid.to_owned(),
        metadata: packed.metadata,
        packer: packed.packer,
        trust: packed.trusted.fingerprint().to_owned(),
    };
    let store = tools.store.clone();
    let file = packed.file;
    blocking(Stage::Publish, move || {
        store.publish(file, artifact, Timestamp::now())
    })
    .await
}

/// Bounds a step by the source's timeout.
async fn within<T, E: Into<Cause>>(
    timeout: Duration,
    stage: Stage,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, StageError> {
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result.map_err(|error| stage.failed(error)),
        Err(_) => Err(stage.failed(Cause::Timeout(timeout))),
    }
}

/// Runs disk and processor work off the async threads.
async fn blocking<T, E>(
    stage: Stage,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StageError>
where
    T: Send + 'static,
    E: Into<Cause> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| stage.failed(error)),
        Err(_) => Err(stage.failed(Cause::Task)),
    }
}

/// The store's record, as the decisions know it.
pub fn as_stored(artifact: &StoredArtifact) -> Stored {
    Stored {
        revision: artifact.revision.clone(),
        digest: artifact.digest.clone(),
        size: artifact.size,
        path: artifact.path(),
        latest_path: artifact.latest_path(),
        at: artifact.at,
        uid: artifact.uid.clone(),
        trust: artifact.trust.clone(),
        form: match artifact.packer {
            Packer::Passthrough => Form::Layer,
            Packer::Repack(version) => Form::Packed(version),
        },
        metadata: artifact.metadata.clone(),
    }
}
