// SPDX-License-Identifier: Apache-2.0
//! What a backslash and a letter mean where one character is wanted.
//!
//! Enters at the backslash; leaves as a code point, which may be one of the surrogates that no text has.

use super::{FilterError, Refusal, cursor::Cursor};

/// Reads one escaped character.
pub(super) fn code_point(cursor: &mut Cursor<'_>) -> Result<u32, FilterError> {
    let from = cursor.at();
    cursor.eat("\\");
    let Some(letter) = cursor.next() else {
        return Err(cursor.refuse(Refusal::TrailingBackslash, from));
    };
    let found = match letter {
        '0' => Some(octal(cursor, 0)),
        '1'..='7' if matches!(cursor.peek(), Some('0'..='7')) => {
            letter.to_digit(8).map(|first| octal(cursor, first))
        }
        'x' => hexadecimal(cursor),
        'a' => Some(0x07),
        'f' => Some(0x0c),
        'n' => Some(0x0a),
        'r' => Some(0x0d),
        't' => Some(0x09),
        'v' => Some(0x0b),
        _ if letter.is_ascii() && !letter.is_ascii_alphanumeric() => Some(letter.into()),
        _ => None,
    };
    found.ok_or_else(|| cursor.refuse(refusal(letter), from))
}

fn refusal(letter: char) -> Refusal {
    match letter {
        '1'..='9' | 'k' | 'g' => Refusal::BackReference,
        'C' => Refusal::SingleByte,
        _ => Refusal::Escape,
    }
}

/// Up to two more digits.
fn octal(cursor: &mut Cursor<'_>, first: u32) -> u32 {
    let mut value = first;
    for _ in 0..2 {
        let Some(digit) = cursor.peek().and_then(|c| c.to_digit(8)) else {
            break;
        };
        cursor.next();
        value = value * 8 + digit;
    }
    value
}

/// `\xFF`, or any number of digits in braces.
fn hexadecimal(cursor: &mut Cursor<'_>) -> Option<u32> {
    let mut digit = || cursor.next();
    let first = digit()?;
    if first != '{' {
        return Some(first.to_digit(16)? * 16 + digit()?.to_digit(16)?);
    }
    let mut value = digit()?.to_digit(16)?;
    loop {
        match digit()? {
            '}' => return Some(value),
            next => value = value * 16 + next.to_digit(16)?,
        }
        if value > u32::from(char::MAX) {
            return None;
        }
    }
}
