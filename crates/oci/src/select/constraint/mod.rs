// SPDX-License-Identifier: Apache-2.0
//! Ranges of versions, with the grammar and the meaning of Masterminds/semver v3.5.0, which Flux and Helm use.
//!
//! Enters as the text of `ref.semver`; leaves as a [`Constraint`] that says of a [`Version`] whether it is in the range,
//! and if not, why. The oddities of that library are kept (`!=*` takes `1.0.0`, `^*` does not), because a range must
//! choose the tag here that it chose there; `tests/select` compares the two.

mod comparator;
mod parse;

use std::{fmt, str::FromStr};

pub use comparator::Comparator;

use super::Version;

/// The longest range that is read, in bytes.
const MAX_LEN: usize = 512;
/// The most alternatives that a range may have.
const MAX_GROUPS: usize = 32;

/// A range of versions: one or more groups of comparators, of which one group has to hold as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    text: Box<str>,
    groups: Vec<Group>,
}

/// Comparators that hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    comparators: Vec<Comparator>,
    /// One comparator that names a pre-release admits pre-releases to its whole group.
    admits_prereleases: bool,
}

/// Why a text is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Longer than 512 bytes.
    #[error("semver range is {len} bytes long, at most {MAX_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// More than 32 alternatives.
    #[error(
        "semver range has {groups} alternatives separated by \"||\", at most {MAX_GROUPS} are read"
    )]
    TooManyGroups {
        /// How many it has.
        groups: usize,
    },
    /// One alternative does not follow the grammar. It is quoted as it is read: a hyphen range is two comparators there.
    #[error(
        "semver range has an improper part: {group:?}; write for instance \">=1.2.0 <2.0.0\" or \"1.2.x\""
    )]
    Improper {
        /// The alternative.
        group: String,
    },
    /// A comparator has the right form, but what it compares with is not a version.
    #[error("semver range compares with {version:?}, which is not a version")]
    Version {
        /// What it would compare with.
        version: String,
    },
}

/// Why a version is not in a range.
///
/// Of several alternatives, the first that refuses the version for something other than being a pre-release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// It is a pre-release, and no alternative names one.
    Prerelease,
    /// A comparator refuses it.
    Outside {
        /// On which side of the comparator it lies.
        side: Side,
        /// The comparator.
        comparator: &'a Comparator,
    },
}

/// Where a version lies that a comparator refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Below what the comparator takes.
    Below,
    /// Above what the comparator takes.
    Above,
    /// Just what `!=` takes out.
    Excluded,
}

impl Constraint {
    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the version is in the range, and if not, why.
    ///
    /// A pre-release is only in a group that names one itself.
    pub fn matches(&self, version: &Version) -> Result<(), Mismatch<'_>> {
        let mut why = Mismatch::Prerelease;
        for group in &self.groups {
            match (group.check(version), why) {
                (Ok(()), _) => return Ok(()),
                (Err(first @ Mismatch::Outside { .. }), Mismatch::Prerelease) => why = first,
                (Err(_), _) => {}
            }
        }
        Err(why)
    }
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        if text.len() > MAX_LEN {
            return Err(ConstraintError::TooLong { len: text.len() });
        }
        let rewritten = parse::rewrite_hyphen_ranges(text);
        let groups = rewritten.split("||").count();
        if groups > MAX_GROUPS {
            return Err(ConstraintError::TooManyGroups { groups });
        }
        let groups = rewritten.split("||").map(parse::group);
        Ok(Self {
            text: text.into(),
            groups: groups
                .map(|group| group.map(Group::new))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prerelease => f.write_str("a pre-release, and the range names none"),
            Self::Outside { side, comparator } => write!(f, "{side} {comparator}"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Below => "below",
            Self::Above => "above",
            Self::Excluded => "excluded by",
        })
    }
}

impl Group {
    fn new(comparators: Vec<Comparator>) -> Self {
        let admits_prereleases = comparators.iter().any(Comparator::names_prerelease);
        Self {
            comparators,
            admits_prereleases,
        }
    }

    fn check(&self, version: &Version) -> Result<(), Mismatch<'_>> {
        if version.is_prerelease() && !self.admits_prereleases {
            return Err(Mismatch::Prerelease);
        }
        self.comparators.iter().try_for_each(|comparator| {
            comparator
                .check(version)
                .map_err(|side| Mismatch::Outside { side, comparator })
        })
    }
}

#[cfg(test)]
mod tests;
