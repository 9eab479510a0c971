// SPDX-License-Identifier: Apache-2.0
//! Writes the one form of archive that Wharf makes: the same tree always gives the same bytes.
//!
//! Directories and files enter in the order of [`super::tree::Tree::walk`]; a gzip-compressed tar leaves, with its digest
//! and size. The rules are Flux's: `.` first, no trailing slash, modes 0750, 0700 and 0600, no owner, mtime 0, ustar with
//! a PAX header only where ustar cannot hold the name or size; gzip without name and time, operating system 255, level 6.
//! The order is the caller's duty. Sources: POSIX.1-2017 pax; RFC 1952.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder, write::GzEncoder};

use super::{
    ArchiveError, Dropped,
    header::{BLOCK, Block, Header},
};
use crate::{Algorithm, Digest, Hasher};

/// The version of the packing rules: the same version, tree and machine give the same bytes.
///
/// It changes whenever the bytes for some tree change, also by a new compressor.
pub const PACKER_VERSION: u32 = 1;

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// How many compressed bytes there are.
    pub size: u64,
    /// Regular files in the archive.
    pub files: u64,
    /// What was left out.
    pub dropped: Dropped,
}

const LEVEL: u32 = 6;
const OS_UNKNOWN: u8 = 255;
const NAME: usize = 100;
const PREFIX: usize = 155;
/// What the compressor gets at once. Always the same amount, so that its choices depend on the content alone.
const CHUNK: usize = 128 << 10;

/// A gzip-compressed tar while it is written.
pub(super) struct TarGz<W: Write> {
    gzip: GzEncoder<Proof<W>>,
    chunk: Vec<u8>,
    files: u64,
}

impl<W: Write> TarGz<W> {
    pub(super) fn new(out: W) -> Self {
        let gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(OS_UNKNOWN)
            .write(Proof::new(out), Compression::new(LEVEL));
        Self {
            gzip,
            chunk: Vec::with_capacity(CHUNK),
            files: 0,
        }
    }

    /// Adds a directory; the root is `.`.
    pub(super) fn directory(&mut self, path: &str) -> Result<(), ArchiveError> {
        self.header(path, b'5', 0o750, 0)
    }

    /// Adds a file. `content` must call its argument with exactly `size` bytes in all.
    pub(super) fn file(
        &mut self,
        path: &str,
        executable: bool,
        size: u64,
        content: impl FnOnce(
            &mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>,
        ) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mode = if executable { 0o700 } else { 0o600 };
        self.header(path, b'0', mode, size)?;
        content(&mut |bytes| self.write(bytes))?;
        self.pad(size)?;
        self.files += 1;
        Ok(())
    }

    /// Writes the end marker and answers what was written.
    pub(super) fn finish(mut self, dropped: Dropped) -> Result<Packed, ArchiveError> {
        self.write(&[0; 2 * BLOCK])?;
        self.flush_chunk()?;
        let mut proof = self.gzip.finish().map_err(ArchiveError::Write)?;
        proof.out.flush().map_err(ArchiveError::Write)?;
        Ok(Packed {
            digest: proof.hasher.finish(),
            size: proof.size,
            files: self.files,
            dropped,
        })
    }

    fn header(
        &mut self,
        path: &str,
        type_flag: u8,
        mode: u32,
        size: u64,
    ) -> Result<(), ArchiveError> {
        let split = split(path);
        let mut records = String::new();
        if split.is_none() {
            records += &record("path", path);
        }
        if size > Header::MAX_SIZE {
            records += &record("size", &size.to_string());
        }
        if records.is_empty() {
            let (prefix, name) = split.unwrap_or_default();
            return self.write(&block(prefix, name, type_flag, mode, size, true));
        }
        self.write(&block(
            "",
            &pax_name(path),
            b'x',
            0,
            records.len() as u64,
            false,
        ))?;
        self.write(records.as_bytes())?;
        self.pad(records.len() as u64)?;
        self.write(&block("", &ascii_name(path), type_flag, mode, size, true))
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or_default();
        self.write(&[0; BLOCK][..padding])
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            let room = CHUNK - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK {
                self.flush_chunk()?;
            }
        }
        Ok(())
    }

    fn flush_chunk(&mut self) -> Result<(), ArchiveError> {
        self.gzip
            .write_all(&self.chunk)
            .map_err(ArchiveError::Write)?;
        self.chunk.clear();
        Ok(())
    }
}

/// Prefix and name of a path that ustar can hold.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME {
        return Some(("", path));
    }
    // The longest prefix that fits leaves the shortest name.
    let end = path.len().min(PREFIX + 1);
    let slash = path[..end].rfind('/').filter(|slash| *slash > 0)?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= NAME && !name.is_empty()).then_some((prefix, name))
}

/// The name of the PAX header itself, for readers that know none: never used by ours.
fn pax_name(path: &str) -> String {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let slash = if parents.is_empty() { "" } else { "/" };
    ascii_name(&format!("{parents}{slash}PaxHeaders.0/{name}"))
}

/// What fits of a path into the name field where a PAX record holds all of it.
fn ascii_name(path: &str) -> String {
    let ascii = path.chars().filter(char::is_ascii).take(NAME);
    let name: String = ascii.collect();
    // Some readers take a trailing slash for a directory even if the record has none.
    name.trim_end_matches('/').to_owned()
}

/// One PAX record; its length counts its own digits.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

fn block(prefix: &str, name: &str, type_flag: u8, mode: u32, size: u64, devices: bool) -> Block {
    let mut block = [0; BLOCK];
    put(&mut block, 0, name.as_bytes());
    put(&mut block, 100, format!("{mode:07o}").as_bytes());
    put(&mut block, 108, b"0000000");
    put(&mut block, 116, b"0000000");
    let size = if size > Header::MAX_SIZE { 0 } else { size };
    put(&mut block, 124, format!("{size:011o}").as_bytes());
    put(&mut block, 136, b"00000000000");
    put(&mut block, 148, b"        ");
    block[156] = type_flag;
    put(&mut block, 257, b"ustar\x0000");
    if devices {
        put(&mut block, 329, b"0000000");
        put(&mut block, 337, b"0000000");
    }
    put(&mut block, 345, prefix.as_bytes());
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    put(&mut block, 148, format!("{sum:06o}\0").as_bytes());
    block
}

fn put(block: &mut Block, at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Hashes and counts what reaches the output.
struct Proof<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W> Proof<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            hasher: Hasher::new(Algorithm::Sha256),
            size: 0,
        }
    }
}

impl<W: Write> Write for Proof<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_where_ustar_can_hold_it() {
        let name = "n".repeat(100);
        assert_eq!(split(&name), Some(("", &*name)));
        assert_eq!(split(&"n".repeat(101)), None);
        assert_eq!(split("ü"), None);
        let prefix = "p".repeat(155);
        let both = format!("{prefix}/{name}");
        assert_eq!(split(&both), Some((&*prefix, &*name)));
        assert_eq!(split(&format!("{prefix}p/{name}")), None);
        assert_eq!(split(&format!("{prefix}/{name}n")), None);
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..2000 {
            let record = record("path", &"v".repeat(length));
            let (said, _) = record.split_once(' ').unwrap();
            assert_eq!(said, record.len().to_string());
        }
    }

    #[test]
    fn the_name_beside_a_record_fits_and_has_no_trailing_slash() {
        let path = format!("{}/{}", "d".repeat(99), "ü".repeat(9));
        assert_eq!(ascii_name(&path), "d".repeat(99));
        assert!(pax_name(&path).len() <= NAME);
        assert_eq!(pax_name("ü.txt"), "PaxHeaders.0/.txt");
    }

    /// Hands on one byte at a time.
    struct Trickle(Vec<u8>);

    impl Write for Trickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend(bytes.first());
            Ok(bytes.len().min(1))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_do_not_depend_on_how_content_arrives_or_leaves() {
        let content: Vec<u8> = (0..600_000_u32)
            .flat_map(|n| (n.wrapping_mul(n) / 7).to_le_bytes())
            .collect();
        let pack = |piece: usize, out: &mut dyn Write| {
            let mut tar = TarGz::new(out);
            let size = content.len() as u64;
            tar.file("f", false, size, |sink| {
                content.chunks(piece).try_for_each(sink)
            })
            .unwrap();
            tar.finish(Dropped::default()).unwrap()
        };
        let (mut whole, mut pieces) = (Vec::new(), Trickle(Vec::new()));
        let packed = pack(usize::MAX, &mut whole);
        assert_eq!(packed, pack(777, &mut pieces));
        assert!(whole == pieces.0);
        assert_eq!(packed.digest, Digest::sha256_of(&whole));
        assert_eq!((packed.size, packed.files), (whole.len() as u64, 1));
    }
}
