// SPDX-License-Identifier: Apache-2.0
//! Why a pattern was refused: what stands where, and which rule of Go's syntax it breaks.

use std::fmt;

use super::{MAX_AUTOMATON, MAX_DEPTH, MAX_LEN};

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Longer than 1 KiB.
    #[error("regular expression is {len} bytes long, at most {MAX_LEN} are read")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Alternatives and repetitions inside one another, more than 32 levels of them.
    #[error(
        "regular expression nests alternatives and repetitions more than {MAX_DEPTH} levels deep, up to byte {at}"
    )]
    TooDeep {
        /// Where the outermost of these levels ends, in bytes.
        at: usize,
    },
    /// The repetitions and classes make an automaton of more than 1 MiB.
    #[error(
        "regular expression needs an automaton of more than {} KiB, use smaller repetitions or classes",
        MAX_AUTOMATON / 1024
    )]
    TooLarge,
    /// Go's syntax does not have this, or not here.
    #[error("regular expression has {why} at byte {at}: {construct:?}")]
    Refused {
        /// What it is.
        why: Refusal,
        /// Where it begins, in bytes.
        at: usize,
        /// The text of it.
        construct: String,
    },
}

/// What Go's syntax does not have, or not at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// `(?=`, `(?!`, `(?<=`, `(?<!`.
    LookAround,
    /// `\1`, `\k<name>`, `(?P=name)`.
    BackReference,
    /// A flag other than `i`, `m`, `s`, `U`, or a group of another kind.
    GroupSyntax,
    /// A name of a group that is empty, unclosed or not of letters, digits and `_`.
    CaptureName,
    /// `\C`, a single byte.
    SingleByte,
    /// A letter or digit that has no meaning after `\`, or a wrong code point after `\x`.
    Escape,
    /// The pattern ends with `\`.
    TrailingBackslash,
    /// A group that is not closed.
    UnclosedGroup,
    /// A `)` without its `(`.
    UnopenedGroup,
    /// A class that is not closed.
    UnclosedClass,
    /// A range in a class whose end is below its start.
    ClassRange,
    /// A class such as `[:digit:]` with a name nobody knows.
    ClassName,
    /// A class such as `\p{Greek}` with a name that Go does not know.
    UnicodeName,
    /// A repetition of nothing.
    NothingToRepeat,
    /// A repetition of a repetition, such as `a**` or the possessive `a++`.
    NestedRepetition,
    /// A repetition of more than 1000 copies, nested ones multiplied, or with its bounds in the wrong order.
    RepetitionSize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookAround => "a look-around, which Go does not have,",
            Self::BackReference => "a back-reference, which Go does not have,",
            Self::GroupSyntax => "a flag or kind of group that Go does not have",
            Self::CaptureName => {
                "a group name that is not of letters, digits and '_' between '<' and '>'"
            }
            Self::SingleByte => "a match of a single byte, which Go does not have,",
            Self::Escape => "an escape that Go does not have",
            Self::TrailingBackslash => "nothing to escape after the '\\'",
            Self::UnclosedGroup => "a group without its ')'",
            Self::UnopenedGroup => "a ')' without its '('",
            Self::UnclosedClass => "a class without its ']'",
            Self::ClassRange => "a range that ends below its start",
            Self::ClassName => "a class name that Go does not have",
            Self::UnicodeName => "a Unicode class that Go does not have",
            Self::NothingToRepeat => "a repetition of nothing",
            Self::NestedRepetition => {
                "a repetition of a repetition, which Go does not have without a group,"
            }
            Self::RepetitionSize => {
                "a repetition of more than 1000 copies or with its bounds in the wrong order"
            }
        })
    }
}
