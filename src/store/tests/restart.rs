// SPDX-License-Identifier: Apache-2.0
//! Opening a store in every state that something may have left it in.

use std::os::unix::fs::symlink;

use super::*;

/// A closed store with one good artifact of `web`.
fn with_one_artifact() -> (TempDir, Layout, StoredArtifact) {
    let (root, store) = new_store();
    let stored = publish(&store, "web", "m", "bytes", 0);
    let layout = store.0.layout.clone();
    (root, layout, stored)
}

/// Opens the store and checks that the good artifact is there and nothing else is.
fn assert_only_the_good_one_is_left(root: &TempDir, stored: &StoredArtifact) -> SweepReport {
    let (store, report) = open(root.path());
    assert_eq!(store.artifacts(&key("web")), std::slice::from_ref(stored));
    assert_eq!(content(&store, stored), "bytes");
    assert_eq!(
        store.usage(),
        Usage {
            artifacts: 1,
            blobs: 1,
            bytes: 5
        }
    );
    assert_eq!(
        files(&store.0.layout.blobs_of(stored.digest.algorithm())),
        [stored.digest.hex()]
    );
    assert!(files(&store.0.layout.staging()).is_empty());
    drop(store);
    let again = open(root.path()).1;
    assert_eq!(
        again,
        SweepReport {
            names: 1,
            stuck: again.stuck,
            ..SweepReport::default()
        }
    );
    report
}

#[test]
fn leftover_temporary_files_are_removed() {
    let (root, layout, stored) = with_one_artifact();
    fs::write(layout.staging().join("17.tmp"), "half").unwrap();
    fs::create_dir_all(layout.staging().join("a/b")).unwrap();
    symlink("/etc/hostname", layout.staging().join("link")).unwrap();
    let report = assert_only_the_good_one_is_left(&root, &stored);
    assert_eq!(report.leftovers, 3);
}

#[test]
fn a_sidecar_without_its_blob_is_dropped_and_the_object_named() {
    let (root, layout, stored) = with_one_artifact();
    fs::remove_file(layout.blob(&stored.digest)).unwrap();
    let (store, report) = open(root.path());
    assert_eq!(report.lost, [key("web")]);
    assert_eq!(store.current(&key("web")), None);
    assert!(
        !layout
            .sidecar(&stored.key, &stored.manifest_digest)
            .exists()
    );
    assert_eq!(
        publish(&store, "web", "m", "bytes", 1).digest,
        stored.digest
    );
}

#[test]
fn a_truncated_or_grown_or_replaced_blob_is_dropped_with_its_name() {
    let spoil: [fn(&Path); 5] = [
        |blob| fs::write(blob, "byt").unwrap(),
        |blob| fs::write(blob, "").unwrap(),
        |blob| fs::write(blob, "bytes and more").unwrap(),
        |blob| symlink("/etc/hostname", blob).unwrap(),
        |blob| fs::create_dir(blob).unwrap(),
    ];
    for spoil in spoil {
        let (root, layout, stored) = with_one_artifact();
        let blob = layout.blob(&stored.digest);
        fs::remove_file(&blob).unwrap();
        spoil(&blob);
        let (store, report) = open(root.path());
        assert_eq!(
            (report.lost, report.orphans + report.stuck),
            (vec![key("web")], 1)
        );
        assert!(matches!(store.lookup(&stored.path()), Lookup::Missing(_)));
    }
}

#[test]
fn a_blob_without_a_name_and_strange_files_beside_it_are_removed() {
    let (root, layout, stored) = with_one_artifact();
    let orphan = Digest::sha256_of(b"killed before the sidecar");
    fs::write(layout.blob(&orphan), "killed before the sidecar").unwrap();
    fs::write(layout.blobs_of(orphan.algorithm()).join("README"), "").unwrap();
    symlink(
        root.path(),
        layout.blobs_of(orphan.algorithm()).join("link"),
    )
    .unwrap();
    let report = assert_only_the_good_one_is_left(&root, &stored);
    assert_eq!(report.orphans, 3);
}

#[test]
fn a_sidecar_that_cannot_be_read_is_removed_and_counted() {
    let (root, layout, stored) = with_one_artifact();
    let good = fs::read_to_string(layout.sidecar(&stored.key, &stored.manifest_digest)).unwrap();
    let hostile_key = good.replace(r#""name":"web""#, r#""name":"../web""#);
    let other_format = good.replace(r#""format":1"#, r#""format":2"#);
    assert!(hostile_key != good && other_format != good);
    let large = format!("{good}{}", " ".repeat(1 << 20));
    let deep = "[".repeat(100_000);
    for bad in [
        "",
        "{",
        "null",
        "\0",
        &good[..good.len() / 2],
        &hostile_key,
        &other_format,
        &large,
        &deep,
    ] {
        let manifest = Digest::sha256_of(b"another manifest");
        fs::write(layout.sidecar(&key("web"), &manifest), bad).unwrap();
        let report = assert_only_the_good_one_is_left(&root, &stored);
        assert_eq!((report.names, report.garbage), (1, 1), "{bad:.40}");
    }
}

#[test]
fn a_sidecar_under_a_path_that_is_not_its_own_gives_nobody_anything() {
    let (root, layout, stored) = with_one_artifact();
    let own = layout.sidecar(&stored.key, &stored.manifest_digest);
    let of_another_object = layout.sidecar(&key("api"), &stored.manifest_digest);
    fs::create_dir(layout.object(&key("api"))).unwrap();
    fs::copy(&own, of_another_object).unwrap();
    fs::copy(&own, layout.sidecar(&key("web"), &Digest::sha256_of(b"x"))).unwrap();
    fs::copy(&own, layout.object(&key("web")).join("0.tmp")).unwrap();
    symlink(&own, layout.sidecar(&key("web"), &Digest::sha256_of(b"y"))).unwrap();
    fs::write(layout.kind().join("stray"), "").unwrap();
    let report = assert_only_the_good_one_is_left(&root, &stored);
    assert_eq!((report.names, report.garbage), (1, 5));
    assert!(
        !layout.object(&key("api")).exists(),
        "empty directories go too"
    );
}

#[test]
fn a_sidecar_with_a_field_of_a_later_version_is_read() {
    let (root, layout, stored) = with_one_artifact();
    let path = layout.sidecar(&stored.key, &stored.manifest_digest);
    let text = fs::read_to_string(&path).unwrap();
    let later = text.replace(r#""trust":"#, r#""observedIgnore":"*.md","trust":"#);
    assert_ne!(text, later);
    fs::write(&path, later).unwrap();
    assert_only_the_good_one_is_left(&root, &stored);
}

#[test]
fn a_directory_that_does_not_belong_there_is_left_alone() {
    let (root, layout, stored) = with_one_artifact();
    let foreign = layout.blobs_of(stored.digest.algorithm()).join("mine");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("file"), "precious").unwrap();
    let (_store, report) = open(root.path());
    assert_eq!(report.stuck, 1);
    assert_eq!(
        fs::read_to_string(foreign.join("file")).unwrap(),
        "precious"
    );
}

#[test]
fn a_store_that_died_while_it_was_made_is_completed() {
    let root = TempDir::new().unwrap();
    fs::write(Layout::new(root.path()).marker(), "").unwrap();
    let store = open(root.path()).0;
    publish(&store, "web", "m", "bytes", 0);
}

#[test]
fn the_store_is_made_below_directories_that_do_not_exist_yet() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = TempDir::new().unwrap();
    let deep = root.path().join("state/store");
    let store = open(&deep).0;
    assert_eq!(
        fs::metadata(store.root()).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn a_second_process_is_refused_until_the_first_is_gone() {
    let (root, store) = new_store();
    let at_once = Options {
        lock_wait: Duration::ZERO,
        ..Options::default()
    };
    let error = Store::open(root.path(), at_once).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("in use by another process"));
    let clone = store.clone();
    drop(store);
    assert!(Store::open(root.path(), at_once).is_err());
    drop(clone);
    open(root.path());
}

#[test]
fn a_process_that_is_about_to_go_is_waited_for() {
    let (root, store) = new_store();
    let patient = Options {
        lock_wait: Duration::from_secs(20),
        ..Options::default()
    };
    let at_once = Options {
        lock_wait: Duration::ZERO,
        ..Options::default()
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| Store::open(root.path(), patient));
        // Gives the second one the time to find the store locked.
        assert!(Store::open(root.path(), at_once).is_err());
        drop(store);
        assert!(second.join().unwrap().is_ok());
    });
}

#[test]
fn a_directory_with_somebody_else_s_files_is_not_taken_over() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("staging/thesis.odt");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "ten years").unwrap();
    let error = Store::open(root.path(), Options::default()).unwrap_err();
    assert!(error.to_string().contains("not a Wharf store"), "{error}");
    assert_eq!(fs::read_to_string(file).unwrap(), "ten years");
}

#[test]
fn files_beside_the_store_do_not_matter() {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("lost+found")).unwrap();
    open(root.path());
    assert!(root.path().join("lost+found").exists());
}

#[test]
fn a_store_of_another_format_is_refused_and_left_as_it_is() {
    let (root, layout, _) = with_one_artifact();
    fs::write(
        layout.marker(),
        format!("wharf store 2\n{}", "x".repeat(1 << 20)),
    )
    .unwrap();
    let error = Store::open(root.path(), Options::default()).unwrap_err();
    assert!(
        error.to_string().contains("wharf store 2") && error.to_string().len() < 300,
        "{error}"
    );
    assert!(layout.marker().metadata().unwrap().len() > 1 << 20);
}

#[test]
fn a_root_that_cannot_be_a_directory_is_refused_with_what_to_do() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file, Options::default()).unwrap_err();
    assert!(error.to_string().contains("is not a directory"), "{error}");
    // Refused for everybody, root included: nothing can be made below a file.
    let error = Store::open(&file.join("store"), Options::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot create the store's directory"),
        "{error}"
    );
    assert_eq!(error.category(), "store_io");
}

#[test]
fn a_file_system_that_takes_no_files_is_refused() {
    // The kernel's process tree takes no files from anybody, which makes it an unwritable directory also for root.
    let error = Store::open(Path::new("/proc/self"), Options::default()).unwrap_err();
    assert!(
        error.to_string().contains("cannot write to the store"),
        "{error}"
    );
}
