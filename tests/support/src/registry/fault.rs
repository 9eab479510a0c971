// SPDX-License-Identifier: Apache-2.0
//! What a registry can do wrong, and how each wrong is done to an honest answer.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::digest;
use super::reply::{self, CONTENT_DIGEST, Reply, With as _};
use super::spelling::Spelling;
use super::wire::{Body, End, Wire};

/// One wrong answer. Unless it says otherwise, the rest of the answer is what an honest registry would have said, and
/// the request has had its effect.
#[derive(Clone, Debug)]
pub enum Fault {
    /// None: fills a place in a sequence.
    Honest,
    /// This status, these headers, this body, instead of doing anything; see [`Fault::status`].
    Status {
        /// The status code.
        code: u16,
        /// Names and values of headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// This status and the date that is so long from now, in `Retry-After`, instead of doing anything.
    RetryAt(u16, Duration),
    /// A body of the same length whose last byte is another. Headers are those of the right body.
    WrongDigest,
    /// Another body, whose length is told rightly. The other headers are those of the right body.
    OtherBody(Bytes),
    /// The right body with the digest of something else in `Docker-Content-Digest`.
    WrongDigestHeader,
    /// A `Content-Length` that is this much more (less) than the body, which is sent whole; then the connection ends.
    WrongLength(i64),
    /// So many bytes of the body, then a TCP reset.
    ResetAt(usize),
    /// So many bytes of the body, then the connection ends (over TLS without the farewell).
    CloseAt(usize),
    /// So many bytes of the body of this (well-formed) fault, then the connection ends.
    CutShort(Box<Self>, usize),
    /// A redirect to this URL, with this status, instead of doing anything.
    Redirect(String, u16),
    /// A body without announced length that never ends.
    Endless,
    /// A chunked body that never ends.
    EndlessChunked,
    /// This, and then a piece again and again without end, in a body without announced length. The headers are those of
    /// the right body.
    EndlessAfter(Bytes, Bytes),
    /// The body in pieces of so many bytes with a pause after each.
    Drip {
        /// Bytes in a piece, at least 1.
        bytes: usize,
        /// The pause.
        every: Duration,
    },
    /// The honest answer, in other words.
    Spelled(Box<Spelling>),
    /// These bytes instead of an answer, then (unless it is empty) the other piece again and again without end,
    /// a short pause after each.
    Raw(Bytes, Bytes),
    /// The request is read and never answered.
    Silence,
    /// The honest answer, after this long.
    Delay(Duration),
    /// A page of HTML with status 200, as a captive portal answers, instead of doing anything.
    Html,
}

impl Fault {
    /// A bare status.
    pub fn status(code: u16) -> Self {
        Self::status_with(code, &[], "")
    }

    /// A status with headers and a body.
    pub fn status_with(code: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Self::Status {
            code,
            headers: headers.collect(),
            body: body.into(),
        }
    }

    /// The same, cut short after so many bytes of its body.
    pub fn cut_short(self, byte: usize) -> Self {
        Self::CutShort(Box::new(self), byte)
    }

    /// These bytes instead of an answer.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::Raw(bytes.into(), Bytes::new())
    }

    /// A status with `Retry-After`, in whatever form.
    pub fn retry_after(code: u16, value: &str) -> Self {
        Self::status_with(code, &[("retry-after", value)], "")
    }
}

/// What is done with a request in the end.
pub(crate) enum Answer {
    /// A well-formed answer.
    Reply(Reply),
    /// Bytes as they stand.
    Wire(Wire),
    /// Nothing, for ever.
    Nothing,
}

const PAGE: &str = "<!DOCTYPE html><html><body>Please log in to use this network.</body></html>";
const ENDLESS_PIECE: [u8; 8192] = [b'A'; 8192];

impl Fault {
    /// Carries the fault out. `honest` has its effect only when it is called.
    pub(crate) fn apply(self, honest: impl FnOnce() -> Reply) -> Answer {
        match self {
            Self::Honest | Self::Delay(_) => Answer::Reply(honest()),
            Self::Status {
                code,
                headers,
                body,
            } => Answer::Reply(scripted(code, &headers, body)),
            Self::RetryAt(code, wait) => {
                let date = httpdate::fmt_http_date(SystemTime::now() + wait);
                Answer::Reply(scripted(
                    code,
                    &[("retry-after".into(), date)],
                    Bytes::new(),
                ))
            }
            Self::Redirect(url, code) => {
                Answer::Reply(scripted(code, &[("location".into(), url)], Bytes::new()))
            }
            Self::Html => {
                let html = ("content-type".into(), "text/html".into());
                Answer::Reply(scripted(200, &[html], PAGE.into()))
            }
            Self::WrongDigest => Answer::Reply(honest().map(|body| other_last_byte(&body))),
            Self::OtherBody(body) => {
                let length = body.len();
                let reply = honest().map(|_| body);
                Answer::Reply(reply.with(header::CONTENT_LENGTH, length))
            }
            Self::WrongDigestHeader => {
                Answer::Reply(honest().with(CONTENT_DIGEST, digest::sha256(b"something else")))
            }
            Self::WrongLength(delta) => wrong_length(honest(), delta),
            Self::ResetAt(byte) => cut(honest(), byte, End::Reset),
            Self::CloseAt(byte) => cut(honest(), byte, End::Vanish),
            Self::CutShort(fault, byte) => match fault.apply(honest) {
                Answer::Reply(reply) => cut(reply, byte, End::Vanish),
                other => other,
            },
            Self::Drip { bytes, every } => {
                let reply = honest();
                let body = Body::Drip(reply.body().clone(), bytes.max(1), every);
                Answer::Wire(Wire::new(reply, body, End::Close))
            }
            Self::Endless => endless(honest(), None),
            Self::EndlessAfter(start, piece) => {
                let mut reply = honest();
                reply.headers_mut().remove(header::CONTENT_LENGTH);
                let reply = reply.with(header::CONNECTION, "close");
                Answer::Wire(Wire::new(
                    reply,
                    Body::ForeverAfter(start, piece),
                    End::Close,
                ))
            }
            Self::EndlessChunked => endless(honest(), Some("chunked")),
            Self::Spelled(spelling) => Answer::Wire(Wire::spelled(&spelling, honest())),
            Self::Raw(start, again) => Answer::Wire(Wire::raw(start, again)),
            Self::Silence => Answer::Nothing,
        }
    }
}

fn scripted(code: u16, headers: &[(String, String)], body: Bytes) -> Reply {
    let status = StatusCode::from_u16(code).expect("a scripted status is between 100 and 999");
    let mut reply = reply::bytes(status, body);
    for (name, value) in headers {
        let name = HeaderName::try_from(name).expect("a scripted header has a valid name");
        let value = HeaderValue::try_from(value).expect("a scripted header has a valid value");
        reply.headers_mut().append(name, value);
    }
    reply
}

fn other_last_byte(body: &[u8]) -> Bytes {
    let mut body = body.to_vec();
    if let Some(last) = body.last_mut() {
        *last ^= 1;
    }
    body.into()
}

fn wrong_length(reply: Reply, delta: i64) -> Answer {
    let body = reply.body().clone();
    let length = (body.len() as u64).saturating_add_signed(delta);
    let reply = reply.with(header::CONTENT_LENGTH, length);
    Answer::Wire(Wire::new(reply, Body::Once(body), End::Close))
}

fn cut(reply: Reply, byte: usize, end: End) -> Answer {
    let body = reply.body().slice(..byte.min(reply.body().len()));
    Answer::Wire(Wire::new(reply, Body::Once(body), end))
}

fn endless(mut reply: Reply, encoding: Option<&str>) -> Answer {
    reply.headers_mut().remove(header::CONTENT_LENGTH);
    let piece = Bytes::from_static(&ENDLESS_PIECE);
    let Some(encoding) = encoding else {
        let reply = reply.with(header::CONNECTION, "close");
        return Answer::Wire(Wire::new(reply, Body::Forever(piece), End::Close));
    };
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(&piece);
    chunk.extend_from_slice(b"\r\n");
    let reply = reply.with(header::TRANSFER_ENCODING, encoding);
    Answer::Wire(Wire::new(reply, Body::Forever(chunk.into()), End::Close))
}
