// SPDX-License-Identifier: Apache-2.0
//! JSON that means one thing.
//!
//! serde takes the last of two equal keys, other readers the first: a document with both is two documents. Bytes go in, a
//! value comes out, and whatever could be read in another way is an error: equal keys anywhere, also in parts that nobody
//! asks for, other encodings, something behind the end. Source: CVE-2021-41190 for what ambiguity leads to.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

/// How large the parts of a document may be. Its bytes are counted by who reads them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Objects and lists within one another.
    pub(crate) depth: usize,
    /// Keys of one object.
    pub(crate) keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            keys: 10_000,
        }
    }
}

/// Why a document is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON, a number that no number type holds, or a field of the wrong type.
    #[error("the JSON is malformed or not of the expected form")]
    Malformed(#[source] serde_json::Error),
    /// An object has a key twice, after escapes were resolved.
    #[error("the key {0:?} stands twice in one JSON object")]
    DuplicateKey(String),
    /// Nested deeper than the limit.
    #[error("the JSON is nested more than {0} deep")]
    TooDeep(usize),
    /// An object with more keys than the limit.
    #[error("a JSON object has more than {0} keys")]
    TooManyKeys(usize),
    /// A byte order mark, or an encoding that is not UTF-8.
    #[error("the JSON is not UTF-8 without a byte order mark")]
    Encoding,
}

/// Reads a document.
pub(crate) fn from_slice_strict<T: DeserializeOwned>(
    bytes: &[u8],
    limits: Limits,
) -> Result<T, JsonError> {
    check(bytes, limits)?;
    serde_json::from_slice(bytes).map_err(JsonError::Malformed)
}

/// Looks at every key and bracket of a document and keeps nothing.
pub(crate) fn check(bytes: &[u8], limits: Limits) -> Result<(), JsonError> {
    let text = str::from_utf8(bytes).map_err(|_| JsonError::Encoding)?;
    // UTF-16 of plain ASCII is UTF-8 with a zero at every other place.
    if text.starts_with('\u{feff}') || text.bytes().take(2).any(|byte| byte == 0) {
        return Err(JsonError::Encoding);
    }
    let found = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let walk = Walk {
        depth: limits.depth,
        limits,
        found: &found,
    };
    let result = walk
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    result.map_err(|error| found.take().unwrap_or(JsonError::Malformed(error)))
}

/// One value; what is wrong with it goes to `found`, because serde's own error is only text.
#[derive(Clone, Copy)]
struct Walk<'a> {
    /// How many more levels there may be.
    depth: usize,
    limits: Limits,
    found: &'a Cell<Option<JsonError>>,
}

impl Walk<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.fail(JsonError::TooDeep(self.limits.depth))),
        }
    }

    fn fail<E: de::Error>(self, why: JsonError) -> E {
        let error = E::custom(&why);
        self.found.set(Some(why));
        error
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<(), S::Error> {
        let inner = self.deeper()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let inner = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if keys.len() == self.limits.keys {
                return Err(self.fail(JsonError::TooManyKeys(self.limits.keys)));
            }
            if keys.contains(&key) {
                let shown = key.chars().take(100).collect();
                return Err(self.fail(JsonError::DuplicateKey(shown)));
            }
            keys.insert(key);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, JsonError> {
        let limits = Limits { depth: 4, keys: 3 };
        from_slice_strict(text.as_bytes(), limits)
    }

    #[test]
    fn ordinary_documents_are_read() {
        for text in [
            "null",
            "7",
            r#""x""#,
            r#" {"a":{"a":1},"b":[{"a":-1.5e3},{"a":true}]} "#,
        ] {
            assert_eq!(
                read(text).unwrap(),
                serde_json::from_str::<serde_json::Value>(text).unwrap()
            );
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_wherever_it_stands() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"y":[{"a":null,"a":null}]}}"#,
        ] {
            assert!(
                matches!(read(text), Err(JsonError::DuplicateKey(key)) if key == "a"),
                "{text}"
            );
        }
        let long = "k".repeat(1 << 20);
        let error = read(&format!(r#"{{"{long}":1,"{long}":2}}"#)).unwrap_err();
        assert!(error.to_string().len() < 200);
    }

    #[test]
    fn depth_and_keys_have_limits() {
        assert!(read("[[[[1]]]]").is_ok());
        assert!(matches!(read("[[[[[1]]]]]"), Err(JsonError::TooDeep(4))));
        assert!(matches!(
            read(r#"[{"a":[{"b":[]}]}]"#),
            Err(JsonError::TooDeep(4))
        ));
        assert!(matches!(
            read(&"[".repeat(1 << 20)),
            Err(JsonError::TooDeep(4))
        ));
        let deep = from_slice_strict::<serde_json::Value>(
            "[".repeat(1 << 20).as_bytes(),
            Limits {
                depth: 1 << 20,
                keys: 1,
            },
        );
        assert!(matches!(deep, Err(JsonError::Malformed(_))));
        assert!(read(r#"{"a":1,"b":2,"c":3}"#).is_ok());
        assert!(matches!(
            read(r#"{"a":1,"b":2,"c":3,"d":4}"#),
            Err(JsonError::TooManyKeys(3))
        ));
    }

    #[test]
    fn other_encodings_and_what_is_no_json_are_refused() {
        let utf16: Vec<u8> = r#"{"a":1}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = r#"{"a":1}"#.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            b"\xef\xbb\xbf{}".to_vec(),
            b"\xff\xfe{\0}\0".to_vec(),
            utf16,
            big,
            b"{\"\xff\":1}".to_vec(),
        ] {
            assert!(
                matches!(check(&bytes, Limits::default()), Err(JsonError::Encoding)),
                "{bytes:?}"
            );
        }
        for text in [
            "",
            " ",
            "{",
            "{}x",
            "{} {}",
            "[1,]",
            "{'a':1}",
            "NaN",
            "1e999",
            "-",
            "01",
            "\"\u{1}\"",
            r#""\ud800""#,
            "<html>",
        ] {
            assert!(matches!(read(text), Err(JsonError::Malformed(_))), "{text}");
        }
    }
}
