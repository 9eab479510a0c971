// SPDX-License-Identifier: Apache-2.0
//! Pushing a manifest that refers to another, so that it is found from there.
//!
//! A registry with the referrers API lists it by itself and says so (`OCI-Subject`). For one without, the index under the
//! tag that is made of the subject's digest is read, added to and written back; nothing there keeps two writers apart, so
//! that what was written is read again. Entries of others are kept as they are, with all their fields. Source:
//! distribution-spec "Pushing Manifests with Subject" and "Referrers Tag Schema".

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::{Digest, Manifest, Tag, json, media_type};

use crate::registry::{
    error::{Error, ErrorKind},
    manifests::Target,
    problem::Problem,
    request::Channel,
};

/// How often an entry that another writer took away is written again.
const ROUNDS: u32 = 3;

/// A manifest that was pushed with a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedReferrer {
    /// Its digest, under which it was pushed.
    pub digest: Digest,
    /// The manifest that it refers to.
    pub subject: Digest,
    /// Who lists it.
    pub listed: Listed,
}

/// Who lists a referrer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The registry, in its referrers API.
    Registry,
    /// The index under this tag.
    Tag(Tag),
}

impl Channel {
    pub(crate) async fn push_referrer(
        &self,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<PushedReferrer, Error> {
        let digest = Digest::sha256_of(&bytes);
        let mut attempts = self.attempts(format!("push referrer {digest}"));
        loop {
            match self.try_push_referrer(&digest, &bytes, media_type).await {
                Ok(pushed) => return Ok(pushed),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    async fn try_push_referrer(
        &self,
        digest: &Digest,
        bytes: &Bytes,
        media_type: &str,
    ) -> Result<PushedReferrer, Problem> {
        let document: Value = json::from_slice_strict(bytes, json::Limits::default())
            .map_err(|cause| Problem::Manifest(crate::ManifestError::Json(cause)))?;
        let subject = subject(&document)?;
        let target = Target::Digest(digest.clone());
        let (_, reply) = self.try_push_manifest(&target, bytes, media_type).await?;
        let listed = if is_listed(reply.response.headers(), &subject) {
            Listed::Registry
        } else {
            let entry = entry(&document, media_type, digest, bytes.len());
            Listed::Tag(self.list_under_tag(&subject, digest, &entry).await?)
        };
        Ok(PushedReferrer {
            digest: digest.clone(),
            subject,
            listed,
        })
    }

    async fn list_under_tag(
        &self,
        subject: &Digest,
        digest: &Digest,
        entry: &Value,
    ) -> Result<Tag, Problem> {
        let tag = Tag::of_referrers(subject);
        for _ in 0..=ROUNDS {
            let mut index = self.referrers_index(&tag).await?;
            let Some(entries) = index["manifests"].as_array_mut() else {
                return Err(Problem::ReferrersTag { tag });
            };
            if entries
                .iter()
                .any(|known| known["digest"] == entry["digest"])
            {
                return Ok(tag);
            }
            entries.push(entry.clone());
            let bytes = Bytes::from(index.to_string());
            let target = Target::Tag(tag.clone());
            self.try_push_manifest(&target, &bytes, media_type::OCI_INDEX)
                .await?;
        }
        Err(Problem::ReferrersLost {
            digest: digest.clone(),
            tag,
        })
    }

    /// What stands under the tag, or an index of nothing. Anything but an index is left alone.
    async fn referrers_index(&self, tag: &Tag) -> Result<Value, Problem> {
        let (bytes, content_type) = match self.manifest_bytes(tag.as_str()).await {
            Ok(found) => found,
            Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(empty_index()),
            Err(problem) => return Err(problem),
        };
        let header = (!content_type.is_empty()).then_some(content_type.as_str());
        let is_index = matches!(Manifest::parse(&bytes, header), Ok(Manifest::Index(_)));
        // Read strictly just before.
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(mut index) if is_index => {
                if index["manifests"].is_null() {
                    index["manifests"] = json!([]);
                }
                index["mediaType"] = json!(media_type::OCI_INDEX);
                Ok(index)
            }
            _ => Err(Problem::ReferrersTag { tag: tag.clone() }),
        }
    }
}

fn empty_index() -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []})
}

fn subject(document: &Value) -> Result<Digest, Problem> {
    let digest = document["subject"]["digest"].as_str();
    digest
        .and_then(|text| text.parse().ok())
        .ok_or(Problem::NoSubject)
}

fn is_listed(headers: &HeaderMap, subject: &Digest) -> bool {
    let said = headers.get("oci-subject");
    said.is_some_and(|value| value.as_bytes() == subject.to_string().as_bytes())
}

/// The descriptor under which a referrer is listed: its artifact type, or that of its configuration, and its annotations.
fn entry(document: &Value, media_type: &str, digest: &Digest, size: usize) -> Value {
    let mut entry = json!({"mediaType": media_type, "digest": digest, "size": size});
    let filled = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let types = [&document["artifactType"], &document["config"]["mediaType"]];
    if let Some(artifact_type) = types.into_iter().find(|value| filled(value)) {
        entry["artifactType"] = artifact_type.clone();
    }
    if document["annotations"].is_object() {
        entry["annotations"] = document["annotations"].clone();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_type_of_the_artifact_or_of_its_configuration() {
        let digest = Digest::sha256_of(b"x");
        let of = |document: Value| entry(&document, "m/t", &digest, 7);
        let own = of(
            json!({"artifactType": "a/t", "config": {"mediaType": "c/t"}, "annotations": {"k": "v"}}),
        );
        assert_eq!(own["artifactType"], "a/t");
        assert_eq!(own["annotations"], json!({"k": "v"}));
        let inherited =
            of(json!({"artifactType": "", "config": {"mediaType": "c/t"}, "annotations": null}));
        assert_eq!(inherited["artifactType"], "c/t");
        assert!(inherited.get("annotations").is_none());
        assert!(of(json!({})).get("artifactType").is_none());
    }

    #[test]
    fn a_manifest_without_a_usable_subject_is_refused() {
        for document in [
            json!({}),
            json!({"subject": null}),
            json!({"subject": {"digest": "md5:x"}}),
            json!({"subject": 7}),
        ] {
            assert!(
                matches!(subject(&document), Err(Problem::NoSubject)),
                "{document}"
            );
        }
    }
}
