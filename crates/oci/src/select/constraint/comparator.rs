// SPDX-License-Identifier: Apache-2.0
//! One comparator of a range: an operator and what it compares with.
//!
//! Enters from `parse` as operator, version and the place of its wildcard; answers which side of it a version lies on.
//! Not here: the rule about pre-releases, which is one of the whole group.

use std::{cmp::Ordering, fmt, sync::Arc};

use super::{Side, Version};

/// A comparator, for instance `>=1.2.0`, `~1.2` or `1.x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparator {
    pub(super) text: Arc<str>,
    pub(super) operator: Operator,
    pub(super) version: Version,
    pub(super) wildcard: Wildcard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `=` or nothing; with a wildcard the same as [`Self::Tilde`].
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    /// `~` or `~>`.
    Tilde,
    Caret,
}

/// From which number on the version was left out or written as `x`, `X` or `*`; those numbers are 0 in the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wildcard {
    None,
    Major,
    Minor,
    Patch,
}

impl Comparator {
    /// The comparator as it was written, without the blanks around it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same, for keeping: nothing is copied.
    pub(in crate::select) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    pub(super) fn names_prerelease(&self) -> bool {
        self.version.is_prerelease()
    }

    /// `Ok` when the comparator takes the version, else on which side of it the version lies.
    pub(super) fn check(&self, version: &Version) -> Result<(), Side> {
        let order = version.cmp_precedence(&self.version);
        let nearer_side = if order.is_lt() {
            Side::Below
        } else {
            Side::Above
        };
        let (takes, side) = match self.operator {
            Operator::Equal if self.wildcard == Wildcard::None => (order.is_eq(), nearer_side),
            Operator::Equal | Operator::Tilde => (self.tilde(version, order), nearer_side),
            Operator::NotEqual => (self.not_equal(version, order), Side::Excluded),
            Operator::Greater => (self.greater(version, order), Side::Below),
            Operator::GreaterEqual => (order.is_ge(), Side::Below),
            Operator::Less => (order.is_lt(), Side::Above),
            Operator::LessEqual => (self.less_equal(version, order), Side::Above),
            Operator::Caret => (self.caret(version, order), nearer_side),
        };
        if takes { Ok(()) } else { Err(side) }
    }

    /// `!=1.2.x` leaves out one minor, but for a pre-release only that very pre-release of it.
    /// `!=*` compares with `0.0.0` and so takes nearly everything.
    fn not_equal(&self, version: &Version, order: Ordering) -> bool {
        let same_major = version.major() == self.version.major();
        let same_minor = same_major && version.minor() == self.version.minor();
        match self.wildcard {
            Wildcard::None | Wildcard::Major => order.is_ne(),
            Wildcard::Minor => !same_major,
            Wildcard::Patch => !same_minor || version.pre() != self.version.pre(),
        }
    }

    /// `>11` is above every 11.x, `>11.1` above every 11.1.x.
    fn greater(&self, version: &Version, order: Ordering) -> bool {
        match self.wildcard {
            Wildcard::None | Wildcard::Major => order.is_gt(),
            Wildcard::Minor => version.major() > self.version.major(),
            Wildcard::Patch => {
                (version.major(), version.minor()) > (self.version.major(), self.version.minor())
            }
        }
    }

    /// `<=11` takes every 11.x, `<=11.1` every 11.1.x. `<=*` compares with `0.0.x`.
    fn less_equal(&self, version: &Version, order: Ordering) -> bool {
        match self.wildcard {
            Wildcard::None => order.is_le(),
            Wildcard::Minor => version.major() <= self.version.major(),
            Wildcard::Major | Wildcard::Patch => {
                (version.major(), version.minor()) <= (self.version.major(), self.version.minor())
            }
        }
    }

    /// The same minor, or with `~1` the same major. `~0.0.0` takes everything from there on, and so does `~*`.
    fn tilde(&self, version: &Version, order: Ordering) -> bool {
        let is_zero =
            self.version.major() == 0 && self.version.minor() == 0 && self.version.patch() == 0;
        let is_open = is_zero && matches!(self.wildcard, Wildcard::None | Wildcard::Major);
        let same_major = version.major() == self.version.major();
        let same_minor =
            self.wildcard == Wildcard::Minor || version.minor() == self.version.minor();
        order.is_ge() && (is_open || (same_major && same_minor))
    }

    /// The same first number that is not zero. `^*` is `^0.0.0`.
    fn caret(&self, version: &Version, order: Ordering) -> bool {
        let same_major = version.major() == self.version.major();
        let same_minor = same_major && version.minor() == self.version.minor();
        let same_patch = same_minor && version.patch() == self.version.patch();
        let within = if self.version.major() > 0 || self.wildcard == Wildcard::Minor {
            same_major
        } else if self.version.minor() > 0 || self.wildcard == Wildcard::Patch {
            same_minor
        } else {
            same_patch
        };
        order.is_ge() && within
    }
}

impl fmt::Display for Comparator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
