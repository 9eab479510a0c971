// SPDX-License-Identifier: Apache-2.0
//! What the registry was asked, for assertions.
//!
//! A request is noted when its head has been read, and its status when the answer is decided; so a request that is held
//! or never answered is here too. No credential is kept.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, Method, StatusCode, header, request};

use super::digest;
use super::route::{Endpoint, Route};

/// A request that reached the registry.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// What was asked for; `None` when the registry has nothing at that path.
    pub endpoint: Option<Endpoint>,
    /// The path, without the query.
    pub path: String,
    /// The query, as sent, without the question mark; empty when there was none.
    pub query: String,
    /// The scheme of the `Authorization` header (`Basic`, `Bearer`), never its value.
    pub authorization: Option<String>,
    /// Whether a `Proxy-Authorization` header came along, which is nobody's but a proxy's.
    pub proxy_authorization: bool,
    /// Whether a `Cookie` header came along.
    pub cookie: bool,
    /// Whose authorization it was, as the registry knows it: the label of an account, also for the tokens that it was
    /// given, or the digest of the certificate that a token was given for. `None` when it showed none, or a wrong one.
    pub who: Option<String>,
    /// The digest of the certificate that the client showed.
    pub certificate: Option<String>,
    /// The digest of the `Authorization` header's value: two that differ were different.
    pub authorization_digest: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Range` header.
    pub if_range: Option<String>,
    /// The `Accept` header.
    pub accept: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The status of the answer; `None` while there is none.
    pub status: Option<u16>,
    /// When its head had been read.
    pub arrived: Instant,
    /// When the answer was decided, before any of it was sent.
    pub answered: Option<Instant>,
    /// How long the answer asks to wait, by its `Retry-After`, in either form.
    pub retry_after: Option<Duration>,
}

/// All requests since the start, or since the last [`Log::clear`].
#[derive(Default)]
pub(crate) struct Log(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    seen: Vec<Seen>,
    /// Counts the clearings, so that an answer to a request from before one is not noted on another request.
    generation: u64,
}

/// Where a request stands in the log.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    generation: u64,
    index: usize,
}

impl Log {
    pub(crate) fn begin(
        &self,
        head: &request::Parts,
        who: Option<String>,
        certificate: Option<String>,
    ) -> Entry {
        let text = |name: HeaderName| header_text(&head.headers, &name);
        let seen = Seen {
            method: head.method.clone(),
            endpoint: Route::parse(head.uri.path()).map(|route| route.endpoint),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            authorization: text(header::AUTHORIZATION)
                .map(|value| value.split(' ').take(1).collect()),
            proxy_authorization: head.headers.contains_key(header::PROXY_AUTHORIZATION),
            cookie: head.headers.contains_key(header::COOKIE),
            who,
            certificate,
            authorization_digest: text(header::AUTHORIZATION)
                .map(|value| digest::sha256(value.as_bytes())),
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
            accept: text(header::ACCEPT),
            user_agent: text(header::USER_AGENT),
            status: None,
            arrived: Instant::now(),
            answered: None,
            retry_after: None,
        };
        self.with(|entries| {
            entries.seen.push(seen);
            Entry {
                generation: entries.generation,
                index: entries.seen.len() - 1,
            }
        })
    }

    pub(crate) fn answered(&self, entry: Entry, status: StatusCode, headers: &HeaderMap) {
        self.with(|entries| {
            if entries.generation == entry.generation {
                let seen = &mut entries.seen[entry.index];
                seen.status = Some(status.as_u16());
                seen.answered = Some(Instant::now());
                seen.retry_after = retry_after(headers);
            }
        });
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.with(|entries| entries.seen.clone())
    }

    pub(crate) fn clear(&self) {
        self.with(|entries| {
            entries.seen.clear();
            entries.generation += 1;
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Entries) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// From now on; what cannot be read asks for nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = header_text(headers, &header::RETRY_AFTER)?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(&text).ok()?;
    date.duration_since(SystemTime::now()).ok()
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
