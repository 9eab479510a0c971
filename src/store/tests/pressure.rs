// SPDX-License-Identifier: Apache-2.0
//! No room, and everything at once.

use std::{
    env,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;

/// Set in the process that this test starts of itself, to the store it shall use.
const CHILD: &str = "WHARF_TEST_STORE_WITHOUT_ROOM";

/// A disk that takes no more is played by the file size limit of a process. Unlike a small tmpfs that needs no rights,
/// and it fails at the same calls; only the error number differs (`EFBIG`), which `error.rs` tests with a real `ENOSPC`.
/// The limit would kill the process by a signal that Rust does not ignore, so a shell sets both before this test runs
/// again as its child.
#[test]
fn a_disk_that_takes_no_more_leaves_the_last_artifact_as_it_was() {
    if let Some(root) = env::var_os(CHILD) {
        return publish_without_room(Path::new(&root));
    }
    let (root, store) = new_store();
    let last = publish(&store, "web", "m1", "one", 0);
    drop(store);
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::pressure::a_disk_that_takes_no_more_leaves_the_last_artifact_as_it_was",
        ])
        .env(CHILD, root.path())
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    assert!(String::from_utf8_lossy(&status.stdout).contains("1 passed"));
    let (store, report) = open(root.path());
    assert_eq!((report.names, report.lost.len()), (1, 0));
    assert_eq!(store.artifacts(&key("web")), [last]);
    publish(&store, "web", "m2", "two", 1);
}

/// One block of 512 bytes is room for the blob, and not for a sidecar with these annotations.
fn publish_without_room(root: &Path) {
    let (store, _) = open(root);
    let last = store.current(&key("web")).unwrap();
    let mut new = artifact("web", "m2", "two");
    new.metadata.insert("note".into(), "x".repeat(2_000));
    let error = store
        .publish(staged(&store, "two"), new, at(1))
        .unwrap_err();
    assert_eq!(error.category(), "store_io", "{error}");
    assert_eq!(content(&store, &last), "one");
    assert_eq!(store.artifacts(&key("web")), [last]);
    assert!(files(&store.0.layout.staging()).is_empty());
    let big = store.stage().unwrap();
    assert!((&mut big.file()).write_all(&[0; 4096]).is_err());
}

#[test]
fn a_name_that_cannot_be_written_changes_nothing_and_the_next_one_can() {
    let (_root, store) = new_store();
    let last = publish(&store, "web", "m1", "one", 0);
    let new = artifact("web", "m2", "two");
    // A directory in the way: the rename fails for everybody, root included.
    let in_the_way = store.0.layout.sidecar(&new.key, &new.manifest_digest);
    fs::create_dir(&in_the_way).unwrap();
    let error = store
        .publish(staged(&store, "two"), new.clone(), at(1))
        .unwrap_err();
    assert!(error.to_string().starts_with("cannot rename"), "{error}");
    assert_eq!(store.artifacts(&key("web")), [last]);
    assert!(files(&store.0.layout.staging()).is_empty());
    collect_twice(&store);
    assert_eq!(
        store.verify_blob(&new.digest).unwrap(),
        Verdict::Missing,
        "the blob is collected"
    );
    fs::remove_dir(&in_the_way).unwrap();
    publish(&store, "web", "m2", "two", 1);
}

#[test]
fn readers_always_find_whole_artifacts_while_others_publish_and_collect() {
    let root = TempDir::new().unwrap();
    let options = Options {
        blob_grace: Duration::ZERO,
        ..Options::default()
    };
    let (store, _) = Store::open(root.path(), options).unwrap();
    publish(&store, "web", "m", "first", 0);
    let stop = AtomicBool::new(false);
    let retention = Retention {
        ttl: Duration::ZERO,
        records: 1,
    };
    thread::scope(|scope| {
        let reading = [
            scope.spawn(|| read_until(&store, &stop)),
            scope.spawn(|| read_until(&store, &stop)),
        ];
        let writing = ["web", "api"].map(|object| {
            let store = &store;
            scope.spawn(move || {
                for n in 0..150_i64 {
                    // Both objects go through the same few contents, so that blobs are shared, dropped and made anew.
                    publish(
                        store,
                        object,
                        &format!("m{n}"),
                        &format!("content {}", n % 5),
                        n,
                    );
                    store
                        .forget_superseded(&key(object), &retention, at(n))
                        .unwrap();
                }
            })
        });
        for thread in writing {
            thread.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let reads: usize = reading.map(|thread| thread.join().unwrap()).iter().sum();
        assert!(reads > 0);
    });
    assert_eq!(store.usage().artifacts, 2);
    drop(store);
    let (store, report) = open(root.path());
    assert_eq!(
        (report.names, report.lost.len(), report.leftovers),
        (2, 0, 0)
    );
    assert_eq!(
        content(&store, &store.current(&key("web")).unwrap()),
        "content 4"
    );
}

/// Reads the current artifact over and over; returns how often it got one. One that was collected between lookup and
/// open is not found, never partial.
fn read_until(store: &Store, stop: &AtomicBool) -> usize {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let artifact = store.current(&key("web")).unwrap();
        match store.open_blob(&artifact.digest) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert_eq!(Digest::sha256_of(&bytes), artifact.digest);
                reads += 1;
            }
            Err(error) => assert!(matches!(error, StoreError::NoBlob(_)), "{error}"),
        }
    }
    reads
}

#[test]
fn many_objects_publish_the_same_content_at_once() {
    let (root, store) = new_store();
    thread::scope(|scope| {
        for n in 0..8 {
            let store = &store;
            scope.spawn(move || publish(store, &format!("app-{n}"), "m", "same", n));
        }
    });
    assert_eq!(
        store.usage(),
        Usage {
            artifacts: 8,
            blobs: 1,
            bytes: 4
        }
    );
    let sequences: std::collections::BTreeSet<_> = store
        .keys()
        .iter()
        .map(|key| store.current(key).unwrap().sequence)
        .collect();
    assert_eq!(sequences.len(), 8);
    drop(store);
    assert_eq!(open(root.path()).1.names, 8);
}
