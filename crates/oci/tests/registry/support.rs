// SPDX-License-Identifier: Apache-2.0
//! What the tests share: a client that does not wait, and short ways to ask.

use std::{error::Error as _, fmt::Write as _, time::Duration};

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use wharf_oci::{
    Descriptor,
    registry::{Access, Client, Credentials, Error, Limits, Options, RetryPolicy, Session, Target},
};
use wharf_test_support::{FakeRegistry, registry::SeededArtifact, tls::Identity};

pub(crate) const REPOSITORY: &str = "team/app";

/// Settings with which a failure is tried again at once.
pub(crate) fn options() -> Options {
    Options {
        retry: RetryPolicy {
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..Options::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(options()).unwrap()
}

pub(crate) fn session_of(registry: &FakeRegistry, access: &Access) -> Session {
    session_at(&registry.host(), access)
}

pub(crate) fn session_at(host: &str, access: &Access) -> Session {
    let repository = format!("{host}/{REPOSITORY}").parse().unwrap();
    client().session(repository, access).unwrap()
}

pub(crate) fn session_with(registry: &FakeRegistry, access: &Access, options: Options) -> Session {
    let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    Client::new(options)
        .unwrap()
        .session(repository, access)
        .unwrap()
}

pub(crate) fn session_within(registry: &FakeRegistry, limits: Limits) -> Session {
    let options = Options {
        limits,
        ..options()
    };
    session_with(registry, &Access::default(), options)
}

pub(crate) fn anonymous(registry: &FakeRegistry) -> Session {
    session_of(registry, &Access::default())
}

pub(crate) fn basic(username: &str, password: &str) -> Access {
    Access {
        credentials: Credentials::basic(username, password, "secret apps/regcred"),
        ..Access::default()
    }
}

pub(crate) fn tag(text: &str) -> Target {
    Target::Tag(text.parse().unwrap())
}

/// A registry that shows this certificate and has an artifact.
pub(crate) async fn showing(identity: &Identity) -> FakeRegistry {
    let registry = FakeRegistry::builder().tls(identity).start().await.unwrap();
    seed(&registry, "layer");
    registry
}

/// An artifact with one layer of this content, as `1.0.0`.
pub(crate) fn seed(registry: &FakeRegistry, layer: impl Into<bytes::Bytes>) -> SeededArtifact {
    registry.push_artifact(
        REPOSITORY,
        "1.0.0",
        layer,
        wharf_test_support::registry::FLUX_CONTENT,
    )
}

/// Resolves the tag `1.0.0`, reads the manifest, downloads the first layer.
pub(crate) async fn pull(session: &Session) -> Result<Vec<u8>, Error> {
    let resolved = session.resolve(&tag("1.0.0")).await?;
    let image = session.image(&resolved).await?;
    download(session, &image.manifest.layers[0]).await
}

pub(crate) async fn download(session: &Session, layer: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().unwrap());
    session.download(layer, &mut file).await?;
    let mut bytes = Vec::new();
    file.rewind().await.unwrap();
    file.read_to_end(&mut bytes).await.unwrap();
    Ok(bytes)
}

pub(crate) fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        "application/octet-stream",
        wharf_oci::Digest::sha256_of(bytes),
        bytes.len() as u64,
    )
}

/// The message with all its causes, and what Debug shows: all that could reach a person.
pub(crate) fn everything(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        write!(text, "\n{inner}\n{inner:?}").unwrap();
        cause = inner.source();
    }
    text
}
