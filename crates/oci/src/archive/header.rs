// SPDX-License-Identifier: Apache-2.0
//! One 512-byte tar header, decoded.
//!
//! Pure: a block enters, a [`Header`] leaves, or what is wrong with the block. A field that two readers of tar would
//! decode differently is an error here. Sources: POSIX.1-2017 pax "ustar Interchange Format"; the GNU tar manual, "Basic
//! Tar Format".

pub(super) const BLOCK: usize = 512;
pub(super) type Block = [u8; BLOCK];

/// The dialect that a header's magic announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// POSIX, with or without PAX extension headers.
    Ustar,
    /// GNU tar's own.
    Gnu,
    /// No magic: as before POSIX.
    V7,
}

/// A decoded header. Its name is raw and may still be overridden by an extension header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) mode: u64,
    pub(super) size: u64,
    pub(super) type_flag: u8,
    pub(super) format: Format,
    /// Every number is plain octal, the checksum unsigned, type and version written out and what is reserved zero: no
    /// reader needs to be lenient.
    pub(super) plain: bool,
}

impl Header {
    /// The largest size that the octal field can hold.
    pub(super) const MAX_SIZE: u64 = 0o777_7777_7777;

    pub(super) fn parse(block: &Block) -> Result<Self, &'static str> {
        let unsigned_sum = check_sum(block)?;
        let format = format(block)?;
        let mode = Number::parse(&block[100..108])?;
        let uid = Number::parse(&block[108..116])?;
        let gid = Number::parse(&block[116..124])?;
        let size = Number::parse(&block[124..136])?;
        if size == Number::Blank && !is_zero(&block[124..136]) {
            return Err("its size is blank, which some readers skip and others take for 0");
        }
        let mtime = Number::parse(&block[136..148])?;
        let devices = octal_devices(block, format)?;
        let octal = [mode, uid, gid, size, mtime].into_iter().all(Number::octal);
        let strict = &block[263..265] == b"00" && block[156] != 0 && is_zero(&block[500..]);
        Ok(Self {
            name: name(block, format)?,
            mode: mode.value().ok_or("its mode is negative")?,
            size: size.value().ok_or("its size is negative or too large")?,
            type_flag: block[156],
            format,
            plain: unsigned_sum && octal && strict && devices,
        })
    }
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Whether the unsigned sum matches; the signed one of some old writers is tolerated, as every reader does.
fn check_sum(block: &Block) -> Result<bool, &'static str> {
    let field = 148..156;
    let recorded = Number::parse(&block[field.clone()])?;
    let summed = || {
        let blanked = |(at, byte)| if field.contains(&at) { b' ' } else { byte };
        block.iter().copied().enumerate().map(blanked)
    };
    let unsigned: u64 = summed().map(u64::from).sum();
    let signed: i64 = summed().map(|byte| i64::from(byte.cast_signed())).sum();
    match recorded {
        Number::Octal(sum) if sum == unsigned => Ok(true),
        Number::Octal(sum) if i64::try_from(sum) == Ok(signed) => Ok(false),
        _ => Err("its checksum is wrong, this is not a tar header"),
    }
}

fn format(block: &Block) -> Result<Format, &'static str> {
    match &block[257..265] {
        b"ustar  \0" => Ok(Format::Gnu),
        // The version should be `00`; readers do not look at it.
        [b'u', b's', b't', b'a', b'r', 0, ..] => Ok(Format::Ustar),
        [0, 0, 0, 0, 0, 0, 0, 0] => Ok(Format::V7),
        _ => Err("its magic is none that is known"),
    }
}

fn octal_devices(block: &Block, format: Format) -> Result<bool, &'static str> {
    if format == Format::V7 {
        return Ok(true);
    }
    let (major, minor) = (
        Number::parse(&block[329..337])?,
        Number::parse(&block[337..345])?,
    );
    let plain = |number| matches!(number, Number::Octal(_) | Number::Blank);
    Ok(plain(major) && plain(minor))
}

/// Joins prefix and name. What the other dialects keep where ustar has its prefix is refused, because some readers take
/// it for a prefix anyway.
fn name(block: &Block, format: Format) -> Result<Vec<u8>, &'static str> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    if format != Format::Ustar {
        if !is_zero(&block[345..500]) {
            return Err("it has old GNU fields that other readers take for a part of its name");
        }
        return Ok(name.to_vec());
    }
    // The star dialect ends the prefix after 131 bytes and says so in the last ones.
    if prefix.len() > 130 && !is_zero(&block[500..]) {
        return Err("its name ends at one place for some readers and at another for others");
    }
    if prefix.is_empty() || name.is_empty() {
        return Ok(name.to_vec());
    }
    Ok([prefix, b"/", name].concat())
}

pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number field: octal digits, or GNU's base-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Octal(u64),
    Binary(u64),
    /// Nothing but spaces and NULs, which stands for 0.
    Blank,
    /// Negative, or more than 63 bits.
    Unusable,
}

impl Number {
    fn parse(field: &[u8]) -> Result<Self, &'static str> {
        if field[0] & 0x80 != 0 {
            return Ok(Self::binary(field));
        }
        let start = field.iter().take_while(|byte| **byte == b' ').count();
        let field = &field[start..];
        let digits = field
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'7'))
            .count();
        if !field[digits..].iter().all(|byte| matches!(byte, b' ' | 0)) {
            return Err("a number in it is not octal");
        }
        if digits == 0 {
            return Ok(Self::Blank);
        }
        // At most twelve digits of three bits: this cannot overflow.
        let value = |sum, digit: &u8| (sum << 3) | u64::from(digit - b'0');
        Ok(Self::Octal(field[..digits].iter().fold(0, value)))
    }

    fn binary(field: &[u8]) -> Self {
        let (first, rest) = (field[0] & 0x7f, &field[1..]);
        let (high, low) = rest.split_at(rest.len().saturating_sub(8));
        if first != 0 || !is_zero(high) {
            return Self::Unusable;
        }
        let value = low
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        match i64::try_from(value) {
            Ok(_) => Self::Binary(value),
            Err(_) => Self::Unusable,
        }
    }

    fn octal(self) -> bool {
        matches!(self, Self::Octal(_))
    }

    fn value(self) -> Option<u64> {
        match self {
            Self::Octal(value) | Self::Binary(value) => Some(value),
            Self::Blank => Some(0),
            Self::Unusable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(change: impl FnOnce(&mut Block)) -> Block {
        let mut block = [0; BLOCK];
        block[..5].copy_from_slice(b"a.txt");
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(b"00000000017\0");
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    #[test]
    fn a_plain_ustar_header_is_decoded() {
        let header = Header::parse(&block(|_| {})).unwrap();
        assert_eq!(header.name, b"a.txt");
        assert_eq!(
            (header.mode, header.size, header.type_flag),
            (0o644, 15, b'0')
        );
        assert!(header.plain && header.format == Format::Ustar);
    }

    #[test]
    fn prefix_and_name_are_joined_only_in_ustar() {
        let with_prefix = |magic: &'static [u8; 8]| {
            block(move |b| {
                b[345..348].copy_from_slice(b"dir");
                b[257..265].copy_from_slice(magic);
            })
        };
        let header = Header::parse(&with_prefix(b"ustar\x0000")).unwrap();
        assert_eq!(header.name, b"dir/a.txt");
        assert!(Header::parse(&with_prefix(b"ustar  \0")).is_err());
        assert!(Header::parse(&with_prefix(&[0; 8])).is_err());
        assert!(Header::parse(&with_prefix(b"notatar!")).is_err());
    }

    #[test]
    fn any_changed_byte_breaks_the_checksum() {
        let good = block(|_| {});
        for at in 0..BLOCK {
            let mut bad = good;
            bad[at] ^= 0x04;
            assert!(Header::parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_signed_checksum_is_read_but_not_plain() {
        let mut block = block(|b| b[0] = 0xe9);
        let sum: u32 = Number::parse(&block[148..156])
            .map_or(0, |number| u32::try_from(number.value().unwrap()).unwrap());
        block[148..156].copy_from_slice(format!("{:06o}\0 ", sum - 256).as_bytes());
        assert!(!Header::parse(&block).unwrap().plain);
    }

    #[test]
    fn binary_numbers_are_read_but_not_plain_and_never_negative() {
        let size = |bytes: &[u8; 12]| Header::parse(&block(|b| b[124..136].copy_from_slice(bytes)));
        let header = size(b"\x80\0\0\0\0\0\0\x02\0\0\0\x01").unwrap();
        assert_eq!((header.size, header.plain), ((2 << 32) + 1, false));
        for bad in [
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\0\x01\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn octal_with_junk_is_refused() {
        for bad in [
            b"0000000001x\0",
            b"00000000018\0",
            b"-0000000001\0",
            b"1\x001\0\0\0\0\0\0\0\0\0",
            b"            ",
        ] {
            let got = Header::parse(&block(|b| b[124..136].copy_from_slice(bad)));
            assert!(got.is_err(), "{bad:?}");
        }
        for (good, size) in [
            (b"          7 ", 7),
            (b"777777777777", 0o777_777_777_777),
            (&[0; 12], 0),
        ] {
            let got = Header::parse(&block(|b| b[124..136].copy_from_slice(good)));
            assert_eq!(got.unwrap().size, size, "{good:?}");
        }
    }

    #[test]
    fn junk_in_the_device_numbers_is_refused_even_where_they_mean_nothing() {
        for at in [329, 340] {
            let junk = |b: &mut Block| (b[at], b[511]) = (0xa3 & 0x7f, 1);
            assert!(Header::parse(&block(junk)).is_err());
        }
    }

    #[test]
    fn reserved_bytes_and_the_star_dialect_are_not_plain() {
        let star = block(|b| b[508..512].copy_from_slice(b"tar\0"));
        assert!(!Header::parse(&star).unwrap().plain);
        let disputed = block(|b| {
            b[345..480].fill(b'p');
            b[508..512].copy_from_slice(b"tar\0");
        });
        assert!(Header::parse(&disputed).is_err());
    }
}
