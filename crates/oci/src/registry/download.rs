// SPDX-License-Identifier: Apache-2.0
//! Downloading a blob into a file, whole, and proving it before it is called downloaded.
//!
//! Nothing is opened here. A blob that is too long is cut off at its size, one that is not its digest is an error; what
//! stands in the file then is rubbish, and the caller throws it away. A download that breaks off goes on where it was, if
//! the registry serves exactly the rest: the hash is carried along and is that of the whole file in the end. Sources: rules
//! R1 and R2 of the threat model, RFC 9110 section 14 for ranges, distribution-spec "Pulling blobs" for resuming.

use std::{io::SeekFrom, time::Duration};

use http::{HeaderValue, Method, StatusCode, header};
use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter},
    time::Instant,
};

use crate::{Descriptor, Hasher};

use super::{
    auth::Scope,
    body::{Chunks, content_length},
    error::Error,
    problem::Problem,
    range::{self, Rest},
    request::{Ask, Channel, Reply},
};

/// Large enough that a trip to the blocking threads is not paid per packet.
const BUFFER: usize = 512 * 1024;
/// Who gets on by this much, beyond what was reached before, starts to count attempts anew: a large blob arrives over a
/// bad connection, and one that gives a few bytes at a time ends all the same.
const PROGRESS: u64 = 1 << 20;

/// What stands in the file, from its start.
struct Partial<'a> {
    descriptor: &'a Descriptor,
    file: &'a mut File,
    got: u64,
    hasher: Hasher,
    /// The strong `ETag` of what was received.
    etag: Option<HeaderValue>,
    /// Some of it came as the rest of an earlier download.
    is_resumed: bool,
    /// The most that was ever reached.
    best: u64,
}

impl Channel {
    pub(crate) async fn download(
        &self,
        descriptor: &Descriptor,
        file: &mut File,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let mut attempts = self.attempts(format!("download layer {}", descriptor.digest));
        let mut partial = Partial::new(descriptor, file);
        loop {
            let best = partial.best;
            let Err(problem) = self.try_download(&mut partial, started).await else {
                return Ok(());
            };
            if partial.best >= best + PROGRESS {
                attempts.got_on();
                // The time that a stalled connection took is pause enough.
                if matches!(problem, Problem::TooSlow { .. }) {
                    continue;
                }
            }
            attempts.failed(problem).await?;
        }
    }

    async fn try_download(
        &self,
        partial: &mut Partial<'_>,
        started: Instant,
    ) -> Result<(), Problem> {
        let limit = self.limits.max_blob;
        if partial.descriptor.size > limit {
            return Err(Problem::TooLarge {
                what: "the layer",
                limit,
            });
        }
        let transfer = self.home.timeouts.transfer;
        if started.elapsed() >= transfer {
            return Err(Problem::Timeout {
                host: self.link("").await?.origin,
                what: "the rest of the layer",
                after: transfer,
            });
        }
        if partial.got > 0
            && let Some(reply) = self.ask_rest(partial).await?
        {
            match self.receive(reply, partial, started).await {
                // Perhaps the parts are not of the same content. The whole decides.
                Err(Problem::Digest { .. } | Problem::Size { .. } | Problem::Longer { .. })
                    if partial.is_resumed => {}
                result => return result,
            }
        }
        let reply = self.ask_blob(partial, false).await?;
        partial.start_anew().await?;
        self.receive(reply, partial, started).await
    }

    /// Asks for what is missing; `None` if the registry does not serve exactly that, so that the whole is to be asked for.
    async fn ask_rest(&self, partial: &mut Partial<'_>) -> Result<Option<Reply>, Problem> {
        let reply = match self.ask_blob(partial, true).await {
            Err(problem) if range::is_refusal(&problem) => return Ok(None),
            reply => reply?,
        };
        let (status, headers) = (reply.status(), reply.response.headers());
        match range::rest(status, headers, partial.got, partial.descriptor.size) {
            Rest::Fits => partial.is_resumed = true,
            Rest::Whole => partial.start_anew().await?,
            Rest::Odd => return Ok(None),
        }
        Ok(Some(reply))
    }

    async fn ask_blob(&self, partial: &Partial<'_>, only_rest: bool) -> Result<Reply, Problem> {
        let digest = &partial.descriptor.digest;
        let link = self.link(&format!("blobs/{digest}")).await?;
        let mut ask = Ask::new(Method::GET, link, Scope::Pull);
        if only_rest {
            let range = range::request(partial.got, partial.descriptor.size);
            ask = ask.header(header::RANGE, range);
            if let Some(etag) = &partial.etag {
                ask = ask.header(header::IF_RANGE, etag.clone());
            }
        }
        self.ask(&ask).await
    }

    /// Appends a body to what is there, and proves the whole.
    async fn receive(
        &self,
        reply: Reply,
        partial: &mut Partial<'_>,
        started: Instant,
    ) -> Result<(), Problem> {
        let expected = partial.descriptor.size - partial.got;
        let headers = reply.response.headers();
        if let Some(got) = content_length(headers)
            && got != expected
        {
            let got = got.saturating_add(partial.got);
            let expected = partial.descriptor.size;
            return Err(Problem::Size { expected, got });
        }
        if reply.status() == StatusCode::OK {
            partial.etag = range::strong_etag(headers);
        }
        let timeouts = self.home.timeouts;
        let left = timeouts.transfer.saturating_sub(started.elapsed());
        let host = reply.link.origin;
        let chunks = Chunks::of(reply.response, &host, timeouts, left)?;
        partial
            .append(chunks)
            .await
            .map_err(|problem| whole_time(problem, timeouts.transfer))?;
        partial.prove()
    }
}

/// The deadline is that of the whole download, of which the last attempt had only a part.
fn whole_time(problem: Problem, transfer: Duration) -> Problem {
    match problem {
        Problem::Timeout { host, what, .. } => Problem::Timeout {
            host,
            what,
            after: transfer,
        },
        problem => problem,
    }
}

impl<'a> Partial<'a> {
    fn new(descriptor: &'a Descriptor, file: &'a mut File) -> Self {
        Self {
            hasher: Hasher::new(descriptor.digest.algorithm()),
            descriptor,
            file,
            got: 0,
            etag: None,
            is_resumed: false,
            best: 0,
        }
    }

    async fn start_anew(&mut self) -> Result<(), Problem> {
        self.got = 0;
        self.hasher = Hasher::new(self.descriptor.digest.algorithm());
        self.etag = None;
        self.is_resumed = false;
        empty(self.file).await.map_err(writing)
    }

    /// Writes what comes. Also when it breaks off, the file holds what was counted and hashed.
    async fn append(&mut self, mut chunks: Chunks<'_>) -> Result<(), Problem> {
        let mut out = BufWriter::with_capacity(BUFFER, &mut *self.file);
        let broke = loop {
            let chunk = match chunks.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break None,
                Err(problem) => break Some(problem),
            };
            let got = self.got + chunk.len() as u64;
            if got > self.descriptor.size {
                let expected = self.descriptor.size;
                return Err(Problem::Longer { expected });
            }
            self.hasher.update(&chunk);
            out.write_all(&chunk).await.map_err(writing)?;
            self.got = got;
        };
        out.flush().await.map_err(writing)?;
        self.best = self.best.max(self.got);
        match broke {
            // All is here: how the connection ended after it does not matter, the digest decides.
            Some(problem) if self.got < self.descriptor.size => Err(problem),
            _ => Ok(()),
        }
    }

    fn prove(&self) -> Result<(), Problem> {
        let Descriptor { size, digest, .. } = self.descriptor;
        if self.got != *size {
            return Err(Problem::Size {
                expected: *size,
                got: self.got,
            });
        }
        let got = self.hasher.clone().finish();
        if got != *digest {
            return Err(Problem::Digest {
                expected: digest.clone(),
                got,
            });
        }
        Ok(())
    }
}

async fn empty(file: &mut File) -> std::io::Result<()> {
    file.set_len(0).await?;
    file.seek(SeekFrom::Start(0)).await.map(drop)
}

fn writing(cause: std::io::Error) -> Problem {
    Problem::Io {
        what: "writing the layer to its file",
        cause,
    }
}
