// SPDX-License-Identifier: Apache-2.0
//! Packs a downloaded archive again by our own rules.
//!
//! A proved blob enters, the contents of its files pass through a spool file, and a reproducible archive leaves; see
//! [`super::writer`] for its form. Memory holds the names of the entries, never their content.

use std::{fs::File, io::Read, io::Write, os::unix::fs::FileExt};

use super::{ArchiveError, Limits, Packed, scan::survey, writer::TarGz};

const PIECE: usize = 128 << 10;

/// Where a file's content lies in the spool.
#[derive(Clone, Copy)]
struct Spooled {
    offset: u64,
    size: u64,
    executable: bool,
}

/// Packs `blob` into `out`. `spool` must be an empty private file; its content afterwards is of no use.
///
/// # Guarantees
/// The bytes depend on the tree that the archive adds up to and on [`super::PACKER_VERSION`], not on the order of its
/// entries, their owners, times or other modes. Links and devices are left out and counted. Parents that have no entry
/// are made. Of two files with one name the last one counts. Packing the result again gives the same bytes.
///
/// # Errors
/// As for [`super::scan`], and when the spool or the output fails. `out` then holds a part that must not be used.
pub fn repack(
    blob: impl Read,
    spool: &File,
    out: impl Write,
    limits: &Limits,
) -> Result<Packed, ArchiveError> {
    let mut end = 0;
    let survey = survey(blob, limits, |item, entries| {
        let offset = end;
        entries.body(|bytes| {
            spool
                .write_all_at(bytes, end)
                .map_err(ArchiveError::Spool)?;
            end += bytes.len() as u64;
            Ok(())
        })?;
        let (size, executable) = (item.size, item.executable());
        Ok(Spooled {
            offset,
            size,
            executable,
        })
    })?;
    let mut tar = TarGz::new(out);
    let mut buffer = vec![0; PIECE];
    survey.tree.walk(|path, file| match file {
        None => tar.directory(path),
        Some(file) => tar.file(path, file.executable, file.size, |sink| {
            file.copy(spool, &mut buffer, sink)
        }),
    })?;
    tar.finish(survey.scan.dropped)
}

impl Spooled {
    fn copy(
        self,
        spool: &File,
        buffer: &mut [u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let (mut at, end) = (self.offset, self.offset + self.size);
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX);
            let count = most.min(buffer.len());
            let piece = &mut buffer[..count];
            spool
                .read_exact_at(piece, at)
                .map_err(ArchiveError::Spool)?;
            sink(piece)?;
            at += count as u64;
        }
        Ok(())
    }
}
