// SPDX-License-Identifier: Apache-2.0
//! Versions as Masterminds/semver v3.5.0 and Flux read them: semantic versions, with some leniency.
//!
//! Enters as text; leaves as a [`Version`] that can be compared. Not semver 2.0.0 to the letter: a leading `v`, leading
//! zeros and missing minor and patch numbers are accepted, because the tags of real repositories have them.

use std::{cmp::Ordering, fmt, str::FromStr};

/// The longest version that is read, in bytes.
const MAX_LEN: usize = 256;

/// A version: three numbers, and perhaps a pre-release and build metadata.
///
/// It has no `Ord`, because there are two orders: [`Version::cmp_precedence`] ignores build metadata as semver wants it,
/// [`Version::cmp_build`] compares nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    numbers: [u64; 3],
    pre: Box<str>,
    build: Box<str>,
}

/// Why a text is not a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VersionError {
    /// Longer than 256 bytes.
    #[error("longer than {MAX_LEN} bytes")]
    TooLong,
    /// Fewer than three parts with dots between them, which Flux asks of a tag.
    #[error("fewer than three parts")]
    TooFewParts,
    /// Not of the form `1.2.3-pre+build`.
    #[error("not of the form 1.2.3")]
    Malformed,
    /// One of the numbers does not fit into 64 bits.
    #[error("a number above {}", u64::MAX)]
    Overflow,
    /// A number in the pre-release starts with a zero.
    #[error("a number in the pre-release starts with 0")]
    LeadingZero,
}

impl Version {
    /// Reads a tag as Flux does: as [`FromStr`], but only if it has at least two dots.
    ///
    /// The dots are counted in the whole text, so `1-a.b.c` is read as `1.0.0-a.b.c`, as in Flux.
    pub fn from_tag(text: &str) -> Result<Self, VersionError> {
        if text.bytes().filter(|byte| *byte == b'.').nth(1).is_none() {
            return Err(VersionError::TooFewParts);
        }
        text.parse()
    }

    /// The first number.
    pub fn major(&self) -> u64 {
        self.numbers[0]
    }

    /// The second number; 0 when it was not written.
    pub fn minor(&self) -> u64 {
        self.numbers[1]
    }

    /// The third number; 0 when it was not written.
    pub fn patch(&self) -> u64 {
        self.numbers[2]
    }

    /// What stands after the `-`; empty for a release.
    pub fn pre(&self) -> &str {
        &self.pre
    }

    /// What stands after the `+`; empty when there is none.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// Whether this is a pre-release.
    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    /// Compares by semver precedence: the numbers, then the pre-release. Build metadata says nothing here.
    ///
    /// One departure from semver, which Masterminds has: a number above 64 bits in a pre-release counts as text.
    pub fn cmp_precedence(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| match (&*self.pre, &*other.pre) {
                ("", "") => Ordering::Equal,
                ("", _) => Ordering::Greater,
                (_, "") => Ordering::Less,
                (a, b) => cmp_identifiers(a, b),
            })
    }

    /// Compares build metadata alone, by the rule semver has for pre-releases: identifier by identifier, numbers by
    /// value and below text, more identifiers above fewer. No metadata is the lowest.
    pub fn cmp_build(&self, other: &Self) -> Ordering {
        cmp_identifiers(&self.build, &other.build)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    /// Reads `[v]1[.2[.3]][-pre][+build]`.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        if text.len() > MAX_LEN {
            return Err(VersionError::TooLong);
        }
        let (rest, build) = split_tail(text, '+')?;
        let (rest, pre) = split_tail(rest, '-')?;
        let numbers = parse_numbers(rest.strip_prefix('v').unwrap_or(rest))?;
        if pre.split('.').any(has_leading_zero) {
            return Err(VersionError::LeadingZero);
        }
        Ok(Self {
            numbers,
            pre: pre.into(),
            build: build.into(),
        })
    }
}

impl fmt::Display for Version {
    /// The normal form: three numbers without leading zeros or `v`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

/// What stands before the mark, and the identifiers after it: none when the mark is not there.
fn split_tail(text: &str, mark: char) -> Result<(&str, &str), VersionError> {
    let Some((rest, tail)) = text.split_once(mark) else {
        return Ok((text, ""));
    };
    if tail.split('.').all(is_identifier) {
        Ok((rest, tail))
    } else {
        Err(VersionError::Malformed)
    }
}

fn is_identifier(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(allowed)
}

fn has_leading_zero(identifier: &str) -> bool {
    identifier.len() > 1 && identifier.starts_with('0') && is_number(identifier)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_numbers(text: &str) -> Result<[u64; 3], VersionError> {
    let parts = || text.split('.');
    if parts().count() > 3 || !parts().all(is_number) {
        return Err(VersionError::Malformed);
    }
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(parts()) {
        *number = part.parse().map_err(|_| VersionError::Overflow)?;
    }
    Ok(numbers)
}

fn cmp_identifiers(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => cmp_identifier(a.unwrap_or_default(), b.unwrap_or_default()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// An absent identifier is below every other, a number below a text.
fn cmp_identifier(a: &str, b: &str) -> Ordering {
    let rank = |text: &str| match text.parse::<u64>() {
        _ if text.is_empty() => (0, 0),
        Ok(number) if is_number(text) => (1, number),
        _ => (2, 0),
    };
    match (rank(a), rank(b)) {
        ((2, _), (2, _)) => a.cmp(b),
        (a, b) => a.cmp(&b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read_with_leniency() {
        for (text, normal) in [
            ("1.2.3", "1.2.3"),
            ("v1.2.3", "1.2.3"),
            ("1", "1.0.0"),
            ("1.2", "1.2.0"),
            ("v1-rc.1", "1.0.0-rc.1"),
            ("2025.02.03", "2025.2.3"),
            ("1.2.3--", "1.2.3--"),
            ("1.2.3-a-b.0+c-d.01", "1.2.3-a-b.0+c-d.01"),
            ("1.2.3+a-b", "1.2.3+a-b"),
            ("18446744073709551615.0.0", "18446744073709551615.0.0"),
        ] {
            assert_eq!(version(text).to_string(), normal, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_version_says_why() {
        use VersionError::{LeadingZero, Malformed, Overflow, TooLong};
        let long = format!("1.2.3-{}", "a".repeat(251));
        for (text, why) in [
            ("", Malformed),
            ("v", Malformed),
            ("vv1.2.3", Malformed),
            ("V1.2.3", Malformed),
            ("latest", Malformed),
            ("1.2.3.4", Malformed),
            ("1..3", Malformed),
            ("1.2.", Malformed),
            ("1.2.3-", Malformed),
            ("1.2.3-a..b", Malformed),
            ("1.2.3+", Malformed),
            ("1.2.3+a+b", Malformed),
            ("1.2.3+a_b", Malformed),
            (" 1.2.3", Malformed),
            ("1.2.3\n", Malformed),
            ("-1.2.3", Malformed),
            ("+1.2.3", Malformed),
            ("1.2.\u{0663}", Malformed),
            ("1.2.18446744073709551616", Overflow),
            ("1.2.3-01", LeadingZero),
            (&long, TooLong),
        ] {
            assert_eq!(text.parse::<Version>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_tag_needs_two_dots_anywhere() {
        assert_eq!(Version::from_tag("1.2"), Err(VersionError::TooFewParts));
        assert_eq!(Version::from_tag("v1"), Err(VersionError::TooFewParts));
        assert_eq!(Version::from_tag(""), Err(VersionError::TooFewParts));
        assert_eq!(
            Version::from_tag("1-a.b.c").unwrap().to_string(),
            "1.0.0-a.b.c"
        );
        let huge = "1.".repeat(512 * 1024);
        assert_eq!(Version::from_tag(&huge), Err(VersionError::TooLong));
    }

    #[test]
    fn precedence_is_that_of_semver() {
        let rising = [
            "0.9.9",
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-18446744073709551616",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc10",
            "1.0.0-rc9",
            "1.0.0",
            "1.0.1-0",
            "1.1.0",
            "2.0.0",
            "10.0.0",
        ];
        for pair in rising.windows(2) {
            let (low, high) = (version(pair[0]), version(pair[1]));
            assert_eq!(low.cmp_precedence(&high), Ordering::Less, "{pair:?}");
            assert_eq!(high.cmp_precedence(&low), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn build_metadata_orders_only_where_it_is_asked() {
        let rising = ["1.0.0", "1.0.0+9", "1.0.0+10", "1.0.0+a", "1.0.0+a.1"];
        for pair in rising.windows(2) {
            let (low, high) = (version(pair[0]), version(pair[1]));
            assert_eq!(low.cmp_precedence(&high), Ordering::Equal, "{pair:?}");
            assert_eq!(low.cmp_build(&high), Ordering::Less, "{pair:?}");
        }
    }
}
