// SPDX-License-Identifier: Apache-2.0
//! The answer of a token service.
//!
//! Pure: bytes under a cap go in; a [`Grant`] comes out, or nothing, as from JSON that could be read in two ways. What the answer says is never quoted. Source:
//! distribution's token authentication specification. `issued_at` is not read: a service's clock cannot make a token
//! live longer, and a token that ended early is replaced when it is refused.

use serde::Deserialize;

use crate::json;

use super::{Secret, grants::Grant, sensitive};

/// A token service's answer. A token of another type makes it none. Other values may be out of range and of any type: only
/// a sensible `expires_in` counts.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<serde_json::Value>,
    expires_in: Option<serde_json::Value>,
}

/// The token, and what the service gave to get the next one with.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Grant, Option<Secret>)> {
    let answer: TokenAnswer = json::from_slice_strict(bytes, json::Limits::default()).ok()?;
    let filled = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token = filled(answer.token).or_else(|| filled(answer.access_token))?;
    if !is_token(&token) {
        return None;
    }
    let header = sensitive(&format!("Bearer {token}")).ok()?;
    let expires_in = answer.expires_in.and_then(|value| value.as_u64());
    let refresh = answer
        .refresh_token
        .as_ref()
        .and_then(|value| value.as_str())
        .filter(|text| is_token(text))
        .map(Secret::from);
    Some((Grant::token(header, expires_in), refresh))
}

/// What can stand in a header as one word.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_names_of_the_token_are_read() {
        for text in [
            r#"{"token":"t"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"token":"","access_token":"t"}"#,
            r#"{"token":"t","access_token":"other"}"#,
            r#"{"token":null,"access_token":"t","expires_in":300,"issued_at":7}"#,
            r#"{"token":"t","issued_at":"2999-01-01T00:00:00Z","refresh_token":7}"#,
        ] {
            let (grant, refresh) = parse(text.as_bytes()).unwrap();
            assert_eq!(grant.header.to_str().unwrap(), "Bearer t", "{text}");
            assert!(grant.header.is_sensitive() && refresh.is_none());
        }
        let (_, refresh) = parse(br#"{"token":"t","refresh_token":"r"}"#).unwrap();
        assert_eq!(refresh.unwrap().expose(), "r");
    }

    #[test]
    fn odd_lives_count_as_unsaid() {
        let lives = |said: &str| {
            let text = format!(r#"{{"token":"t","expires_in":{said}}}"#);
            parse(text.as_bytes()).unwrap().0.lives
        };
        for odd in [
            "-1",
            "1e99",
            "\"300\"",
            "null",
            "{}",
            "0.5",
            "99999999999999999999",
        ] {
            assert_eq!(lives(odd), Duration::from_secs(60), "{odd}");
        }
        assert_eq!(lives("18446744073709551615"), Duration::from_secs(3600));
        assert_eq!(lives("1"), Duration::from_secs(60));
    }

    #[test]
    fn what_holds_no_token_gives_none() {
        for bad in [
            "",
            "<html>",
            "[]",
            "{}",
            "null",
            "\"t\"",
            r#"{"token":""}"#,
            r#"{"token":7}"#,
            r#"{"token":["t"]}"#,
            "{\"token\":\"a\\nb\"}",
            "{\"token\":\"a\\r\\nX-Evil: 1\"}",
            "{\"token\":\"a\\u0000\"}",
            "{\"token\":\"a b\"}",
            "{\"token\":\"a\\t\"}",
            "{\"token\":\"\u{e9}\"}",
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"a","expires_in":1,"expires_in":2}"#,
            r#"{"token":"a","to\u006ben":"b"}"#,
            r#"{"token":"a","scope":{"x":1,"x":2}}"#,
            r#"{"token":"a"} {"token":"b"}"#,
            "\u{feff}{\"token\":\"a\"}",
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad:.60}");
        }
        let deep = format!(
            r#"{{"token":"a","x":{}{}}}"#,
            "[".repeat(64),
            "]".repeat(64)
        );
        assert!(parse(deep.as_bytes()).is_none());
    }
}
