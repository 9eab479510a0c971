// SPDX-License-Identifier: Apache-2.0
//! Files as bodies: read piece by piece on blocking threads, only as fast as the client takes them.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Body;

/// Large reads are what makes this as fast as the disk; one is held in memory per stream.
const PIECE: u64 = 256 * 1024;
/// With [`PIECE`], bounds the memory that clients can hold: 128 MiB when all of them are slow.
const STREAMS: usize = 512;
/// Blocking threads that are read on at once, so that a slow disk leaves some to everybody else.
const READS: usize = 16;

/// The bounds that all streams share.
#[derive(Clone, Debug)]
pub(super) struct Files {
    streams: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            streams: Arc::new(Semaphore::new(STREAMS)),
            reads: Arc::new(Semaphore::new(READS)),
        }
    }
}

impl Files {
    /// Room for one more stream, if there is any.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.streams.available_permits()
    }

    /// A body of the bytes in `range`. The first piece is read before this returns, so that a disk that cannot be read is
    /// known while the answer can still say so.
    pub(super) async fn body(
        &self,
        file: File,
        range: Range<u64>,
        room: OwnedSemaphorePermit,
    ) -> io::Result<Body> {
        let mut rest = Rest {
            file: Arc::new(file),
            range,
            reads: Arc::clone(&self.reads),
            _room: room,
        };
        let first = rest.next_piece().await?;
        let pieces = stream::try_unfold((first, rest), |(first, mut rest)| async move {
            let piece = match first {
                Some(piece) => Some(piece),
                None => rest.next_piece().await?,
            };
            Ok(piece.map(|piece| (Frame::data(piece), (None, rest))))
        });
        Ok(StreamBody::new(pieces).boxed_unsync())
    }
}

/// What is still to be sent.
struct Rest {
    file: Arc<File>,
    range: Range<u64>,
    reads: Arc<Semaphore>,
    // Held until the body is dropped.
    _room: OwnedSemaphorePermit,
}

impl Rest {
    /// Reads the next piece; `None` at the end. A file that ends early is an error, so that the client sees the
    /// connection break instead of a short artifact.
    async fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        let start = self.range.start;
        let length = PIECE.min(self.range.end.saturating_sub(start));
        if length == 0 {
            return Ok(None);
        }
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_at(&file, start, length)
        });
        let piece = read.await.map_err(io::Error::other)??;
        self.range.start = start + length;
        Ok(Some(piece))
    }
}

fn read_at(file: &File, start: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, start)?;
    Ok(piece.into())
}
