// SPDX-License-Identifier: Apache-2.0
//! Assertions about tags and referrers.

use http::{StatusCode, header};
use serde_json::{Value, json};

use super::Broken;
use super::client::{Ask, Heard};
use super::workspace::{Content, Workspace, expect, not_offered, require};
use crate::registry::{OCI_INDEX, OCI_MANIFEST, sha256};

/// Pushed in another order than they are listed in.
const TAGS: [&str; 5] = ["v3", "v1", "v5", "v2", "v4"];
/// A list with more pages than it can have is endless.
const MAX_PAGES: usize = 10;

pub(super) async fn all_tags(space: &Workspace) -> Result<(), Broken> {
    push_tags(space).await?;
    let heard = list(space, "").await?;
    let name = &heard.json()?["name"];
    require(*name == json!(space.repository), || {
        format!("name is {name}")
    })?;
    expect_tags(&heard, &["v1", "v2", "v3", "v4", "v5"])
}

pub(super) async fn limited_tags(space: &Workspace) -> Result<(), Broken> {
    push_tags(space).await?;
    expect_tags(&list(space, "?n=2").await?, &["v1", "v2"])
}

pub(super) async fn tags_after(space: &Workspace) -> Result<(), Broken> {
    push_tags(space).await?;
    expect_tags(&list(space, "?n=2&last=v2").await?, &["v3", "v4"])?;
    expect_tags(&list(space, "?n=2&last=v4").await?, &["v5"])
}

pub(super) async fn linked_tags(space: &Workspace) -> Result<(), Broken> {
    push_tags(space).await?;
    let mut page = list(space, "?n=2").await?;
    if page.header(header::LINK).is_none() {
        return Err(Broken::NotOffered(
            "no Link on a page that is not the last".to_owned(),
        ));
    }
    let mut found = tags(&page)?;
    for _ in 0..MAX_PAGES {
        let Some(next) = next_page(&page)? else { break };
        page = space.send(Ask::get(next)).await?;
        expect(&page, StatusCode::OK)?;
        found.extend(tags(&page)?);
    }
    require(found == ["v1", "v2", "v3", "v4", "v5"], || {
        format!("the pages hold {found:?}")
    })
}

async fn push_tags(space: &Workspace) -> Result<(), Broken> {
    for tag in TAGS {
        space.push_image(tag).await?;
    }
    Ok(())
}

async fn list(space: &Workspace, query: &str) -> Result<Heard, Broken> {
    let path = format!("/v2/{}/tags/list{query}", space.repository);
    let heard = space.send(Ask::get(path)).await?;
    expect(&heard, StatusCode::OK)?;
    Ok(heard)
}

fn tags(heard: &Heard) -> Result<Vec<String>, Broken> {
    let body = heard.json()?;
    let tags = body["tags"].as_array().cloned().unwrap_or_default();
    let tags = tags.iter().filter_map(Value::as_str);
    Ok(tags.map(str::to_owned).collect())
}

fn expect_tags(heard: &Heard, expected: &[&str]) -> Result<(), Broken> {
    let tags = tags(heard)?;
    require(tags == expected, || {
        format!("expected {expected:?}, heard {tags:?}")
    })
}

/// Path and query of `<url>; rel="next"`; `None` without a Link.
fn next_page(heard: &Heard) -> Result<Option<String>, Broken> {
    let Some(link) = heard.header(header::LINK) else {
        return Ok(None);
    };
    let url = link
        .split_once('>')
        .filter(|(_, rest)| rest.contains("rel=\"next\"") || rest.contains("rel=next"))
        .and_then(|(url, _)| url.trim().strip_prefix('<'))
        .and_then(|url| url.parse::<http::Uri>().ok())
        .ok_or_else(|| Broken::rule(format!("Link {link:?} is not a link to the next page")))?;
    Ok(url.path_and_query().map(ToString::to_string))
}

pub(super) async fn referrers(space: &Workspace) -> Result<(), Broken> {
    let subject = subject(space).await?;
    let before = listed(space, &subject, "").await?;
    require(before.is_empty(), "referrers before any was pushed")?;
    let referrer = push_referrer(space, &subject, "application/vnd.example.one").await?;
    let after = listed(space, &subject, "").await?;
    let [entry] = after.as_slice() else {
        return Err(Broken::rule(format!(
            "expected one referrer, heard {after:?}"
        )));
    };
    let right = entry["digest"] == referrer.digest
        && entry["size"] == referrer.bytes.len()
        && entry["mediaType"] == OCI_MANIFEST
        && entry["artifactType"] == "application/vnd.example.one"
        && entry["annotations"]["example"] == "kept";
    require(right, || format!("the referrer is listed as {entry}"))
}

pub(super) async fn filtered_referrers(space: &Workspace) -> Result<(), Broken> {
    let subject = subject(space).await?;
    push_referrer(space, &subject, "application/vnd.example.one").await?;
    let two = push_referrer(space, &subject, "application/vnd.example.two").await?;
    let query = "?artifactType=application/vnd.example.two";
    let path = format!(
        "/v2/{}/referrers/{}{query}",
        space.repository, subject.digest
    );
    let heard = space.send(Ask::get(path)).await?;
    not_offered(&heard, &[404])?;
    if heard.header("oci-filters-applied") != Some("artifactType") {
        return Err(Broken::NotOffered("no filter was applied".to_owned()));
    }
    let found = listed(space, &subject, query).await?;
    let digests: Vec<&Value> = found.iter().map(|entry| &entry["digest"]).collect();
    require(digests == [&json!(two.digest)], || {
        format!("the filter left {found:?}")
    })
}

/// An image that is not pushed: its referrers may come first. The registry knows the repository.
async fn subject(space: &Workspace) -> Result<Content, Broken> {
    space.push_image("1.0.0").await?;
    Ok(Content::new(space.image("the subject").await?.to_string()))
}

async fn push_referrer(
    space: &Workspace,
    subject: &Content,
    artifact_type: &str,
) -> Result<Content, Broken> {
    let mut manifest = space.image(artifact_type).await?;
    manifest["artifactType"] = json!(artifact_type);
    manifest["annotations"] = json!({"example": "kept"});
    manifest["subject"] = json!({
        "mediaType": OCI_MANIFEST,
        "digest": sha256(&subject.bytes),
        "size": subject.bytes.len(),
    });
    let manifest = Content::new(manifest.to_string());
    let put = space
        .put_manifest(&manifest.digest, OCI_MANIFEST, &manifest)
        .await?;
    expect(&put, StatusCode::CREATED)?;
    Ok(manifest)
}

async fn listed(space: &Workspace, subject: &Content, query: &str) -> Result<Vec<Value>, Broken> {
    let path = format!(
        "/v2/{}/referrers/{}{query}",
        space.repository, subject.digest
    );
    let heard = space.send(Ask::get(path)).await?;
    not_offered(&heard, &[404])?;
    expect(&heard, StatusCode::OK)?;
    let told = heard.header(header::CONTENT_TYPE);
    require(told == Some(OCI_INDEX), || {
        format!("Content-Type is {told:?}")
    })?;
    Ok(heard.json()?["manifests"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}
