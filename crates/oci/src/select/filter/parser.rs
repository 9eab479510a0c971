// SPDX-License-Identifier: Apache-2.0
//! Go's grammar of regular expressions, read into the tree that the engine takes.
//!
//! Enters as a pattern of at most 1 KiB; leaves as [`Hir`]. Groups capture nothing and laziness is dropped, because only
//! whether there is a match is ever asked. The stack is a list, so no pattern can exhaust the one of the thread.

use regex_syntax::hir::{Class, ClassUnicode, Hir, Look, Repetition};

use super::{FilterError, MAX_DEPTH, Refusal, class, cursor::Cursor, escape};

/// The most copies that repetitions inside one another may make.
const MAX_COPIES: u32 = 1000;

pub(super) fn parse(pattern: &str) -> Result<Hir, FilterError> {
    let mut parser = Parser {
        cursor: Cursor::new(pattern),
        flags: Flags::default(),
        groups: vec![Group::default()],
        follows_repetition: false,
    };
    while let Some(next) = parser.cursor.peek() {
        parser.follows_repetition = parser.step(next)?;
    }
    parser.finish()
}

struct Parser<'p> {
    cursor: Cursor<'p>,
    flags: Flags,
    /// The whole pattern, and in it the groups that are open, the innermost last. Never empty.
    groups: Vec<Group>,
    follows_repetition: bool,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    /// `i`: the case does not matter.
    fold: bool,
    /// `m`: `^` and `$` also match at the ends of lines.
    multi_line: bool,
    /// `s`: `.` also matches a newline.
    dot_all: bool,
}

#[derive(Default)]
struct Group {
    from: usize,
    /// The flags that hold again behind the group.
    outer: Flags,
    branches: Vec<Piece>,
    /// The branch that is being read.
    items: Vec<Piece>,
}

struct Piece {
    hir: Hir,
    /// How many copies its repetitions make of the innermost thing.
    copies: u32,
    /// How many levels the tree has.
    depth: usize,
}

/// The bounds of a repetition; without an upper one it is `None`.
type Bounds = (u32, Option<u32>);

impl Parser<'_> {
    /// Reads one item or operator; says whether it was a repetition.
    fn step(&mut self, next: char) -> Result<bool, FilterError> {
        match next {
            '(' => self.open()?,
            ')' => self.close()?,
            '[' => {
                let class = class::bracketed(&mut self.cursor, self.flags.fold)?;
                self.push_class(class);
            }
            '\\' => self.backslash()?,
            '*' | '+' | '?' | '{' => return self.repetition(next),
            _ => {
                self.cursor.next();
                self.plain(next);
            }
        }
        Ok(false)
    }

    fn plain(&mut self, next: char) {
        match next {
            '|' => self.innermost().end_branch(),
            '^' if self.flags.multi_line => self.push(Hir::look(Look::StartLF)),
            '^' => self.push(Hir::look(Look::Start)),
            '$' if self.flags.multi_line => self.push(Hir::look(Look::EndLF)),
            '$' => self.push(Hir::look(Look::End)),
            '.' => self.push_class(any(self.flags.dot_all)),
            _ => self.push_code_point(next.into()),
        }
    }

    fn backslash(&mut self) -> Result<(), FilterError> {
        if self.cursor.eat(r"\Q") {
            let literal = self.cursor.eat_until(r"\E");
            let literal = literal.unwrap_or_else(|| self.cursor.eat_all());
            literal.chars().for_each(|c| self.push_code_point(c.into()));
        } else if let Some(look) = self.look() {
            self.push(Hir::look(look));
        } else if let Some(class) = class::escaped(&mut self.cursor, self.flags.fold)? {
            self.push_class(class);
        } else {
            let code_point = escape::code_point(&mut self.cursor)?;
            self.push_code_point(code_point);
        }
        Ok(())
    }

    fn look(&mut self) -> Option<Look> {
        [
            (r"\A", Look::Start),
            (r"\z", Look::End),
            (r"\b", Look::WordAscii),
            (r"\B", Look::WordAsciiNegate),
        ]
        .into_iter()
        .find_map(|(text, look)| self.cursor.eat(text).then_some(look))
    }

    /// Reads `*`, `+`, `?` or `{1,2}`, which hold for what was pushed last, with or without a `?` behind.
    /// A brace that begins no repetition is a character.
    fn repetition(&mut self, sign: char) -> Result<bool, FilterError> {
        let from = self.cursor.at();
        let (len, bounds) = match (sign, counted(self.cursor.rest())) {
            ('*', _) => (1, (0, None)),
            ('+', _) => (1, (1, None)),
            ('?', _) => (1, (0, Some(1))),
            (_, Some(counted)) => counted,
            (_, None) => {
                self.cursor.next();
                self.push_code_point(sign.into());
                return Ok(false);
            }
        };
        self.cursor.skip(len);
        if sign == '{' && !is_in_order(bounds) {
            return Err(self.cursor.refuse(Refusal::RepetitionSize, from));
        }
        self.cursor.eat("?");
        self.repeat(sign == '{', bounds, from)?;
        Ok(true)
    }

    fn repeat(&mut self, is_counted: bool, bounds: Bounds, from: usize) -> Result<(), FilterError> {
        if self.follows_repetition {
            return Err(self.cursor.refuse(Refusal::NestedRepetition, from));
        }
        let Some(piece) = self.innermost().items.pop() else {
            return Err(self.cursor.refuse(Refusal::NothingToRepeat, from));
        };
        let (min, max) = bounds;
        let copies = match max.unwrap_or(min) {
            _ if !is_counted => piece.copies,
            // What is left out is not looked into, as in Go; without an upper bound it is not left out.
            0 if max.is_some() => 1,
            0 => piece.copies,
            times => times * piece.copies,
        };
        if copies > MAX_COPIES {
            return Err(self.cursor.refuse(Refusal::RepetitionSize, from));
        }
        let hir = Hir::repetition(Repetition {
            min,
            max,
            greedy: true,
            sub: Box::new(piece.hir),
        });
        let depth = piece.depth + 1;
        self.push_piece(Piece { hir, copies, depth }, from)
    }

    /// Reads `(`, `(?:`, `(?flags:`, `(?flags)`, `(?P<name>` or `(?<name>`.
    fn open(&mut self) -> Result<(), FilterError> {
        let from = self.cursor.at();
        let outer = self.flags;
        self.cursor.eat("(");
        if self.cursor.eat("?") && !self.name(from)? && !self.flags(from)? {
            return Ok(());
        }
        self.groups.push(Group {
            from,
            outer,
            ..Group::default()
        });
        Ok(())
    }

    /// The name of a group, if one stands here.
    fn name(&mut self, from: usize) -> Result<bool, FilterError> {
        for look_around in ["=", "!", "<=", "<!"] {
            if self.cursor.eat(look_around) {
                return Err(self.cursor.refuse(Refusal::LookAround, from));
            }
        }
        if self.cursor.eat("P=") {
            return Err(self.cursor.refuse(Refusal::BackReference, from));
        }
        if !self.cursor.eat("P<") && !self.cursor.eat("<") {
            return Ok(false);
        }
        let name = self.cursor.eat_until(">").unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(self.cursor.refuse(Refusal::CaptureName, from));
        }
        Ok(true)
    }

    /// The flags behind `(?`; whether they open a group, or else hold for the rest of the one they stand in.
    fn flags(&mut self, from: usize) -> Result<bool, FilterError> {
        let mut flags = self.flags;
        let mut value = true;
        let mut is_complete = true;
        loop {
            match self.cursor.next() {
                Some('i') => flags.fold = value,
                Some('m') => flags.multi_line = value,
                Some('s') => flags.dot_all = value,
                Some('U') => {}
                Some('-') if value => {
                    value = false;
                    is_complete = false;
                    continue;
                }
                Some(end @ (':' | ')')) if is_complete => {
                    self.flags = flags;
                    return Ok(end == ':');
                }
                _ => return Err(self.cursor.refuse(Refusal::GroupSyntax, from)),
            }
            is_complete = true;
        }
    }

    fn close(&mut self) -> Result<(), FilterError> {
        let from = self.cursor.at();
        self.cursor.next();
        if self.groups.len() == 1 {
            return Err(self.cursor.refuse(Refusal::UnopenedGroup, from));
        }
        if let Some(group) = self.groups.pop() {
            self.flags = group.outer;
            let piece = group.end();
            self.push_piece(piece, from)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Hir, FilterError> {
        let whole = std::mem::take(self.innermost());
        if self.groups.len() > 1 {
            return Err(self.cursor.refuse(Refusal::UnclosedGroup, whole.from));
        }
        Ok(whole.end().hir)
    }

    #[expect(
        clippy::expect_used,
        reason = "only `close` takes a group away, and never the first"
    )]
    fn innermost(&mut self) -> &mut Group {
        self.groups
            .last_mut()
            .expect("the whole pattern is a group")
    }

    fn push(&mut self, hir: Hir) {
        self.innermost().items.push(Piece {
            hir,
            copies: 1,
            depth: 1,
        });
    }

    /// The engine walks the tree with the stack of the thread, so its depth has a limit.
    fn push_piece(&mut self, piece: Piece, from: usize) -> Result<(), FilterError> {
        if piece.depth > MAX_DEPTH {
            return Err(FilterError::TooDeep { at: from });
        }
        self.innermost().items.push(piece);
        Ok(())
    }

    fn push_class(&mut self, class: ClassUnicode) {
        self.push(Hir::class(Class::Unicode(class)));
    }

    fn push_code_point(&mut self, code_point: u32) {
        self.push_class(class::folded(
            class::range(code_point, code_point),
            self.flags.fold,
        ));
    }
}

impl Group {
    fn end_branch(&mut self) {
        let branch = joined(std::mem::take(&mut self.items), Hir::concat);
        self.branches.push(branch);
    }

    fn end(mut self) -> Piece {
        self.end_branch();
        joined(self.branches, Hir::alternation)
    }
}

fn joined(pieces: Vec<Piece>, join: fn(Vec<Hir>) -> Hir) -> Piece {
    let copies = pieces.iter().map(|piece| piece.copies).max().unwrap_or(1);
    let inner = pieces.iter().map(|piece| piece.depth).max().unwrap_or(0);
    let depth = if pieces.len() == 1 { inner } else { inner + 1 };
    let hir = join(pieces.into_iter().map(|piece| piece.hir).collect());
    Piece { hir, copies, depth }
}

fn any(with_newline: bool) -> ClassUnicode {
    let mut class = class::range(0, u32::from(char::MAX));
    if !with_newline {
        class.difference(&class::range(0x0a, 0x0a));
    }
    class
}

/// The length and the bounds of `{1}`, `{1,}` or `{1,2}` at the start of the text.
fn counted(text: &str) -> Option<(usize, Bounds)> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let bounds = match inside.split_once(',') {
        None => {
            let times = number(inside)?;
            (times, Some(times))
        }
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    Some((inside.len() + 2, bounds))
}

/// A decimal number without leading zeros; one that is too large for anything stays so.
fn number(text: &str) -> Option<u32> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    let has_leading_zero = text.len() > 1 && text.starts_with('0');
    if text.is_empty() || !is_decimal || has_leading_zero {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

fn is_in_order((min, max): Bounds) -> bool {
    min <= MAX_COPIES && max.is_none_or(|max| min <= max && max <= MAX_COPIES)
}
