// SPDX-License-Identifier: Apache-2.0
//! Finds what a source file names: the paths in its `use` items and in its code.
//!
//! Not a parser of Rust: it splits the text into tokens, leaves out comments and literals, follows `{ }` far enough to
//! know in which inline module it is, and reads paths. Macros that build paths out of pieces are beyond it.

use std::{fmt, path::Path};

/// One thing that a file names.
#[derive(Debug)]
pub(super) struct Import {
    /// Where, counted from 1.
    pub(super) line: usize,
    /// What.
    pub(super) target: Target,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Target {
    /// A module (or item) at the root of the same crate.
    Module(String),
    /// A path into another crate, its name first.
    Crate(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(name) => write!(f, "crate::{name}"),
            Self::Crate(path) => f.write_str(path),
        }
    }
}

/// What the file names outside of itself and its neighbours. `file` is relative to the repository.
pub(super) fn imports(file: &Path, text: &str) -> Vec<Import> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    // The depths of braces at which an inline module was opened.
    let mut modules = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                modules.pop_if(|opened| *opened == depth);
            }
            "mod" if text_at(&tokens, at + 2) == "{" => modules.push(depth),
            _ if starts_path(&tokens, at) => {
                let mut paths = Vec::new();
                let end = read_path(&tokens, at, String::new(), &mut paths);
                let level = module_depth(file) + modules.len();
                found.extend(
                    paths
                        .into_iter()
                        .filter_map(|(line, path)| resolve(line, &path, level)),
                );
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// A path begins with a name that nothing leads to; a lone name counts only where an item is brought in.
fn starts_path(tokens: &[Token<'_>], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).map_or("", |at| tokens[at].text);
    let led_to = match before(1) {
        "::" => before(2) == ">" || (is_name(before(2)) && before(2) != "use"),
        "." | "mod" | "fn" => true,
        _ => false,
    };
    let brought_in = matches!(
        (before(2), before(1)),
        (_, "use") | ("use", "::") | ("extern", "crate")
    );
    is_name(tokens[at].text)
        && !led_to
        && !matches!(tokens[at].text, "use" | "mod" | "extern" | "fn")
        && (brought_in || text_at(tokens, at + 1) == "::")
}

/// Reads the path at `at`, each branch of a `{ }` group by itself; returns where reading goes on.
fn read_path(
    tokens: &[Token<'_>],
    mut at: usize,
    mut path: String,
    found: &mut Vec<(usize, String)>,
) -> usize {
    let mut line = tokens.get(at).map_or(0, |token| token.line);
    loop {
        match text_at(tokens, at) {
            "{" if path.ends_with("::") => return read_group(tokens, at + 1, &path, found),
            name if is_name(name) => {
                path.push_str(name);
                line = tokens[at].line;
                at += 1;
            }
            _ => break,
        }
        if text_at(tokens, at) != "::" {
            break;
        }
        path.push_str("::");
        at += 1;
    }
    found.push((line, path.trim_end_matches("::").to_owned()));
    at
}

fn read_group(
    tokens: &[Token<'_>],
    mut at: usize,
    prefix: &str,
    found: &mut Vec<(usize, String)>,
) -> usize {
    while at < tokens.len() && tokens[at].text != "}" {
        at = if is_name(tokens[at].text) && text_at(tokens, at.wrapping_sub(1)) != "as" {
            read_path(tokens, at, prefix.to_owned(), found)
        } else {
            at + 1
        };
    }
    at + 1
}

/// Where a path leads, seen from a module `level` steps below the root; nothing when it stays in the neighbourhood.
fn resolve(line: usize, path: &str, level: usize) -> Option<Import> {
    let mut segments: Vec<_> = path.split("::").collect();
    let target = match segments[0] {
        "crate" => Target::Module(segments.get(1).unwrap_or(&"").to_string()),
        "self" | "Self" => return None,
        "super" => {
            let up = segments
                .iter()
                .take_while(|segment| **segment == "super")
                .count();
            let rest = segments.split_off(up);
            let reaches_root = up == level;
            Target::Module(rest.first().filter(|_| reaches_root)?.to_string())
        }
        _ => Target::Crate(path.to_owned()),
    };
    Some(Import { line, target })
}

/// How many modules lie between the file and the root of its crate.
fn module_depth(file: &Path) -> usize {
    let below_src = file
        .iter()
        .skip_while(|part| *part != "src")
        .count()
        .saturating_sub(1);
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") => below_src - 1,
        _ => below_src,
    }
}

struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn text_at<'a>(tokens: &[Token<'a>], at: usize) -> &'a str {
    tokens.get(at).map_or("", |token| token.text)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single signs; comments and literals are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (length, counts) = next(rest);
        let (token, after) = rest.split_at(length);
        if counts {
            found.push(Token { text: token, line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    found
}

/// How long the next piece of the text is, and whether it is a token.
fn next(text: &str) -> (usize, bool) {
    let first = text.chars().next().unwrap_or_default();
    if text.starts_with("//") {
        (text.find('\n').unwrap_or(text.len()), false)
    } else if text.starts_with("/*") {
        (block_comment(text), false)
    } else if let Some(length) = raw_string(text) {
        (length, false)
    } else if first == '"' {
        (quoted(text, '"'), false)
    } else if first == '\'' {
        (character_or_lifetime(text), false)
    } else if is_name(text) {
        (
            text.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(text.len()),
            true,
        )
    } else if text.starts_with("::") {
        (2, true)
    } else {
        (first.len_utf8(), !first.is_whitespace())
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of `r"..."`, `br#"..."#` and the like, if the text begins with one.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| text.starts_with(prefix))?;
    let hashes = text[prefix.len()..]
        .bytes()
        .take_while(|byte| *byte == b'#')
        .count();
    let start = prefix.len() + hashes + 1;
    if text.as_bytes().get(start - 1) != Some(&b'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    Some(
        text[start..]
            .find(&end)
            .map_or(text.len(), |length| start + length + end.len()),
    )
}

/// The length of the literal that ends at the next quote without a backslash before it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// `'a'` and `'\n'` are literals, `'a` alone is a lifetime, of which the quote is skipped here and the name with it.
fn character_or_lifetime(text: &str) -> usize {
    let mut inside = text.chars().skip(1);
    let (first, second) = (inside.next(), inside.next());
    if first == Some('\\') || second == Some('\'') {
        quoted(text, '\'')
    } else {
        let name = &text[1..];
        1 + name
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(name.len())
    }
}
