// SPDX-License-Identifier: Apache-2.0
//! The steps at which a registry can lead the client to another host, each as a test takes it.

use std::num::NonZeroU64;

use bytes::Bytes;
use http::Method;
use wharf_oci::registry::{Access, Content, Credentials, Error, PushOptions, Session};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
};

use crate::support::*;

const BLOB: &[u8] = b"pushed in chunks";

/// Where a host can be led to, such that the client asks whether it may go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// The host is the registry itself.
    Registry,
    ManifestRedirect,
    BlobRedirect,
    Realm,
    /// A token service that is sent a form, which goes to another host over HTTPS only.
    TokenPost,
    UploadPlace,
    /// Where an upload goes on after its first chunk.
    ChunkPlace,
}

pub(super) const HOPS: [Hop; 7] = [
    Hop::Registry,
    Hop::ManifestRedirect,
    Hop::BlobRedirect,
    Hop::Realm,
    Hop::TokenPost,
    Hop::UploadPlace,
    Hop::ChunkPlace,
];

impl Hop {
    /// Tells the registry to lead there, and nowhere else.
    pub(super) fn lead(self, registry: &FakeRegistry, url: &str) {
        registry.be_honest();
        let rule = match self {
            Self::Registry => return,
            Self::ManifestRedirect => {
                Rule::on(Endpoint::Manifest).fault(Fault::Redirect(url.to_owned(), 307))
            }
            Self::BlobRedirect => {
                Rule::on(Endpoint::Blob).fault(Fault::Redirect(url.to_owned(), 307))
            }
            Self::Realm => Rule::on(Endpoint::Manifest).fault(challenge(url)),
            Self::TokenPost => {
                Rule::on(Endpoint::Manifest).fault(challenge(&url.replace("http://", "https://")))
            }
            Self::UploadPlace => {
                Rule::on(Endpoint::Upload).fault(Fault::status_with(202, &[("location", url)], ""))
            }
            Self::ChunkPlace => {
                Rule::on(Endpoint::Upload)
                    .method(Method::PATCH)
                    .fault(Fault::status_with(
                        202,
                        &[("location", url), ("range", "0-3")],
                        "",
                    ))
            }
        };
        registry.script(rule);
    }

    /// With what the client is asked to do it.
    pub(super) fn access(self) -> Access {
        let credentials = match self {
            Self::TokenPost => Credentials::identity_token("identity", "secret apps/regcred"),
            _ => Credentials::Anonymous,
        };
        Access {
            credentials,
            ..Access::default()
        }
    }

    pub(super) async fn go(self, session: &Session) -> Result<(), Error> {
        let options = PushOptions {
            chunk: NonZeroU64::new(4).filter(|_| self == Self::ChunkPlace),
            ..PushOptions::default()
        };
        match self {
            Self::UploadPlace | Self::ChunkPlace => {
                let content = Content::Bytes(Bytes::from_static(BLOB));
                let blob = descriptor(BLOB);
                let pushed = session.push_blob_with(&blob, &content, &options).await;
                pushed.map(drop)
            }
            _ => pull(session).await.map(drop),
        }
    }
}

/// A refusal that names a token service.
pub(super) fn challenge(realm: &str) -> Fault {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    Fault::status_with(401, &[("www-authenticate", &challenge)], "")
}
