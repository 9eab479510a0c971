// SPDX-License-Identifier: Apache-2.0
//! Downloading a blob into a file, whole, and proving it before it is called downloaded.
//!
//! Nothing is opened here. A blob that is too long is cut off at its size, one that is not its digest is an error; what
//! stands in the file then is rubbish, and the caller throws it away. Source: rules R1 and R2 of the threat model.

use std::io::SeekFrom;

use http::Method;
use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter},
};

use crate::{Descriptor, Hasher};

use super::{
    auth::Scope,
    body::{Chunks, content_length},
    error::Error,
    problem::Problem,
    request::{Ask, Channel, Reply},
};

/// Large enough that a trip to the blocking threads is not paid per packet.
const BUFFER: usize = 512 * 1024;

impl Channel {
    pub(crate) async fn download(
        &self,
        descriptor: &Descriptor,
        file: &mut File,
    ) -> Result<(), Error> {
        let mut attempts = self.attempts(format!("download layer {}", descriptor.digest));
        loop {
            match self.try_download(descriptor, file).await {
                Ok(()) => return Ok(()),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    async fn try_download(&self, descriptor: &Descriptor, file: &mut File) -> Result<(), Problem> {
        let limit = self.limits.max_blob;
        if descriptor.size > limit {
            return Err(Problem::TooLarge {
                what: "the layer",
                limit,
            });
        }
        let link = self.link(&format!("blobs/{}", descriptor.digest)).await?;
        let reply = self.ask(&Ask::new(Method::GET, link, Scope::Pull)).await?;
        empty(file).await.map_err(writing)?;
        self.receive(reply, descriptor, file).await
    }

    async fn receive(
        &self,
        reply: Reply,
        descriptor: &Descriptor,
        file: &mut File,
    ) -> Result<(), Problem> {
        let expected = descriptor.size;
        if let Some(got) = content_length(reply.response.headers())
            && got != expected
        {
            return Err(Problem::Size { expected, got });
        }
        let timeouts = self.home.timeouts;
        let mut chunks = Chunks::of(
            reply.response,
            &reply.link.origin,
            timeouts,
            timeouts.transfer,
        )?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        let mut got = 0;
        while let Some(chunk) = chunks.next().await? {
            got += chunk.len() as u64;
            if got > expected {
                return Err(Problem::Longer { expected });
            }
            hasher.update(&chunk);
            out.write_all(&chunk).await.map_err(writing)?;
        }
        out.flush().await.map_err(writing)?;
        prove(descriptor, got, hasher)
    }
}

fn prove(descriptor: &Descriptor, got: u64, hasher: Hasher) -> Result<(), Problem> {
    if got != descriptor.size {
        return Err(Problem::Size {
            expected: descriptor.size,
            got,
        });
    }
    let digest = hasher.finish();
    if digest != descriptor.digest {
        return Err(Problem::Digest {
            expected: descriptor.digest.clone(),
            got: digest,
        });
    }
    Ok(())
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
