// SPDX-License-Identifier: Apache-2.0
//! The store on real small file systems: a tmpfs each.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path, process::Command};

use jiff::Timestamp;
use tempfile::TempDir;
use wharf::store::{ArtifactKey, NewArtifact, Options, Packer, Store, StoreError, StoredArtifact};
use wharf_oci::Digest;

/// A mounted tmpfs, unmounted when dropped.
pub(crate) struct Tmpfs(TempDir);

impl Tmpfs {
    pub(crate) fn new(options: &str) -> Self {
        let mounted = Self(TempDir::new().unwrap());
        mount(&["-t", "tmpfs", "-o", options, "tmpfs"], mounted.path());
        mounted
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(arguments: &[&str], on: &Path) {
    let status = Command::new("mount")
        .args(arguments)
        .arg(on)
        .status()
        .unwrap();
    assert!(status.success(), "mount {arguments:?} needs root");
}

fn publish(store: &Store, manifest: &str, content: &[u8]) -> Result<StoredArtifact, StoreError> {
    let staged = store.stage()?;
    staged.file().write_all(content).unwrap();
    let artifact = NewArtifact {
        key: ArtifactKey::new("apps", "web").unwrap(),
        revision: manifest.to_owned(),
        manifest_digest: Digest::sha256_of(manifest.as_bytes()),
        digest: Digest::sha256_of(content),
        size: content.len() as u64,
        uid: String::new(),
        metadata: BTreeMap::from([("note".to_owned(), "x".repeat(10_000))]),
        packer: Packer::Passthrough,
        trust: String::new(),
    };
    store.publish(staged, artifact, Timestamp::now())
}

fn assert_served(store: &Store, last: &StoredArtifact) {
    assert_eq!(store.current(&last.key).as_ref(), Some(last));
    let mut file = store.open_blob(&last.digest).unwrap();
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut content).unwrap();
    assert_eq!(Digest::sha256_of(&content), last.digest);
}

fn staging(disk: &Tmpfs) -> usize {
    fs::read_dir(disk.path().join("staging")).unwrap().count()
}

#[test]
fn a_full_disk_is_said_to_be_full_and_the_last_artifact_stays() {
    let disk = Tmpfs::new("size=256k");
    let (store, _) = Store::open(disk.path(), Options::default()).unwrap();
    let last = publish(&store, "m1", b"one").unwrap();
    let ballast = disk.path().join("ballast");
    let mut filling = fs::File::create(&ballast).unwrap();
    while filling.write(&[0; 512]).is_ok() {}
    // One page is left for the blob, none for the sidecar.
    let full = filling.metadata().unwrap().len();
    filling.set_len(full - full % 4096 - 4096).unwrap();
    let error = publish(&store, "m2", b"two").unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(error.category(), "store_full");
    assert_eq!(staging(&disk), 0);
    assert_served(&store, &last);
    drop(store);
    let (store, report) = Store::open(disk.path(), Options::default()).unwrap();
    assert_eq!((report.names, report.orphans), (1, 1));
    drop(filling);
    fs::remove_file(ballast).unwrap();
    let next = publish(&store, "m2", b"two").unwrap();
    assert_served(&store, &next);
}

#[test]
fn a_store_on_a_full_disk_is_not_opened() {
    let disk = Tmpfs::new("size=64k");
    drop(Store::open(disk.path(), Options::default()).unwrap());
    let mut filling = fs::File::create(disk.path().join("ballast")).unwrap();
    while filling.write(&[0; 512]).is_ok() {}
    let error = Store::open(disk.path(), Options::default()).unwrap_err();
    assert!(error.is_full(), "{error}");
}

#[test]
fn a_disk_without_inodes_is_full_too() {
    let disk = Tmpfs::new("nr_inodes=64");
    let (store, _) = Store::open(disk.path(), Options::default()).unwrap();
    let last = publish(&store, "m1", b"one").unwrap();
    let ballast = disk.path().join("ballast");
    fs::create_dir(&ballast).unwrap();
    let files = (0..).take_while(|n| fs::File::create(ballast.join(n.to_string())).is_ok());
    assert!(files.count() > 0);
    assert!(publish(&store, "m2", b"two").unwrap_err().is_full());
    assert_served(&store, &last);
    fs::remove_dir_all(ballast).unwrap();
    publish(&store, "m2", b"two").unwrap();
}

#[test]
fn a_disk_that_becomes_read_only_goes_on_serving() {
    let disk = Tmpfs::new("size=1m");
    let (store, _) = Store::open(disk.path(), Options::default()).unwrap();
    let last = publish(&store, "m1", b"one").unwrap();
    mount(&["-o", "remount,ro"], disk.path());
    let error = publish(&store, "m2", b"two").unwrap_err();
    assert_eq!(error.category(), "store_io", "{error}");
    assert_served(&store, &last);
    drop(store);
    let error = Store::open(disk.path(), Options::default()).unwrap_err();
    assert!(
        error.to_string().contains("cannot create temporary file"),
        "{error}"
    );
    mount(&["-o", "remount,rw"], disk.path());
    let (store, report) = Store::open(disk.path(), Options::default()).unwrap();
    assert_eq!(report.names, 1);
    assert_served(&store, &last);
}
