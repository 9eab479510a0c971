// SPDX-License-Identifier: Apache-2.0

use wharf_oci::archive::NotCanonical;

use crate::build::{Head, Tar, gzip, head, repacked, scanned, sum};

/// The reason why a blob is not canonical; it must be safe, and must be packed again without trouble.
fn reason(blob: &[u8]) -> Option<NotCanonical> {
    repacked(blob).unwrap();
    scanned(blob).unwrap().canonical.err()
}

fn tree() -> Tar {
    let run = head("app/run.sh").mode(0o755);
    Tar::default()
        .dir("app/")
        .file("app/a.yaml", "kind: A\n")
        .entry(&run, b"#!/bin/sh\n")
}

#[test]
fn plain_files_and_directories_are_canonical() {
    let scan = scanned(&tree().gz()).unwrap();
    assert_eq!(scan.canonical, Ok(()));
    assert_eq!(
        (scan.entries, scan.expanded, scan.dropped.total()),
        (3, 10_240, 0)
    );
}

#[test]
fn the_forms_that_common_writers_give_names_are_canonical() {
    let with_root = Tar::default().dir("./").dir("./app/").file("./app/a", "x");
    assert_eq!(reason(&with_root.gz()), None);
    let without_parents = Tar::default().file("deep/down/a", "x").dir("deep");
    assert_eq!(reason(&without_parents.gz()), None);
    let prefix = Head {
        prefix: b"some/where".into(),
        ..head("a.yaml")
    };
    assert_eq!(reason(&Tar::default().entry(&prefix, b"x").gz()), None);
}

#[test]
fn an_archive_that_is_only_an_end_marker_is_canonical() {
    assert_eq!(reason(&Tar::default().gz()), None);
}

#[test]
fn up_to_sixteen_members_are_canonical() {
    let tar = tree().raw(&[0; 1024]).0;
    let members = |count: usize| -> Vec<u8> {
        let parts = tar.chunks(tar.len().div_ceil(count));
        let mut blob: Vec<u8> = parts.clone().flat_map(gzip).collect();
        (parts.len()..count).for_each(|_| blob.extend(gzip(b"")));
        blob
    };
    assert_eq!(reason(&members(1)), None);
    assert_eq!(reason(&members(16)), None);
    assert_eq!(reason(&members(17)), Some(NotCanonical::GzipMembers));
}

#[test]
fn zeros_after_the_gzip_stream_are_not_canonical() {
    let blob = [tree().gz(), vec![0; 700]].concat();
    assert_eq!(reason(&blob), Some(NotCanonical::AfterGzip));
}

#[test]
fn the_three_plain_pax_records_are_canonical() {
    let long = format!("{}/ü.yaml", "d".repeat(120));
    let records = [
        ("mtime", "1700000000.123456789"),
        ("path", &*long),
        ("size", "1"),
    ];
    assert_eq!(
        reason(&Tar::default().pax(&records).file("cut", "x").gz()),
        None
    );
}

#[test]
fn any_other_pax_record_is_not_canonical() {
    for key in [
        "atime",
        "uname",
        "comment",
        "hdrcharset",
        "SCHILY.xattr.user.a",
        "LIBARCHIVE.creationtime",
    ] {
        let blob = Tar::default().pax(&[(key, "BINARY")]).file("a", "x").gz();
        assert_eq!(reason(&blob), Some(NotCanonical::PaxRecord(key.into())));
    }
}

#[test]
fn a_global_pax_header_is_not_canonical() {
    // What `git archive` writes in front of everything.
    let global = head("pax_global_header").flag(b'g');
    let blob = Tar::default()
        .entry(&global, b"13 comment=x\n")
        .file("a", "x")
        .gz();
    assert_eq!(reason(&blob), Some(NotCanonical::GlobalHeader));
    assert_eq!(scanned(&blob).unwrap().entries, 1);
}

#[test]
fn the_dialects_of_gnu_and_before_posix_are_not_canonical() {
    let gnu = Tar::default().entry(&head("a").gnu(), b"x").gz();
    assert_eq!(reason(&gnu), Some(NotCanonical::Format));
    let v7 = Head {
        magic: [0; 8],
        ..head("a").flag(0)
    };
    assert_eq!(
        reason(&Tar::default().entry(&v7, b"x").gz()),
        Some(NotCanonical::Format)
    );
    let long = Tar::default()
        .long(b'L', &"n".repeat(200))
        .file("cut", "x")
        .gz();
    // The first thing that stands out is the header's own format.
    assert_eq!(reason(&long), Some(NotCanonical::Format));
    let posix_long = head("x").flag(b'L');
    let blob = Tar::default()
        .entry(&posix_long, b"name\0")
        .file("cut", "x")
        .gz();
    assert_eq!(reason(&blob), Some(NotCanonical::GnuExtension));
}

#[test]
fn binary_numbers_are_not_canonical() {
    let binary = head("a").size(b"\x80\0\0\0\0\0\0\0\0\0\0\x01");
    let blob = Tar::default().entry(&binary, b"x").gz();
    assert_eq!(reason(&blob), Some(NotCanonical::Header));
}

#[test]
fn a_header_that_needs_a_lenient_reader_is_not_canonical() {
    let no_version = Head {
        magic: *b"ustar\0\0\0",
        ..head("a")
    };
    let no_size = head("a").size(&[0; 12]);
    for head in [no_version, no_size, head("a").flag(0), head("a/").flag(0)] {
        let blob = Tar::default().entry(&head, b"").gz();
        assert_eq!(reason(&blob), Some(NotCanonical::Header));
    }
    let mut reserved = Tar::default().file("a", "x");
    reserved.0[511] = 1;
    sum(&mut reserved.0);
    assert_eq!(reason(&reserved.gz()), Some(NotCanonical::Header));
}

#[test]
fn links_and_devices_are_not_canonical() {
    for flag in *b"12346" {
        let blob = tree().entry(&head("odd").flag(flag), b"").gz();
        let expected = NotCanonical::Dropped("\"odd\"".into());
        assert_eq!(reason(&blob), Some(expected), "{}", char::from(flag));
    }
}

#[test]
fn names_with_empty_or_dot_components_are_not_canonical() {
    for name in ["a//b", "a/./b", "././b"] {
        let expected = NotCanonical::Name(format!("{name:?}"));
        assert_eq!(reason(&Tar::default().file(name, "x").gz()), Some(expected));
    }
}

#[test]
fn names_that_stand_twice_are_not_canonical() {
    let expected = Some(NotCanonical::Duplicate("\"a\"".into()));
    assert_eq!(
        reason(&Tar::default().file("a", "1").file("./a", "2").gz()),
        expected
    );
    assert_eq!(reason(&Tar::default().dir("a").dir("a/").gz()), expected);
}

#[test]
fn modes_without_owner_access_or_with_special_bits_are_not_canonical() {
    let file = |mode| reason(&Tar::default().entry(&head("f").mode(mode), b"x").gz());
    let dir = |mode| {
        reason(
            &Tar::default()
                .entry(&head("f").flag(b'5').mode(mode), b"")
                .gz(),
        )
    };
    let expected = Some(NotCanonical::Mode("\"f\"".into()));
    for mode in [0o400, 0o644, 0o777] {
        assert_eq!(file(mode), None, "{mode:o}");
    }
    for mode in [0, 0o200, 0o377, 0o4755, 0o2755, 0o1644, 0o100_644] {
        assert_eq!(file(mode), expected, "{mode:o}");
    }
    assert_eq!(dir(0o500), None);
    for mode in [0o600, 0o300, 0o1777] {
        assert_eq!(dir(mode), expected, "{mode:o}");
    }
}

#[test]
fn a_missing_or_half_end_marker_is_not_canonical() {
    assert_eq!(reason(&tree().gz_open()), Some(NotCanonical::EndMarker));
    assert_eq!(
        reason(&tree().raw(&[0; 512]).gz_open()),
        Some(NotCanonical::EndMarker)
    );
    assert_eq!(reason(&tree().raw(&[0; 1024]).gz_open()), None);
}

#[test]
fn only_zeros_may_follow_the_end_marker() {
    let zeros = tree().raw(&vec![0; 1024 + 100_001]).gz_open();
    assert_eq!(reason(&zeros), None);
    let hidden = tree().raw(&[0; 1024]).file("hidden", "x").gz();
    assert_eq!(reason(&hidden), Some(NotCanonical::AfterEnd));
    assert_eq!(scanned(&hidden).unwrap().entries, 3);
}

#[test]
fn padding_between_entries_must_be_zero() {
    let mut tar = Tar::default().file("a", "x").file("b", "y");
    tar.0[1023] = 1;
    assert_eq!(reason(&tar.gz()), Some(NotCanonical::Padding));
}
