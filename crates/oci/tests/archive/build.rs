// SPDX-License-Identifier: Apache-2.0

use std::io::Write;

use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use wharf_oci::archive::{ArchiveError, Limits, Packed, Scan, repack, scan};

/// The fields of one header; what is not set is what a plain file has.
#[derive(Clone)]
pub(crate) struct Head {
    pub(crate) name: Vec<u8>,
    pub(crate) prefix: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) mtime: u32,
    pub(crate) type_flag: u8,
    pub(crate) magic: [u8; 8],
    /// Replaces the size of the body.
    pub(crate) size: Option<Vec<u8>>,
}

pub(crate) fn head(name: &str) -> Head {
    Head {
        name: name.into(),
        prefix: Vec::new(),
        mode: 0o644,
        owner: 1000,
        mtime: 1_700_000_000,
        type_flag: b'0',
        magic: *b"ustar\x0000",
        size: None,
    }
}

impl Head {
    pub(crate) fn flag(self, type_flag: u8) -> Self {
        Self { type_flag, ..self }
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn gnu(self) -> Self {
        let magic = *b"ustar  \0";
        Self { magic, ..self }
    }

    pub(crate) fn size(self, size: &[u8]) -> Self {
        let size = Some(size.to_vec());
        Self { size, ..self }
    }

    fn block(&self, body: usize) -> [u8; 512] {
        let mut block = [0; 512];
        block[..self.name.len()].copy_from_slice(&self.name);
        let size = self.size.clone();
        let size = size.unwrap_or_else(|| format!("{body:011o}").into_bytes());
        let fields = [
            (100, format!("{:07o}", self.mode).into_bytes()),
            (108, format!("{:07o}", self.owner).into_bytes()),
            (116, format!("{:07o}", self.owner).into_bytes()),
            (124, size),
            (136, format!("{:011o}", self.mtime).into_bytes()),
            (148, b"        ".to_vec()),
            (156, vec![self.type_flag]),
            (257, self.magic.to_vec()),
            (345, self.prefix.clone()),
        ];
        for (at, bytes) in fields {
            block[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        sum(&mut block);
        block
    }
}

/// Writes the right checksum into a header.
pub(crate) fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A tar stream that is being built.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.entry(&head(name), content.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.entry(&head(name).flag(b'5').mode(0o755), b"")
    }

    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let body: String = records
            .iter()
            .map(|(key, value)| record(key, value))
            .collect();
        self.entry(&head("PaxHeaders/x").flag(b'x'), body.as_bytes())
    }

    /// A GNU header that holds a long name (`L`) or link (`K`).
    pub(crate) fn long(self, type_flag: u8, name: &str) -> Self {
        let body = [name.as_bytes(), b"\0"].concat();
        self.entry(&head("././@LongLink").flag(type_flag).gnu(), &body)
    }

    pub(crate) fn entry(mut self, head: &Head, body: &[u8]) -> Self {
        self.0.extend_from_slice(&head.block(body.len()));
        self.0.extend_from_slice(body);
        let padded = self.0.len().next_multiple_of(512);
        self.0.resize(padded, 0);
        self
    }

    /// Appends raw bytes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Ends the archive, padded to a record of 20 blocks as most writers do, and compresses it.
    pub(crate) fn gz(self) -> Vec<u8> {
        let mut tar = self.raw(&[0; 1024]).0;
        tar.resize(tar.len().next_multiple_of(10_240), 0);
        gzip(&tar)
    }

    /// Compresses what is there, without an end marker.
    pub(crate) fn gz_open(self) -> Vec<u8> {
        gzip(&self.0)
    }
}

fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (1..9999).find(|n: &usize| n.to_string().len() + rest.len() == *n);
    format!("{}{rest}", length.unwrap())
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().filename("x.tar").mtime(1_700_000_000);
    let mut gzip = builder.write(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    std::io::copy(&mut MultiGzDecoder::new(bytes), &mut content).unwrap();
    content
}

pub(crate) fn scanned(blob: &[u8]) -> Result<Scan, ArchiveError> {
    scan(blob, &Limits::default())
}

/// The packed bytes, after it was checked that they are what is said of them and canonical.
pub(crate) fn repacked(blob: &[u8]) -> Result<(Vec<u8>, Packed), ArchiveError> {
    let spool = tempfile::tempfile().unwrap();
    let mut out = Vec::new();
    let packed = repack(blob, &spool, &mut out, &Limits::default())?;
    assert_eq!(packed.digest, wharf_oci::Digest::sha256_of(&out));
    assert_eq!(packed.size, out.len() as u64);
    assert_eq!(scanned(&out).unwrap().canonical, Ok(()));
    Ok((out, packed))
}

/// (name, is directory, mode, content) as an independent reader finds them.
pub(crate) fn read_back(blob: &[u8]) -> Vec<(String, bool, u32, Vec<u8>)> {
    let tar = gunzip(blob);
    let mut archive = tar::Archive::new(&tar[..]);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).unwrap();
        let header = entry.header();
        (
            name,
            header.entry_type().is_dir(),
            header.mode().unwrap(),
            content,
        )
    });
    entries.collect()
}

/// A small tree with everything that the rules of packing treat differently, in an order that is not theirs.
pub(crate) fn small_tree_gz() -> Vec<u8> {
    let long = format!("{}/ü.yaml", "d".repeat(120));
    Tar::default()
        .file("app.yaml", "kind: Top\n")
        .pax(&[("path", &long)])
        .file("cut", "long\n")
        .dir("app/empty/")
        .entry(&head("app/run.sh").mode(0o755), b"#!/bin/sh\n")
        .file("app/a.yaml", "kind: A\n")
        .gz()
}

/// Bytes that do not compress, the same every time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(next).collect()
}
