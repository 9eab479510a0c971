// SPDX-License-Identifier: Apache-2.0
//! The watch: every change of a source becomes a trigger; what a relist no longer has becomes one too.
//!
//! An object that does not decode is reported and skipped, so that one bad object cannot stop the others
//! (CVE-2022-39272 in Flux was that). `managedFields` are dropped before anything is kept.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wharf_api::v1::OCIRepository;

use super::sources::{Cache, Scope, lean};
use crate::{
    engine::{Trigger, Why},
    source::{SourceId, spec::host_of},
};

/// How many objects a page of the list has.
const PAGE: u32 = 100;
/// How often a failing watch is told of, at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

type Guarded = DeserializeGuard<OCIRepository>;

/// The watch over the sources in scope.
pub struct Watch {
    client: Client,
    cache: Cache,
    scope: Scope,
    /// What the list that is being read has so far.
    listed: HashSet<SourceId>,
}

impl Watch {
    pub(super) fn new(client: Client, cache: Cache, scope: Scope) -> Self {
        Self {
            client,
            cache,
            scope,
            listed: HashSet::new(),
        }
    }

    /// Feeds the engine until `stop`. `synced` becomes true once the first list was read whole.
    pub async fn run(
        mut self,
        triggers: mpsc::Sender<Trigger>,
        synced: watch::Sender<bool>,
        stop: CancellationToken,
    ) {
        let api: Api<Guarded> = self.scope.api(self.client.clone());
        let mut config = watcher::Config::default().page_size(PAGE);
        config.label_selector.clone_from(&self.scope.labels);
        let stream = watcher(api, config).default_backoff();
        let mut stream = stream.inspect_err(complain(COMPLAIN_EVERY)).boxed();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = stream.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    let is_synced = matches!(event, Event::InitDone);
                    for trigger in self.apply(event) {
                        // The engine is gone: so is the reason to watch.
                        if triggers.send(trigger).await.is_err() {
                            return;
                        }
                    }
                    if is_synced {
                        synced.send_replace(true);
                    }
                }
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    fn apply(&mut self, event: Event<Guarded>) -> Vec<Trigger> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.listed.insert(id(&object));
                self.upsert(object).into_iter().collect()
            }
            Event::Apply(object) => self.upsert(object).into_iter().collect(),
            Event::Delete(object) => vec![self.remove(id(&object))],
            Event::InitDone => {
                let gone = self
                    .cache
                    .ids()
                    .into_iter()
                    .filter(|id| !self.listed.contains(id))
                    .collect::<Vec<_>>();
                self.listed.clear();
                gone.into_iter().map(|id| self.remove(id)).collect()
            }
        }
    }

    fn upsert(&self, object: Guarded) -> Option<Trigger> {
        let id = id(&object);
        match object.0 {
            Ok(source) => {
                let host = host_of(&source);
                self.cache.insert(lean(source));
                Some(Trigger {
                    id,
                    host,
                    why: Why::Changed,
                })
            }
            Err(error) => {
                // Nothing is done any more on the word of what it was before; what is served stays.
                self.cache.remove(&id);
                tracing::error!(controllerKind = "OCIRepository", name = id.name, namespace = id.namespace, error = %error,
                    "this object cannot be read and is skipped until it changes");
                None
            }
        }
    }

    fn remove(&self, id: SourceId) -> Trigger {
        let host = self
            .cache
            .find(&id)
            .map(|source| host_of(&source))
            .unwrap_or_default();
        self.cache.remove(&id);
        Trigger {
            id,
            host,
            why: Why::Changed,
        }
    }
}

fn id(object: &Guarded) -> SourceId {
    SourceId::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// A watch that fails is tried again for ever; it is told of, with what to do, but not in a flood.
fn complain(every: Duration) -> impl FnMut(&watcher::Error) {
    let mut last: Option<std::time::Instant> = None;
    move |error| {
        if is_expired(error) {
            tracing::debug!(error = %words(error), "the watch is too old to go on, listing again");
            return;
        }
        if last.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        last = Some(std::time::Instant::now());
        let hint = if is_not_found(error) {
            "; install the definitions with: wharf crds | kubectl apply -f -"
        } else {
            ""
        };
        tracing::error!(
            error = words(error),
            "cannot watch OCIRepository objects, will try again{hint}"
        );
    }
}

/// What the API server answered, if it did.
fn status_of(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

fn is_not_found(error: &watcher::Error) -> bool {
    status_of(error).is_some_and(|status| status.code == 404)
}

/// The API server keeps a limited history; that a watch falls out of it is ordinary.
fn is_expired(error: &watcher::Error) -> bool {
    status_of(error).is_some_and(|status| status.code == 410)
}

fn words(error: &watcher::Error) -> String {
    match status_of(error) {
        Some(status) => format!("the API server answers {}: {}", status.code, status.message),
        None => crate::pipeline::error::chain(error),
    }
}
