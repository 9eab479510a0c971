// SPDX-License-Identifier: Apache-2.0
//! What is pushed, and how a piece of it becomes the body of a request.
//!
//! A [`Content`] and a [`Part`] of it go in; a body comes out that is read as slowly as the other side takes it, with a
//! [`Taken`] that says how far it is. Nothing is sent here.

use std::{
    io::{self, SeekFrom},
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::stream;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};

use crate::registry::{
    problem::Problem,
    wire::{self, Body},
};

/// How much is read, given away and counted at once. The HTTP client takes up to two of these before it writes, so that in a
/// window who takes less than that may seem to take nothing. In much smaller ones it writes without a pause in which it would
/// read, and the answer of a registry that refuses the body and closes the connection is lost.
const PIECE: usize = 256 * 1024;

/// What is pushed. It may be read more than once.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file, which is not changed meanwhile.
    File(PathBuf),
}

/// So many bytes from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) from: u64,
    pub(crate) len: u64,
}

impl Content {
    /// A part of the content as the body of one request. The content must have `whole` bytes.
    pub(crate) async fn body(
        &self,
        part: Part,
        whole: u64,
        taken: &Arc<Taken>,
    ) -> Result<Body, Problem> {
        let got = self.len().await?;
        if got != whole {
            return Err(Problem::Size {
                expected: whole,
                got,
            });
        }
        let inner = match self {
            _ if part.len == 0 => wire::empty(),
            Self::Bytes(bytes) => {
                let start = usize::try_from(part.from).unwrap_or(usize::MAX);
                let len = usize::try_from(part.len).unwrap_or(usize::MAX);
                let end = start.saturating_add(len).min(bytes.len());
                slices(bytes.slice(start.min(end)..end))
            }
            Self::File(path) => {
                let mut file = File::open(path).await.map_err(reading)?;
                let start = SeekFrom::Start(part.from);
                file.seek(start).await.map_err(reading)?;
                pieces(file.take(part.len))
            }
        };
        let counted = Counted {
            inner,
            taken: Arc::clone(taken),
        };
        Ok(counted.boxed_unsync())
    }

    async fn len(&self) -> Result<u64, Problem> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(tokio::fs::metadata(path).await.map_err(reading)?.len()),
        }
    }
}

fn reading(cause: io::Error) -> Problem {
    Problem::Io {
        what: "reading the content to push",
        cause,
    }
}

/// In pieces, so that it can be seen how many were taken.
fn slices(bytes: Bytes) -> Body {
    let slices = stream::unfold(bytes, |mut rest| async move {
        let piece = rest.split_to(PIECE.min(rest.len()));
        (!piece.is_empty()).then(|| (Ok::<_, io::Error>(Frame::data(piece)), rest))
    });
    StreamBody::new(slices).boxed_unsync()
}

fn pieces(file: tokio::io::Take<File>) -> Body {
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        Ok::<_, io::Error>((read > 0).then(|| (Frame::data(piece.freeze()), file)))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// How much of a body was taken to be sent.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Whether anybody has asked for the first piece: until then there is no connection to send it over.
    begun: AtomicBool,
    bytes: AtomicU64,
}

impl Taken {
    /// Bytes so far; `None` before there is a connection.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Relaxed);
        begun.then(|| self.bytes.load(Ordering::Relaxed))
    }
}

/// A body that counts what is taken of it.
struct Counted {
    inner: Body,
    taken: Arc<Taken>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.taken.begun.store(true, Ordering::Relaxed);
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let len = data.len() as u64;
            self.taken.bytes.fetch_add(len, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    async fn read(content: &Content, from: u64, len: u64, whole: u64) -> Result<Bytes, Problem> {
        let taken = Arc::default();
        let body = content.body(Part { from, len }, whole, &taken).await?;
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(taken.bytes().unwrap_or(0), bytes.len() as u64);
        Ok(bytes)
    }

    #[tokio::test]
    async fn any_part_of_a_file_or_of_bytes_is_the_same() {
        let all: Vec<u8> = (0..700_003_u32).flat_map(u32::to_le_bytes).collect();
        let whole = all.len() as u64;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&all).unwrap();
        let contents = [
            Content::File(file.path().to_owned()),
            Content::Bytes(all.clone().into()),
        ];
        for (from, len) in [(0, whole), (0, 0), (1, 1), (262_143, 262_146), (whole, 0)] {
            for content in &contents {
                let expected =
                    &all[usize::try_from(from).unwrap()..][..usize::try_from(len).unwrap()];
                assert_eq!(read(content, from, len, whole).await.unwrap(), expected);
            }
        }
    }

    #[tokio::test]
    async fn content_of_another_size_is_refused() {
        let content = Content::Bytes(Bytes::from_static(b"abc"));
        for whole in [0, 2, 4, u64::MAX] {
            let got = read(&content, 0, whole.min(3), whole).await;
            assert!(matches!(got, Err(Problem::Size { .. })), "{whole}");
        }
    }
}
