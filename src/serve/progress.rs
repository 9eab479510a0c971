// SPDX-License-Identifier: Apache-2.0
//! A connection whose writes must make progress.
//!
//! A client that asks and then does not read would hold its connection, and the piece of a file made for it, for ever.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Fails a write that took nothing for the given time.
#[derive(Debug)]
pub(super) struct Progress<T> {
    inner: T,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl<T> Progress<T> {
    pub(super) fn new(inner: T, patience: Duration) -> Self {
        Self {
            inner,
            patience,
            timer: Box::pin(sleep(patience)),
            is_waiting: false,
        }
    }

    fn check<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.is_waiting = false;
            return written;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read",
        )))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Progress<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Progress<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.check(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.check(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const LESS: Duration = Duration::from_secs(29);

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_takes_fails_after_the_patience() {
        let (here, _there) = tokio::io::duplex(10);
        let mut here = Progress::new(here, PATIENCE);
        here.write_all(&[0; 10]).await.unwrap();
        let start = Instant::now();
        let error = here.write(b"x").await.unwrap_err();
        assert_eq!(
            (error.kind(), start.elapsed() >= PATIENCE),
            (io::ErrorKind::TimedOut, true)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_that_reads_is_served_to_the_end() {
        let (here, mut there) = tokio::io::duplex(10);
        let mut here = Progress::new(here, PATIENCE);
        let reader = tokio::spawn(async move {
            let mut read = 0;
            let mut buffer = [0; 10];
            while read < 100 {
                sleep(LESS).await;
                read += there.read(&mut buffer).await.unwrap();
            }
            read
        });
        here.write_all(&[0; 100]).await.unwrap();
        assert_eq!(reader.await.unwrap(), 100);
    }
}
