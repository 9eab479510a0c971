// SPDX-License-Identifier: Apache-2.0
//! One page of a list of tags, as JSON.
//!
//! A reader goes in, the tags come out; nothing else of the document is kept, however large it is: that is why it is not
//! read by `json`, which wants all bytes in memory. The keys that count may stand there once, as there; what stands twice
//! beside them changes nothing. What has no tags to say is an error: an answer without a list is not an empty list. Source: distribution-spec "Listing Tags".

use std::{
    fmt,
    io::{self, BufReader, Read},
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::Tag;

/// Larger than this is no name of a repository.
const MAX_NAME: usize = 1024;
/// The most bytes from one quote to the next. The parser keeps a text until it has its end, whatever becomes of it: this is
/// what a text may take, also one that is no tag and not asked for. Larger than the labels that some registries write
/// beside their tags.
pub(crate) const MAX_UNQUOTED: u64 = 64 * 1024;

/// What a page says.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) name: Option<String>,
    pub(crate) tags: Vec<Tag>,
    /// Entries in the list, whatever they are.
    pub(crate) entries: usize,
    /// Entries that are no tags by the grammar.
    pub(crate) skipped: usize,
    /// The list has more entries than there was room for, and was not read to its end.
    pub(crate) is_cut: bool,
}

/// Reads a page with `room` entries at most.
pub(crate) fn parse(reader: impl Read, room: usize) -> Result<Listed, serde_json::Error> {
    let mut listed = Listed::default();
    let mut deserializer =
        serde_json::Deserializer::from_reader(BufReader::new(Quotes::of(reader)));
    let page = Page {
        listed: &mut listed,
        room,
    };
    let result = page
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match result {
        Err(_) if listed.is_cut => Ok(listed),
        result => result.map(|()| listed),
    }
}

/// A reader that fails where quotes are too far from each other.
struct Quotes<R> {
    reader: R,
    /// Bytes since the last quote that begins or ends a text.
    since: u64,
    is_escaped: bool,
}

impl<R> Quotes<R> {
    fn of(reader: R) -> Self {
        Self {
            reader,
            since: 0,
            is_escaped: false,
        }
    }

    fn pass(&mut self, byte: u8) {
        let is_end = byte == b'"' && !self.is_escaped;
        self.since = if is_end { 0 } else { self.since + 1 };
        self.is_escaped = byte == b'\\' && !self.is_escaped;
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        for byte in &buffer[..length] {
            self.pass(*byte);
            if self.since > MAX_UNQUOTED {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
        }
        Ok(length)
    }
}

struct Page<'a> {
    listed: &'a mut Listed,
    room: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Key {
    Name,
    Tags,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Page<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Page<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of tags")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let (mut has_name, mut has_tags) = (false, false);
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Name if has_name => return Err(M::Error::duplicate_field("name")),
                Key::Tags if has_tags => return Err(M::Error::duplicate_field("tags")),
                Key::Name => {
                    has_name = true;
                    let name = map.next_value::<Option<String>>()?;
                    self.listed.name = name.filter(|name| name.len() <= MAX_NAME);
                }
                Key::Tags => {
                    has_tags = true;
                    let (listed, room) = (&mut *self.listed, self.room);
                    map.next_value_seed(Entries { listed, room })?;
                }
                Key::Other => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        if has_tags {
            Ok(())
        } else {
            Err(M::Error::missing_field("tags"))
        }
    }
}

struct Entries<'a> {
    listed: &'a mut Listed,
    room: usize,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tags or null")
    }

    /// Go programs write `null` for an empty list.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut entries: S) -> Result<(), S::Error> {
        while let Some(Entry(tag)) = entries.next_element()? {
            if self.listed.entries == self.room {
                self.listed.is_cut = true;
                return Err(S::Error::custom("too many tags"));
            }
            self.listed.entries += 1;
            match tag {
                Some(tag) => self.listed.tags.push(tag),
                None => self.listed.skipped += 1,
            }
        }
        Ok(())
    }
}

/// A text, and whether it is a tag. Anything else than text is an error of the document.
struct Entry(Option<Tag>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a tag")
            }

            fn visit_str<E>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry(text.parse().ok()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Listed, serde_json::Error> {
        parse(text.as_bytes(), 5)
    }

    fn tags(text: &str) -> Vec<String> {
        read(text)
            .unwrap()
            .tags
            .iter()
            .map(Tag::to_string)
            .collect()
    }

    #[test]
    fn tags_are_read_whatever_stands_beside_them() {
        let nested = format!("{}0{}", "[".repeat(100), "]".repeat(100));
        let text = format!(
            r#"{{"manifest":{{"sha256:0":{{"tag":["x"],"n":1e3}}}},"child":{nested},"name":"a","tags":["1","2"]}}"#
        );
        assert_eq!(tags(&text), ["1", "2"]);
        assert_eq!(read(&text).unwrap().name.as_deref(), Some("a"));
        assert_eq!(tags(r#"{"tags":["\u0031"]}"#), ["1"]);
    }

    #[test]
    fn nothing_is_an_empty_list_only_when_the_registry_says_so() {
        assert!(tags(r#"{"name":"a","tags":null}"#).is_empty());
        assert!(tags(r#"{"tags":[]}"#).is_empty());
        for bad in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"name":"a"}"#,
            r#"{"Tags":["1"]}"#,
            r#"{"tags":"1"}"#,
            r#"{"tags":{"1":2}}"#,
            r#"{"tags":["1",null]}"#,
            r#"{"tags":["1",2]}"#,
            r#"{"tags":[["1"]]}"#,
            r#"{"tags":["1"],"tags":["2"]}"#,
            r#"{"tags":["1"],"t\u0061gs":["2"]}"#,
            r#"{"name":"a","name":"b","tags":[]}"#,
            r#"{"name":7,"tags":[]}"#,
            r#"{"tags":["1"]} x"#,
            r#"{"tags":["1"]"#,
            r#"{"tags":["\ud800"]}"#,
            "\u{feff}{\"tags\":[]}",
            "<html></html>",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    /// How much is read of a document that begins so and goes on with `more` without end.
    fn bytes_read(start: &str, more: &str) -> u64 {
        let mut body = start
            .as_bytes()
            .chain(Cycle(more.as_bytes(), 0))
            .take(64 << 20);
        assert!(parse(&mut body, 5).is_err(), "{start}");
        (64 << 20) - body.limit()
    }

    /// Bytes again and again.
    struct Cycle<'a>(&'a [u8], usize);

    impl Read for Cycle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in &mut *buffer {
                *byte = self.0[self.1 % self.0.len()];
                self.1 += 1;
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_text_without_end_is_not_kept() {
        for start in [
            r#"{"name":""#,
            r#"{""#,
            r#"{"tags":[""#,
            r#"{"tags":["1",""#,
            r#"{"tags":["1"],"other":""#,
            r#"{"name":"#,
        ] {
            for more in ["a", r"\n", r"\u00e9", r#"\""#, r"\\", "1", "é"] {
                let read = bytes_read(start, more);
                assert!(read < 2 * MAX_UNQUOTED, "{start} {more}: {read}");
            }
        }
        let long = "x".repeat(64 * 1024 - 1);
        let text = format!(r#"{{"name":"{long}","label":"{long}","tags":["1"]}}"#);
        assert_eq!(tags(&text), ["1"]);
        let text = format!(r#"{{"label":"{}","tags":["1"]}}"#, r#"\""#.repeat(40 << 10));
        assert!(read(&text).is_err());
    }

    #[test]
    fn what_is_no_tag_is_counted() {
        let listed = read(r#"{"tags":["a b","../x","1",""]}"#).unwrap();
        assert_eq!(
            (listed.skipped, listed.entries, listed.tags.len()),
            (3, 4, 1)
        );
    }

    #[test]
    fn a_list_ends_where_there_is_no_room() {
        assert!(!read(r#"{"tags":["1","2","3","4","5"]}"#).unwrap().is_cut);
        assert!(
            read(r#"{"tags":["1","2","3","4","5","6"]}"#)
                .unwrap()
                .is_cut
        );
    }

    #[test]
    fn no_part_of_a_page_makes_the_reader_fall() {
        let whole = r#"{"name":"a/b","tags":["1.0","é\u00e9\\",null],"manifest":{"x":[1,-2.5e3]}}"#;
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let _ = read(&whole[..end]);
            for other in [b'"', b'{', b'}', b'[', b',', b'\\', 0, 0xff, b'9'] {
                let mut bytes = whole.as_bytes().to_vec();
                bytes[end] = other;
                let _ = parse(bytes.as_slice(), 5);
            }
        }
    }
}
