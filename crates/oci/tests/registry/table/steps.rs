// SPDX-License-Identifier: Apache-2.0
//! The steps: which request meets the fault, and the operation that it is part of.

use wharf_oci::{
    Digest,
    registry::{Access, Client, Content, Credentials, Error, Options, Session, Target},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, OCI_INDEX, OCI_MANIFEST, Rule},
};

use crate::support::{REPOSITORY, descriptor, download, seed, tag};

const LAYER: &[u8] = &[42; 20_000];
/// What the seeded referrer refers to.
const SUBJECT: &[u8] = b"a subject that need not be there";
const NEW_BLOB: &[u8] = &[43; 20_000];

/// Where a fault is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Ping,
    Token,
    TagHead,
    TagGet,
    Manifest,
    Child,
    Blob,
    BlobHead,
    FirstTags,
    SecondTags,
    Referrers,
    ReferrersTag,
    UploadStart,
    UploadEnd,
    ManifestPut,
}

pub(super) const STEPS: [Step; 15] = [
    Step::Ping,
    Step::Token,
    Step::TagHead,
    Step::TagGet,
    Step::Manifest,
    Step::Child,
    Step::Blob,
    Step::BlobHead,
    Step::FirstTags,
    Step::SecondTags,
    Step::Referrers,
    Step::ReferrersTag,
    Step::UploadStart,
    Step::UploadEnd,
    Step::ManifestPut,
];

impl Step {
    pub(super) fn endpoint(self) -> Endpoint {
        match self {
            Self::Ping => Endpoint::Ping,
            Self::Token => Endpoint::Token,
            Self::TagHead
            | Self::TagGet
            | Self::Manifest
            | Self::Child
            | Self::ReferrersTag
            | Self::ManifestPut => Endpoint::Manifest,
            Self::Blob | Self::BlobHead => Endpoint::Blob,
            Self::FirstTags | Self::SecondTags => Endpoint::Tags,
            Self::Referrers => Endpoint::Referrers,
            Self::UploadStart | Self::UploadEnd => Endpoint::Upload,
        }
    }

    pub(super) fn rule(self) -> Rule {
        use http::Method;
        let rule = Rule::on(self.endpoint());
        match self {
            Self::TagHead | Self::BlobHead => rule.method(Method::HEAD),
            Self::TagGet | Self::Manifest | Self::Blob | Self::ReferrersTag => rule.get(),
            Self::Child => rule.get().skip(1),
            Self::SecondTags => rule.skip(1),
            Self::UploadStart => rule.method(Method::POST),
            Self::UploadEnd | Self::ManifestPut => rule.method(Method::PUT),
            Self::Ping | Self::Token | Self::FirstTags | Self::Referrers => rule,
        }
    }

    /// What the error calls the operation.
    pub(super) fn operations(self) -> &'static [&'static str] {
        match self {
            Self::Ping | Self::Token | Self::TagHead | Self::TagGet => {
                &["resolve tag 1.0.0", "get manifest sha256:"]
            }
            Self::Manifest | Self::Child => &["get manifest sha256:"],
            Self::Blob => &["download layer sha256:"],
            Self::BlobHead => &["look for blob sha256:"],
            Self::FirstTags | Self::SecondTags => &["list tags"],
            Self::Referrers | Self::ReferrersTag => &["referrers"],
            Self::UploadStart | Self::UploadEnd => &["push blob sha256:"],
            Self::ManifestPut => &["push manifest as tag 2.0.0"],
        }
    }

    pub(super) fn is_push(self) -> bool {
        matches!(
            self,
            Self::UploadStart | Self::UploadEnd | Self::ManifestPut
        )
    }

    /// Whether the step's answer has a body that matters.
    pub(super) fn is_read(self) -> bool {
        !self.is_push() && !matches!(self, Self::Ping | Self::TagHead | Self::BlobHead)
    }

    pub(super) async fn registry(self) -> FakeRegistry {
        let mut builder = FakeRegistry::builder()
            .bearer("robot", "canary-password")
            .tag_page(2);
        if self == Self::ReferrersTag {
            builder = builder.without_referrers();
        }
        let registry = builder.start().await.unwrap();
        let seeded = seed(&registry, LAYER);
        if self == Self::TagGet {
            // A registry that does not answer HEAD: GET is all there is.
            let refused = wharf_test_support::registry::Fault::status(405);
            registry.script(
                Rule::on(Endpoint::Manifest)
                    .method(http::Method::HEAD)
                    .fault(refused),
            );
        }
        if self == Self::Child {
            let (digest, size) = (&seeded.manifest_digest, seeded.manifest.len());
            let index = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{size}}}]}}"#
            );
            registry.put_manifest(REPOSITORY, "index", OCI_INDEX, index);
        }
        let referrer = referrer();
        registry.put_manifest(REPOSITORY, "referrer", OCI_MANIFEST, referrer.clone());
        if self == Self::ReferrersTag {
            let (digest, size) = (Digest::sha256_of(referrer.as_bytes()), referrer.len());
            let index = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":{size}}}]}}"#
            );
            let tag = subject().to_string().replace(':', "-");
            registry.put_manifest(REPOSITORY, &tag, OCI_INDEX, index);
        }
        for tag in ["1.1.0", "1.2.0", "1.3.0", "1.4.0"] {
            registry.put_manifest(REPOSITORY, tag, OCI_MANIFEST, seeded.manifest.clone());
        }
        registry
    }

    pub(super) fn session(self, registry: &FakeRegistry, options: Options) -> Session {
        let access = Access {
            credentials: Credentials::basic("robot", "canary-password", "secret apps/regcred"),
            ..Access::default()
        };
        let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
        Client::new(options)
            .unwrap()
            .session(repository, &access)
            .unwrap()
    }

    /// The operation; its result as text, for comparison with the honest one.
    pub(super) async fn run(self, session: &Session) -> Result<String, Error> {
        match self {
            // A digest that HEAD gave is a hint until its manifest was read.
            Self::Ping | Self::Token | Self::TagHead | Self::TagGet | Self::Manifest => {
                let resolved = session.resolve(&tag("1.0.0")).await?;
                let document = session.manifest(&resolved.digest).await?;
                Ok(format!("{} {document:?}", resolved.revision()))
            }
            Self::Child => {
                let index = session.resolve(&tag("index")).await?;
                session.image(&index).await.map(|got| format!("{got:?}"))
            }
            Self::Blob => {
                let bytes = download(session, &descriptor(LAYER)).await?;
                Ok(Digest::sha256_of(&bytes).to_string())
            }
            Self::BlobHead => {
                let found = session.has_blob(&descriptor(LAYER).digest).await?;
                Ok(found.to_string())
            }
            Self::FirstTags | Self::SecondTags => tags(session).await,
            Self::Referrers | Self::ReferrersTag => {
                let got = session.referrers(&subject(), None).await?;
                Ok(format!("{:?}", got.manifests))
            }
            Self::UploadStart | Self::UploadEnd => {
                let content = Content::Bytes(NEW_BLOB.into());
                session
                    .push_blob(&descriptor(NEW_BLOB), &content)
                    .await
                    .map(|_| String::new())
            }
            Self::ManifestPut => push_manifest(session).await,
        }
    }
}

fn subject() -> Digest {
    Digest::sha256_of(SUBJECT)
}

fn referrer() -> String {
    let (subject, layer) = (descriptor(SUBJECT), descriptor(LAYER));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"application/x","config":{{"mediaType":"application/octet-stream","digest":"{}","size":{}}},"layers":[],"subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":{}}}}}"#,
        layer.digest, layer.size, subject.digest, subject.size
    )
}

async fn tags(session: &Session) -> Result<String, Error> {
    let mut all = Vec::new();
    let mut tags = session.tags();
    while let Some(page) = tags.next_page().await? {
        all.extend(page.tags);
    }
    Ok(format!("{all:?}"))
}

async fn push_manifest(session: &Session) -> Result<String, Error> {
    let layer = descriptor(LAYER);
    let (digest, size) = (&layer.digest, layer.size);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/octet-stream","digest":"{digest}","size":{size}}},"layers":[]}}"#
    );
    let target = Target::Tag("2.0.0".parse().unwrap());
    let pushed = session
        .push_manifest(&target, manifest.into(), OCI_MANIFEST)
        .await?;
    Ok(format!("{pushed:?}"))
}
