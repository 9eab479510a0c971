// SPDX-License-Identifier: Apache-2.0
//! Assertions about support, pulling and existence.

use http::{Method, StatusCode, header};

use super::Broken;
use super::client::Ask;
use super::workspace::{Workspace, expect, expect_head, not_offered, require};
use crate::registry::{OCI_MANIFEST, sha256};

pub(super) async fn base(space: &Workspace) -> Result<(), Broken> {
    space.expect_status(Ask::get("/v2/"), StatusCode::OK).await
}

pub(super) async fn manifest_by_digest(space: &Workspace) -> Result<(), Broken> {
    let image = space.push_image("1.0.0").await?;
    let ask = space.manifest_ask(Method::GET, &image.digest);
    space.expect_bytes(ask, &image).await.map(drop)
}

pub(super) async fn manifest_by_tag(space: &Workspace) -> Result<(), Broken> {
    let image = space.push_image("1.0.0").await?;
    let ask = space.manifest_ask(Method::GET, "1.0.0");
    let heard = space.expect_bytes(ask, &image).await?;
    let told = heard.header(header::CONTENT_TYPE);
    require(told == Some(OCI_MANIFEST), || {
        format!("Content-Type is {told:?}")
    })
}

pub(super) async fn unknown_manifest(space: &Workspace) -> Result<(), Broken> {
    let ask = space.manifest_ask(Method::GET, "1.0.0");
    space.expect_status(ask, StatusCode::NOT_FOUND).await?;
    space.push_image("1.0.0").await?;
    let ask = space.manifest_ask(Method::GET, "2.0.0");
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

pub(super) async fn error_envelope(space: &Workspace) -> Result<(), Broken> {
    space.push_image("1.0.0").await?;
    let heard = space.send(space.manifest_ask(Method::GET, "2.0.0")).await?;
    let Ok(body) = heard.json() else {
        return Err(Broken::NotOffered("errors are not JSON".to_owned()));
    };
    let code = body["errors"][0]["code"].as_str().unwrap_or_default();
    let well_formed = !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    require(well_formed, || format!("no error code in {body}"))
}

pub(super) async fn blob(space: &Workspace) -> Result<(), Broken> {
    let blob = space.push_blob("some bytes").await?;
    let ask = Ask::get(space.blob_path(&blob.digest));
    space.expect_bytes(ask, &blob).await.map(drop)
}

pub(super) async fn unknown_blob(space: &Workspace) -> Result<(), Broken> {
    space.push_blob("some bytes").await?;
    let ask = Ask::get(space.blob_path(&unknown_digest(space)));
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

pub(super) async fn blob_range(space: &Workspace) -> Result<(), Broken> {
    let blob = space.push_blob("0123456789").await?;
    for (range, bytes, told) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
    ] {
        let ask = Ask::get(space.blob_path(&blob.digest)).header(header::RANGE, range);
        let heard = space.send(ask).await?;
        not_offered(&heard, &[200])?;
        expect(&heard, StatusCode::PARTIAL_CONTENT)?;
        require(heard.body == bytes, "other bytes than asked for")?;
        let content_range = heard.header(header::CONTENT_RANGE);
        require(content_range == Some(told), || {
            format!("Content-Range is {content_range:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn manifest_head(space: &Workspace) -> Result<(), Broken> {
    let image = space.push_image("1.0.0").await?;
    for reference in ["1.0.0", &image.digest] {
        let heard = space
            .send(space.manifest_ask(Method::HEAD, reference))
            .await?;
        expect_head(&heard, &image)?;
    }
    Ok(())
}

pub(super) async fn unknown_manifest_head(space: &Workspace) -> Result<(), Broken> {
    space.push_image("1.0.0").await?;
    let ask = space.manifest_ask(Method::HEAD, &unknown_digest(space));
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

pub(super) async fn blob_head(space: &Workspace) -> Result<(), Broken> {
    let blob = space.push_blob("some bytes").await?;
    let ask = Ask::new(Method::HEAD, space.blob_path(&blob.digest));
    expect_head(&space.send(ask).await?, &blob)
}

pub(super) async fn unknown_blob_head(space: &Workspace) -> Result<(), Broken> {
    space.push_blob("some bytes").await?;
    let ask = Ask::new(Method::HEAD, space.blob_path(&unknown_digest(space)));
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

/// The digest of something that nobody has pushed.
fn unknown_digest(space: &Workspace) -> String {
    sha256(format!("never pushed to {}", space.repository).as_bytes())
}
