// SPDX-License-Identifier: Apache-2.0
//! The steps at which a registry, or a setting, can lead the client to another host, each as a test takes it.

use std::num::NonZeroU64;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use wharf_oci::{
    Descriptor, Digest,
    registry::{Access, Content, Credentials, Error, PushOptions, Session, Target, Transport},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_INDEX, Rule},
};

pub(crate) const REPOSITORY: &str = "team/app";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// The host is the registry itself.
    Registry,
    ManifestRedirect,
    BlobRedirect,
    Realm,
    RealmRedirect,
    /// A token service that is sent a form.
    TokenPost,
    UploadPlace,
    /// Where an upload goes on after its first chunk.
    ChunkPlace,
    TagLink,
    ReferrersLink,
    /// A mirror of the settings.
    Mirror,
}

pub(crate) const HOPS: [Hop; 11] = [
    Hop::Registry,
    Hop::ManifestRedirect,
    Hop::BlobRedirect,
    Hop::Realm,
    Hop::RealmRedirect,
    Hop::TokenPost,
    Hop::UploadPlace,
    Hop::ChunkPlace,
    Hop::TagLink,
    Hop::ReferrersLink,
    Hop::Mirror,
];

impl Hop {
    /// Whether it is a redirect, or something that is held to the same rules.
    pub(crate) fn is_redirect(self) -> bool {
        matches!(
            self,
            Self::ManifestRedirect | Self::BlobRedirect | Self::UploadPlace | Self::ChunkPlace
        )
    }

    /// Whether it never leads to another host, whatever host that is.
    pub(crate) fn stays(self) -> bool {
        matches!(
            self,
            Self::RealmRedirect | Self::TagLink | Self::ReferrersLink
        )
    }

    /// Tells the registry to lead there, and nowhere else.
    pub(crate) fn lead(self, registry: &FakeRegistry, target: &str) {
        registry.be_honest();
        // What is posted goes to another host over HTTPS only.
        let is_https = target.ends_with(":443") || self == Self::TokenPost;
        let scheme = if is_https { "https" } else { "http" };
        let url = format!("{scheme}://{target}/v2/{REPOSITORY}/x");
        let rule = match self {
            Self::Registry | Self::Mirror => return,
            Self::ManifestRedirect => Rule::on(Endpoint::Manifest).fault(Fault::Redirect(url, 307)),
            Self::BlobRedirect => Rule::on(Endpoint::Blob)
                .get()
                .fault(Fault::Redirect(url, 307)),
            Self::Realm | Self::TokenPost => challenge(&url),
            Self::RealmRedirect => {
                registry.script(Rule::on(Endpoint::Token).fault(Fault::Redirect(url, 307)));
                challenge(&format!("{}/token", registry.base_url()))
            }
            Self::UploadPlace => Rule::on(Endpoint::Upload).fault(place(&url, &[])),
            Self::ChunkPlace => Rule::on(Endpoint::Upload)
                .method(Method::PATCH)
                .fault(place(&url, &[("range", "0-3")])),
            Self::TagLink => {
                let page = json!({"name": REPOSITORY, "tags": ["1.0.0"]});
                Rule::on(Endpoint::Tags).fault(linked(&url, "application/json", &page))
            }
            Self::ReferrersLink => {
                let page = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
                Rule::on(Endpoint::Referrers).fault(linked(&url, OCI_INDEX, &page))
            }
        };
        registry.script(rule);
    }

    /// With what the client is asked to do it.
    pub(crate) fn access(self) -> Access {
        let credentials = match self {
            Self::TokenPost => Credentials::identity_token("identity", "the test"),
            _ => Credentials::Anonymous,
        };
        Access {
            credentials,
            transport: Transport::PlainHttpAllowed,
            ..Access::default()
        }
    }

    pub(crate) async fn go(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::UploadPlace | Self::ChunkPlace => self.push(session).await,
            Self::ReferrersLink => {
                let subject = Digest::sha256_of(b"subject");
                session.referrers(&subject, None).await.map(drop)
            }
            Self::TagLink => {
                let mut tags = session.tags();
                while tags.next_page().await?.is_some() {}
                Ok(())
            }
            _ => pull(session).await,
        }
    }

    async fn push(self, session: &Session) -> Result<(), Error> {
        let content = Bytes::from_static(b"new content");
        let descriptor = Descriptor::new(
            "application/octet-stream",
            Digest::sha256_of(&content),
            content.len() as u64,
        );
        let options = PushOptions {
            chunk: NonZeroU64::new(4).filter(|_| self == Self::ChunkPlace),
            ..PushOptions::default()
        };
        let content = Content::Bytes(content);
        let pushed = session.push_blob_with(&descriptor, &content, &options);
        pushed.await.map(drop)
    }
}

async fn pull(session: &Session) -> Result<(), Error> {
    let resolved = session
        .resolve(&Target::Tag("1.0.0".parse().unwrap()))
        .await?;
    let image = session.image(&resolved).await?;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().unwrap());
    session.download(&image.manifest.layers[0], &mut file).await
}

fn challenge(realm: &str) -> Rule {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    let refusal = Fault::status_with(401, &[("www-authenticate", &challenge)], "");
    Rule::on(Endpoint::Manifest).fault(refusal)
}

fn place(url: &str, headers: &[(&str, &str)]) -> Fault {
    let headers = [&[("location", url)], headers].concat();
    Fault::status_with(202, &headers, "")
}

fn linked(url: &str, kind: &str, page: &serde_json::Value) -> Fault {
    let link = format!("<{url}>; rel=\"next\"");
    let headers = [("content-type", kind), ("link", link.as_str())];
    Fault::status_with(200, &headers, page.to_string())
}
