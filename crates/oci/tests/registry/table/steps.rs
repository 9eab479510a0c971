// SPDX-License-Identifier: Apache-2.0
//! The steps: which request meets the fault, and the operation that it is part of.

use std::num::NonZeroU64;

use wharf_oci::{
    Digest,
    registry::{Access, Client, Content, Credentials, Error, PushOptions, Session, Target},
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, OCI_INDEX, OCI_MANIFEST, Rule},
};

use crate::support::{REPOSITORY, descriptor, download, seed, tag};

const LAYER: &[u8] = &[42; 20_000];
/// What the seeded referrer refers to.
const SUBJECT: &[u8] = b"a subject that need not be there";
/// Where a blob can be mounted from.
const OTHER: &str = "team/base";
const CHUNK: u64 = 8_000;
const NEW_BLOB: &[u8] = &[43; 20_000];

/// Where a fault is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Ping,
    Token,
    TagHead,
    /// The tag by GET, and the manifest after it.
    TagGet,
    /// The tag by GET, and nothing after it.
    TagAlone,
    Manifest,
    Child,
    Blob,
    BlobHead,
    FirstTags,
    SecondTags,
    Referrers,
    SecondReferrers,
    ReferrersTag,
    /// Whether a blob that is to be pushed is there.
    PushHead,
    UploadStart,
    Mount,
    ChunkPatch,
    /// How far an upload came that broke off.
    UploadStatus,
    UploadEnd,
    ManifestPut,
}

pub(super) const STEPS: [Step; 21] = [
    Step::Ping,
    Step::Token,
    Step::TagHead,
    Step::TagGet,
    Step::TagAlone,
    Step::Manifest,
    Step::Child,
    Step::Blob,
    Step::BlobHead,
    Step::FirstTags,
    Step::SecondTags,
    Step::Referrers,
    Step::SecondReferrers,
    Step::ReferrersTag,
    Step::PushHead,
    Step::UploadStart,
    Step::Mount,
    Step::ChunkPatch,
    Step::UploadStatus,
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
            | Self::TagAlone
            | Self::Manifest
            | Self::Child
            | Self::ReferrersTag
            | Self::ManifestPut => Endpoint::Manifest,
            Self::Blob | Self::BlobHead | Self::PushHead => Endpoint::Blob,
            Self::FirstTags | Self::SecondTags => Endpoint::Tags,
            Self::Referrers | Self::SecondReferrers => Endpoint::Referrers,
            Self::UploadStart
            | Self::Mount
            | Self::ChunkPatch
            | Self::UploadStatus
            | Self::UploadEnd => Endpoint::Upload,
        }
    }

    pub(super) fn rule(self) -> Rule {
        use http::Method;
        let rule = Rule::on(self.endpoint());
        match self {
            Self::TagHead | Self::BlobHead | Self::PushHead => rule.method(Method::HEAD),
            Self::TagGet
            | Self::TagAlone
            | Self::Manifest
            | Self::Blob
            | Self::ReferrersTag
            | Self::UploadStatus => rule.get(),
            Self::Child => rule.get().skip(1),
            Self::SecondTags | Self::SecondReferrers => rule.skip(1),
            Self::Mount => rule.method(Method::POST).times(1),
            Self::ChunkPatch => rule.method(Method::PATCH),
            Self::UploadStart => rule.method(Method::POST),
            Self::UploadEnd | Self::ManifestPut => rule.method(Method::PUT),
            Self::Ping | Self::Token | Self::FirstTags | Self::Referrers => rule,
        }
    }

    /// What the error calls the operation.
    pub(super) fn operations(self) -> &'static [&'static str] {
        match self {
            Self::Ping | Self::Token | Self::TagHead | Self::TagGet | Self::TagAlone => {
                &["resolve tag 1.0.0", "get manifest sha256:"]
            }
            Self::Manifest | Self::Child => &["get manifest sha256:"],
            Self::Blob => &["download layer sha256:"],
            Self::BlobHead => &["look for blob sha256:"],
            Self::FirstTags | Self::SecondTags => &["list tags"],
            Self::Referrers | Self::SecondReferrers | Self::ReferrersTag => &["referrers"],
            Self::PushHead
            | Self::UploadStart
            | Self::Mount
            | Self::ChunkPatch
            | Self::UploadStatus
            | Self::UploadEnd => &["push blob sha256:"],
            Self::ManifestPut => &["push manifest as tag 2.0.0"],
        }
    }

    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Self::FirstTags | Self::SecondTags | Self::Referrers | Self::SecondReferrers
        )
    }

    pub(super) fn is_of_tags(self) -> bool {
        matches!(self, Self::FirstTags | Self::SecondTags)
    }

    /// Whether the step's answer has a body that matters.
    pub(super) fn is_read(self) -> bool {
        matches!(
            self,
            Self::Token
                | Self::TagGet
                | Self::TagAlone
                | Self::Manifest
                | Self::Child
                | Self::Blob
                | Self::FirstTags
                | Self::SecondTags
                | Self::Referrers
                | Self::SecondReferrers
                | Self::ReferrersTag
        )
    }

    /// What makes the operation come to this step, beside what the registry holds.
    pub(super) fn prepare(self, registry: &FakeRegistry) {
        use http::Method;
        let rule = Rule::on(self.endpoint());
        match self {
            // A registry that does not answer HEAD: GET is all there is.
            Self::TagGet | Self::TagAlone => {
                registry.script(rule.method(Method::HEAD).fault(Fault::status(405)));
            }
            Self::SecondReferrers => {
                registry.script(rule.times(1).fault(super::links::first_referrers()));
            }
            Self::UploadStatus => {
                let breaks = Fault::status(503);
                registry.script(rule.method(Method::PATCH).times(1).fault(breaks));
            }
            _ => {}
        }
    }

    /// Whether the registry holds what a success of the operation means.
    pub(super) fn is_done(self, registry: &FakeRegistry) -> bool {
        let holds = |bytes: &[u8]| {
            let digest = Digest::sha256_of(bytes).to_string();
            registry
                .blob(REPOSITORY, &digest)
                .is_some_and(|held| held == bytes)
        };
        match self {
            Self::PushHead
            | Self::UploadStart
            | Self::Mount
            | Self::ChunkPatch
            | Self::UploadStatus
            | Self::UploadEnd => holds(NEW_BLOB),
            Self::ManifestPut => registry.tag_digest(REPOSITORY, "2.0.0").is_some(),
            _ => true,
        }
    }

    fn push_options(self, registry: &str) -> PushOptions {
        let mount_from = (self == Self::Mount).then(|| format!("{registry}/{OTHER}"));
        let in_chunks = matches!(self, Self::ChunkPatch | Self::UploadStatus);
        PushOptions {
            mount_from: mount_from.map(|name| name.parse().unwrap()),
            chunk: NonZeroU64::new(CHUNK).filter(|_| in_chunks),
        }
    }

    pub(super) async fn registry(self) -> FakeRegistry {
        let mut builder = FakeRegistry::builder()
            .bind(super::own_address())
            .tag_page(2);
        // Nobody shows credentials with the first request of all, and only who may pass meets the script.
        if self != Self::Ping {
            builder = builder.bearer("robot", "canary-password");
        }
        if self == Self::ReferrersTag {
            builder = builder.without_referrers();
        }
        let registry = builder.start().await.unwrap();
        let seeded = seed(&registry, LAYER);
        if self == Self::Mount {
            registry.put_blob(OTHER, NEW_BLOB);
        }
        self.prepare(&registry);
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

    pub(super) fn session(registry: &FakeRegistry, client: &Client) -> Session {
        let access = Access {
            credentials: Credentials::basic("robot", "canary-password", "secret apps/regcred"),
            ..Access::default()
        };
        let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
        client.session(repository, &access).unwrap()
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
            Self::TagAlone => {
                let resolved = session.resolve(&tag("1.0.0")).await?;
                Ok(resolved.revision())
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
            Self::Referrers | Self::SecondReferrers | Self::ReferrersTag => {
                let got = session.referrers(&subject(), None).await?;
                Ok(format!("{:?}", got.manifests))
            }
            Self::PushHead
            | Self::UploadStart
            | Self::Mount
            | Self::ChunkPatch
            | Self::UploadStatus
            | Self::UploadEnd => {
                let content = Content::Bytes(NEW_BLOB.into());
                let options = self.push_options(session.repository().registry());
                session
                    .push_blob_with(&descriptor(NEW_BLOB), &content, &options)
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
