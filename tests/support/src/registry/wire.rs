// SPDX-License-Identifier: Apache-2.0
//! Answers that no HTTP library would send, written to the socket byte by byte.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::AsyncWriteExt as _;

use super::reply::Reply;
use super::spelling::Spelling;
use super::stream::Stream;

/// So that who reads forever has time for something else.
const PAUSE: Duration = Duration::from_millis(10);

/// An answer as bytes, and how the connection ends after it.
pub(crate) struct Wire {
    status: StatusCode,
    head: Bytes,
    body: Body,
    end: End,
    /// Whether the whole is sent whatever was asked: nobody knows where a body would begin.
    is_raw: bool,
}

pub(crate) enum Body {
    Once(Bytes),
    /// Pieces of so many bytes, a pause after each.
    Drip(Bytes, usize, Duration),
    /// The same piece, until the client goes away.
    Forever(Bytes),
    /// The same piece with a pause after each, until the client goes away.
    ForeverSlowly(Bytes),
    /// A beginning, then the same piece until the client goes away.
    ForeverAfter(Bytes, Bytes),
}

pub(crate) enum End {
    /// As it should be.
    Close,
    /// The TCP connection ends; TLS is not told.
    Vanish,
    /// A TCP reset.
    Reset,
}

impl Wire {
    /// The head of `reply` as it stands (its body is not looked at) with this body and end.
    pub(crate) fn new(reply: Reply, body: Body, end: End) -> Self {
        let (head, _) = reply.into_parts();
        let mut text = format!("HTTP/1.1 {}\r\n", head.status);
        for (name, value) in &head.headers {
            text.push_str(name.as_str());
            text.push_str(": ");
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        Self {
            status: head.status,
            head: text.into(),
            body,
            end,
            is_raw: false,
        }
    }

    /// The honest answer, in other words.
    pub(crate) fn spelled(spelling: &Spelling, reply: Reply) -> Self {
        let (status, head, body) = spelling.write(reply);
        Self {
            status,
            head,
            body: Body::Once(body),
            end: End::Close,
            is_raw: false,
        }
    }

    /// These bytes, then this piece until the client goes away if there is one, and nothing else.
    pub(crate) fn raw(start: Bytes, again: Bytes) -> Self {
        let body = if again.is_empty() {
            Body::Once(again)
        } else {
            Body::ForeverSlowly(again)
        };
        Self {
            // The log has one for each request; there is none here.
            status: StatusCode::OK,
            head: start,
            body,
            end: End::Close,
            is_raw: true,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Sends the head and no body: the answer to HEAD.
    pub(crate) fn without_body(mut self) -> Self {
        if !self.is_raw {
            self.body = Body::Once(Bytes::new());
        }
        self
    }

    /// Sends it and ends the connection. The error is that of a client that went away.
    pub(crate) async fn play(self, mut stream: Stream) -> io::Result<()> {
        stream.write_all(&self.head).await?;
        match self.body {
            Body::Once(bytes) => stream.write_all(&bytes).await?,
            Body::Drip(bytes, size, pause) => {
                for piece in bytes.chunks(size) {
                    stream.write_all(piece).await?;
                    stream.flush().await?;
                    tokio::time::sleep(pause).await;
                }
            }
            Body::Forever(piece) => forever(&mut stream, &piece).await?,
            Body::ForeverSlowly(piece) => loop {
                stream.write_all(&piece).await?;
                stream.flush().await?;
                tokio::time::sleep(PAUSE).await;
            },
            Body::ForeverAfter(start, piece) => {
                stream.write_all(&start).await?;
                forever(&mut stream, &piece).await?;
            }
        }
        stream.flush().await?;
        match self.end {
            End::Close => stream.shutdown().await,
            End::Vanish => Ok(()),
            End::Reset => stream.socket().set_zero_linger(),
        }
    }
}

/// Ends with the client.
async fn forever(stream: &mut Stream, piece: &[u8]) -> io::Result<()> {
    loop {
        stream.write_all(piece).await?;
    }
}
