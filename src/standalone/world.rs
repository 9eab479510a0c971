// SPDX-License-Identifier: Apache-2.0
//! What an API server would know: the objects with their generation, version and status, and the secrets.
//!
//! Enters as the [`Contents`] of the directory and as statuses; leaves as objects, and as [`Changes`] to tell the engine.
//! The rules are those of an API server as far as a source can see them: the generation counts changes of the spec, the
//! resource version counts all changes, a status is replaced only by one who has read the current version.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wharf_api::v1::{OCIRepository, OCIRepositoryStatus};

use super::files::{Contents, Problem};
use crate::{
    ports::Secret,
    source::{SourceId, plan::Attempt, spec::id_of},
};

/// All objects and secrets.
#[derive(Debug, Default)]
pub(super) struct World {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<SourceId, Arc<OCIRepository>>,
    /// Those of an earlier process that no file has named yet.
    remembered: BTreeMap<SourceId, OCIRepository>,
    secrets: BTreeMap<(String, String), Secret>,
    problems: Vec<Problem>,
    version: u64,
}

/// What became different.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// New, or with another spec, label or annotation.
    pub(super) changed: Vec<SourceId>,
    /// Those of the changed ones that a run answers. Another label, for one, needs no answer and gets none.
    pub(super) asking: Vec<SourceId>,
    /// Not there any more.
    pub(super) gone: Vec<SourceId>,
    /// What cannot be used and was not known to be so.
    pub(super) problems: Vec<Problem>,
}

/// What is known of a source.
#[derive(Debug)]
pub(super) enum Lookup {
    Found(Arc<OCIRepository>),
    Gone,
    /// An earlier process knew it, and a file that cannot be read may still name it.
    Uncertain,
}

/// What a declared object is beside the known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The same.
    None,
    /// Different, but asking a run for nothing that was not asked before.
    Silent,
    /// New, or different in what a run answers.
    Asking,
}

/// Why a status was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Gone,
    Conflict,
}

impl World {
    /// Starts from what an earlier process wrote.
    pub(super) fn new(remembered: BTreeMap<SourceId, OCIRepository>) -> Self {
        let version = remembered
            .values()
            .map(version_of)
            .max()
            .unwrap_or_default();
        let inner = Inner {
            remembered,
            version,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Takes over what the files say now.
    pub(super) fn apply(&self, contents: Contents) -> Changes {
        let mut inner = self.lock();
        let mut changes = Changes::default();
        let is_certain = contents.problems.is_empty();
        changes.gone = inner
            .objects
            .keys()
            .filter(|id| !contents.sources.contains_key(id))
            .cloned()
            .collect();
        for id in &changes.gone {
            inner.objects.remove(id);
        }
        for (id, declared) in contents.sources {
            let change = inner.declare(&id, declared);
            if change == Change::Asking {
                changes.asking.push(id.clone());
            }
            if change != Change::None {
                changes.changed.push(id);
            }
        }
        if is_certain {
            changes
                .gone
                .extend(std::mem::take(&mut inner.remembered).into_keys());
        }
        changes.problems = contents
            .problems
            .iter()
            .filter(|problem| !inner.problems.contains(problem))
            .cloned()
            .collect();
        inner.problems = contents.problems;
        inner.secrets = contents.secrets;
        changes
    }

    /// The source of that name.
    pub(super) fn source(&self, id: &SourceId) -> Lookup {
        let inner = self.lock();
        match inner.objects.get(id) {
            Some(source) => Lookup::Found(Arc::clone(source)),
            None if inner.remembered.contains_key(id) => Lookup::Uncertain,
            None => Lookup::Gone,
        }
    }

    /// All sources.
    pub(super) fn sources(&self) -> Vec<Arc<OCIRepository>> {
        self.lock().objects.values().cloned().collect()
    }

    /// The secret of that name.
    pub(super) fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.lock()
            .secrets
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// What cannot be used at the moment.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.lock().problems.clone()
    }

    /// The object with another status, not yet taken over; the very same one when the status is the same.
    pub(super) fn prepare(
        &self,
        read: &OCIRepository,
        status: &OCIRepositoryStatus,
    ) -> Result<Arc<OCIRepository>, Refused> {
        let mut inner = self.lock();
        let current = inner.current(read)?;
        if current.status.as_ref() == Some(status) {
            return Ok(current);
        }
        let mut next = OCIRepository::clone(&current);
        next.status = Some(status.clone());
        next.metadata.resource_version = Some(inner.next_version());
        Ok(Arc::new(next))
    }

    /// Takes over what was prepared, if what it was prepared from is still current.
    pub(super) fn commit(
        &self,
        read: &OCIRepository,
        next: &Arc<OCIRepository>,
    ) -> Result<(), Refused> {
        let mut inner = self.lock();
        inner.current(read)?;
        inner.objects.insert(id_of(next), Arc::clone(next));
        Ok(())
    }

    /// Every change is complete before the lock is given back, a panic leaves the old state.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes over one declared object.
    fn declare(&mut self, id: &SourceId, declared: OCIRepository) -> Change {
        let known = self.objects.get(id).cloned();
        let before = known
            .as_deref()
            .cloned()
            .or_else(|| self.remembered.remove(id));
        let mut next = continued(id, declared, before);
        if known.as_deref() == Some(&next) {
            return Change::None;
        }
        let is_silent = known.is_some_and(|known| Attempt::of(&known) == Attempt::of(&next));
        next.metadata.resource_version = Some(self.next_version());
        self.objects.insert(id.clone(), Arc::new(next));
        if is_silent {
            Change::Silent
        } else {
            Change::Asking
        }
    }

    /// The current object, if it is the one that was read.
    fn current(&self, read: &OCIRepository) -> Result<Arc<OCIRepository>, Refused> {
        let current = self.objects.get(&id_of(read)).ok_or(Refused::Gone)?;
        let mark = |source: &OCIRepository| {
            (
                source.metadata.uid.clone(),
                source.metadata.resource_version.clone(),
            )
        };
        if mark(current) == mark(read) {
            Ok(Arc::clone(current))
        } else {
            Err(Refused::Conflict)
        }
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }
}

/// The declared object with what an API server would have added: uid, generation, and the version and status it had.
fn continued(
    id: &SourceId,
    mut declared: OCIRepository,
    before: Option<OCIRepository>,
) -> OCIRepository {
    let metadata = &mut declared.metadata;
    metadata.uid = Some(format!("standalone:{id}"));
    metadata.generation = Some(1);
    if let Some(before) = before {
        let changes = i64::from(before.spec != declared.spec);
        let generation = before.metadata.generation.unwrap_or(1);
        metadata.generation = Some(generation.saturating_add(changes));
        metadata.resource_version = before.metadata.resource_version;
        declared.status = before.status;
    }
    declared
}

fn version_of(source: &OCIRepository) -> u64 {
    let version = source.metadata.resource_version.as_ref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared(name: &str, tag: &str, requested: &str) -> OCIRepository {
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
            "metadata": {"name": name, "namespace": "apps", "annotations": {"reconcile.fluxcd.io/requestedAt": requested}},
            "spec": {"url": "oci://a/b", "interval": "1m", "ref": {"tag": tag}},
        }))
        .unwrap()
    }

    fn contents(sources: &[OCIRepository]) -> Contents {
        let sources = sources
            .iter()
            .map(|source| (id_of(source), source.clone()))
            .collect();
        Contents {
            sources,
            ..Contents::default()
        }
    }

    fn with_problem(sources: &[OCIRepository]) -> Contents {
        let problem = Problem {
            file: "bad.yaml".into(),
            line: 1,
            message: "bad".into(),
        };
        Contents {
            problems: vec![problem],
            ..contents(sources)
        }
    }

    fn id() -> SourceId {
        SourceId::new("apps", "app")
    }

    fn found(world: &World) -> Arc<OCIRepository> {
        let Lookup::Found(source) = world.source(&id()) else {
            panic!("there")
        };
        source
    }

    fn status(generation: i64) -> OCIRepositoryStatus {
        OCIRepositoryStatus {
            observed_generation: generation,
            ..OCIRepositoryStatus::default()
        }
    }

    fn write(world: &World, status: &OCIRepositoryStatus) -> Arc<OCIRepository> {
        let read = found(world);
        let next = world.prepare(&read, status).unwrap();
        world.commit(&read, &next).unwrap();
        next
    }

    #[test]
    fn the_generation_counts_changes_of_the_spec_only() {
        let world = World::default();
        let changes = world.apply(contents(&[declared("app", "1", "")]));
        assert_eq!(changes.changed, [id()]);
        let first = found(&world);
        assert_eq!(first.metadata.generation, Some(1));
        assert_eq!(first.metadata.uid.as_deref(), Some("standalone:apps/app"));

        assert_eq!(
            world.apply(contents(&[declared("app", "1", "")])),
            Changes::default()
        );
        assert_eq!(found(&world), first);

        assert_eq!(
            world
                .apply(contents(&[declared("app", "1", "now")]))
                .changed,
            [id()]
        );
        assert_eq!(found(&world).metadata.generation, Some(1));
        assert_ne!(
            found(&world).metadata.resource_version,
            first.metadata.resource_version
        );

        assert_eq!(
            world
                .apply(contents(&[declared("app", "2", "now")]))
                .changed,
            [id()]
        );
        assert_eq!(found(&world).metadata.generation, Some(2));
    }

    #[test]
    fn a_status_outlives_a_change_of_the_spec_and_a_restart() {
        let world = World::default();
        world.apply(contents(&[declared("app", "1", "")]));
        let written = write(&world, &status(1));
        world.apply(contents(&[declared("app", "2", "")]));
        assert_eq!(found(&world).status, Some(status(1)));

        let world = World::new([(id(), OCIRepository::clone(&written))].into());
        world.apply(contents(&[declared("app", "1", "")]));
        assert_eq!(
            (
                found(&world).metadata.generation,
                found(&world).status.clone()
            ),
            (Some(1), Some(status(1)))
        );

        let world = World::new([(id(), OCIRepository::clone(&written))].into());
        world.apply(contents(&[declared("app", "2", "")]));
        assert_eq!(
            (
                found(&world).metadata.generation,
                found(&world).status.clone()
            ),
            (Some(2), Some(status(1)))
        );
    }

    #[test]
    fn versions_go_on_rising_after_a_restart() {
        let world = World::default();
        world.apply(contents(&[declared("app", "1", "")]));
        let written = write(&world, &status(1));
        let world = World::new([(id(), OCIRepository::clone(&written))].into());
        world.apply(contents(&[declared("app", "1", "")]));
        assert!(version_of(&found(&world)) > version_of(&written));
    }

    #[test]
    fn a_status_for_an_object_that_changed_is_refused() {
        let world = World::default();
        world.apply(contents(&[declared("app", "1", "")]));
        let read = found(&world);
        let next = world.prepare(&read, &status(1)).unwrap();
        world.apply(contents(&[declared("app", "2", "")]));
        assert_eq!(world.commit(&read, &next), Err(Refused::Conflict));
        assert_eq!(
            world.prepare(&read, &status(1)).unwrap_err(),
            Refused::Conflict
        );
        assert_eq!(found(&world).status, None);
        world.apply(contents(&[]));
        assert_eq!(world.prepare(&read, &status(1)).unwrap_err(), Refused::Gone);
    }

    #[test]
    fn a_second_write_of_a_run_starts_from_the_first() {
        let world = World::default();
        world.apply(contents(&[declared("app", "1", "")]));
        let read = found(&world);
        let first = write(&world, &status(1));
        assert_eq!(
            world.prepare(&read, &status(2)).unwrap_err(),
            Refused::Conflict
        );
        let second = world.prepare(&first, &status(2)).unwrap();
        assert_eq!(world.commit(&first, &second), Ok(()));
    }

    #[test]
    fn the_same_status_gives_the_same_object() {
        let world = World::default();
        world.apply(contents(&[declared("app", "1", "")]));
        let written = write(&world, &status(1));
        assert!(Arc::ptr_eq(
            &world.prepare(&written, &status(1)).unwrap(),
            &written
        ));
    }

    #[test]
    fn an_object_that_no_file_names_is_gone() {
        let world = World::default();
        world.apply(contents(&[declared("app", "1", "")]));
        let changes = world.apply(contents(&[]));
        assert_eq!(changes.gone, [id()]);
        assert!(matches!(world.source(&id()), Lookup::Gone));
    }

    #[test]
    fn an_object_of_an_earlier_process_is_gone_only_when_every_file_was_read() {
        let world = World::new([(id(), declared("app", "1", ""))].into());
        let changes = world.apply(with_problem(&[]));
        assert!(changes.gone.is_empty());
        assert!(matches!(world.source(&id()), Lookup::Uncertain));
        assert_eq!(world.apply(contents(&[])).gone, [id()]);
        assert!(matches!(world.source(&id()), Lookup::Gone));
    }

    #[test]
    fn a_problem_is_news_once() {
        let world = World::default();
        assert_eq!(world.apply(with_problem(&[])).problems.len(), 1);
        assert!(world.apply(with_problem(&[])).problems.is_empty());
        assert_eq!(world.problems().len(), 1);
        world.apply(contents(&[]));
        assert!(world.problems().is_empty());
        assert_eq!(world.apply(with_problem(&[])).problems.len(), 1);
    }
}
