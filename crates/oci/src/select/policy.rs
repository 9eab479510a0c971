// SPDX-License-Identifier: Apache-2.0
//! What is wanted of a tag, and how one tag is judged alone.
//!
//! Enters as a range, a filter and an encoding, parsed elsewhere; answers with a candidate or with why there is none.

use std::{borrow::Cow, cmp::Ordering};

use super::{Constraint, Filter, Loss, Version, constraint::Mismatch};
use crate::{Tag, media_type};

/// The greatest version in a range, among the tags that pass a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemverPolicy {
    /// The range that a version has to be in.
    pub constraint: Constraint,
    /// What a tag has to match before it is read as a version. It sees the tag as the registry has it.
    pub filter: Option<Filter>,
    /// How versions are written as tags.
    pub encoding: TagEncoding,
}

/// How versions are written as tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TagEncoding {
    /// As they are. A version with build metadata cannot be a tag, since tags have no `+`.
    #[default]
    Verbatim,
    /// With `_` for `+`, as Helm pushes charts.
    Helm,
}

/// What one tag is, seen alone.
pub(super) enum Judged {
    /// It is in the range.
    Candidate(Candidate),
    /// It is a version, but not one that is wanted.
    Refused(Version, Loss),
    /// It is not read as a version.
    Unranked(Loss),
}

/// A tag that is in the range.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) tag: Tag,
    pub(super) version: Version,
}

impl TagEncoding {
    /// The encoding that Flux assumes for tags of artifacts whose layer is selected by this media type.
    pub fn of_layer(media_type: &str) -> Self {
        if media_type == media_type::HELM_CHART {
            Self::Helm
        } else {
            Self::Verbatim
        }
    }

    fn decode(self, tag: &str) -> Cow<'_, str> {
        match self {
            Self::Helm if tag.contains('_') => tag.replace('_', "+").into(),
            _ => tag.into(),
        }
    }
}

impl SemverPolicy {
    /// The tag with its version, if it has one, and why it is not in the range, if it is not.
    ///
    /// What is no tag by the distribution specification is refused first: it could not be pulled.
    pub(super) fn judge(&self, text: &str) -> Judged {
        let Ok(tag) = text.parse::<Tag>() else {
            return Judged::Unranked(Loss::NotATag);
        };
        if self
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.is_match(text))
        {
            return Judged::Unranked(Loss::FilteredOut);
        }
        let version = match self.version(text) {
            Ok(version) => version,
            Err(error) => return Judged::Unranked(Loss::NotAVersion(error)),
        };
        match self.constraint.matches(&version) {
            Ok(()) => Judged::Candidate(Candidate { tag, version }),
            Err(mismatch) => {
                let loss = mismatch.into();
                Judged::Refused(version, loss)
            }
        }
    }

    /// The version that a tag stands for.
    pub(super) fn version(&self, tag: &str) -> Result<Version, super::VersionError> {
        Version::from_tag(&self.encoding.decode(tag))
    }
}

impl From<Mismatch<'_>> for Loss {
    fn from(mismatch: Mismatch<'_>) -> Self {
        match mismatch {
            Mismatch::Prerelease => Self::Prerelease,
            Mismatch::Outside { side, comparator } => Self::Outside {
                side,
                comparator: comparator.text(),
            },
        }
    }
}

impl Candidate {
    /// The order in which candidates win, which is total: precedence, then build metadata (the later build wins), then
    /// the shorter spelling, then the one that is first by its bytes. Flux leaves all but the first undefined.
    pub(super) fn cmp_rank(&self, other: &Self) -> Ordering {
        self.version
            .cmp_precedence(&other.version)
            .then_with(|| self.version.cmp_build(&other.version))
            .then_with(|| other.spelling().cmp(&self.spelling()))
    }

    fn spelling(&self) -> (usize, &str) {
        let text = self.tag.as_str();
        (text.len(), text)
    }
}
