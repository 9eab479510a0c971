// SPDX-License-Identifier: Apache-2.0
//! The artifact server: `/ocirepository/<namespace>/<name>/<file>` and, on `/`, whether it is ready.
//!
//! A path is looked up in the store's index and never touches the file system. What differs from the file server in Flux:
//! nothing is listed, the entity tag is the digest, and `/` answers 503 until this process is ready (contract 7.1, T33).

use std::{borrow::Cow, fmt, fs::File, io, ops::Range, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, LAST_MODIFIED},
    request::Parts,
};
use tokio::sync::watch;

use super::{
    Body, Handler,
    files::Files,
    response,
    select::{Selection, select},
};
use crate::store::{ArtifactKey, Lookup, Store, StoreError, StoredArtifact};

const GZIP: &str = "application/gzip";

/// Called with the object whose artifact was asked for and is not there, so that it can be made again. It must not block.
pub type OnMiss = Arc<dyn Fn(&ArtifactKey) + Send + Sync>;

/// Serves what is in the store.
#[derive(Clone)]
pub struct Artifacts {
    store: Store,
    ready: watch::Receiver<bool>,
    on_miss: OnMiss,
    files: Files,
}

impl Artifacts {
    /// Serves from `store`; `/` answers 200 while `ready` is true.
    pub fn new(store: Store, ready: watch::Receiver<bool>, on_miss: OnMiss) -> Self {
        Self {
            store,
            ready,
            on_miss,
            files: Files::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn streams_left(&self) -> usize {
        self.files.left()
    }

    fn readiness(&self) -> Response<Body> {
        if *self.ready.borrow() {
            response::text(StatusCode::OK, "wharf\n")
        } else {
            response::unavailable("not ready\n")
        }
    }

    /// Consumers take 404 for an answer and ask again after 503, and before this process is ready nothing is sure to be
    /// missing.
    fn missing(&self, key: &ArtifactKey) -> Response<Body> {
        (self.on_miss)(key);
        if *self.ready.borrow() {
            response::not_found()
        } else {
            response::unavailable("not ready\n")
        }
    }

    async fn artifact(&self, request: &Parts, artifact: &StoredArtifact) -> Response<Body> {
        let etag = format!("\"{}\"", artifact.digest);
        let (status, range) = match select(request, &etag, artifact.size) {
            Selection::Whole => (StatusCode::OK, 0..artifact.size),
            Selection::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Selection::NotModified => return not_modified(artifact, &etag),
            Selection::Unsatisfiable => return unsatisfiable(artifact.size),
        };
        let Some(body) = self.body(&request.method, artifact, range.clone()).await else {
            return response::unavailable("too many downloads\n");
        };
        match body {
            Ok(body) => content(status, artifact, &etag, &range, body),
            Err(error) => self.unreadable(artifact, &error),
        }
    }

    /// The bytes, or nothing when there is no room for another stream.
    async fn body(
        &self,
        method: &Method,
        artifact: &StoredArtifact,
        range: Range<u64>,
    ) -> Option<Result<Body, ReadError>> {
        let room = self.files.room()?;
        let file = match self.open(artifact).await {
            Ok(file) => file,
            Err(error) => return Some(Err(error)),
        };
        if *method == Method::HEAD {
            return Some(Ok(response::memory("")));
        }
        let body = self.files.body(file, range, room).await;
        Some(body.map_err(ReadError::Read))
    }

    async fn open(&self, artifact: &StoredArtifact) -> Result<File, ReadError> {
        let (store, digest) = (self.store.clone(), artifact.digest.clone());
        tokio::task::spawn_blocking(move || store.open_blob(&digest))
            .await
            .map_err(|e| ReadError::Read(io::Error::other(e)))?
            .map_err(ReadError::Store)
    }

    /// The name was there and its bytes are not: collected a moment ago, or lost.
    fn unreadable(&self, artifact: &StoredArtifact, error: &ReadError) -> Response<Body> {
        if matches!(error, ReadError::Store(StoreError::NoBlob(_))) {
            return self.missing(&artifact.key);
        }
        tracing::warn!(
            namespace = artifact.key.namespace(),
            name = artifact.key.name(),
            error = error as &dyn std::error::Error,
            "cannot serve an artifact"
        );
        (self.on_miss)(&artifact.key);
        response::unavailable("the artifact cannot be read\n")
    }
}

impl fmt::Debug for Artifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifacts")
            .field("store", &self.store.root())
            .finish_non_exhaustive()
    }
}

impl Handler for Artifacts {
    async fn answer(&self, request: &Parts) -> Response<Body> {
        if let Some(refused) = response::refuse_method(&request.method) {
            return refused;
        }
        let path = request.uri.path();
        if path == "/" {
            return self.readiness();
        }
        match decode(path).map(|path| self.store.lookup(&path)) {
            Some(Lookup::Found(artifact)) => self.artifact(request, &artifact).await,
            Some(Lookup::Missing(key)) => self.missing(&key),
            Some(Lookup::Malformed) | None => response::not_found(),
        }
    }
}

/// Why the bytes of an artifact could not be had.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Store(StoreError),
    #[error("cannot read the blob")]
    Read(#[source] io::Error),
}

/// The path as the store knows it. The colon of a digest is the only character of an artifact's path that a client may
/// reasonably escape; any other escape is a path that nothing has.
fn decode(path: &str) -> Option<Cow<'_, str>> {
    let path = path.strip_prefix('/')?;
    if !path.contains('%') {
        return Some(path.into());
    }
    let decoded = path.replace("%3A", ":").replace("%3a", ":");
    (!decoded.contains('%')).then(|| decoded.into())
}

fn content(
    status: StatusCode,
    artifact: &StoredArtifact,
    etag: &str,
    range: &Range<u64>,
    body: Body,
) -> Response<Body> {
    let mut response = response::typed(status, GZIP, body);
    let headers = response.headers_mut();
    validators(headers, artifact, etag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last, size) = (range.start, range.end - 1, artifact.size);
        set(
            headers,
            CONTENT_RANGE,
            &format!("bytes {first}-{last}/{size}"),
        );
    }
    response
}

fn not_modified(artifact: &StoredArtifact, etag: &str) -> Response<Body> {
    let mut response = Response::new(response::memory(""));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    validators(response.headers_mut(), artifact, etag);
    response
}

fn unsatisfiable(size: u64) -> Response<Body> {
    let words = "the range is behind the end\n";
    let mut response = response::text(StatusCode::RANGE_NOT_SATISFIABLE, words);
    set(
        response.headers_mut(),
        CONTENT_RANGE,
        &format!("bytes */{size}"),
    );
    response
}

fn validators(headers: &mut HeaderMap, artifact: &StoredArtifact, etag: &str) {
    set(headers, ETAG, etag);
    let modified = artifact.at.strftime("%a, %d %b %Y %H:%M:%S GMT");
    set(headers, LAST_MODIFIED, &modified.to_string());
}

// Digests, dates and numbers are always valid header values, so nothing is ever left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
