// SPDX-License-Identifier: Apache-2.0
//! YAML text as trees that remember their lines.
//!
//! Pure: the text of a file goes in, one [`Node`] per document comes out, or a [`Fault`] with the line. What the trees
//! mean is not known here. A tree is bounded: the text by its caller, what aliases make of it by a budget.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// The most nodes of a file, after aliases are expanded. A million bytes of honest YAML has fewer.
const MAX_NODES: usize = 100_000;
/// The deepest nesting. An `OCIRepository` needs six.
const MAX_DEPTH: usize = 32;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The line, from 1. 0 when the whole file is meant.
    pub(super) line: u64,
    /// What, and what to do.
    pub(super) message: String,
}

impl Fault {
    pub(super) fn at(line: u64, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
        }
    }
}

/// A value and the line it is on.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, its line, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) node: Node,
}

/// Parses all documents of a text. Empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let options = serde_saphyr::options! {
        // A snippet would carry the contents of a Secret into a log.
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! { max_events: MAX_NODES, max_depth: MAX_DEPTH },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        Fault::at(line, format!("not valid YAML: {}", without_place(&error)))
    })
}

/// The parser's words without its place, which the fault tells already, and without hints for programmers.
fn without_place(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end = [" at line ", ", set "]
        .iter()
        .filter_map(|mark| first.find(mark))
        .min();
    let what = end.map_or(first, |end| &first[..end]);
    what.trim_start_matches("error: ").to_owned()
}

impl Node {
    /// The entry of a map. `null` counts as absent, as it does for an API server.
    pub(super) fn field(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.node.value, Value::Null)).then_some(&entry.node)
    }

    /// The text of a text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same as JSON, without what is `null`.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .filter(|entry| !matches!(entry.node.value, Value::Null))
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        }
    }
}

impl Value {
    /// What it is, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            let node = map.next_value()?;
            entries.push(Entry {
                key: key.value,
                line,
                node,
            });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn fault(text: &str) -> Fault {
        parse(text).unwrap_err()
    }

    #[test]
    fn lines_are_those_of_the_file_in_every_document() {
        let documents = parse("# first\na: 1\n---\n\nb:\n  c: [x,\n  y]\n---\n").unwrap();
        assert_eq!(documents.len(), 2);
        let Value::Map(entries) = &documents[1].value else {
            panic!("a map")
        };
        assert_eq!((entries[0].key.as_str(), entries[0].line), ("b", 5));
        let Value::List(items) = &entries[0].node.field("c").unwrap().value else {
            panic!("a list")
        };
        assert_eq!((items[0].line, items[1].line), (6, 7));
    }

    #[test]
    fn scalars_keep_their_types_and_null_is_absent() {
        let documents = parse("a: 1.0\nb: '1.0'\nc: true\nd: null\ne: ~\nf: -3\n").unwrap();
        let expected = serde_json::json!({"a": 1.0, "b": "1.0", "c": true, "f": -3});
        assert_eq!(documents[0].to_json(), expected);
        assert!(documents[0].field("d").is_none());
    }

    #[test]
    fn an_empty_text_has_no_documents() {
        assert!(parse("").unwrap().is_empty());
        assert!(parse("# only words\n---\n---\n").unwrap().is_empty());
    }

    #[test]
    fn malformed_yaml_names_the_line_and_shows_nothing_of_the_text() {
        let fault = fault("a: 1\nb: [hunter2\nc: }\n");
        assert!(fault.line >= 2, "{fault:?}");
        assert!(!fault.message.contains("hunter2"), "{fault:?}");
    }

    #[test]
    fn a_key_that_is_written_twice_is_refused() {
        let fault = fault("a: 1\nb: 2\na: 3\n");
        assert_eq!(fault.line, 3, "{fault:?}");
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let below = format!("*a{}", level - 1);
            let list = vec![below; 10].join(",");
            writeln!(text, "a{level}: &a{level} [{list}]").unwrap();
        }
        fault(&text);
    }

    #[test]
    fn depth_has_a_bound() {
        fault(&"[".repeat(100_000));
        fault(&"- ".repeat(100_000));
    }

    #[test]
    fn binary_garbage_is_refused() {
        fault("\u{0}\u{1}\u{2}{{{{");
    }
}
