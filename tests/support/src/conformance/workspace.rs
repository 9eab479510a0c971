// SPDX-License-Identifier: Apache-2.0
//! What assertions have in common: a repository of their own, content to put there, and small judgements.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::Broken;
use super::client::{Ask, Client, Heard};
use crate::registry::{OCI_MANIFEST, sha256};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub(super) struct Workspace {
    pub(super) client: Client,
    pub(super) repository: String,
}

/// Content that was pushed.
pub(super) struct Content {
    pub(super) digest: String,
    pub(super) bytes: Bytes,
}

impl Content {
    pub(super) fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            digest: sha256(&bytes),
            bytes,
        }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

impl Workspace {
    pub(super) async fn send(&self, ask: Ask) -> Result<Heard, Broken> {
        self.client.send(ask).await
    }

    pub(super) fn blob_path(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.repository)
    }

    pub(super) fn manifest_path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repository)
    }

    pub(super) fn uploads_path(&self) -> String {
        format!("/v2/{}/blobs/uploads/", self.repository)
    }

    /// A GET of a manifest that says what it can read, without which some registries convert.
    pub(super) fn manifest_ask(&self, method: Method, reference: &str) -> Ask {
        let accept = format!("{OCI_MANIFEST}, {}", crate::registry::OCI_INDEX);
        Ask::new(method, self.manifest_path(reference)).header(header::ACCEPT, accept)
    }

    pub(super) async fn start_upload(&self) -> Result<String, Broken> {
        let started = self
            .send(Ask::new(Method::POST, self.uploads_path()))
            .await?;
        expect(&started, StatusCode::ACCEPTED)?;
        started.location()
    }

    pub(super) async fn push_blob(&self, bytes: impl Into<Bytes>) -> Result<Content, Broken> {
        let content = Content::new(bytes);
        let location = self.start_upload().await?;
        let put = Ask::new(Method::PUT, with_digest(&location, &content.digest));
        let put = self.send(put.octets(content.bytes.clone())).await?;
        expect(&put, StatusCode::CREATED)?;
        Ok(content)
    }

    /// An image manifest over a config and a layer that are pushed first; `text` makes it one of its own.
    pub(super) async fn image(&self, text: &str) -> Result<Value, Broken> {
        let config = self.push_blob("{}").await?.descriptor(CONFIG);
        let layer = self.push_blob(format!("layer of {text}")).await?;
        Ok(json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": [layer.descriptor(LAYER)],
        }))
    }

    /// Pushes an image under a tag. The bytes are not what a serializer would make of them again.
    pub(super) async fn push_image(&self, tag: &str) -> Result<Content, Broken> {
        let image = self.image(tag).await?;
        let content = Content::new(format!("{image:#}\n"));
        let put = self.put_manifest(tag, OCI_MANIFEST, &content).await?;
        expect(&put, StatusCode::CREATED)?;
        Ok(content)
    }

    pub(super) async fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        content: &Content,
    ) -> Result<Heard, Broken> {
        let put = Ask::new(Method::PUT, self.manifest_path(reference))
            .header(header::CONTENT_TYPE, media_type)
            .body(content.bytes.clone());
        self.send(put).await
    }

    /// That a GET of this gives exactly this.
    pub(super) async fn expect_bytes(&self, ask: Ask, content: &Content) -> Result<Heard, Broken> {
        let heard = self.send(ask).await?;
        expect(&heard, StatusCode::OK)?;
        require(heard.body == content.bytes, "other bytes than were pushed")?;
        expect_digest(&heard, content)?;
        Ok(heard)
    }

    pub(super) async fn expect_status(&self, ask: Ask, status: StatusCode) -> Result<(), Broken> {
        expect(&self.send(ask).await?, status)
    }
}

/// The upload location with the digest added to whatever query it has.
pub(super) fn with_digest(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

pub(super) fn expect(heard: &Heard, status: StatusCode) -> Result<(), Broken> {
    let body = String::from_utf8_lossy(&heard.body);
    let reason = || format!("expected {status}, heard {} {body}", heard.status);
    require(heard.status == status, reason)
}

/// `Docker-Content-Digest` may be absent; if it is there, it is right.
pub(super) fn expect_digest(heard: &Heard, content: &Content) -> Result<(), Broken> {
    let told = heard.header("docker-content-digest");
    let reason = || format!("Docker-Content-Digest is {told:?}, not {}", content.digest);
    require(told.is_none_or(|told| told == content.digest), reason)
}

/// The length is told and nothing is sent.
pub(super) fn expect_head(heard: &Heard, content: &Content) -> Result<(), Broken> {
    expect(heard, StatusCode::OK)?;
    require(heard.body.is_empty(), "a body in answer to HEAD")?;
    let told = heard.header(header::CONTENT_LENGTH);
    let length = content.bytes.len().to_string();
    require(told == Some(length.as_str()), || {
        format!("Content-Length is {told:?}, not {length}")
    })?;
    expect_digest(heard, content)
}

pub(super) fn require(holds: bool, reason: impl Reason) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken::Rule(reason.text()))
    }
}

/// If the status is one of these, the registry does not offer what was asked for.
pub(super) fn not_offered(heard: &Heard, statuses: &[u16]) -> Result<(), Broken> {
    if statuses.contains(&heard.status.as_u16()) {
        return Err(Broken::NotOffered(format!("heard {}", heard.status)));
    }
    Ok(())
}

/// A text, or a way to make one.
pub(super) trait Reason {
    fn text(self) -> String;
}

impl Reason for &str {
    fn text(self) -> String {
        self.to_owned()
    }
}

impl<F: FnOnce() -> String> Reason for F {
    fn text(self) -> String {
        self()
    }
}
