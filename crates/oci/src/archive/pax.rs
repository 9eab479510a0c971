// SPDX-License-Identifier: Apache-2.0
//! The records of a PAX extended header.
//!
//! Pure: the body of an `x` or `g` header enters, a [`Pax`] leaves. A malformed record is an error, never skipped, and a
//! key may stand only once: readers differ in which one they take. Source: POSIX.1-2017 pax, "pax Extended Header".

/// What the records of one extended header say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Records describe a sparse file.
    pub(super) sparse: bool,
    /// The first key that is neither `path`, `size` nor `mtime`.
    pub(super) other: Option<String>,
    /// There is a record that changes which bytes are read, or under what name.
    pub(super) reshapes: bool,
}

impl Pax {
    pub(super) fn parse(mut body: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        let mut seen = std::collections::HashSet::new();
        while !body.is_empty() {
            let (key, value, rest) = record(body)?;
            if !seen.insert(key) {
                return Err("a PAX record stands twice");
            }
            pax.take(key, value)?;
            body = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &str, value: &[u8]) -> Result<(), &'static str> {
        match key {
            "path" => {
                if value.is_empty() || value.contains(&0) {
                    return Err("its PAX path is empty or contains a NUL");
                }
                self.path = Some(value.to_vec());
            }
            "size" => self.size = Some(decimal(value).ok_or("its PAX size is not a number")?),
            "mtime" if !is_time(value) => return Err("its PAX mtime is not a time"),
            "mtime" => return Ok(()),
            _ => {
                self.sparse |= key.starts_with("GNU.sparse.");
                self.other
                    .get_or_insert_with(|| key.chars().take(64).collect());
            }
        }
        self.reshapes |= matches!(key, "path" | "size" | "linkpath") || self.sparse;
        Ok(())
    }
}

/// Splits off the first record, `"<length> <key>=<value>\n"`, where the length counts all of it.
fn record(body: &[u8]) -> Result<(&str, &[u8], &[u8]), &'static str> {
    const MALFORMED: &str = "a PAX record is malformed";
    let space = body
        .iter()
        .position(|byte| *byte == b' ')
        .ok_or(MALFORMED)?;
    let length = decimal(&body[..space]).ok_or(MALFORMED)?;
    let length = usize::try_from(length).map_err(|_| MALFORMED)?;
    if length <= space || length > body.len() {
        return Err("the length of a PAX record is wrong");
    }
    let (record, rest) = body.split_at(length);
    let text = record[space + 1..].strip_suffix(b"\n").ok_or(MALFORMED)?;
    let equals = text
        .iter()
        .position(|byte| *byte == b'=')
        .ok_or(MALFORMED)?;
    let key = std::str::from_utf8(&text[..equals]).map_err(|_| MALFORMED)?;
    if key.is_empty() || key.contains(char::is_control) {
        return Err(MALFORMED);
    }
    Ok((key, &text[equals + 1..], rest))
}

/// Digits only: no sign, no blank, at most 63 bits.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = digits.then(|| text.parse::<i64>().ok()).flatten()?;
    u64::try_from(value).ok()
}

/// Seconds with an optional sign and fraction.
fn is_time(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().and_then(decimal).is_some();
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    whole && parts.next().is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_plain_records_are_read() {
        let pax = Pax::parse(b"12 path=a/b\n11 size=42\n22 mtime=1700000000.5\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!((pax.size, pax.other, pax.sparse), (Some(42), None, false));
    }

    #[test]
    fn other_records_are_noted_and_sparse_ones_recognised() {
        let pax = Pax::parse(b"13 uname=bob\n22 GNU.sparse.major=1\n").unwrap();
        assert_eq!(pax.other.as_deref(), Some("uname"));
        assert!(pax.sparse && pax.reshapes);
        assert!(!Pax::parse(b"13 comment=x\n").unwrap().reshapes);
    }

    #[test]
    fn a_value_may_hold_equals_signs_and_newlines() {
        let pax = Pax::parse(b"14 path=a=b\nc\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a=b\nc"[..]));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"path=a\n"[..],
            b"9 path=a",
            b"8 path=a\n",
            b"11 path=a\n",
            b"99 path=a\n",
            b"0 path=a\n",
            b"-9 path=a\n",
            b" 9 path=a\n",
            b"+9 path=a\n",
            b"7 path\n",
            b"5 =a\n",
            b"8 path=\n",
            b"11 path=\0a\n",
            b"9 path=a\n9 path=b\n",
            b"11 size=-1\n",
            b"11 size=1x\n",
            b"8 size=\n",
            b"28 size=9223372036854775808\n",
            b"99999999999999999999 path=a\n",
            b"11 mtime=x\n",
            b"8 \xff\xff=ab\n",
            b"\0\0\0\0",
        ] {
            assert!(
                Pax::parse(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
    }
}
