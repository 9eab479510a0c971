// SPDX-License-Identifier: Apache-2.0
//! Listing the tags of a repository, page by page.
//!
//! One page is in memory at a time: its JSON is read as it arrives, and what is not a tag is passed over without being
//! kept (some registries describe every manifest in the same document). A page that cannot be had is an error and never a
//! shorter list. Sources: distribution-spec "Listing Tags"; `paging` for how pages are linked.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher as _, RandomState},
    io::{self, Read},
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use http::{Method, Response};
use tokio::{sync::mpsc, time::timeout};

use crate::Tag;

use super::{
    auth::Scope,
    body::{Chunks, content_length, content_type},
    error::Error,
    mirrors::{By, ReadPath, Reader},
    origin::{Link, Origin},
    paging::Trail,
    problem::Problem,
    request::{Ask, Channel},
    tag_page::{self, Listed},
    wire::Incoming,
};

/// How many tags a page is asked to have. Registries give fewer if they want to.
const PAGE: usize = 1000;
/// Pages in a row that may add no tag: filters can empty some, but a list that only repeats itself does not end.
const MAX_IDLE: u32 = 10;
/// Pieces of a page between the socket and its reader.
const IN_FLIGHT: usize = 4;

/// The tags of a repository, to be asked for page by page with [`Tags::next_page`].
///
/// Tags come in the order of the registry, which need not be that of their names or ages. Each tag comes once.
pub struct Tags {
    /// Whom to ask for the first page; whoever gives it is asked for all others.
    path: Option<Arc<ReadPath>>,
    /// The mirror that is asked, if it is not the registry.
    mirror: Option<Arc<Reader>>,
    /// The way to who is asked.
    channel: Arc<Channel>,
    /// The registry whose tags they are.
    home: Arc<Channel>,
    next: Next,
    trail: Trail,
    seen: Seen,
    listed: usize,
    idle: u32,
    before: Option<u64>,
    is_assumed: bool,
}

/// Some tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagPage {
    /// Tags that no page had before; may be empty although more pages follow.
    pub tags: Vec<Tag>,
    /// How many entries were left out because they are no tags by the grammar of the distribution-spec. No reference
    /// can name them.
    pub skipped: usize,
    /// How many entries were left out because they had been listed before, on this page or an earlier one.
    pub repeated: usize,
    /// The name of the repository as the registry writes it, if it does. Some write another one than they were asked
    /// for (without a prefix of their own), so that it is told and not checked.
    pub name: Option<String>,
}

enum Next {
    First,
    /// The registry says where.
    Link(Link),
    /// The page was full and the registry did not say that more follows: what comes after this tag?
    After(Tag),
    Done,
}

impl Tags {
    pub(crate) fn new(path: Arc<ReadPath>) -> Self {
        let home = path.home.clone();
        Self {
            path: Some(path),
            mirror: None,
            trail: Trail::new("tags", home.limits.tag_pages),
            channel: home.clone(),
            home,
            next: Next::First,
            seen: Seen::default(),
            listed: 0,
            idle: 0,
            before: None,
            is_assumed: false,
        }
    }

    /// The next page; `None` after the last.
    ///
    /// Each page is tried again as other operations are. After an error the list is not complete; asking again asks for
    /// the same page again, also when the future was dropped before it was done. Errors beyond those of every request:
    /// [`super::ErrorKind::NotFound`] when the registry knows no such repository; [`super::ErrorKind::TooLarge`] above [`super::Limits::tags`], [`super::Limits::tag_pages`] or
    /// [`super::Limits::tag_page`]; [`super::ErrorKind::Protocol`] for a page that is no list of tags, for a link to
    /// another origin (nothing is sent there) and for a list that repeats itself without end.
    ///
    /// A mirror that is trusted with tags is asked first. All pages come from the one that gave the first; a mirror that
    /// fails a later one is not asked for a while, so that the next list is another's ([`Self::is_from_mirror`]).
    pub async fn next_page(&mut self) -> Result<Option<TagPage>, Error> {
        let Some(path) = self.path.clone() else {
            return self.later_page().await;
        };
        let mut tries = path.tries(By::Word);
        loop {
            // The path stays until there is a page, or who stops waiting would later ask the one that did not answer.
            *self = Self {
                mirror: tries.mirror(),
                channel: tries.channel().clone(),
                ..Self::new(path.clone())
            };
            let page = tries.in_time(Box::pin(self.page())).await;
            if let Some(page) = tries.settle(page) {
                if page.is_ok() {
                    self.path = None;
                }
                return page;
            }
        }
    }

    /// Whether there was a first page and a mirror gave it. Then, after an error, a new list is the registry's or another
    /// mirror's and may well come to its end. It can have other tags from the first page on: what was taken from this
    /// one must not be mixed with it.
    pub fn is_from_mirror(&self) -> bool {
        self.path.is_none() && self.mirror.is_some()
    }

    async fn later_page(&mut self) -> Result<Option<TagPage>, Error> {
        let Some(mirror) = self.mirror.clone() else {
            return self.page().await;
        };
        let page = mirror.in_time(Box::pin(self.page())).await;
        page.map_err(|error| {
            let problem = mirror.broke_off(&error);
            Error::new(self.operation(), self.home.place.as_str(), 1, problem)
        })
    }

    fn operation(&self) -> String {
        format!("list tags, page {}", self.trail.page())
    }

    async fn page(&mut self) -> Result<Option<TagPage>, Error> {
        let channel = self.channel.clone();
        let mut attempts = channel.attempts(self.operation());
        loop {
            match self.try_page(&channel).await {
                Ok(page) => return Ok(page),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    /// Whether the end of the list is the registry's word alone: its last page had as many tags as were asked for and no
    /// link to another one, which by the distribution-spec is the end, and it refused to be asked what comes after (as
    /// registries do that take only their own cursors).
    pub fn is_end_assumed(&self) -> bool {
        self.is_assumed
    }

    async fn try_page(&mut self, channel: &Channel) -> Result<Option<TagPage>, Problem> {
        let Some(link) = self.place(channel).await? else {
            return Ok(None);
        };
        let is_probe = matches!(self.next, Next::After(_));
        let home = link.origin.clone();
        let ask = Ask::new(Method::GET, link, Scope::Pull).accepting("application/json");
        let reply = match channel.ask(&ask).await {
            Err(problem) if is_probe && is_no_cursor(&problem) => {
                (self.next, self.is_assumed) = (Next::Done, true);
                return Ok(None);
            }
            reply => reply?,
        };
        let (link, headers) = (reply.link, reply.response.headers().clone());
        let room = channel.limits.tags.saturating_sub(self.listed);
        let listed = read(reply.response, &link.origin, channel, room).await?;
        let mark = self.seen.mark_all(&listed.tags);
        let repeats = self.before == Some(mark) && !listed.tags.is_empty();
        if repeats && !is_probe {
            return Err(self.trail.repeats("a page is the same as the one before"));
        }
        let after = self.trail.next(&link, &home, &headers)?;
        self.before = Some(mark);
        self.take(listed, after, is_probe)
    }

    /// Where the page is that is asked for next.
    async fn place(&self, channel: &Channel) -> Result<Option<Link>, Problem> {
        let first = format!("tags/list?n={PAGE}");
        match &self.next {
            Next::Done => Ok(None),
            Next::Link(link) => Ok(Some(link.clone())),
            Next::First => channel.link(&first).await.map(Some),
            // No character of a tag means anything in a query.
            Next::After(tag) => channel.link(&format!("{first}&last={tag}")).await.map(Some),
        }
    }

    fn take(
        &mut self,
        listed: Listed,
        after: Option<Link>,
        is_probe: bool,
    ) -> Result<Option<TagPage>, Problem> {
        let last = listed.tags.last().cloned();
        let is_full = after.is_none() && listed.entries == PAGE;
        // Before anything is noted, so that a page that failed can be asked for again.
        if is_full {
            self.trail.step()?;
        }
        let mut tags = listed.tags;
        let entries = tags.len();
        tags.retain(|tag| self.seen.add(tag));
        let adds = !tags.is_empty();
        self.idle = if adds { 0 } else { self.idle + 1 };
        if self.idle > MAX_IDLE {
            return Err(self.trail.repeats("page after page adds no tag"));
        }
        self.listed += listed.entries;
        self.next = match (after, last) {
            (Some(link), _) => Next::Link(link),
            (None, Some(last)) if is_full && adds => Next::After(last),
            _ => Next::Done,
        };
        if is_probe && !adds && matches!(self.next, Next::Done) {
            return Ok(None);
        }
        Ok(Some(TagPage {
            repeated: entries - tags.len(),
            skipped: listed.skipped,
            name: listed.name,
            tags,
        }))
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tags")
            .field("repository", &self.home.place)
            .field("listed", &self.listed)
            .finish_non_exhaustive()
    }
}

/// Refusals that can mean "I take only cursors that I gave out". Being denied or limited does not.
fn is_no_cursor(problem: &Problem) -> bool {
    let Problem::Answer { answer, .. } = problem else {
        return false;
    };
    matches!(
        answer.status.as_u16(),
        400 | 404 | 405 | 406 | 410 | 416 | 422
    )
}

/// Reads a page while it arrives. The parser runs on a thread that may block; it ends with its channel.
async fn read(
    response: Response<Incoming>,
    host: &Origin,
    channel: &Channel,
    room: usize,
) -> Result<Listed, Problem> {
    let limit = channel.limits.tag_page;
    let media_type = content_type(response.headers());
    if content_length(response.headers()).is_some_and(|said| said > limit) {
        return Err(too_large(limit));
    }
    let timeouts = channel.home.timeouts;
    let chunks = Chunks::of(response, host, timeouts, timeouts.document)?;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let feed = Feed {
        chunks: receiver,
        piece: Bytes::new(),
    };
    let parser = tokio::task::spawn_blocking(move || tag_page::parse(feed, room));
    let reading = async {
        pump(chunks, sender, limit).await?;
        parser.await.map_err(|cause| Problem::Io {
            what: "reading the list of tags",
            cause: io::Error::other(cause),
        })
    };
    // The body has this deadline too: beyond it are those who wait for a thread to read it.
    let parsed = timeout(timeouts.document, reading).await;
    let parsed = parsed.map_err(|_| Problem::Timeout {
        host: host.clone(),
        what: "the list of tags to be read",
        after: timeouts.document,
    })??;
    let listed = parsed.map_err(|cause| unreadable(cause, media_type))?;
    if listed.is_cut {
        let limit = channel.limits.tags as u64;
        return Err(Problem::TooMany {
            what: "tags",
            limit,
        });
    }
    Ok(listed)
}

/// Hands the pieces of a body on, until it ends or the reader has had enough.
async fn pump(
    mut chunks: Chunks<'_>,
    sender: mpsc::Sender<Bytes>,
    limit: u64,
) -> Result<(), Problem> {
    let mut got = 0;
    while let Some(chunk) = chunks.next().await? {
        got += chunk.len() as u64;
        if got > limit {
            return Err(too_large(limit));
        }
        if sender.send(chunk).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn unreadable(cause: serde_json::Error, media_type: String) -> Problem {
    // The pieces of a body come without fail: it is the parser's reader that had enough.
    if cause.is_io() {
        return Problem::TooLarge {
            what: "what stands between two quotes on a page of tags",
            limit: tag_page::MAX_UNQUOTED,
        };
    }
    Problem::Page {
        what: "tags",
        media_type,
        cause,
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::TooLarge {
        what: "a page of tags",
        limit,
    }
}

/// A body as a reader that blocks. When the sender goes away the body ends, and with it the reader.
struct Feed {
    chunks: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.chunks.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Which tags were listed, by 128 bits with keys of this process: a million take 36 MiB at most, and a tag that is
/// mistaken for another one is not to be expected within the age of the universe.
#[derive(Default)]
struct Seen {
    hashers: (RandomState, RandomState),
    tags: HashSet<(u64, u64)>,
}

impl Seen {
    /// Whether the tag is new.
    fn add(&mut self, tag: &Tag) -> bool {
        let (first, second) = &self.hashers;
        self.tags
            .insert((first.hash_one(tag), second.hash_one(tag)))
    }

    fn mark_all(&self, tags: &[Tag]) -> u64 {
        self.hashers.0.hash_one(tags)
    }
}
