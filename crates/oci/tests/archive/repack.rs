// SPDX-License-Identifier: Apache-2.0

use std::{
    fs,
    io::{self, Write},
};

use wharf_oci::archive::{Limits, PACKER_VERSION, repack};

use crate::build::{Head, Tar, gunzip, head, read_back, repacked, small_tree_gz};

#[test]
fn the_rules_of_packing_hold() {
    let (packed, report) = repacked(&small_tree_gz()).unwrap();
    let shown: Vec<_> = read_back(&packed)
        .into_iter()
        .map(|(name, is_dir, mode, content)| (name, is_dir, mode, content.len()))
        .collect();
    let long = format!("{}/{}", "d".repeat(120), "ü.yaml");
    let expected = [
        (".", true, 0o750, 0),
        ("app", true, 0o750, 0),
        ("app/a.yaml", false, 0o600, 8),
        ("app/empty", true, 0o750, 0),
        ("app/run.sh", false, 0o700, 10),
        ("app.yaml", false, 0o600, 10),
        (&"d".repeat(120), true, 0o750, 0),
        (&long, false, 0o600, 5),
    ];
    let expected = expected.map(|(name, is_dir, mode, size)| (name.to_owned(), is_dir, mode, size));
    assert_eq!(shown, expected);
    assert_eq!(report.files, 4);
    // No name, no time, operating system 255.
    assert_eq!(packed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
}

#[test]
fn nothing_of_owners_and_times_is_left() {
    let (packed, _) = repacked(&small_tree_gz()).unwrap();
    let tar = gunzip(&packed);
    let mut archive = tar::Archive::new(&tar[..]);
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        let ids = (
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap(),
        );
        assert_eq!(ids, (0, 0, 0));
        assert_eq!(header.username_bytes(), Some(&b""[..]));
        assert_eq!(header.groupname_bytes(), Some(&b""[..]));
    }
}

/// The digest was made once from Go's `archive/tar`, written by the rules of Flux, over the tree of `small_tree_gz`.
/// It is of the tar stream, so it holds whatever the compressor.
#[test]
fn the_tar_stream_is_byte_for_byte_what_flux_writes() {
    let (packed, _) = repacked(&small_tree_gz()).unwrap();
    let digest = wharf_oci::Digest::sha256_of(&gunzip(&packed));
    assert_eq!(
        digest.hex(),
        "2c77526f9a03c3564aa961bcc50bc580b03a94492444adfe9c09b78e1f86333e"
    );
}

/// A change of this digest is a change of [`PACKER_VERSION`].
#[test]
fn the_packed_bytes_of_a_fixed_tree_are_pinned() {
    let (_, report) = repacked(&small_tree_gz()).unwrap();
    let version_1 = "384bd5865114c9455a880e30afcd55a4f51b2ebdc41f33840af7f306f0544d15";
    assert_eq!((PACKER_VERSION, report.digest.hex()), (1, version_1));
}

#[test]
fn order_owners_times_and_modes_change_nothing() {
    let plain = Tar::default().dir("a").file("a/x", "1").file("b", "2");
    let other = |name: &str, mode| {
        Head {
            owner: 7,
            mtime: 1,
            ..head(name)
        }
        .mode(mode)
    };
    let shuffled = Tar::default()
        .entry(&other("./b", 0o444).gnu(), b"2")
        .pax(&[("path", "a/x"), ("mtime", "9.5"), ("uname", "bob")])
        .entry(&other("cut", 0o600), b"1")
        .entry(&other("./", 0o700).flag(b'5'), b"")
        .entry(&other("a/", 0o711).flag(b'5').gnu(), b"");
    let without_parents = Tar::default().file("b", "2").file("a/x", "1");
    let (expected, _) = repacked(&plain.gz()).unwrap();
    for tar in [shuffled, without_parents] {
        assert!(repacked(&tar.gz()).unwrap().0 == expected);
    }
}

#[test]
fn packing_again_changes_nothing() {
    let (once, first) = repacked(&small_tree_gz()).unwrap();
    let (twice, second) = repacked(&once).unwrap();
    assert!(once == twice);
    assert_eq!(first, second);
}

#[test]
fn long_names_are_read_back_by_an_independent_reader() {
    for length in [1, 99, 100, 101, 155, 156, 157, 255, 256, 257, 300, 1000] {
        let name: String = (1..=length)
            .map(|n| if n % 90 == 0 && n < length { '/' } else { 'n' })
            .collect();
        let blob = Tar::default().pax(&[("path", &name)]).file("cut", "x").gz();
        let (packed, _) = repacked(&blob).unwrap();
        let names: Vec<_> = read_back(&packed)
            .into_iter()
            .map(|entry| entry.0)
            .collect();
        assert_eq!(names.last(), Some(&name), "{length}");
    }
}

#[test]
fn contents_of_every_length_around_a_block_come_through() {
    let sizes = [0, 1, 511, 512, 513, 65_536, 131_072, 131_073, 400_001];
    let content =
        |size: usize| -> Vec<u8> { (0..size).map(|n| (n * n / 3).to_le_bytes()[0]).collect() };
    let tar = sizes.iter().fold(Tar::default(), |tar, size| {
        tar.entry(&head(&format!("{size:08}")), &content(*size))
    });
    let (packed, _) = repacked(&tar.gz()).unwrap();
    for (entry, size) in read_back(&packed)[1..].iter().zip(sizes) {
        assert!(entry.3 == content(size), "{size}");
    }
}

#[test]
fn a_failing_spool_or_output_is_named() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let blob = small_tree_gz();
    let spool = tempfile::tempfile().unwrap();
    let error = repack(&blob[..], &spool, Full, &Limits::default()).unwrap_err();
    assert_eq!(
        (error.category(), error.to_string().contains("packed")),
        ("io", true)
    );
    let read_only = tempfile::NamedTempFile::new().unwrap();
    let read_only = fs::File::open(read_only.path()).unwrap();
    let error = repack(&blob[..], &read_only, Vec::new(), &Limits::default()).unwrap_err();
    assert_eq!(
        (error.category(), error.to_string().contains("spool")),
        ("io", true)
    );
}
