// SPDX-License-Identifier: Apache-2.0
//! Finding: tags in pages, and the manifests that refer to another. Source: distribution-spec "Content Discovery".

use http::{HeaderName, Method, StatusCode, header};
use serde_json::{Value, json};

use super::call::Call;
use super::digest;
use super::pull::name_unknown;
use super::reply::{self, Refusal, Reply, With as _};
use super::store::{Manifest, Store};

/// Names, on a push, the subject whose referrers the registry has updated.
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn tags(call: &Call, store: &Store) -> Result<Reply, Refusal> {
    require_get(call)?;
    let name = &call.route.repository;
    let repository = store.repository(name).ok_or_else(|| name_unknown(name))?;
    let last = call.query.first("last").unwrap_or_default();
    let limit = page_size(call)?;
    let after: Vec<&String> = repository
        .tags
        .keys()
        .filter(|tag| tag.as_str() > last)
        .collect();
    let page = &after[..limit.min(after.len())];
    let reply = reply::json(
        StatusCode::OK,
        "application/json",
        &json!({"name": name, "tags": page}),
    );
    match page.last() {
        Some(end) if page.len() < after.len() => {
            let next = format_args!("</v2/{name}/tags/list?n={limit}&last={end}>; rel=\"next\"")
                .to_string();
            Ok(reply.with(header::LINK, next))
        }
        _ => Ok(reply),
    }
}

/// What the client asks for, or everything, but no more than the registry gives at a time.
fn page_size(call: &Call) -> Result<usize, Refusal> {
    let asked = call.query.first("n").map(str::parse::<usize>).transpose();
    let asked = asked
        .map_err(|_| Refusal::bad_request("PAGINATION_NUMBER_INVALID", "n is not a number"))?
        .unwrap_or(usize::MAX);
    Ok(asked.min(call.features.tag_page))
}

pub(crate) fn referrers(call: &Call, store: &Store) -> Result<Reply, Refusal> {
    if !call.features.referrers {
        return Err(Refusal::not_found("UNSUPPORTED", "no referrers API here"));
    }
    require_get(call)?;
    let subject = &call.route.reference;
    if !digest::is_digest(subject) {
        return Err(Refusal::bad_request("DIGEST_INVALID", "not a digest"));
    }
    let wanted = call.query.first("artifactType");
    let manifests = store
        .repository(&call.route.repository)
        .into_iter()
        .flat_map(|r| &r.manifests);
    let found: Vec<Value> = manifests
        .filter_map(|(digest, manifest)| referrer(digest, manifest, subject))
        .filter(|descriptor| wanted.is_none_or(|wanted| descriptor["artifactType"] == wanted))
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": found});
    let reply = reply::json(StatusCode::OK, INDEX, &index);
    Ok(match wanted {
        Some(_) => reply.with(FILTERS_APPLIED, "artifactType"),
        None => reply,
    })
}

/// The descriptor under which `manifest` is listed, if it refers to `subject`.
fn referrer(digest: &str, manifest: &Manifest, subject: &str) -> Option<Value> {
    let document = manifest.document();
    if document["subject"]["digest"] != subject {
        return None;
    }
    let artifact_type = match &document["artifactType"] {
        Value::String(own) if !own.is_empty() => own,
        _ => document["config"]["mediaType"].as_str().unwrap_or_default(),
    };
    let mut descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": digest,
        "size": manifest.bytes.len(),
        "artifactType": artifact_type,
    });
    if let Some(annotations) = document.get("annotations") {
        descriptor["annotations"] = annotations.clone();
    }
    Some(descriptor)
}

fn require_get(call: &Call) -> Result<(), Refusal> {
    match call.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Refusal::method_not_allowed()),
    }
}
