// SPDX-License-Identifier: Apache-2.0
//! Finding what refers to a manifest: signatures, attestations and the like.
//!
//! The referrers API is asked first, page by page. Where a registry shows that it has no such API, the index under the tag
//! that the distribution-spec makes from the digest is read instead. "None" is said only when the registry answered that
//! there is none: being denied, limited or broken is an error. Sources: distribution-spec "Listing Referrers",
//! "Referrers Tag Schema" and "Backwards Compatibility".

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::{Descriptor, Digest, Manifest, Tag, media_type};

use super::{
    auth::Scope,
    body::{self, content_type},
    error::Error,
    origin::{Link, Origin},
    paging::Trail,
    problem::Problem,
    request::{Ask, Channel},
};

/// Pages in a row that may list nothing new.
const MAX_IDLE: u32 = 10;

/// The manifests that refer to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referrers {
    /// The descriptors in the registry's order, each digest once.
    ///
    /// They are claims. Registries leave `artifact_type` and `annotations` out or write types of their own (the
    /// configuration's, or `application/vnd.oci.empty.v1+json`), and whoever can push can write the index of the tag
    /// schema. Get the manifest and look at its own type, subject and layers before relying on anything.
    pub manifests: Vec<Descriptor>,
    /// Where the list comes from.
    pub origin: ReferrersOrigin,
    /// What the referrers API answered.
    pub api: ReferrersApi,
    /// How many descriptors the registry listed that are not of the type that was asked for, and were left out here.
    pub left_out: usize,
}

/// Where a list of referrers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferrersOrigin {
    /// The referrers API.
    Api,
    /// The index under the tag `<algorithm>-<hex>`, or its absence.
    TagSchema,
}

/// What the referrers API answered. Whatever else it answers (401, 403, 429, 5xx) is an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferrersApi {
    /// A list.
    Listed,
    /// 404: the registry has no such API (one that has it lists nothing for what it does not know).
    NotFound,
    /// 303: sent on to a page for people, as GHCR does. The page is not asked for.
    SeeOther,
    /// 405.
    MethodNotAllowed,
    /// 400, 406, 410 or 415: the path or the media type means nothing to the registry.
    Rejected,
    /// Success with a page of HTML.
    Page,
}

impl Channel {
    pub(crate) async fn referrers(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Referrers, Error> {
        let mut list = List::new(self, artifact_type);
        match self.all_pages(digest, artifact_type, &mut list).await? {
            ReferrersApi::Listed => Ok(list.finish(ReferrersOrigin::Api, ReferrersApi::Listed)),
            missing => {
                let mut list = List::new(self, artifact_type);
                self.tag_schema(digest, &mut list).await?;
                Ok(list.finish(ReferrersOrigin::TagSchema, missing))
            }
        }
    }

    async fn all_pages(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
        list: &mut List<'_>,
    ) -> Result<ReferrersApi, Error> {
        let mut trail = Trail::new("referrers", self.limits.referrer_pages);
        let mut next = None;
        loop {
            let operation = format!("list referrers of {digest}, page {}", trail.page());
            let mut attempts = self.attempts(operation);
            let found = loop {
                let place = self.place(digest, artifact_type, next.as_ref());
                match self.try_page(place, &mut trail, list).await {
                    Ok(found) => break found,
                    Err(problem) => attempts.failed(problem).await?,
                }
            };
            match found {
                Found::Next(link) => next = Some(link),
                Found::End(api) => return Ok(api),
            }
        }
    }

    async fn place(
        &self,
        digest: &Digest,
        artifact_type: Option<&str>,
        next: Option<&Link>,
    ) -> Result<Link, Problem> {
        if let Some(next) = next {
            return Ok(next.clone());
        }
        let link = self.link(&format!("referrers/{digest}")).await?;
        let Some(wanted) = artifact_type else {
            return Ok(link);
        };
        link.with_query("artifactType", wanted)
            .ok_or(Problem::Header("the artifact type cannot be asked for"))
    }

    async fn try_page(
        &self,
        place: impl Future<Output = Result<Link, Problem>>,
        trail: &mut Trail,
        list: &mut List<'_>,
    ) -> Result<Found, Problem> {
        let link = place.await?;
        let home = link.origin.clone();
        let ask = Ask::new(Method::GET, link, Scope::Pull)
            .accepting(media_type::OCI_INDEX)
            .staying_on_303();
        let reply = match self.ask(&ask).await {
            Err(problem) if trail.page() == 1 => match absence(&problem) {
                Some(api) => return Ok(Found::End(api)),
                None => return Err(problem),
            },
            reply => reply?,
        };
        let headers = reply.response.headers().clone();
        if trail.page() == 1 && content_type(&headers) == "text/html" {
            return Ok(Found::End(ReferrersApi::Page));
        }
        let from = reply.link;
        let bytes = self.referrers_body(reply.response, &from.origin).await?;
        list.count(bytes.len())?;
        let entries = api_entries(&bytes, &content_type(&headers))?;
        let next = trail.next(&from, &home, &headers)?;
        list.take(entries, is_filtered(&headers))?;
        list.check_progress(trail)?;
        Ok(next.map_or(Found::End(ReferrersApi::Listed), Found::Next))
    }

    async fn referrers_body(
        &self,
        response: http::Response<super::wire::Incoming>,
        host: &Origin,
    ) -> Result<Bytes, Problem> {
        let limit = self.limits.manifest;
        body::collect(response, host, "a page of referrers", limit, &self.home).await
    }

    async fn tag_schema(&self, digest: &Digest, list: &mut List<'_>) -> Result<(), Error> {
        let tag = Tag::of_referrers(digest);
        let mut attempts = self.attempts(format!("list referrers of {digest} by tag {tag}"));
        loop {
            match self.try_tag_schema(&tag, list).await {
                Ok(()) => return Ok(()),
                Err(problem) => attempts.failed(problem).await?,
            }
        }
    }

    async fn try_tag_schema(&self, tag: &Tag, list: &mut List<'_>) -> Result<(), Problem> {
        let (bytes, content_type) = match self.manifest_bytes(tag.as_str()).await {
            Err(problem) if problem.status() == Some(StatusCode::NOT_FOUND) => return Ok(()),
            got => got?,
        };
        match Manifest::parse(&bytes, Some(&content_type)).map_err(Problem::Manifest)? {
            Manifest::Index(index) => list.take(index.manifests, false),
            Manifest::Image(_) => Err(Problem::ReferrersTag { tag: tag.clone() }),
        }
    }
}

enum Found {
    Next(Link),
    End(ReferrersApi),
}

/// The list as it grows, under its caps.
struct List<'a> {
    wanted: Option<&'a str>,
    max: usize,
    max_bytes: u64,
    bytes: u64,
    listed: usize,
    manifests: Vec<Descriptor>,
    digests: HashSet<Digest>,
    left_out: usize,
    idle: u32,
}

impl<'a> List<'a> {
    fn new(channel: &Channel, wanted: Option<&'a str>) -> Self {
        Self {
            wanted,
            max: channel.limits.referrers,
            max_bytes: channel.limits.referrer_bytes,
            bytes: 0,
            listed: 0,
            manifests: Vec::new(),
            digests: HashSet::new(),
            left_out: 0,
            idle: 0,
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes as u64;
        if self.bytes > self.max_bytes {
            return Err(Problem::TooLarge {
                what: "the list of referrers",
                limit: self.max_bytes,
            });
        }
        Ok(())
    }

    /// A registry that says it filtered may still leave types out; one that does not say so lists everything.
    fn take(&mut self, descriptors: Vec<Descriptor>, is_filtered: bool) -> Result<(), Problem> {
        self.listed += descriptors.len();
        if self.listed > self.max {
            return Err(Problem::TooMany {
                what: "referrers",
                limit: self.max as u64,
            });
        }
        self.idle += 1;
        for descriptor in descriptors {
            if !self.digests.insert(descriptor.digest.clone()) {
                continue;
            }
            self.idle = 0;
            if is_wanted(&descriptor, self.wanted, is_filtered) {
                self.manifests.push(descriptor);
            } else {
                self.left_out += 1;
            }
        }
        Ok(())
    }

    fn check_progress(&self, trail: &Trail) -> Result<(), Problem> {
        if self.idle > MAX_IDLE {
            return Err(trail.repeats("page after page adds nothing"));
        }
        Ok(())
    }

    fn finish(self, origin: ReferrersOrigin, api: ReferrersApi) -> Referrers {
        Referrers {
            manifests: self.manifests,
            origin,
            api,
            left_out: self.left_out,
        }
    }
}

fn is_wanted(descriptor: &Descriptor, wanted: Option<&str>, is_filtered: bool) -> bool {
    match (wanted, descriptor.artifact_type.as_deref()) {
        (None, _) => true,
        (Some(wanted), Some(is)) => wanted == is,
        (Some(_), None) => is_filtered,
    }
}

/// How a registry shows that it has no referrers API; `None` if the problem is another one.
fn absence(problem: &Problem) -> Option<ReferrersApi> {
    let Problem::Answer { answer, .. } = problem else {
        return None;
    };
    match answer.status.as_u16() {
        303 => Some(ReferrersApi::SeeOther),
        404 => Some(ReferrersApi::NotFound),
        405 => Some(ReferrersApi::MethodNotAllowed),
        400 | 406 | 410 | 415 => Some(ReferrersApi::Rejected),
        _ => None,
    }
}

/// A page is an index. Where only the path says so, it counts as one.
fn api_entries(bytes: &[u8], content_type: &str) -> Result<Vec<Descriptor>, Problem> {
    let header = match content_type {
        "" | "application/json" | "application/octet-stream" | "text/plain" => {
            media_type::OCI_INDEX
        }
        said => said,
    };
    match Manifest::parse(bytes, Some(header)).map_err(Problem::Manifest)? {
        Manifest::Index(index) => Ok(index.manifests),
        Manifest::Image(_) => Err(Problem::NoReferrers),
    }
}

fn is_filtered(headers: &HeaderMap) -> bool {
    let values = headers.get_all("oci-filters-applied").iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|filter| filter.trim() == "artifactType")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_compared_where_there_is_one() {
        let of = |artifact_type: Option<&str>| Descriptor {
            artifact_type: artifact_type.map(str::to_owned),
            ..Descriptor::new("a/b", Digest::sha256_of(b""), 0)
        };
        assert!(is_wanted(&of(None), None, false));
        assert!(is_wanted(&of(Some("a")), Some("a"), false));
        assert!(!is_wanted(&of(Some("b")), Some("a"), true));
        assert!(is_wanted(&of(None), Some("a"), true));
        assert!(!is_wanted(&of(None), Some("a"), false));
    }
}
