// SPDX-License-Identifier: Apache-2.0
//! Reading: manifests, blobs (whole or a range), and their deletion. Source: distribution-spec "Pull", "Content Management".

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};

use super::call::Call;
use super::reply::{self, CONTENT_DIGEST, Refusal, Reply, With as _};
use super::store::Store;

pub(crate) fn manifest(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    match call.method {
        Method::GET | Method::HEAD => read_manifest(call, store),
        Method::PUT => super::push::manifest(call, store),
        Method::DELETE => delete_manifest(call, store),
        _ => Err(Refusal::method_not_allowed()),
    }
}

pub(crate) fn blob(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    let digest = call.route.reference.as_str();
    match call.method {
        Method::GET | Method::HEAD => {
            let content = store
                .blob(&call.route.repository, digest)
                .ok_or_else(|| blob_unknown(digest))?;
            Ok(blob_reply(call, content)?
                .with(header::CONTENT_TYPE, "application/octet-stream")
                .with(header::ETAG, format_args!("\"{digest}\""))
                .with(CONTENT_DIGEST, digest))
        }
        Method::DELETE => delete_blob(call, store),
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn read_manifest(call: &Call, store: &Store) -> Result<Reply, Refusal> {
    let reference = &call.route.reference;
    let (digest, manifest) = store
        .repository(&call.route.repository)
        .ok_or_else(|| name_unknown(&call.route.repository))?
        .resolve(reference)
        .ok_or_else(|| manifest_unknown(reference))?;
    Ok(reply::bytes(StatusCode::OK, manifest.bytes.clone())
        .with(header::CONTENT_TYPE, &manifest.media_type)
        .with(header::ETAG, format_args!("\"{digest}\""))
        .with(CONTENT_DIGEST, digest))
}

fn delete_manifest(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    let reference = &call.route.reference;
    let repository = store.repository_mut(&call.route.repository);
    let removed =
        repository.tags.remove(reference).is_some() || repository.delete_manifest(reference);
    if removed {
        Ok(reply::empty(StatusCode::ACCEPTED))
    } else {
        Err(manifest_unknown(reference))
    }
}

fn delete_blob(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    let digest = &call.route.reference;
    let blobs = &mut store.repository_mut(&call.route.repository).blobs;
    match blobs.remove(digest) {
        Some(_) => Ok(reply::empty(StatusCode::ACCEPTED)),
        None => Err(blob_unknown(digest)),
    }
}

fn blob_reply(call: &Call, content: &Bytes) -> Result<Reply, Refusal> {
    if !call.features.ranges {
        return Ok(reply::bytes(StatusCode::OK, content.clone()));
    }
    let reply = match requested_range(&call.headers, content.len()) {
        Requested::Whole => reply::bytes(StatusCode::OK, content.clone()),
        Requested::Part(start, end) => {
            let range = format_args!("bytes {start}-{}/{}", end - 1, content.len()).to_string();
            reply::bytes(StatusCode::PARTIAL_CONTENT, content.slice(start..end))
                .with(header::CONTENT_RANGE, range)
        }
        Requested::Nothing => {
            let message = format!("the blob has {} bytes", content.len());
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            return Err(Refusal::new(status, "RANGE_INVALID", message));
        }
    };
    Ok(reply.with(header::ACCEPT_RANGES, "bytes"))
}

enum Requested {
    Whole,
    /// From the first byte up to, not including, the second.
    Part(usize, usize),
    /// The range lies outside of the content.
    Nothing,
}

/// Reads a single byte range; anything else (RFC 9110, 14.2) is ignored and the whole is served.
fn requested_range(headers: &HeaderMap, length: usize) -> Requested {
    let parsed = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes="))
        .and_then(|range| range.split_once('-'));
    let (start, end) = match parsed {
        None => return Requested::Whole,
        Some(("", suffix)) => match suffix.parse::<usize>() {
            Ok(count) => (length.saturating_sub(count), length),
            Err(_) => return Requested::Whole,
        },
        Some((start, last)) => match (start.parse::<usize>(), last.parse::<usize>()) {
            (Ok(start), Ok(last)) if last >= start => (start, length.min(last.saturating_add(1))),
            (Ok(start), Err(_)) if last.is_empty() => (start, length),
            _ => return Requested::Whole,
        },
    };
    if start < end {
        Requested::Part(start, end)
    } else {
        Requested::Nothing
    }
}

pub(crate) fn name_unknown(name: &str) -> Refusal {
    Refusal::not_found("NAME_UNKNOWN", format!("no repository {name}"))
}

fn manifest_unknown(reference: &str) -> Refusal {
    Refusal::not_found("MANIFEST_UNKNOWN", format!("no manifest {reference}"))
}

pub(crate) fn blob_unknown(digest: &str) -> Refusal {
    Refusal::not_found("BLOB_UNKNOWN", format!("no blob {digest}"))
}
