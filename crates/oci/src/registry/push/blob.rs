// SPDX-License-Identifier: Apache-2.0
//! The upload of one blob: whole or in chunks, from the start or from where it broke off.
//!
//! A descriptor, its content and the options go in; what was done comes out. An upload has a place that the registry
//! chose ([`Place`]) and may move with every answer; it may lie on another host, which then gets the bytes without
//! credentials, and so does everything that that host leads to. Source: distribution-spec "Pushing a blob monolithically",
//! "Pushing a blob in chunks", "Mounting a blob from another repository".

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::{Instant, timeout};

use crate::{Descriptor, Digest, Repository};

use super::{BlobPushed, Content, Part, PushOptions, check_stored, said_digest};
use crate::registry::{
    auth::Scope,
    egress::Checks,
    error::Error,
    origin::Link,
    problem::Problem,
    redirect,
    request::{Ask, Channel, Reply, Upload as Sent},
};

/// What a registry that refuses a large body is offered next.
const CHUNK: u64 = 16 << 20;
/// Chunks are not made smaller than this, whatever the registry refuses.
const LEAST_CHUNK: u64 = 256 << 10;
/// Who gets on by this much (or by a chunk, if that is less), beyond what was reached before, starts to count attempts anew:
/// a large blob arrives over a bad connection, and with a registry that takes a byte at a time it ends all the same.
const PROGRESS: u64 = 1 << 20;
/// How often in one attempt a registry may say that a chunk begins elsewhere.
const MAX_CORRECTIONS: u32 = 3;
/// Cleaning up must not hold up the error that it follows.
const CANCEL: Duration = Duration::from_secs(5);

/// One blob on its way, through all attempts.
struct Upload<'a> {
    descriptor: &'a Descriptor,
    content: &'a Content,
    /// Not yet asked for.
    mount: Option<&'a Repository>,
    /// Bytes in a chunk; without it the blob goes whole.
    chunk: Option<u64>,
    place: Option<Place>,
    /// Requests with content so far.
    sent: u64,
    /// How far the registry has ever had it.
    farthest: u64,
    /// Whether an upload that the registry lost was begun again: once is enough.
    restarted: bool,
}

/// Where an upload goes on.
struct Place {
    link: Link,
    /// Bytes that the registry has.
    at: u64,
    /// The least that it wants in a chunk, but for the last.
    least: u64,
    /// Chosen by another host than the registry: no credentials from here on.
    foreign: bool,
}

enum Started {
    Mounted,
    At(Place),
}

impl Channel {
    pub(crate) async fn push_blob(
        &self,
        descriptor: &Descriptor,
        content: &Content,
        options: &PushOptions,
    ) -> Result<BlobPushed, Error> {
        let started = Instant::now();
        let operation = || format!("push blob {}", descriptor.digest);
        let mut attempts = self.attempts(operation());
        let mut upload = Upload::new(descriptor, content, options);
        if let Err(problem) = self.check_mount(upload.mount) {
            return Err(self.error(&operation(), 1, problem));
        }
        loop {
            let goal = upload.farthest + upload.progress();
            let problem = match self.try_push_blob(&mut upload, started).await {
                Ok(pushed) => return Ok(pushed),
                Err(problem) => problem,
            };
            if upload.can_go_smaller(&problem) || upload.can_begin_again(&problem) {
                self.cancel(&mut upload).await;
                continue;
            }
            if upload.farthest >= goal {
                attempts.got_on();
            }
            if let Err(error) = attempts.failed(problem).await {
                self.cancel(&mut upload).await;
                return Err(error);
            }
        }
    }

    fn check_mount(&self, from: Option<&Repository>) -> Result<(), Problem> {
        match from {
            Some(from) if from.registry() != self.repository.registry() => Err(Problem::Header(
                "a blob can be mounted only from a repository of the same registry",
            )),
            _ => Ok(()),
        }
    }

    /// As a whole it can be repeated: an upload that was left is taken up or forgotten, and a blob that arrived is seen.
    async fn try_push_blob(
        &self,
        upload: &mut Upload<'_>,
        started: Instant,
    ) -> Result<BlobPushed, Problem> {
        let limit = self.home.timeouts.transfer;
        let left = limit.saturating_sub(started.elapsed());
        if !left.is_zero()
            && let Ok(pushed) = timeout(left, self.push_once(upload)).await
        {
            return pushed;
        }
        Err(Problem::Timeout {
            host: self.link("").await?.origin,
            what: "the end of the upload",
            after: limit,
        })
    }

    async fn push_once(&self, upload: &mut Upload<'_>) -> Result<BlobPushed, Problem> {
        match upload.chunk {
            Some(_) => self.take_up(upload).await?,
            None => upload.place = None,
        }
        if upload.place.is_none() {
            let Descriptor { digest, size, .. } = upload.descriptor;
            if self.try_has_blob(digest, Some(*size)).await? {
                return Ok(upload.arrived());
            }
            match self.begin(upload).await? {
                Started::Mounted => return Ok(BlobPushed::Mounted),
                Started::At(place) => upload.place = Some(place),
            }
        }
        self.send_chunks(upload).await?;
        self.finish(upload).await?;
        Ok(upload.arrived())
    }

    async fn begin(&self, upload: &mut Upload<'_>) -> Result<Started, Problem> {
        if let Some(from) = upload.mount.take()
            && let Some(started) = self.mount(&upload.descriptor.digest, from).await?
        {
            return Ok(started);
        }
        let link = self.link("blobs/uploads/").await?;
        let ask = Ask::new(Method::POST, link, Scope::Push).with(nothing());
        let reply = self.ask(&ask).await?;
        self.place_of(&reply).await.map(Started::At)
    }

    /// `None` when the registry will not have it so; whether it will have it otherwise is seen then.
    async fn mount(&self, digest: &Digest, from: &Repository) -> Result<Option<Started>, Problem> {
        let query = format!("blobs/uploads/?mount={digest}&from={}", from.path());
        let link = self.link(&query).await?;
        let scope = Scope::Mount(Arc::from(from.path()));
        let ask = Ask::new(Method::POST, link, scope).with(nothing());
        match self.ask(&ask).await {
            Ok(reply) if reply.status() == StatusCode::CREATED => Ok(Some(Started::Mounted)),
            Ok(reply) => Ok(Some(Started::At(self.place_of(&reply).await?))),
            Err(problem) if is_refusal(&problem) => {
                let problem = self.scrub(&problem.to_string());
                tracing::debug!(%from, %problem, "the blob cannot be mounted");
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    async fn place_of(&self, reply: &Reply) -> Result<Place, Problem> {
        let headers = reply.response.headers();
        let link = redirect::next(&reply.link, headers, &self.egress)?;
        let home = self.link("").await?.origin;
        Ok(Place {
            foreign: reply.link.origin != home || link.origin != home,
            link,
            at: 0,
            least: least_chunk(headers),
        })
    }

    /// Asks how far an upload came that broke off. One that the registry does not know any more is begun anew.
    async fn take_up(&self, upload: &mut Upload<'_>) -> Result<(), Problem> {
        let Some(place) = &upload.place else {
            return Ok(());
        };
        let link = place.link.clone();
        let ask = Ask::new(Method::GET, link, Scope::Push)
            .of_upload()
            .without_credentials(place.foreign);
        match self.ask(&ask).await {
            Ok(reply) => {
                let at = received(reply.response.headers());
                let at = at.filter(|at| *at <= upload.descriptor.size);
                upload.moved(&reply, at, &self.egress)
            }
            Err(problem) if is_refusal(&problem) => {
                upload.place = None;
                Ok(())
            }
            Err(problem) => Err(problem),
        }
    }

    /// Sends all that the registry does not have, but for what goes with the request that ends the upload.
    async fn send_chunks(&self, upload: &mut Upload<'_>) -> Result<(), Problem> {
        let mut corrections = 0;
        while let Some((place, part)) = upload.next_chunk() {
            let sent = Sent::chunk(upload.content.clone(), part, upload.descriptor.size);
            let ask = Ask::new(Method::PATCH, place.link.clone(), Scope::Push)
                .without_credentials(place.foreign)
                .with(sent);
            upload.sent += 1;
            match self.ask(&ask).await {
                Ok(reply) => upload.took(&reply, part, &self.egress)?,
                Err(problem)
                    if problem.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE)
                        && corrections < MAX_CORRECTIONS =>
                {
                    corrections += 1;
                    self.take_up(upload).await?;
                    if upload
                        .place
                        .as_ref()
                        .is_none_or(|place| place.at == part.from)
                    {
                        return Err(problem);
                    }
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    /// Ends the upload: with the whole blob, or with nothing more after chunks.
    async fn finish(&self, upload: &mut Upload<'_>) -> Result<(), Problem> {
        let Some(place) = &upload.place else {
            return Ok(());
        };
        let Descriptor { digest, size, .. } = upload.descriptor;
        let sent = match upload.chunk {
            Some(_) => nothing(),
            None => Sent::whole(upload.content.clone(), *size, octets()),
        };
        let ask = Ask::new(Method::PUT, with_digest(&place.link, digest)?, Scope::Push)
            .without_credentials(place.foreign)
            .with(sent);
        upload.sent += u64::from(upload.chunk.is_none());
        let reply = self.ask(&ask).await?;
        same_digest(reply.response.headers(), digest)?;
        check_stored(&reply, digest)
    }

    /// Tells the registry to forget an upload. Whether it hears it is its own affair.
    async fn cancel(&self, upload: &mut Upload<'_>) {
        let Some(place) = upload.place.take() else {
            return;
        };
        let ask = Ask::new(Method::DELETE, place.link, Scope::Push);
        let ask = ask.without_credentials(place.foreign);
        if let Ok(Err(problem)) = timeout(CANCEL, self.ask(&ask)).await {
            let problem = self.scrub(&problem.to_string());
            tracing::debug!(%problem, "an upload could not be cancelled");
        }
    }
}

impl<'a> Upload<'a> {
    fn new(descriptor: &'a Descriptor, content: &'a Content, options: &'a PushOptions) -> Self {
        let chunk = options.chunk.map(std::num::NonZeroU64::get);
        Self {
            descriptor,
            content,
            mount: options.mount_from.as_ref(),
            chunk: chunk.filter(|chunk| *chunk < descriptor.size),
            place: None,
            sent: 0,
            farthest: 0,
            restarted: false,
        }
    }

    /// By how much an attempt must get on not to count.
    fn progress(&self) -> u64 {
        let least = self.place.as_ref().map_or(0, |place| place.least);
        let chunk = self.chunk.map(|chunk| chunk.max(least));
        chunk.unwrap_or(PROGRESS).min(PROGRESS)
    }

    /// The next chunk and where it goes; `None` when the registry has them all.
    fn next_chunk(&self) -> Option<(&Place, Part)> {
        let (place, chunk) = (self.place.as_ref()?, self.chunk?);
        let left = self.descriptor.size - place.at;
        let len = chunk.max(place.least).min(left);
        let from = place.at;
        (len > 0).then_some((place, Part { from, len }))
    }

    /// The registry answered to a chunk: it says how far it is, or means all of it.
    fn took(&mut self, reply: &Reply, part: Part, egress: &Checks) -> Result<(), Problem> {
        let end = part.from + part.len;
        let at = received_after(received(reply.response.headers()), part);
        if at <= part.from || at > end {
            return Err(Problem::UploadRange {
                host: reply.link.origin.clone(),
                sent: end,
                has: at,
            });
        }
        self.moved(reply, Some(at), egress)
    }

    /// The upload goes on at `at`, where the answer says; if it cannot be told how far it is, nowhere.
    fn moved(&mut self, reply: &Reply, at: Option<u64>, egress: &Checks) -> Result<(), Problem> {
        let (Some(mut place), Some(at)) = (self.place.take(), at) else {
            return Ok(());
        };
        let headers = reply.response.headers();
        if headers.contains_key(header::LOCATION) {
            let link = redirect::next(&reply.link, headers, egress)?;
            place.foreign |= link.origin != place.link.origin;
            place.link = link;
        }
        place.at = at;
        self.farthest = self.farthest.max(at);
        self.place = Some(place);
        Ok(())
    }

    fn arrived(&self) -> BlobPushed {
        match self.sent {
            0 => BlobPushed::Existed,
            chunks => BlobPushed::Uploaded { chunks },
        }
    }

    /// A body that is too large for the registry (or for what stands before it) may do in smaller pieces.
    fn can_go_smaller(&mut self, problem: &Problem) -> bool {
        let least = self.place.as_ref().map_or(0, |place| place.least);
        let smaller = match self.chunk {
            None => CHUNK.min(self.descriptor.size.div_ceil(2)),
            Some(chunk) => chunk / 2,
        };
        let is_too_large = problem.status() == Some(StatusCode::PAYLOAD_TOO_LARGE);
        if !is_too_large || self.place.is_none() || smaller < LEAST_CHUNK.max(least) {
            return false;
        }
        self.chunk = Some(smaller);
        true
    }

    /// The registry lost the upload, or it and we do not agree on how far it is.
    fn can_begin_again(&mut self, problem: &Problem) -> bool {
        let status = problem.status().map(|status| status.as_u16());
        let is_lost =
            matches!(status, Some(404 | 416)) || matches!(problem, Problem::UploadRange { .. });
        if !is_lost || self.sent == 0 || self.chunk.is_none() || self.restarted {
            return false;
        }
        self.restarted = true;
        true
    }
}

fn nothing() -> Sent {
    Sent::whole(Content::Bytes(Bytes::new()), 0, octets())
}

fn octets() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}

/// An answer that will be the same next time.
fn is_refusal(problem: &Problem) -> bool {
    problem
        .status()
        .is_some_and(|status| status.is_client_error())
        && !problem.is_transient()
}

fn least_chunk(headers: &HeaderMap) -> u64 {
    let value = headers.get("oci-chunk-min-length");
    let value = value.and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// How many bytes `Range: 0-<last>` means. `0-0` is both one byte and, in most registries, none.
fn received(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::RANGE)?.to_str().ok()?.trim();
    let value = value.strip_prefix("bytes=").unwrap_or(value);
    let last: u64 = value.strip_prefix("0-")?.parse().ok()?;
    match last {
        0 => Some(0),
        last => last.checked_add(1),
    }
}

/// An answer to a chunk without a range means that all of it was taken; so does `0-0` after one byte.
fn received_after(said: Option<u64>, part: Part) -> u64 {
    match said {
        Some(0) if part == (Part { from: 0, len: 1 }) => 1,
        said => said.unwrap_or(part.from + part.len),
    }
}

/// Only a digest of the same kind can be compared; some registries name the blob by their own.
fn same_digest(headers: &HeaderMap, expected: &Digest) -> Result<(), Problem> {
    match said_digest(headers) {
        Some(got) if got.algorithm() == expected.algorithm() && got != *expected => {
            Err(Problem::StoredAs {
                expected: expected.clone(),
                got: got.to_string(),
            })
        }
        _ => Ok(()),
    }
}

/// The colon of a digest is written as it is: some registries sign the query that they gave out.
fn with_digest(place: &Link, digest: &Digest) -> Result<Link, Problem> {
    let separator = if place.uri.query().is_some() {
        '&'
    } else {
        '?'
    };
    Link::parse(&format!("{}{separator}digest={digest}", place.uri)).ok_or_else(|| {
        Problem::Location {
            host: place.origin.clone(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Option<u64> {
        received(&HeaderMap::from_iter([(
            header::RANGE,
            text.parse().unwrap(),
        )]))
    }

    #[test]
    fn a_range_says_how_much_is_there() {
        assert_eq!(range("0-1023"), Some(1024));
        assert_eq!(range("bytes=0-1023"), Some(1024));
        assert_eq!(range("0-0"), Some(0));
        for bad in ["", "0", "5-9", "0--1", "0-18446744073709551615", "0-x", "-"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_without_a_range_means_the_whole_chunk() {
        let part = Part { from: 10, len: 5 };
        assert_eq!(received_after(None, part), 15);
        assert_eq!(received_after(Some(12), part), 12);
        assert_eq!(received_after(Some(0), Part { from: 0, len: 1 }), 1);
        assert_eq!(received_after(Some(0), Part { from: 0, len: 2 }), 0);
    }

    #[test]
    fn a_least_chunk_that_is_no_number_is_none() {
        let of = |text: &str| {
            least_chunk(&HeaderMap::from_iter([(
                http::HeaderName::from_static("oci-chunk-min-length"),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(of("5242880"), 5_242_880);
        for bad in ["", "-1", "1e9", "99999999999999999999999"] {
            assert_eq!(of(bad), 0, "{bad}");
        }
    }
}
