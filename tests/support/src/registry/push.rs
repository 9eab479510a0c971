// SPDX-License-Identifier: Apache-2.0
//! Writing: uploads of blobs in their four forms, and manifests. Source: distribution-spec "Push".

use http::{HeaderName, Method, StatusCode, header};
use serde_json::Value;

use super::call::Call;
use super::digest;
use super::reply::{self, CONTENT_DIGEST, Refusal, Reply, With as _};
use super::route::is_tag;
use super::store::{Manifest, Repository, Store};

const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// Larger manifests are refused with 413; the spec asks registries to take at least this much.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

pub(crate) fn upload(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    if call.body.len() > call.features.largest_body {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Refusal::new(
            status,
            "SIZE_INVALID",
            "the body is too large",
        ));
    }
    if call.route.reference.is_empty() {
        return match call.method {
            Method::POST => start(call, store),
            _ => Err(Refusal::method_not_allowed()),
        };
    }
    // The query that came with the location is part of it: a client that drops it has not kept the location as it was.
    if call.query.first("_state") != Some(call.route.reference.as_str()) {
        return Err(upload_unknown(call));
    }
    match call.method {
        Method::GET => Ok(progress(
            call,
            StatusCode::NO_CONTENT,
            received(call, store)?,
        )),
        Method::PATCH => {
            append(call, store)?;
            Ok(progress(call, StatusCode::ACCEPTED, received(call, store)?))
        }
        Method::PUT => finish(call, store),
        Method::DELETE => {
            received(call, store)?;
            store.end_upload(&call.route.reference);
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn start(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    let repository = &call.route.repository;
    if let Some(digest) = call.query.first("digest") {
        return store_blob(call, store, digest, call.body.clone());
    }
    if let (Some(digest), Some(from)) = (call.query.first("mount"), call.query.first("from"))
        && let Some(content) = store.blob(from, digest).cloned()
    {
        return store_blob(call, store, digest, content);
    }
    let session = store.start_upload(repository);
    let reply = reply::empty(StatusCode::ACCEPTED)
        .with(header::LOCATION, location(repository, &session))
        .with(header::RANGE, "0-0");
    Ok(match call.features.least_chunk {
        0 => reply,
        least => reply.with(CHUNK_MIN_LENGTH, least),
    })
}

fn received(call: &Call, store: &mut Store) -> Result<usize, Refusal> {
    store
        .upload_mut(&call.route.repository, &call.route.reference)
        .map(|upload| upload.received.len())
        .ok_or_else(|| upload_unknown(call))
}

/// Adds the body to the session. A chunk with a range must begin where the last one ended; one without is a stream.
fn append(call: &Call, store: &mut Store) -> Result<(), Refusal> {
    let held = received(call, store)?;
    if let Some(range) = call.headers.get(header::CONTENT_RANGE) {
        let expected = range.to_str().ok().and_then(|text| text.split_once('-'));
        let numbers = expected.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        if numbers != Some((held, (held + call.body.len()).saturating_sub(1))) {
            let message = format!("the next chunk begins at {held}");
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            return Err(Refusal::new(status, "BLOB_UPLOAD_INVALID", message));
        }
    }
    if let Some(upload) = store.upload_mut(&call.route.repository, &call.route.reference) {
        upload.received.extend_from_slice(&call.body);
    }
    Ok(())
}

fn finish(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    let digest = call
        .query
        .first("digest")
        .ok_or_else(|| Refusal::bad_request("DIGEST_INVALID", "the digest parameter is missing"))?;
    append(call, store)?;
    let upload = store
        .end_upload(&call.route.reference)
        .ok_or_else(|| upload_unknown(call))?;
    store_blob(call, store, digest, upload.received.freeze())
}

fn store_blob(
    call: &Call,
    store: &mut Store,
    digest: &str,
    content: bytes::Bytes,
) -> Result<Reply, Refusal> {
    if !digest::matches(digest, &content) {
        let message = format!("the content is not {digest}");
        return Err(Refusal::bad_request("DIGEST_INVALID", message));
    }
    let name = &call.route.repository;
    let blobs = &mut store.repository_mut(name).blobs;
    blobs.insert(digest.to_owned(), content);
    Ok(reply::empty(StatusCode::CREATED)
        .with(header::LOCATION, format_args!("/v2/{name}/blobs/{digest}"))
        .with(CONTENT_DIGEST, digest))
}

fn progress(call: &Call, status: StatusCode, received: usize) -> Reply {
    let place = location(&call.route.repository, &call.route.reference);
    let mut reply = reply::empty(status).with(header::LOCATION, place).with(
        header::RANGE,
        format_args!("0-{}", received.saturating_sub(1)),
    );
    if status == StatusCode::NO_CONTENT {
        reply.headers_mut().remove(header::CONTENT_LENGTH);
    }
    reply
}

/// Relative, and with a query of its own that the client must keep when it adds the digest.
fn location(repository: &str, session: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{session}?_state={session}")
}

fn upload_unknown(call: &Call) -> Refusal {
    let message = format!("no upload {}", call.route.reference);
    Refusal::not_found("BLOB_UPLOAD_UNKNOWN", message)
}

pub(crate) fn manifest(call: &Call, store: &mut Store) -> Result<Reply, Refusal> {
    let (name, reference) = (&call.route.repository, &call.route.reference);
    let document = acceptable_document(call)?;
    let repository = store.repository_mut(name);
    require_content(repository, &document)?;
    let manifest = Manifest {
        media_type: media_type(call),
        bytes: call.body.clone(),
    };
    let digest = repository.put_manifest(reference, manifest);
    let mut reply = reply::empty(StatusCode::CREATED)
        .with(
            header::LOCATION,
            format_args!("/v2/{name}/manifests/{digest}"),
        )
        .with(CONTENT_DIGEST, &digest);
    if let (true, Some(subject)) = (
        call.features.referrers,
        document["subject"]["digest"].as_str(),
    ) {
        reply = reply.with(super::discovery::OCI_SUBJECT, subject);
    }
    Ok(reply)
}

fn media_type(call: &Call) -> String {
    let value = call.headers.get(header::CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// The manifest as JSON, when reference, size, form and media type are right.
fn acceptable_document(call: &Call) -> Result<Value, Refusal> {
    let invalid = |message: &str| Refusal::bad_request("MANIFEST_INVALID", message);
    let reference = &call.route.reference;
    if call.body.len() > MANIFEST_LIMIT {
        let message = "the manifest is larger than 4 MiB";
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "SIZE_INVALID",
            message,
        ));
    }
    if digest::is_digest(reference) {
        if !digest::matches(reference, &call.body) {
            return Err(Refusal::bad_request(
                "DIGEST_INVALID",
                "the manifest is not its digest",
            ));
        }
    } else if !is_tag(reference) {
        return Err(Refusal::bad_request(
            "TAG_INVALID",
            "neither a tag nor a digest",
        ));
    }
    let document: Value =
        serde_json::from_slice(&call.body).map_err(|_| invalid("the manifest is not JSON"))?;
    match document["mediaType"].as_str() {
        Some(declared) if declared != media_type(call) => {
            Err(invalid("mediaType and Content-Type differ"))
        }
        _ if document["schemaVersion"] != 2 => Err(invalid("schemaVersion is not 2")),
        _ => Ok(document),
    }
}

/// Everything the manifest points at, except its subject, must already be here.
fn require_content(repository: &Repository, document: &Value) -> Result<(), Refusal> {
    let listed = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let config = document.get("config").cloned();
    let blobs = listed("layers").into_iter().chain(config);
    let here =
        |descriptor: &Value, is_here: &dyn Fn(&str) -> bool| match descriptor["digest"].as_str() {
            Some(digest) if is_here(digest) => Ok(()),
            Some(digest) => Err(Refusal::bad_request(
                "MANIFEST_BLOB_UNKNOWN",
                format!("no {digest}"),
            )),
            None => Err(Refusal::bad_request(
                "MANIFEST_INVALID",
                "a descriptor has no digest",
            )),
        };
    for blob in blobs {
        here(&blob, &|digest| repository.blobs.contains_key(digest))?;
    }
    for child in listed("manifests") {
        here(&child, &|digest| repository.manifests.contains_key(digest))?;
    }
    Ok(())
}
