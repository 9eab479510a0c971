// SPDX-License-Identifier: Apache-2.0
//! A strict gzip reader: every member, every checksum, to the last byte of the blob.
//!
//! Compressed bytes enter from any [`Read`]; inflated bytes leave through [`Gunzip::fill`] and [`Gunzip::consume`]. It
//! counts both, and refuses what exceeds the limits before handing it on. Memory is constant. Source: RFC 1952.
//!
//! Why not the reader that comes with the inflater: it does not tell how many members there were, accepts reserved flags,
//! and cannot say whether what follows the last member is padding.

use std::io::{ErrorKind, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{ArchiveError, Limits, limits::Limit};

const BUFFER: usize = 64 << 10;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Inflates a blob of one or more gzip members.
pub(super) struct Gunzip<R> {
    input: Input<R>,
    inflate: Decompress,
    crc: Crc,
    output: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
    members: u64,
    expanded: u64,
    padded: bool,
    limits: Limits,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Inside,
    Done,
}

impl<R: Read> Gunzip<R> {
    pub(super) fn new(blob: R, limits: &Limits) -> Self {
        Self {
            input: Input::new(blob, limits),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            output: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            state: State::Between,
            members: 0,
            expanded: 0,
            padded: false,
            limits: limits.clone(),
        }
    }

    /// The next inflated bytes, at least one; empty only at the proved end of the whole blob.
    pub(super) fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        while self.start == self.end {
            match self.state {
                State::Between => self.open_member()?,
                State::Inside => self.inflate()?,
                State::Done => break,
            }
        }
        Ok(&self.output[self.start..self.end])
    }

    /// Marks bytes of the last [`Self::fill`] as read.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Members seen so far.
    pub(super) fn members(&self) -> u64 {
        self.members
    }

    /// Bytes inflated so far.
    pub(super) fn expanded(&self) -> u64 {
        self.expanded
    }

    /// Whether zeros followed the last member.
    pub(super) fn padded(&self) -> bool {
        self.padded
    }

    fn open_member(&mut self) -> Result<(), ArchiveError> {
        match self.input.fill()?.first() {
            None if self.members > 0 => {
                self.state = State::Done;
                return Ok(());
            }
            Some(0) if self.members > 0 => return self.skip_zeros(),
            Some(&first) if first == MAGIC[0] => {}
            _ if self.members > 0 => return Err(ArchiveError::TrailingGarbage),
            _ => {
                let found = recognise(self.input.fill()?);
                return Err(ArchiveError::NotGzip { found });
            }
        }
        self.members += 1;
        self.limits.check(Limit::GzipMembers, self.members)?;
        self.read_header()?;
        self.inflate.reset(false);
        self.crc.reset();
        self.state = State::Inside;
        Ok(())
    }

    /// Tape-style padding after the last member: tolerated as zeros, refused as anything else.
    fn skip_zeros(&mut self) -> Result<(), ArchiveError> {
        self.padded = true;
        loop {
            let rest = self.input.fill()?;
            if rest.iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::TrailingGarbage);
            }
            let count = rest.len();
            if count == 0 {
                self.state = State::Done;
                return Ok(());
            }
            self.input.consume(count);
        }
    }

    fn read_header(&mut self) -> Result<(), ArchiveError> {
        let mut header = MemberHeader {
            input: &mut self.input,
            crc: Crc::new(),
            limits: &self.limits,
            length: 0,
        };
        let fixed: [u8; 10] = header.take()?;
        if fixed[..2] != MAGIC {
            return Err(match self.members {
                1 => ArchiveError::NotGzip {
                    found: "something else",
                },
                _ => ArchiveError::TrailingGarbage,
            });
        }
        let flags = fixed[3];
        if fixed[2] != DEFLATE || flags & FLAGS_RESERVED != 0 {
            return Err(self.damaged("its header asks for an unknown method or flag"));
        }
        if !header.skip_optional(flags)? {
            return Err(self.damaged("the checksum of its header is wrong"));
        }
        Ok(())
    }

    fn inflate(&mut self) -> Result<(), ArchiveError> {
        let input = self.input.fill()?;
        let at_end = input.is_empty();
        let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, &mut self.output, FlushDecompress::None)
            .map_err(|_| self.damaged("its compressed data is invalid"))?;
        let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
        let made = usize::try_from(self.inflate.total_out() - made).unwrap_or(usize::MAX);
        self.input.consume(read);
        self.account(made)?;
        match status {
            Status::StreamEnd => self.close_member(),
            _ if read + made > 0 => Ok(()),
            _ if at_end => Err(ArchiveError::Truncated {
                inside: "a gzip member",
            }),
            _ => Err(self.damaged("its compressed data is invalid")),
        }
    }

    fn account(&mut self, made: usize) -> Result<(), ArchiveError> {
        self.crc.update(&self.output[..made]);
        (self.start, self.end) = (0, made);
        self.expanded += made as u64;
        self.limits.check(Limit::ExpandedBytes, self.expanded)?;
        if self.expanded > Limits::RATIO_FREE_BYTES {
            let ratio = self.expanded / self.input.consumed.max(1);
            self.limits.check(Limit::Ratio, ratio)?;
        }
        Ok(())
    }

    fn close_member(&mut self) -> Result<(), ArchiveError> {
        let sum = self.input.take("the checksum of a gzip member")?;
        let length = self.input.take("the length of a gzip member")?;
        if u32::from_le_bytes(sum) != self.crc.sum() {
            return Err(self.damaged("its checksum is wrong"));
        }
        if u32::from_le_bytes(length) != self.crc.amount() {
            return Err(self.damaged("its recorded length is wrong"));
        }
        self.state = State::Between;
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> ArchiveError {
        ArchiveError::Gzip {
            member: self.members,
            what,
        }
    }
}

/// The header of one member while it is read: its bytes are summed and counted.
struct MemberHeader<'a, R> {
    input: &'a mut Input<R>,
    crc: Crc,
    limits: &'a Limits,
    length: u64,
}

impl<R: Read> MemberHeader<'_, R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let bytes = self.input.take("the header of a gzip member")?;
        self.crc.update(&bytes);
        self.length += N as u64;
        self.limits.check(Limit::HeaderBytes, self.length)?;
        Ok(bytes)
    }

    /// Skips extra field, name and comment; false if there is a checksum and it is wrong.
    fn skip_optional(&mut self, flags: u8) -> Result<bool, ArchiveError> {
        if flags & FLAG_EXTRA != 0 {
            for _ in 0..u16::from_le_bytes(self.take()?) {
                self.take::<1>()?;
            }
        }
        for flag in [FLAG_NAME, FLAG_COMMENT] {
            while flags & flag != 0 && self.take::<1>()? != [0] {}
        }
        if flags & FLAG_HEADER_CRC == 0 {
            return Ok(true);
        }
        let [low, high, ..] = self.crc.sum().to_le_bytes();
        Ok(self.take::<2>()? == [low, high])
    }
}

/// The compressed side: buffered, counted, capped.
struct Input<R> {
    blob: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    consumed: u64,
    limits: Limits,
}

impl<R: Read> Input<R> {
    fn new(blob: R, limits: &Limits) -> Self {
        Self {
            blob,
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            consumed: 0,
            limits: limits.clone(),
        }
    }

    fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        if self.start == self.end {
            (self.start, self.end) = (0, read_some(&mut self.blob, &mut self.buffer)?);
            let total = self.consumed + self.end as u64;
            self.limits.check(Limit::CompressedBytes, total)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.consumed += count as u64;
    }

    fn take<const N: usize>(&mut self, inside: &'static str) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = match self.fill()?.first() {
                Some(first) => *first,
                None => return Err(ArchiveError::Truncated { inside }),
            };
            self.consume(1);
        }
        Ok(bytes)
    }
}

fn read_some(blob: &mut impl Read, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
    loop {
        match blob.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other.map_err(ArchiveError::Read),
        }
    }
}

/// Names what is not gzip, for the message only.
fn recognise(start: &[u8]) -> &'static str {
    match start {
        [] => "nothing (it is empty)",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [b'P', b'K', 3 | 5, _, ..] => "zip",
        [b'{', ..] => "JSON",
        [b'<', ..] => "HTML or XML",
        _ if start.get(257..262) == Some(b"ustar") => "an uncompressed tar",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn member(content: &[u8]) -> Vec<u8> {
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::default());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    /// Everything that comes out, or the category of the error; and the members seen.
    fn gunzip(blob: &[u8], limits: &Limits) -> (Result<Vec<u8>, &'static str>, u64) {
        let mut stream = Gunzip::new(blob, limits);
        let mut content = Vec::new();
        let result = loop {
            match stream.fill() {
                Ok([]) => break Ok(content),
                Ok(bytes) => content.extend_from_slice(bytes),
                Err(error) => break Err(error.category()),
            }
            stream.consume(usize::MAX >> 1);
        };
        (result, stream.members())
    }

    #[test]
    fn members_are_joined_and_counted() {
        let blob = [member(b"one "), member(b""), member(b"two")].concat();
        let got = gunzip(&blob, &Limits::default());
        assert_eq!(got, (Ok(b"one two".to_vec()), 3));
    }

    #[test]
    fn a_blob_cut_at_any_byte_is_refused() {
        let blob = [member(b"first"), member(&[7; 3000])].concat();
        let first = member(b"first").len();
        for end in (0..blob.len()).filter(|end| *end != first) {
            let (result, _) = gunzip(&blob[..end], &Limits::default());
            assert!(
                matches!(result, Err("damaged" | "not-gzip")),
                "{end} {result:?}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_never_changes_the_content() {
        let content = b"some content of a file";
        let good = member(content);
        for bit in 0..good.len() * 8 {
            let mut blob = good.clone();
            blob[bit / 8] ^= 1 << (bit % 8);
            // Time, hints and the bits after the last symbol carry nothing.
            if let (Ok(got), _) = gunzip(&blob, &Limits::default()) {
                assert_eq!(got, content, "bit {bit}");
            }
        }
    }

    #[test]
    fn wrong_checksum_and_wrong_length_are_told_apart() {
        let good = member(b"content");
        let trailer = good.len() - 8;
        for (at, what) in [(trailer, "checksum"), (trailer + 4, "length")] {
            let mut blob = good.clone();
            blob[at] ^= 1;
            let error = Gunzip::new(&blob[..], &Limits::default())
                .fill()
                .unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn zeros_may_follow_and_anything_else_may_not() {
        let mut blob = member(b"x");
        blob.resize(blob.len() + 200_000, 0);
        let mut stream = Gunzip::new(&blob[..], &Limits::default());
        stream.fill().unwrap();
        stream.consume(1);
        assert!(stream.fill().unwrap().is_empty() && stream.padded());
        blob.push(1);
        assert_eq!(gunzip(&blob, &Limits::default()).0, Err("damaged"));
        let garbage = [member(b"x"), b"garbage".to_vec()].concat();
        assert_eq!(gunzip(&garbage, &Limits::default()).0, Err("damaged"));
        let half_magic = [member(b"x"), vec![0x1f, 0x00, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(gunzip(&half_magic, &Limits::default()).0, Err("damaged"));
    }

    #[test]
    fn optional_header_fields_are_skipped_and_capped() {
        let named = |len: usize| {
            let mut gzip = GzBuilder::new()
                .extra(vec![1; 100])
                .filename(vec![b'n'; len])
                .comment("c")
                .write(Vec::new(), Compression::fast());
            gzip.write_all(b"x").unwrap();
            gzip.finish().unwrap()
        };
        assert_eq!(
            gunzip(&named(1000), &Limits::default()).0,
            Ok(b"x".to_vec())
        );
        assert_eq!(gunzip(&named(1 << 20), &Limits::default()).0, Err("limit"));
    }

    #[test]
    fn the_checksum_of_a_header_is_checked_when_there_is_one() {
        let plain = member(b"x");
        let mut header = plain[..10].to_vec();
        header[3] |= FLAG_HEADER_CRC;
        let mut crc = Crc::new();
        crc.update(&header);
        header.extend_from_slice(&crc.sum().to_le_bytes()[..2]);
        let mut blob = [header, plain[10..].to_vec()].concat();
        assert_eq!(gunzip(&blob, &Limits::default()).0, Ok(b"x".to_vec()));
        blob[10] ^= 1;
        assert_eq!(gunzip(&blob, &Limits::default()).0, Err("damaged"));
    }

    #[test]
    fn a_million_empty_members_are_refused_at_the_limit() {
        let blob = member(b"").repeat(1_000_000);
        let limits = Limits::default();
        let (result, members) = gunzip(&blob, &limits);
        assert_eq!((result, members), (Err("limit"), limits.gzip_members + 1));
    }

    #[test]
    fn what_is_not_gzip_is_named() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        tar[0] = b'a';
        for (blob, found) in [
            (&b""[..], "empty"),
            (b"\x28\xb5\x2f\xfd....", "zstd"),
            (b"{\"errors\":[]}", "JSON"),
            (&tar, "uncompressed tar"),
            (b"hello", "something else"),
            (b"\x1f\x9dabcdefghij", "something else"),
        ] {
            let error = Gunzip::new(blob, &Limits::default()).fill().unwrap_err();
            assert_eq!(error.category(), "not-gzip");
            assert!(error.to_string().contains(found), "{error}");
        }
    }

    #[test]
    fn compressed_expanded_and_ratio_limits_hold() {
        let zeros = member(&vec![0; 8 << 20]);
        assert_eq!(gunzip(&zeros, &Limits::default()).0, Err("limit"));
        let wide = Limits {
            ratio: 2000,
            ..Limits::default()
        };
        assert_eq!(gunzip(&zeros, &wide).0.map(|c| c.len()), Ok(8 << 20));
        let expanded = Limits {
            expanded_bytes: (8 << 20) - 1,
            ..wide.clone()
        };
        assert_eq!(gunzip(&zeros, &expanded).0, Err("limit"));
        let compressed = Limits {
            compressed_bytes: zeros.len() as u64 - 1,
            ..wide
        };
        assert_eq!(gunzip(&zeros, &compressed).0, Err("limit"));
        let small = member(&vec![0; 1 << 20]);
        assert!(gunzip(&small, &Limits::default()).0.is_ok());
    }
}
