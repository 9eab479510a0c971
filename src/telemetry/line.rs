// SPDX-License-Identifier: Apache-2.0
//! One log line, from its parts to its text. Pure.
//!
//! Whatever comes in, one line goes out: control characters, line and paragraph separators and characters that change
//! the direction of text are escaped, and the line ends within [`MAX_LINE`] bytes.

use std::fmt::{Arguments, Write as _};

use jiff::Timestamp;
use tracing::Level;

/// The most bytes of a line, with its end.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// The most bytes of one text in it, escapes included.
const MAX_TEXT: usize = 2 * 1024;
/// The most bytes of a key.
const MAX_KEY: usize = 128;
/// A field is added while this much is left for it, for the note that others were left out, and for the end.
const ROOM: usize = MAX_TEXT + MAX_KEY + 64;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A text.
    Text(String),
    /// A number or a truth value, which needs no quotes.
    Bare(String),
}

/// The fields of an event or a span, in the order they were given.
pub(super) type Fields = Vec<(&'static str, Value)>;

/// What a line says.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) at: Timestamp,
    /// The module it comes from.
    pub(super) target: String,
    pub(super) message: String,
    pub(super) fields: Fields,
}

impl Line {
    /// As one JSON object with Flux's keys (contract 8.3).
    pub(super) fn json(&self) -> String {
        let mut line = format!(
            "{{\"level\":\"{}\",\"ts\":\"{}\"",
            level(self.level),
            self.time()
        );
        for (key, text) in [("logger", &self.target), ("msg", &self.message)] {
            push(&mut line, format_args!(",\"{key}\":"));
            push_quoted(&mut line, text, MAX_TEXT);
        }
        for (place, (key, value)) in self.fields.iter().enumerate() {
            if line.len() + ROOM > MAX_LINE {
                push(
                    &mut line,
                    format_args!(",\"omittedFields\":{}", self.fields.len() - place),
                );
                break;
            }
            line.push(',');
            push_quoted(&mut line, &unreserved(key), MAX_KEY);
            line.push(':');
            push_value(&mut line, value, |_| true);
        }
        line.push_str("}\n");
        line
    }

    /// For people: time, level, message, then `key=value`.
    pub(super) fn text(&self, coloured: bool) -> String {
        let mut line = format!("{} ", self.time());
        push_level(&mut line, self.level, coloured);
        line.push(' ');
        push_escaped(&mut line, &self.message, MAX_TEXT);
        for (place, (key, value)) in self.fields.iter().enumerate() {
            if line.len() + ROOM > MAX_LINE {
                push(
                    &mut line,
                    format_args!(" ({} fields omitted)", self.fields.len() - place),
                );
                break;
            }
            line.push(' ');
            push_escaped(&mut line, key, MAX_KEY);
            line.push('=');
            push_value(&mut line, value, needs_quotes);
        }
        line.push('\n');
        line
    }

    fn time(&self) -> String {
        self.at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }
}

fn push(line: &mut String, text: Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = line.write_fmt(text);
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn push_level(line: &mut String, of: Level, coloured: bool) {
    let name = level(of).to_uppercase();
    if !coloured {
        push(line, format_args!("{name:<5}"));
        return;
    }
    let colour = match of {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG | Level::TRACE => 2,
    };
    push(line, format_args!("\u{1b}[{colour}m{name:<5}\u{1b}[0m"));
}

// A field must not pass for one of the line's own keys.
fn unreserved(key: &str) -> String {
    let is_reserved = matches!(key, "level" | "ts" | "logger" | "msg" | "omittedFields");
    let end = if is_reserved { "_" } else { "" };
    format!("{key}{end}")
}

fn push_value(line: &mut String, value: &Value, needs_quotes: impl Fn(&str) -> bool) {
    match value {
        Value::Bare(text) => line.push_str(text),
        Value::Text(text) if needs_quotes(text) => push_quoted(line, text, MAX_TEXT),
        Value::Text(text) => push_escaped(line, text, MAX_TEXT),
    }
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains([' ', '"', '='])
}

fn push_quoted(line: &mut String, text: &str, limit: usize) {
    line.push('"');
    push_escaped(line, text, limit - 2);
    line.push('"');
}

/// Writes text with the escapes of JSON, cut at a number of bytes.
fn push_escaped(line: &mut String, text: &str, limit: usize) {
    const CUT: char = '…';
    let end = line.len() + limit - CUT.len_utf8();
    for c in text.chars() {
        let before = line.len();
        push_char(line, c);
        if line.len() > end {
            line.truncate(before);
            line.push(CUT);
            return;
        }
    }
}

fn push_char(line: &mut String, c: char) {
    match c {
        '"' => line.push_str("\\\""),
        '\\' => line.push_str("\\\\"),
        '\n' => line.push_str("\\n"),
        '\t' => line.push_str("\\t"),
        c if is_harmful(c) => push(line, format_args!("\\u{:04x}", u32::from(c))),
        c => line.push(c),
    }
}

// All of them are in the first plane, so four hexadecimal digits suffice.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    fn line(message: &str, fields: Fields) -> Line {
        Line {
            level: Level::INFO,
            at: Timestamp::from_millisecond(1_800_000_000_007).unwrap(),
            target: "wharf::engine".to_owned(),
            message: message.to_owned(),
            fields,
        }
    }

    fn parsed(line: &Line) -> Json {
        let text = line.json();
        assert!(
            text.len() <= MAX_LINE && text.ends_with("}\n"),
            "{} bytes",
            text.len()
        );
        assert_eq!(text.lines().count(), 1);
        assert!(!text.trim_end().chars().any(is_harmful));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn json_has_flux_s_keys_in_front() {
        let fields = vec![
            ("name", Value::Text("web".into())),
            ("entries", Value::Bare("3".into())),
        ];
        let line = line("stored artifact", fields);
        assert_eq!(
            line.json(),
            "{\"level\":\"info\",\"ts\":\"2027-01-15T08:00:00.007Z\",\"logger\":\"wharf::engine\",\
             \"msg\":\"stored artifact\",\"name\":\"web\",\"entries\":3}\n"
        );
    }

    #[test]
    fn text_is_for_people_and_coloured_only_when_asked() {
        let fields = vec![
            ("name", Value::Text("web".into())),
            ("error", Value::Text("no \"such\" tag".into())),
        ];
        let line = line("stored", fields);
        let expected =
            "2027-01-15T08:00:00.007Z INFO  stored name=web error=\"no \\\"such\\\" tag\"\n";
        assert_eq!(line.text(false), expected);
        assert_eq!(
            line.text(true),
            expected.replace("INFO ", "\u{1b}[32mINFO \u{1b}[0m")
        );
    }

    #[test]
    fn no_character_breaks_the_line_or_the_terminal() {
        let mut hostile: String = (0..=0x9f_u8).map(char::from).collect();
        hostile.push_str("\u{1b}[2J\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{7f} \u{1f980} \"\\");
        let line = line(&hostile, vec![("error", Value::Text(hostile.clone()))]);
        let json = parsed(&line);
        assert_eq!(json["msg"], hostile.as_str());
        assert_eq!(json["error"], hostile.as_str());
        let text = line.text(false);
        assert_eq!(text.lines().count(), 1);
        assert!(
            !text.trim_end_matches('\n').chars().any(is_harmful),
            "{text:?}"
        );
    }

    #[test]
    fn a_line_has_an_end_however_much_there_is_to_say() {
        const KEY: &str = "key";
        let plain = "x".repeat(1 << 20);
        let escaped = "\u{1}".repeat(1 << 20);
        let wide = "\u{1f980}".repeat(1 << 18);
        for huge in [&plain, &escaped, &wide] {
            let fields: Fields = (0..100).map(|_| (KEY, Value::Text(huge.clone()))).collect();
            let line = line(huge, fields);
            let json = parsed(&line);
            assert!(json["msg"].as_str().unwrap().ends_with('…'));
            assert!(json["omittedFields"].as_u64().unwrap() > 90);
            assert!(line.text(true).len() <= MAX_LINE);
        }
        let many = line(
            "short",
            (0..10_000)
                .map(|_| (KEY, Value::Bare("1".into())))
                .collect(),
        );
        assert!(parsed(&many)["omittedFields"].as_u64().unwrap() > 1_000);
    }

    #[test]
    fn a_field_cannot_pass_for_a_key_of_the_line() {
        let fields = vec![
            ("level", Value::Text("fatal".into())),
            ("msg", Value::Text("fake".into())),
        ];
        let json = parsed(&line("real", fields));
        assert_eq!(
            (json["level"].as_str(), json["msg"].as_str()),
            (Some("info"), Some("real"))
        );
        assert_eq!(
            (json["level_"].as_str(), json["msg_"].as_str()),
            (Some("fatal"), Some("fake"))
        );
    }
}
