// SPDX-License-Identifier: Apache-2.0
//! Assertions about deletion, which a registry may not offer.

use http::{Method, StatusCode};

use super::Broken;
use super::client::Ask;
use super::workspace::{Workspace, expect, not_offered};

/// How a registry says that it does not delete.
const REFUSALS: &[u16] = &[400, 405];

pub(super) async fn tag(space: &Workspace) -> Result<(), Broken> {
    let image = space.push_image("1.0.0").await?;
    delete(space, space.manifest_path("1.0.0")).await?;
    let ask = space.manifest_ask(Method::GET, "1.0.0");
    space.expect_status(ask, StatusCode::NOT_FOUND).await?;
    let ask = space.manifest_ask(Method::GET, &image.digest);
    space.expect_bytes(ask, &image).await.map(drop)
}

pub(super) async fn manifest(space: &Workspace) -> Result<(), Broken> {
    let image = space.push_image("1.0.0").await?;
    delete(space, space.manifest_path(&image.digest)).await?;
    let ask = space.manifest_ask(Method::GET, &image.digest);
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

pub(super) async fn blob(space: &Workspace) -> Result<(), Broken> {
    let blob = space.push_blob("to be deleted").await?;
    delete(space, space.blob_path(&blob.digest)).await?;
    let ask = Ask::get(space.blob_path(&blob.digest));
    space.expect_status(ask, StatusCode::NOT_FOUND).await
}

async fn delete(space: &Workspace, path: String) -> Result<(), Broken> {
    let heard = space.send(Ask::new(Method::DELETE, path)).await?;
    not_offered(&heard, REFUSALS)?;
    expect(&heard, StatusCode::ACCEPTED)
}
