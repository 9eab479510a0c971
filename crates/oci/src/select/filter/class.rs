// SPDX-License-Identifier: Apache-2.0
//! Classes of characters: `[a-z]`, `[[:digit:]]`, `\d`, `\p{Greek}`.
//!
//! Enters at the `[` or the backslash; leaves as the set of characters. Go has no set operations and no classes inside
//! classes: in `[a&&b]` and `[a[b]` those are characters like any other.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::{FilterError, Refusal, cursor::Cursor, escape, unicode};

/// Reads a class in brackets.
pub(super) fn bracketed(cursor: &mut Cursor<'_>, fold: bool) -> Result<ClassUnicode, FilterError> {
    let from = cursor.at();
    cursor.eat("[");
    let negated = cursor.eat("^");
    let mut class = ClassUnicode::empty();
    let mut is_first = true;
    while is_first || !cursor.eat("]") {
        is_first = false;
        class.union(&item(cursor, from, fold)?);
    }
    if negated {
        class.negate();
    }
    Ok(class)
}

/// Reads `\d`, `\p{..}` and the like, if one stands here.
pub(super) fn escaped(
    cursor: &mut Cursor<'_>,
    fold: bool,
) -> Result<Option<ClassUnicode>, FilterError> {
    let from = cursor.at();
    let (name, negated) = match cursor.rest().as_bytes() {
        [b'\\', b'd', ..] => ("digit", false),
        [b'\\', b'D', ..] => ("digit", true),
        [b'\\', b's', ..] => ("perl space", false),
        [b'\\', b'S', ..] => ("perl space", true),
        [b'\\', b'w', ..] => ("word", false),
        [b'\\', b'W', ..] => ("word", true),
        [b'\\', b'p', ..] => return unicode_class(cursor, from, false, fold).map(Some),
        [b'\\', b'P', ..] => return unicode_class(cursor, from, true, fold).map(Some),
        _ => return Ok(None),
    };
    cursor.next();
    cursor.next();
    Ok(ascii(name).map(|class| finished(class, negated, fold)))
}

/// Both cases of each character, where the case is not to matter.
pub(super) fn folded(mut class: ClassUnicode, fold: bool) -> ClassUnicode {
    if fold {
        class.case_fold_simple();
    }
    class
}

/// The characters from one code point to another, without the surrogates that no text has.
pub(super) fn range(low: u32, high: u32) -> ClassUnicode {
    let low = char::from_u32(low).unwrap_or('\u{e000}');
    let high = char::from_u32(high).unwrap_or('\u{d7ff}');
    if low <= high {
        ClassUnicode::new([ClassUnicodeRange::new(low, high)])
    } else {
        ClassUnicode::empty()
    }
}

/// Folding comes before negation: `(?i)[^k]` takes neither `K` nor the Kelvin sign.
fn finished(class: ClassUnicode, negated: bool, fold: bool) -> ClassUnicode {
    let mut class = folded(class, fold);
    if negated {
        class.negate();
    }
    class
}

/// One item of the class that begins at `from`.
fn item(cursor: &mut Cursor<'_>, from: usize, fold: bool) -> Result<ClassUnicode, FilterError> {
    if let Some(class) = named(cursor, fold)? {
        return Ok(class);
    }
    if let Some(class) = escaped(cursor, fold)? {
        return Ok(class);
    }
    let start = cursor.at();
    let low = character(cursor, from)?;
    // A '-' before the ']' is a character.
    let is_range =
        cursor.rest().starts_with('-') && !cursor.rest().starts_with("-]") && cursor.rest() != "-";
    if !is_range {
        return Ok(folded(range(low, low), fold));
    }
    cursor.eat("-");
    let high = character(cursor, from)?;
    if high < low {
        return Err(cursor.refuse(Refusal::ClassRange, start));
    }
    Ok(folded(range(low, high), fold))
}

fn character(cursor: &mut Cursor<'_>, from: usize) -> Result<u32, FilterError> {
    match cursor.peek() {
        None => Err(cursor.refuse(Refusal::UnclosedClass, from)),
        Some('\\') => escape::code_point(cursor),
        Some(c) => {
            cursor.next();
            Ok(c.into())
        }
    }
}

/// `[:digit:]` or `[:^digit:]`; a `[:` that is never followed by `:]` is two characters.
fn named(cursor: &mut Cursor<'_>, fold: bool) -> Result<Option<ClassUnicode>, FilterError> {
    let from = cursor.at();
    if !cursor
        .rest()
        .strip_prefix("[:")
        .is_some_and(|rest| rest.contains(":]"))
    {
        return Ok(None);
    }
    cursor.eat("[:");
    let name = cursor.eat_until(":]").unwrap_or_default();
    let (bare, negated) = split_negation(name);
    match ascii(bare).filter(|_| bare != "perl space") {
        Some(class) => Ok(Some(finished(class, negated, fold))),
        None => Err(cursor.refuse(Refusal::ClassName, from)),
    }
}

fn unicode_class(
    cursor: &mut Cursor<'_>,
    from: usize,
    negated: bool,
    fold: bool,
) -> Result<ClassUnicode, FilterError> {
    cursor.eat(r"\p");
    cursor.eat(r"\P");
    let letter_or_brace = cursor.rest();
    let name = match cursor.next() {
        Some('{') => cursor.eat_until("}").unwrap_or_default(),
        Some(letter) => &letter_or_brace[..letter.len_utf8()],
        None => "",
    };
    let (bare, inverted) = split_negation(name);
    match unicode::class(bare) {
        Some(class) => Ok(finished(class, negated != inverted, fold)),
        None => Err(cursor.refuse(Refusal::UnicodeName, from)),
    }
}

fn split_negation(name: &str) -> (&str, bool) {
    match name.strip_prefix('^') {
        Some(bare) => (bare, true),
        None => (name, false),
    }
}

/// The classes of ASCII by name. `\s` has one character less than `[:space:]`, the vertical tab.
fn ascii(name: &str) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "perl space" => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    let ranges = ranges
        .iter()
        .map(|(low, high)| ClassUnicodeRange::new(*low, *high));
    Some(ClassUnicode::new(ranges))
}
