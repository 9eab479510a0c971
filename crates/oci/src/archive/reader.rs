// SPDX-License-Identifier: Apache-2.0
//! The entries of a gzip-compressed tar, one after the other, to the last byte of the blob.
//!
//! A blob enters; entries leave through [`Entries::next`], contents through [`Entries::body`]. It refuses whatever
//! two readers of tar would understand differently, keeps no more than one entry in memory, and looks at the size of an
//! extension header before it makes room for it. What lies outside the closed grammar but is safe it notes.
//!
//! Why an own reader: the archive is read once, and the same pass must tell which extension headers there were, what
//! followed the end marker and what the padding held. Readers made for unpacking hide exactly that.

use std::io::Read;

use super::{
    ArchiveError, Entry, EntryKind, Limits, NotCanonical,
    error::quote,
    grammar::{Grammar, MAX_CANONICAL_MEMBERS},
    gzip::Gunzip,
    header::{BLOCK, Block, Format, Header, is_zero, until_nul},
    limits::Limit,
    name::{EntryPath, Named},
    pax::Pax,
};

/// Reads entries from a blob.
pub(super) struct Entries<R> {
    stream: Gunzip<R>,
    limits: Limits,
    grammar: Grammar,
    /// Bytes of the inflated stream that were read.
    offset: u64,
    /// Where the current header starts.
    header_at: u64,
    /// Bytes of the current body, and of its padding, that were not read.
    body: u64,
    padding: u64,
    count: u64,
    ended: bool,
}

/// One entry of any kind, with a safe path.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: EntryPath,
    pub(super) kind: EntryKind,
    pub(super) size: u64,
    pub(super) mode: u32,
    /// Which one it is, counted from 1.
    pub(super) ordinal: u64,
}

impl Item {
    pub(super) fn executable(&self) -> bool {
        self.mode & 0o111 != 0
    }

    pub(super) fn into_entry(self) -> Entry {
        let root = self.path.is_root();
        let name = if root { "." } else { self.path.as_str() };
        Entry {
            name: name.to_owned(),
            kind: self.kind,
            size: self.size,
            mode: self.mode,
        }
    }
}

/// Extension headers that wait for the entry they speak of.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: bool,
    bytes: u64,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && !self.long_link
    }
}

/// What the whole archive turned out to be.
pub(super) struct Whole {
    pub(super) canonical: Result<(), NotCanonical>,
    pub(super) entries: u64,
    pub(super) expanded: u64,
}

impl<R: Read> Entries<R> {
    pub(super) fn new(blob: R, limits: &Limits) -> Self {
        Self {
            stream: Gunzip::new(blob, limits),
            limits: limits.clone(),
            grammar: Grammar::default(),
            offset: 0,
            header_at: 0,
            body: 0,
            padding: 0,
            count: 0,
            ended: false,
        }
    }

    /// The next entry; what was not read of the last one's body is skipped. None after the whole blob was read and
    /// proved sound.
    pub(super) fn next(&mut self) -> Result<Option<Item>, ArchiveError> {
        self.body(|_| Ok(()))?;
        let mut pending = Pending::default();
        while let Some(header) = self.header()? {
            match header.type_flag {
                b'x' => self.pax(&header, &mut pending)?,
                b'g' => self.global(&header, &pending)?,
                b'L' | b'K' => self.gnu(&header, &mut pending)?,
                _ => return self.item(&header, pending).map(Some),
            }
        }
        if !pending.is_empty() {
            return Err(self.malformed("an extension header has no entry"));
        }
        Ok(None)
    }

    /// Hands what is left of the current entry's content to `sink`, piece by piece, and skips the padding.
    pub(super) fn body(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        while self.body > 0 {
            let left = usize::try_from(self.body).unwrap_or(usize::MAX);
            let read = self.piece(left, "the content of an entry", &mut sink)?;
            self.body -= read as u64;
        }
        let mut zero = true;
        while self.padding > 0 {
            let left = usize::try_from(self.padding).unwrap_or(BLOCK);
            let read = self.piece(left, "the padding of an entry", |bytes| {
                zero &= is_zero(bytes);
                Ok(())
            })?;
            self.padding -= read as u64;
        }
        self.grammar.require(zero, || NotCanonical::Padding);
        Ok(())
    }

    /// The place for whoever looks at entries to note what leaves the grammar.
    pub(super) fn grammar(&mut self) -> &mut Grammar {
        &mut self.grammar
    }

    /// The verdict on the whole, once [`Self::next`] has answered None.
    pub(super) fn finish(mut self) -> Whole {
        let few = self.stream.members() <= MAX_CANONICAL_MEMBERS;
        self.grammar.require(few, || NotCanonical::GzipMembers);
        let padded = self.stream.padded();
        self.grammar.require(!padded, || NotCanonical::AfterGzip);
        Whole {
            canonical: self.grammar.verdict(),
            entries: self.count,
            expanded: self.stream.expanded(),
        }
    }

    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        self.header_at = self.offset;
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            if self.offset == 0 {
                return Err(self.malformed("there is none, the archive is empty"));
            }
            return self.end(false);
        };
        if is_zero(&block) {
            return match self.block()? {
                None => self.end(false),
                Some(second) if is_zero(&second) => self.end(true),
                Some(_) => {
                    Err(self.malformed("one block of zeros stands where two end the archive"))
                }
            };
        }
        let header = Header::parse(&block).map_err(|what| self.malformed(what))?;
        let (plain, ustar) = (header.plain, header.format == Format::Ustar);
        self.grammar.require(ustar, || NotCanonical::Format);
        self.grammar.require(plain, || NotCanonical::Header);
        Ok(Some(header))
    }

    /// Reads on to the end of the blob: only there it is proved that nothing was cut off or forged.
    fn end(&mut self, marked: bool) -> Result<Option<Header>, ArchiveError> {
        self.ended = true;
        self.grammar.require(marked, || NotCanonical::EndMarker);
        let mut zero = true;
        loop {
            let bytes = self.stream.fill()?;
            if bytes.is_empty() {
                self.grammar.require(zero, || NotCanonical::AfterEnd);
                return Ok(None);
            }
            zero &= is_zero(bytes);
            let count = bytes.len();
            self.stream.consume(count);
        }
    }

    fn pax(&mut self, header: &Header, pending: &mut Pending) -> Result<(), ArchiveError> {
        if !pending.is_empty() {
            return Err(self.malformed("a PAX header follows another extension header"));
        }
        let body = self.extension(header, &mut pending.bytes)?;
        let pax = Pax::parse(&body).map_err(|what| self.malformed(what))?;
        if let Some(key) = &pax.other {
            self.grammar
                .require(false, || NotCanonical::PaxRecord(key.clone()));
        }
        pending.pax = Some(pax);
        Ok(())
    }

    /// A global header is read past, as long as no reader could take a name or size from it.
    fn global(&mut self, header: &Header, pending: &Pending) -> Result<(), ArchiveError> {
        if !pending.is_empty() {
            return Err(self.malformed("a global header follows another extension header"));
        }
        let body = self.extension(header, &mut 0)?;
        let pax = Pax::parse(&body).map_err(|what| self.malformed(what))?;
        if pax.reshapes {
            return Err(self.malformed("a global header sets names or sizes"));
        }
        self.grammar.require(false, || NotCanonical::GlobalHeader);
        Ok(())
    }

    fn gnu(&mut self, header: &Header, pending: &mut Pending) -> Result<(), ArchiveError> {
        let is_name = header.type_flag == b'L';
        let twice = if is_name {
            pending.long_name.is_some()
        } else {
            pending.long_link
        };
        if pending.pax.is_some() || twice {
            return Err(self.malformed("a long name follows another extension header"));
        }
        let body = self.extension(header, &mut pending.bytes)?;
        let name = until_nul(&body);
        if name.is_empty() || !is_zero(&body[name.len()..]) {
            return Err(self.malformed("a long name is empty or goes on after its end"));
        }
        if is_name {
            pending.long_name = Some(name.to_vec());
        }
        pending.long_link |= !is_name;
        self.grammar.require(false, || NotCanonical::GnuExtension);
        Ok(())
    }

    /// The body of an extension header. Its size is checked before memory is taken for it.
    fn extension(&mut self, header: &Header, taken: &mut u64) -> Result<Vec<u8>, ArchiveError> {
        *taken = taken.saturating_add(header.size);
        self.limits.check(Limit::HeaderBytes, *taken)?;
        self.open_body(header.size);
        let mut body = Vec::new();
        self.body(|bytes| {
            body.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(body)
    }

    fn item(&mut self, header: &Header, pending: Pending) -> Result<Item, ArchiveError> {
        let pax = pending.pax.unwrap_or_default();
        if pax.sparse || header.type_flag == b'S' {
            return Err(self.malformed("it is of a sparse file"));
        }
        let size = self.size(header, pax.size)?;
        let raw = pax
            .path
            .or(pending.long_name)
            .unwrap_or_else(|| header.name.clone());
        let named = Named::parse(&raw, &self.limits)?;
        self.grammar
            .require(named.normal, || NotCanonical::Name(quote(&raw)));
        let kind = self.kind(header, &named)?;
        if kind != EntryKind::File && size != 0 {
            return Err(self.malformed("it has a size and is not of a file"));
        }
        if kind == EntryKind::File && (named.slash || named.path.is_root()) {
            let why = "it is a file and its name is that of a directory";
            return Err(ArchiveError::name(&raw, why));
        }
        self.count += 1;
        self.limits.check(Limit::Entries, self.count)?;
        self.limits.check(Limit::ExpandedBytes, size)?;
        self.open_body(size);
        let mode = u32::try_from(header.mode & 0o7777).unwrap_or_default();
        let item = Item {
            path: named.path,
            kind,
            size,
            mode,
            ordinal: self.count,
        };
        self.note(&item, header.mode);
        Ok(item)
    }

    fn note(&mut self, item: &Item, mode: u64) {
        let name = item.path.as_str();
        let needed = if item.kind == EntryKind::Directory {
            0o500
        } else {
            0o400
        };
        let kept = matches!(item.kind, EntryKind::File | EntryKind::Directory);
        self.grammar
            .require_named(kept, NotCanonical::Dropped, name);
        let good = mode & !0o777 == 0 && mode & needed == needed;
        self.grammar.require_named(good, NotCanonical::Mode, name);
    }

    /// The size that every reader finds. With a PAX size, the header's own must be the same, unless it cannot hold it:
    /// readers that look at one only would go on reading at different places.
    fn size(&self, header: &Header, pax: Option<u64>) -> Result<u64, ArchiveError> {
        match pax {
            Some(size) if size != header.size && size <= Header::MAX_SIZE => {
                Err(self.malformed("its size is not that of its PAX header"))
            }
            other => Ok(other.unwrap_or(header.size)),
        }
    }

    fn kind(&self, header: &Header, named: &Named) -> Result<EntryKind, ArchiveError> {
        Ok(match header.type_flag {
            // Before POSIX, a directory was a file with a slash; readers look for it in either name.
            0 if named.slash != header.name.ends_with(b"/") => {
                return Err(self.malformed("its two names disagree on whether it is a directory"));
            }
            0 if named.slash => EntryKind::Directory,
            b'0' | 0 => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' | b'4' => EntryKind::Device,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => {
                return Err(ArchiveError::EntryType {
                    name: quote(named.path.as_str().as_bytes()),
                    type_flag: char::from(other),
                });
            }
        })
    }

    fn open_body(&mut self, size: u64) {
        self.body = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The next block; None at the end of the stream, an error inside a block.
    fn block(&mut self) -> Result<Option<Block>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            if self.stream.fill()?.is_empty() && filled == 0 {
                return Ok(None);
            }
            let rest = &mut block[filled..];
            filled += self.piece(rest.len(), "a tar header", |bytes| {
                rest[..bytes.len()].copy_from_slice(bytes);
                Ok(())
            })?;
        }
        Ok(Some(block))
    }

    /// Hands on at least one and at most `most` bytes.
    fn piece(
        &mut self,
        most: usize,
        inside: &'static str,
        mut sink: impl FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<usize, ArchiveError> {
        let bytes = self.stream.fill()?;
        let bytes = &bytes[..bytes.len().min(most)];
        if bytes.is_empty() {
            return Err(ArchiveError::Truncated { inside });
        }
        sink(bytes)?;
        let count = bytes.len();
        self.stream.consume(count);
        self.offset += count as u64;
        Ok(count)
    }

    fn malformed(&self, what: &'static str) -> ArchiveError {
        ArchiveError::Tar {
            offset: self.header_at,
            what,
        }
    }
}
