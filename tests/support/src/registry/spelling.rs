// SPDX-License-Identifier: Apache-2.0
//! An honest answer in other words: what HTTP libraries do not let a server write.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderName, StatusCode};

use super::reply::Reply;

/// How an answer is written. The default is as it should be.
#[derive(Clone, Debug, Default)]
pub struct Spelling {
    /// Before the status line, such as an interim answer.
    pub before: Bytes,
    /// The status line without its end, instead of the honest one.
    pub status_line: Option<String>,
    /// Honest headers that are left out.
    pub without: Vec<HeaderName>,
    /// Header lines, each with its end, after the honest ones.
    pub lines: Bytes,
    /// The body goes in one chunk, after this line (`{len}` stands for the right size) and before these bytes (the last
    /// chunk and trailers).
    pub chunk: Option<(String, Bytes)>,
}

impl Spelling {
    /// With these header lines, and without the honest headers of these names.
    pub fn lines(lines: impl Into<Bytes>, without: &[&'static str]) -> Self {
        let without = without.iter().map(|name| HeaderName::from_static(name));
        Self {
            lines: lines.into(),
            without: without.collect(),
            ..Self::default()
        }
    }

    /// The status as the log has it, the head and the body.
    pub(crate) fn write(&self, reply: Reply) -> (StatusCode, Bytes, Bytes) {
        let (mut parts, body) = reply.into_parts();
        for name in &self.without {
            parts.headers.remove(name);
        }
        let mut head = BytesMut::new();
        head.put_slice(&self.before);
        let honest = format!("HTTP/1.1 {}", parts.status);
        head.put_slice(self.status_line.as_ref().unwrap_or(&honest).as_bytes());
        head.put_slice(b"\r\n");
        for (name, value) in &parts.headers {
            head.put_slice(name.as_str().as_bytes());
            head.put_slice(b": ");
            head.put_slice(value.as_bytes());
            head.put_slice(b"\r\n");
        }
        head.put_slice(&self.lines);
        head.put_slice(b"\r\n");
        (parts.status, head.freeze(), self.body(body))
    }

    fn body(&self, honest: Bytes) -> Bytes {
        let Some((before, after)) = &self.chunk else {
            return honest;
        };
        let before = before.replace("{len}", &format!("{:x}", honest.len()));
        [before.as_bytes(), &honest, after].concat().into()
    }
}
