// SPDX-License-Identifier: Apache-2.0
//! Thirty assertions of the OCI distribution-spec, to run against any registry.
//!
//! They prove the registry of this crate: what it does in honest mode is what real registries do. What enters is the
//! address of a registry with, if needed, credentials and its authority's certificate; what leaves is a [`Report`]. Each
//! assertion works in a repository of its own, whose name no run uses twice. What the spec leaves to the registry
//! (deletion, mounting, the referrers API ...) is "not applicable" where a registry says that it does not do it.

mod client;
mod discovery;
mod management;
mod pull;
mod push;
mod workspace;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;

use client::Client;
use workspace::Workspace;

/// The registry to run against.
#[derive(Clone)]
pub struct Target {
    base: String,
    credentials: Option<(String, String)>,
    ca_pem: Option<String>,
}

impl Target {
    /// A registry by its URL, such as `https://127.0.0.1:5000`.
    pub fn new(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            credentials: None,
            ca_pem: None,
        }
    }

    /// A user who may push, pull and delete; given to basic authentication and to token endpoints.
    pub fn credentials(mut self, username: &str, password: &str) -> Self {
        self.credentials = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// The authorities that the registry's certificate is checked against (PEM). Without it, none is trusted.
    pub fn ca(mut self, pem: &str) -> Self {
        self.ca_pem = Some(pem.to_owned());
        self
    }
}

/// What came of an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not, because of this.
    Fail(String),
    /// The registry does not do what it is about, and may; this is how it said so.
    NotApplicable(String),
}

/// An assertion with its verdict.
#[derive(Clone, Debug)]
pub struct Row {
    /// The section of the distribution-spec.
    pub section: &'static str,
    /// What is asserted.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
}

/// What a run found out, assertion by assertion. Printed, it is a line for each.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order of the spec.
    pub rows: Vec<Row>,
}

impl Report {
    /// How many assertions hold.
    pub fn passed(&self) -> usize {
        self.names(|verdict| *verdict == Verdict::Pass).len()
    }

    /// How many do not.
    pub fn failed(&self) -> usize {
        self.failures().len()
    }

    /// The names of those that do not hold.
    pub fn failures(&self) -> Vec<&'static str> {
        self.names(|verdict| matches!(verdict, Verdict::Fail(_)))
    }

    /// The names of those that are not applicable.
    pub fn not_applicable(&self) -> Vec<&'static str> {
        self.names(|verdict| matches!(verdict, Verdict::NotApplicable(_)))
    }

    fn names(&self, is: impl Fn(&Verdict) -> bool) -> Vec<&'static str> {
        let rows = self.rows.iter().filter(|row| is(&row.verdict));
        rows.map(|row| row.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let (mark, reason) = match &row.verdict {
                Verdict::Pass => ("pass", String::new()),
                Verdict::Fail(reason) => ("FAIL", format!(": {reason}")),
                Verdict::NotApplicable(reason) => ("n/a ", format!(": {reason}")),
            };
            writeln!(f, "{mark}  {}: {}{reason}", row.section, row.name)?;
        }
        let (passed, failed) = (self.passed(), self.failed());
        let not_applicable = self.not_applicable().len();
        write!(
            f,
            "{passed} passed, {failed} failed, {not_applicable} not applicable"
        )
    }
}

/// The assertions that go-containerregistry's in-memory registry (v0.22.1) is known to fail, in order:
///
/// it refuses a range without an end (416), sends no `Location` with its 201s, stores a manifest under whatever digest
/// it is pushed to, and lists referrers with the media type of their config instead of their `artifactType`.
pub const GO_CONTAINERREGISTRY_FAILS: [&str; 6] = [
    "GET of a range gives 206 and those bytes",
    "POST then PUT gives a location where the blob is",
    "a single POST stores the blob",
    "PUT by digest stores the manifest under it",
    "PUT under the digest of something else is refused",
    "a manifest whose subject is yet unknown is listed with its type",
];

/// Runs all assertions, one after the other.
pub async fn run(target: &Target) -> Report {
    let unique = SystemTime::now().duration_since(UNIX_EPOCH);
    let unique = unique.map(|since| since.as_nanos()).unwrap_or_default();
    let mut rows = Vec::new();
    for (number, assertion) in ASSERTIONS.iter().enumerate() {
        let repository = format!("conformance/{unique:x}/{number}");
        let outcome = match Client::new(target) {
            Ok(client) => (assertion.check)(&Workspace { client, repository }).await,
            Err(broken) => Err(broken),
        };
        rows.push(Row {
            section: assertion.section,
            name: assertion.name,
            verdict: match outcome {
                Ok(()) => Verdict::Pass,
                Err(Broken::Rule(reason)) => Verdict::Fail(reason),
                Err(Broken::NotOffered(reason)) => Verdict::NotApplicable(reason),
            },
        });
    }
    Report { rows }
}

/// Why an assertion is not passed.
#[derive(Debug)]
enum Broken {
    /// The registry broke the rule, or the conversation with it.
    Rule(String),
    /// The registry does not offer what the rule is about.
    NotOffered(String),
}

impl Broken {
    fn rule(reason: impl Into<String>) -> Self {
        Self::Rule(reason.into())
    }

    fn transport(error: impl fmt::Debug) -> Self {
        Self::Rule(format!("the request failed: {error:?}"))
    }
}

struct Assertion {
    section: &'static str,
    name: &'static str,
    check: for<'a> fn(&'a Workspace) -> BoxFuture<'a, Result<(), Broken>>,
}

macro_rules! assertions {
    ($($section:literal { $($name:literal => $check:path),+ $(,)? })+) => {
        &[$($(Assertion {
            section: $section,
            name: $name,
            check: |workspace| Box::pin($check(workspace)),
        }),+),+]
    };
}

/// All of them. Sections are headings of distribution-spec 1.1.
const ASSERTIONS: &[Assertion] = assertions! {
    "Determining Support" {
        "GET /v2/ is answered with 200" => pull::base,
    }
    "Pulling manifests" {
        "GET by digest gives the exact bytes" => pull::manifest_by_digest,
        "GET by tag gives the exact bytes with their media type" => pull::manifest_by_tag,
        "GET of an unknown tag or repository is answered with 404" => pull::unknown_manifest,
        "an error in JSON has the form the spec gives it" => pull::error_envelope,
    }
    "Pulling blobs" {
        "GET gives the exact bytes" => pull::blob,
        "GET of an unknown digest is answered with 404" => pull::unknown_blob,
        "GET of a range gives 206 and those bytes" => pull::blob_range,
    }
    "Checking if content exists in the registry" {
        "HEAD of a manifest tells its length and sends nothing" => pull::manifest_head,
        "HEAD of an unknown manifest is answered with 404" => pull::unknown_manifest_head,
        "HEAD of a blob tells its length and sends nothing" => pull::blob_head,
        "HEAD of an unknown blob is answered with 404" => pull::unknown_blob_head,
    }
    "Pushing a blob monolithically" {
        "POST then PUT gives a location where the blob is" => push::post_then_put,
        "PUT with the digest of something else is answered with 400 and stores nothing" => push::wrong_digest,
        "a single POST stores the blob" => push::single_post,
    }
    "Pushing a blob in chunks" {
        "chunks in order make the blob" => push::chunks,
        "a chunk out of order is answered with 416" => push::chunk_out_of_order,
    }
    "Mounting a blob from another repository" {
        "a mounted blob can be pulled where it was mounted" => push::mount,
    }
    "Pushing manifests" {
        "PUT by digest stores the manifest under it" => push::manifest_by_digest,
        "PUT under the digest of something else is refused" => push::manifest_under_wrong_digest,
        "an index can be pushed and pulled" => push::index,
    }
    "Listing Tags" {
        "all tags are listed in lexical order" => discovery::all_tags,
        "n limits the list" => discovery::limited_tags,
        "last continues after the tag it names" => discovery::tags_after,
        "the Link of each page leads to the next until all tags were listed" => discovery::linked_tags,
    }
    "Listing Referrers" {
        "a manifest whose subject is yet unknown is listed with its type" => discovery::referrers,
        "artifactType filters the list" => discovery::filtered_referrers,
    }
    "Deleting tags" {
        "a deleted tag is gone and the manifest is not" => management::tag,
    }
    "Deleting Manifests" {
        "a deleted manifest is gone" => management::manifest,
    }
    "Deleting Blobs" {
        "a deleted blob is gone" => management::blob,
    }
};
