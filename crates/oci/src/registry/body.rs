// SPDX-License-Identifier: Apache-2.0
//! Reading answers: never more than a cap, never longer than a deadline, never slower than a minimum.
//!
//! Every byte that a registry sends after a head passes [`Chunks`].

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::{
    auth::Credentials,
    client::Timeouts,
    flow::wishes,
    origin::Origin,
    problem::{Answer, AskedBy, Problem, clean},
    wire::{Incoming, Wire},
};

/// What is read of an answer that is an error.
const ERROR_BODY: u64 = 16 * 1024;
const SHOWN_ERRORS: usize = 3;

/// The pieces of a body.
pub(crate) struct Chunks<'a> {
    body: Incoming,
    host: &'a Origin,
    timeouts: Timeouts,
    started: Instant,
    limit: Duration,
    /// Time spent waiting, and bytes that came, since the last look at the rate. Time that we take to write counts
    /// against nobody.
    waited: Duration,
    received: u64,
}

impl<'a> Chunks<'a> {
    /// Starts the clock. Refuses a body whose bytes were changed by a content coding.
    pub(crate) fn of(
        response: Response<Incoming>,
        host: &'a Origin,
        timeouts: Timeouts,
        limit: Duration,
    ) -> Result<Self, Problem> {
        let mut codings = response.headers().get_all(header::CONTENT_ENCODING).iter();
        let is_coding =
            |coding: &&HeaderValue| !coding.as_bytes().eq_ignore_ascii_case(b"identity");
        if let Some(coding) = codings.find(is_coding) {
            let encoding = clean(&String::from_utf8_lossy(coding.as_bytes()), 40);
            return Err(Problem::Encoding {
                host: host.clone(),
                encoding,
            });
        }
        Ok(Self {
            body: response.into_body(),
            host,
            timeouts,
            started: Instant::now(),
            limit,
            waited: Duration::ZERO,
            received: 0,
        })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let left = self.limit.saturating_sub(self.started.elapsed());
            let window = self.timeouts.slow_window.saturating_sub(self.waited);
            let asked = Instant::now();
            let frame = timeout(left.min(window), self.body.frame()).await;
            self.waited += asked.elapsed();
            match frame {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.received += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(Problem::Broken {
                        host: self.host.clone(),
                        cause: Box::new(error),
                    });
                }
                Err(_) => self.judge()?,
            }
        }
    }

    /// Called when a wait ended without data: at the deadline, or at the end of a window.
    fn judge(&mut self) -> Result<(), Problem> {
        let host = self.host.clone();
        if self.started.elapsed() >= self.limit {
            return Err(Problem::Timeout {
                host,
                what: "the rest of the content",
                after: self.limit,
            });
        }
        let Timeouts {
            slow_bytes,
            slow_window,
            ..
        } = self.timeouts;
        if self.received < slow_bytes {
            return Err(Problem::TooSlow {
                host,
                bytes: slow_bytes,
                window: slow_window,
            });
        }
        (self.waited, self.received) = (Duration::ZERO, 0);
        Ok(())
    }
}

/// The whole body in memory, `limit` bytes at most.
pub(crate) async fn collect(
    response: Response<Incoming>,
    host: &Origin,
    what: &'static str,
    limit: u64,
    wire: &Wire,
) -> Result<Bytes, Problem> {
    let said = content_length(response.headers()).unwrap_or(0);
    if said > limit {
        return Err(Problem::TooLarge { what, limit });
    }
    let mut chunks = Chunks::of(response, host, wire.timeouts, wire.timeouts.document)?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunks.next().await? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(Problem::TooLarge { what, limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// What `Content-Length` says, if it says a number.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The media type of an answer, without parameters and in lower case; empty when there is none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let bare = value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    clean(bare, 200).to_ascii_lowercase()
}

/// Reads an answer that is an error, for its words. What was sent is taken out of them, should they repeat it.
pub(crate) async fn answer(
    response: Response<Incoming>,
    host: &Origin,
    credentials: &Credentials,
    sent: Option<&HeaderValue>,
    is_home: bool,
    wire: &Wire,
) -> Answer {
    let status = response.status();
    let retry_after = wishes::retry_after(response.headers(), SystemTime::now());
    let media_type = content_type(response.headers());
    let words = error_words(&start_of(response, host, wire).await, &media_type);
    let token = sent
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let token = token.split_once(' ').map_or(token, |(_, token)| token);
    let words = if token.is_empty() {
        words
    } else {
        words.replace(token, "(secret)")
    };
    let asked_by = match credentials.source() {
        _ if !is_home => AskedBy::Stranger,
        Some(source) => AskedBy::Credentials(source.to_owned()),
        None => AskedBy::Nobody,
    };
    let words = clean(&credentials.scrub(&words), 400);
    Answer {
        status,
        words,
        retry_after,
        asked_by,
    }
}

/// The beginning of a body, as much as comes; the error that is being told is not replaced by another one.
async fn start_of(response: Response<Incoming>, host: &Origin, wire: &Wire) -> Vec<u8> {
    let mut start = Vec::new();
    let Ok(mut chunks) = Chunks::of(response, host, wire.timeouts, wire.timeouts.document) else {
        return start;
    };
    while let Ok(Some(chunk)) = chunks.next().await {
        start.extend_from_slice(&chunk);
        if start.len() as u64 > ERROR_BODY {
            start.truncate(usize::try_from(ERROR_BODY).unwrap_or(usize::MAX));
            break;
        }
    }
    start
}

#[derive(Deserialize)]
struct ErrorDocument {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The registry's own codes and messages; else plain text as it is; else what it was instead.
///
/// Other than documents that decide something, an error may be JSON that could be read in two ways: its words are only
/// shown to people, and a sloppy error document still says more than none.
fn error_words(body: &[u8], media_type: &str) -> String {
    if let Ok(document) = serde_json::from_slice::<ErrorDocument>(body) {
        let shown = |entry: &ErrorEntry| match (entry.code.as_str(), entry.message.as_str()) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        return document
            .errors
            .iter()
            .take(SHOWN_ERRORS)
            .map(shown)
            .collect::<Vec<_>>()
            .join("; ");
    }
    if holds_token(body) {
        return "with a document that holds a token".to_owned();
    }
    match media_type {
        _ if body.is_empty() => String::new(),
        // Cut only after what is secret was taken out: half a token is found by nobody.
        "text/plain" | "application/json" => String::from_utf8_lossy(body).into_owned(),
        "" => "without a registry's error document".to_owned(),
        other => format!("with a {other} document that is not a registry's error"),
    }
}

/// What a token service answers when all is well is not for anybody's eyes, whatever the status says.
fn holds_token(body: &[u8]) -> bool {
    ["token\"", "token'", "_token="].iter().any(|mark| {
        let mark = mark.as_bytes();
        body.windows(mark.len())
            .any(|part| part.eq_ignore_ascii_case(mark))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_registry_are_told() {
        let document = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"x":1}},{"code":"X"}]}"#;
        assert_eq!(
            error_words(document, "application/json"),
            "MANIFEST_UNKNOWN: manifest unknown; X"
        );
        assert_eq!(error_words(b"slow down", "text/plain"), "slow down");
        assert_eq!(error_words(b"", ""), "");
        let words = br#"{"details":"incorrect username or password"}"#;
        assert!(error_words(words, "application/json").contains("incorrect username"));
        assert_eq!(
            error_words(b"<html><script>", "text/html"),
            "with a text/html document that is not a registry's error"
        );
    }

    #[test]
    fn a_token_in_an_answer_with_a_wrong_status_is_not_told() {
        for body in [
            r#"{"token":"canary"}"#,
            r#"{"access_token" : "canary", "expires_in":1}"#,
            r#"{"REFRESH_TOKEN":"canary""#,
            "access_token=canary",
        ] {
            for media_type in ["application/json", "text/plain", ""] {
                let words = error_words(body.as_bytes(), media_type);
                assert!(!words.contains("canary"), "{body}: {words}");
            }
        }
    }
}
