// SPDX-License-Identifier: Apache-2.0
//! Assertions about pushing.

use http::{Method, StatusCode, header};
use serde_json::json;

use super::Broken;
use super::client::Ask;
use super::workspace::{Content, Workspace, expect, not_offered, require, with_digest};
use crate::registry::{OCI_INDEX, OCI_MANIFEST};

pub(super) async fn post_then_put(space: &Workspace) -> Result<(), Broken> {
    let blob = Content::new("pushed by POST then PUT");
    let location = space.start_upload().await?;
    let put = Ask::new(Method::PUT, with_digest(&location, &blob.digest));
    let put = space.send(put.octets(blob.bytes.clone())).await?;
    expect(&put, StatusCode::CREATED)?;
    let ask = Ask::get(put.location()?);
    space.expect_bytes(ask, &blob).await.map(drop)
}

pub(super) async fn wrong_digest(space: &Workspace) -> Result<(), Broken> {
    let claimed = Content::new(format!("claimed in {}", space.repository));
    let location = space.start_upload().await?;
    let put = Ask::new(Method::PUT, with_digest(&location, &claimed.digest)).octets("sent");
    space.expect_status(put, StatusCode::BAD_REQUEST).await?;
    let ask = Ask::get(space.blob_path(&claimed.digest));
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

pub(super) async fn single_post(space: &Workspace) -> Result<(), Broken> {
    let blob = Content::new("pushed by a single POST");
    let post = Ask::new(
        Method::POST,
        with_digest(&space.uploads_path(), &blob.digest),
    );
    let post = space.send(post.octets(blob.bytes.clone())).await?;
    not_offered(&post, &[202])?;
    expect(&post, StatusCode::CREATED)?;
    let ask = Ask::get(post.location()?);
    space.expect_bytes(ask, &blob).await.map(drop)
}

pub(super) async fn chunks(space: &Workspace) -> Result<(), Broken> {
    let blob = Content::new("first second third");
    let location = space.start_upload().await?;
    let location = chunk(space, &location, "0-5", "first ").await?;
    let location = chunk(space, &location, "6-12", "second ").await?;
    let put = Ask::new(Method::PUT, with_digest(&location, &blob.digest))
        .header(header::CONTENT_RANGE, "13-17")
        .octets("third");
    space.expect_status(put, StatusCode::CREATED).await?;
    let ask = Ask::get(space.blob_path(&blob.digest));
    space.expect_bytes(ask, &blob).await.map(drop)
}

pub(super) async fn chunk_out_of_order(space: &Workspace) -> Result<(), Broken> {
    let location = space.start_upload().await?;
    let location = chunk(space, &location, "0-5", "first ").await?;
    let patch = Ask::new(Method::PATCH, location)
        .header(header::CONTENT_RANGE, "13-17")
        .octets("third");
    space
        .expect_status(patch, StatusCode::RANGE_NOT_SATISFIABLE)
        .await
}

/// Sends a chunk; gives the location for the next one.
async fn chunk(
    space: &Workspace,
    location: &str,
    range: &str,
    bytes: &'static str,
) -> Result<String, Broken> {
    let patch = Ask::new(Method::PATCH, location)
        .header(header::CONTENT_RANGE, range)
        .octets(bytes);
    let heard = space.send(patch).await?;
    expect(&heard, StatusCode::ACCEPTED)?;
    heard.location()
}

pub(super) async fn mount(space: &Workspace) -> Result<(), Broken> {
    let blob = space.push_blob("mounted elsewhere").await?;
    let (digest, from) = (&blob.digest, &space.repository);
    let path = format!("/v2/{from}/copy/blobs/uploads/?mount={digest}&from={from}");
    let heard = space.send(Ask::new(Method::POST, path)).await?;
    not_offered(&heard, &[202])?;
    expect(&heard, StatusCode::CREATED)?;
    let ask = Ask::get(heard.location()?);
    space.expect_bytes(ask, &blob).await?;
    let ask = Ask::get(format!("/v2/{from}/copy/blobs/{digest}"));
    space.expect_bytes(ask, &blob).await.map(drop)
}

pub(super) async fn manifest_by_digest(space: &Workspace) -> Result<(), Broken> {
    let image = Content::new(space.image("no tag").await?.to_string());
    let put = space
        .put_manifest(&image.digest, OCI_MANIFEST, &image)
        .await?;
    expect(&put, StatusCode::CREATED)?;
    let location = Ask::get(put.location()?).header(header::ACCEPT, OCI_MANIFEST);
    space.expect_bytes(location, &image).await?;
    let ask = space.manifest_ask(Method::GET, &image.digest);
    space.expect_bytes(ask, &image).await.map(drop)
}

pub(super) async fn manifest_under_wrong_digest(space: &Workspace) -> Result<(), Broken> {
    let image = Content::new(space.image("claimed").await?.to_string());
    let other = Content::new(format!("{}\n", space.image("claimed").await?));
    let put = space
        .put_manifest(&image.digest, OCI_MANIFEST, &other)
        .await?;
    require(put.status.is_client_error(), || {
        format!("expected a client error, heard {}", put.status)
    })?;
    let ask = space.manifest_ask(Method::GET, &image.digest);
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

pub(super) async fn index(space: &Workspace) -> Result<(), Broken> {
    let image = space.push_image("1.0.0-amd64").await?;
    let child = json!({
        "mediaType": OCI_MANIFEST,
        "digest": image.digest,
        "size": image.bytes.len(),
        "platform": {"os": "linux", "architecture": "amd64"},
    });
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]});
    let index = Content::new(index.to_string());
    let put = space.put_manifest("1.0.0", OCI_INDEX, &index).await?;
    expect(&put, StatusCode::CREATED)?;
    let ask = space.manifest_ask(Method::GET, "1.0.0");
    let heard = space.expect_bytes(ask, &index).await?;
    let told = heard.header(header::CONTENT_TYPE);
    require(told == Some(OCI_INDEX), || {
        format!("Content-Type is {told:?}")
    })
}
