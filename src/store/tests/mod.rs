// SPDX-License-Identifier: Apache-2.0
//! The store on a real disk. `restart` opens what a killed process, a full disk or a stranger left; `pressure` runs out
//! of room and does things at the same time.

mod pressure;
mod restart;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
};

use tempfile::TempDir;

use super::*;
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn key(name: &str) -> ArtifactKey {
    ArtifactKey::new("apps", name).unwrap()
}

fn open(root: &Path) -> (Store, SweepReport) {
    Store::open(root, Options::default()).unwrap()
}

fn new_store() -> (TempDir, Store) {
    let root = TempDir::new().unwrap();
    let (store, _) = open(root.path());
    (root, store)
}

/// An artifact of `object`, made from a manifest called `manifest`, whose bytes are `content`.
fn artifact(object: &str, manifest: &str, content: &str) -> NewArtifact {
    let manifest_digest = Digest::sha256_of(manifest.as_bytes());
    NewArtifact {
        key: key(object),
        revision: format!("1.0.0@{manifest_digest}"),
        manifest_digest,
        digest: Digest::sha256_of(content.as_bytes()),
        size: content.len() as u64,
        uid: "4f6f7d0c".to_owned(),
        metadata: BTreeMap::from([("org.opencontainers.image.source".into(), "git".into())]),
        packer: Packer::Repack(1),
        trust: "not required".to_owned(),
    }
}

fn staged(store: &Store, content: &str) -> Staged {
    let staged = store.stage().unwrap();
    staged.file().write_all(content.as_bytes()).unwrap();
    staged
}

fn publish(
    store: &Store,
    object: &str,
    manifest: &str,
    content: &str,
    second: i64,
) -> StoredArtifact {
    let new = artifact(object, manifest, content);
    store
        .publish(staged(store, content), new, at(second))
        .unwrap()
}

fn content(store: &Store, artifact: &StoredArtifact) -> String {
    let mut text = String::new();
    let mut file = store.open_blob(&artifact.digest).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn found(store: &Store, path: &str) -> StoredArtifact {
    match store.lookup(path) {
        Lookup::Found(artifact) => *artifact,
        other => panic!("{path}: {other:?}"),
    }
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_published_is_found_under_its_path_and_as_the_latest() {
    let (_root, store) = new_store();
    let stored = publish(&store, "web", "m1", "bytes", 0);
    assert_eq!(store.current(&key("web")).as_ref(), Some(&stored));
    assert_eq!(found(&store, &stored.path()), stored);
    assert_eq!(found(&store, &stored.latest_path()), stored);
    assert_eq!(content(&store, &stored), "bytes");
    assert_eq!(store.verify_blob(&stored.digest).unwrap(), Verdict::Intact);
    assert!(files(&store.0.layout.staging()).is_empty());
}

#[test]
fn everything_about_an_artifact_survives_a_restart() {
    let (root, store) = new_store();
    let old = publish(&store, "web", "m1", "one", 0);
    let new = publish(&store, "web", "m2", "two", 0);
    let usage = store.usage();
    drop(store);
    let (store, report) = open(root.path());
    assert_eq!(
        report,
        SweepReport {
            names: 2,
            ..SweepReport::default()
        }
    );
    assert_eq!(store.artifacts(&key("web")), [new.clone(), old.clone()]);
    assert_eq!(
        (content(&store, &old), content(&store, &new)),
        ("one".into(), "two".into())
    );
    assert_eq!(store.usage(), usage);
    let newest = publish(&store, "web", "m1", "one", -100);
    assert_eq!(
        store.current(&key("web")),
        Some(newest),
        "a clock that went back does not matter"
    );
}

#[test]
fn objects_with_the_same_content_share_one_blob() {
    let (_root, store) = new_store();
    let web = publish(&store, "web", "m", "same", 0);
    let api = publish(&store, "api", "m", "same", 0);
    assert_eq!(web.digest, api.digest);
    assert_eq!(
        store.usage(),
        Usage {
            artifacts: 2,
            blobs: 1,
            bytes: 4
        }
    );
    store.remove(&key("web")).unwrap();
    collect_twice(&store);
    assert_eq!(content(&store, &api), "same");
    assert_eq!(
        store.usage(),
        Usage {
            artifacts: 1,
            blobs: 1,
            bytes: 4
        }
    );
}

#[test]
fn publishing_other_bytes_for_the_same_manifest_takes_the_name_over() {
    let (root, store) = new_store();
    let old = publish(&store, "web", "m", "packed by 1", 0);
    let new = publish(&store, "web", "m", "packed by 2", 1);
    assert_eq!(old.path(), new.path());
    assert_eq!(content(&store, &found(&store, &new.path())), "packed by 2");
    assert_eq!(store.artifacts(&key("web")).len(), 1);
    drop(store);
    let (store, report) = open(root.path());
    assert_eq!((report.names, report.orphans), (1, 1));
    assert_eq!(store.current(&key("web")), Some(new));
}

#[test]
fn a_removed_object_is_missing_and_its_blob_goes_after_the_grace_period() {
    let (root, store) = new_store();
    let stored = publish(&store, "web", "m", "bytes", 0);
    let mut reader = store.open_blob(&stored.digest).unwrap();
    store.remove(&key("web")).unwrap();
    store.remove(&key("never-was")).unwrap();
    assert!(matches!(store.lookup(&stored.path()), Lookup::Missing(k) if k == key("web")));
    assert!(matches!(
        store.lookup(&stored.latest_path()),
        Lookup::Missing(_)
    ));
    assert!(matches!(
        store.open_blob(&stored.digest),
        Err(StoreError::NoBlob(_))
    ));
    assert_eq!(store.usage(), Usage::default());
    assert_eq!(store.collect(at(0)).unwrap().blobs, 0);
    assert_eq!(store.collect(at(59)).unwrap().blobs, 0);
    assert_eq!(store.collect(at(60)).unwrap().blobs, 1);
    assert_eq!(store.verify_blob(&stored.digest).unwrap(), Verdict::Missing);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bytes", "whoever has it open keeps reading");
    drop(store);
    assert_eq!(open(root.path()).1, SweepReport::default());
}

#[test]
fn a_blob_that_is_named_again_within_the_grace_period_stays() {
    let (_root, store) = new_store();
    publish(&store, "web", "m", "bytes", 0);
    store.remove(&key("web")).unwrap();
    store.collect(at(0)).unwrap();
    let stored = publish(&store, "web", "m", "bytes", 30);
    assert_eq!(store.collect(at(1000)).unwrap().blobs, 0);
    assert_eq!(content(&store, &stored), "bytes");
    store.remove(&key("web")).unwrap();
    assert_eq!(
        store.collect(at(1001)).unwrap().blobs,
        0,
        "the period starts anew"
    );
}

#[test]
fn a_superseded_artifact_stays_for_its_time_and_the_current_one_for_ever() {
    let (_root, store) = new_store();
    let retention = Retention::default();
    let forget = |second| {
        store
            .forget_superseded(&key("web"), &retention, at(second))
            .unwrap()
    };
    publish(&store, "web", "m1", "one", 0);
    assert_eq!(forget(10_000).names, 0);
    let current = publish(&store, "web", "m2", "two", 10_000);
    assert_eq!(
        forget(10_060).names,
        0,
        "its age counts from when it was replaced"
    );
    assert_eq!(
        forget(9_000).names,
        0,
        "a clock that went back makes nothing old"
    );
    assert_eq!(forget(10_061).names, 1);
    assert_eq!(store.artifacts(&key("web")), [current]);
    assert_eq!(forget(10_200).blobs, 1);
}

#[test]
fn no_more_than_the_allowed_number_of_artifacts_is_kept() {
    let (_root, store) = new_store();
    for n in 0..5 {
        publish(&store, "web", &format!("m{n}"), &format!("{n}"), 0);
    }
    let forget = |records| {
        let retention = Retention {
            records,
            ..Retention::default()
        };
        store
            .forget_superseded(&key("web"), &retention, at(0))
            .unwrap()
            .names
    };
    assert_eq!(forget(5), 0);
    assert_eq!(forget(2), 3);
    assert_eq!(forget(0), 1, "the current one is always kept");
    assert_eq!(content(&store, &store.current(&key("web")).unwrap()), "4");
}

#[test]
fn a_corrupt_blob_is_told_and_discarded_with_its_names() {
    let (_root, store) = new_store();
    let stored = publish(&store, "web", "m", "bytes", 0);
    let other = publish(&store, "api", "m", "other", 0);
    fs::write(store.0.layout.blob(&stored.digest), "bytfs").unwrap();
    assert_eq!(store.verify_blob(&stored.digest).unwrap(), Verdict::Corrupt);
    assert_eq!(store.discard_blob(&stored.digest).unwrap(), [key("web")]);
    assert_eq!(store.current(&key("web")), None);
    assert_eq!(content(&store, &other), "other");
    let again = publish(&store, "web", "m", "bytes", 1);
    assert_eq!(content(&store, &again), "bytes");
}

#[test]
fn a_blob_of_another_size_than_recorded_is_not_opened() {
    let (_root, store) = new_store();
    let stored = publish(&store, "web", "m", "bytes", 0);
    fs::write(store.0.layout.blob(&stored.digest), "byt").unwrap();
    let error = store.open_blob(&stored.digest).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Damaged {
                expected: 5,
                got: 3,
                ..
            }
        ),
        "{error}"
    );
    publish(&store, "web", "m", "bytes", 1);
    assert_eq!(
        content(&store, &stored),
        "bytes",
        "publishing again repairs it"
    );
}

#[test]
fn a_staged_file_is_private_and_goes_away_when_dropped() {
    use std::os::unix::fs::PermissionsExt as _;
    let (root, store) = new_store();
    let staged = staged(&store, "half");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(staged.path()), 0o600);
    assert_eq!(mode(staged.path().parent().unwrap()), 0o700);
    let mut text = String::new();
    staged.reader().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "half");
    staged.writer().unwrap().write_all(b" done").unwrap();
    assert_eq!(fs::read_to_string(staged.path()).unwrap(), "half done");
    drop(staged);
    assert!(files(&root.path().join("staging")).is_empty());
}

#[test]
fn a_staged_file_of_the_wrong_size_is_refused() {
    let (_root, store) = new_store();
    let refused = store.publish(staged(&store, "byt"), artifact("web", "m", "bytes"), at(0));
    assert!(matches!(
        refused,
        Err(StoreError::WrongSize {
            expected: 5,
            got: 3
        })
    ));
    assert_eq!(store.current(&key("web")), None);
    assert!(files(&store.0.layout.staging()).is_empty());
}

#[test]
fn a_description_that_is_too_large_to_be_read_again_is_refused() {
    let (root, store) = new_store();
    let last = publish(&store, "web", "m1", "one", 0);
    let mut new = artifact("web", "m2", "two");
    new.metadata.insert("note".into(), "x".repeat(1 << 20));
    let error = store
        .publish(staged(&store, "two"), new, at(1))
        .unwrap_err();
    assert_eq!(error.category(), "store_artifact");
    assert_eq!(store.current(&key("web")), Some(last.clone()));
    drop(store);
    assert_eq!(open(root.path()).0.current(&key("web")), Some(last));
}

#[test]
fn a_path_that_no_artifact_can_have_is_malformed() {
    let (_root, store) = new_store();
    publish(&store, "web", "m", "bytes", 0);
    for path in [
        "",
        "/",
        "staging/0.tmp",
        "blobs/sha256",
        "../etc/passwd",
        "ocirepository/apps/web/../../x",
    ] {
        assert!(matches!(store.lookup(path), Lookup::Malformed), "{path}");
    }
}

fn collect_twice(store: &Store) {
    store.collect(at(0)).unwrap();
    store.collect(at(1_000)).unwrap();
}
