// SPDX-License-Identifier: Apache-2.0
//! The parsed form of a source: what the CR asks for, in types that cannot be wrong.
//!
//! Enters as an [`OCIRepository`] as the API server or a file gave it; leaves as a [`SourceSpec`], or as a [`SpecError`]
//! which means *stalled*: trying again cannot help until the object changes. A field that this version does not
//! implement is an error of its own: it is never ignored, because an ignored `verify` would serve what was not verified.

use std::time::Duration;

use wharf_api::v1::{OCIRepository, OCIRepositorySpec};
use wharf_oci::{
    Digest, DigestError, ReferenceError, Repository, Tag,
    select::{ConstraintError, FilterError, SemverPolicy, TagEncoding},
};

use super::{SourceId, duration};

/// What `timeout` is where no API server filled it in.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// What a source asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The URL as it was written, for messages.
    pub url: String,
    /// The repository that the URL names.
    pub repository: Repository,
    /// What to look for in it.
    pub target: Target,
    /// How often to look. Zero means: only when asked.
    pub interval: Duration,
    /// How long resolving and reading a manifest may take each.
    pub timeout: Duration,
    /// The secret with registry credentials, in the source's namespace.
    pub secret: Option<String>,
    /// The secret with TLS material, in the source's namespace.
    pub cert_secret: Option<String>,
    /// The secret with the proxy's address, in the source's namespace.
    pub proxy_secret: Option<String>,
    /// Plain HTTP is allowed, and without [`Self::cert_secret`] certificates are not verified.
    pub insecure: bool,
}

/// Which manifest of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one that a tag points to at the moment.
    Tag(Tag),
    /// The one that the greatest version in a range points to at the moment.
    Semver(Box<SemverPolicy>),
    /// Exactly this one.
    Digest(Digest),
}

impl Target {
    /// The canonical reference, for messages.
    pub fn reference(&self, repository: &Repository) -> String {
        match self {
            Self::Tag(tag) => format!("{repository}:{tag}"),
            Self::Semver(policy) => format!("{repository}:{}", policy.constraint),
            Self::Digest(digest) => format!("{repository}@{digest}"),
        }
    }
}

/// Why a CR cannot be acted on as it stands.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// `url` has no `oci://` in front.
    #[error("URL validation failed for '{url}': it must start with 'oci://', write 'oci://{url}'")]
    NoScheme {
        /// The URL as written.
        url: String,
    },
    /// `url` has another scheme.
    #[error("URL validation failed for '{url}': only 'oci://' is supported")]
    OtherScheme {
        /// The URL as written.
        url: String,
    },
    /// What follows `oci://` is not a repository.
    #[error("URL validation failed for '{url}': {source}")]
    Repository {
        /// The URL as written.
        url: String,
        /// What is wrong with it. Part of the message, because a condition has no chain of causes.
        source: ReferenceError,
    },
    /// `ref.tag` is not a tag.
    #[error("failed to determine artifact digest: spec.ref.tag: {0}")]
    Tag(ReferenceError),
    /// `ref.digest` is not a digest.
    #[error("failed to determine artifact digest: spec.ref.digest: {0}")]
    Digest(DigestError),
    /// `ref.semver` is not a range.
    #[error("failed to determine the artifact tag for '{url}': spec.ref.semver: {source}")]
    Semver {
        /// The URL as written.
        url: String,
        /// What is wrong with it.
        source: ConstraintError,
    },
    /// `ref.semverFilter` is not a regular expression that Go would read.
    #[error("failed to determine the artifact tag for '{url}': spec.ref.semverFilter: {source}")]
    SemverFilter {
        /// The URL as written.
        url: String,
        /// What is wrong with it.
        source: FilterError,
    },
    /// `interval` or `timeout` is not a duration.
    #[error("spec.{field}: {source}")]
    Duration {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        source: duration::DurationError,
    },
    /// A field that this version of Wharf does not implement is set.
    #[error(
        "spec.{field} is not supported by this version of Wharf: remove it, or leave this source to Flux's source-controller"
    )]
    Unsupported {
        /// The field's path below `spec`.
        field: &'static str,
    },
}

impl SpecError {
    /// The reason of the conditions, from the contract's list where it has one.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoScheme { .. } | Self::OtherScheme { .. } | Self::Repository { .. } => {
                "URLInvalid"
            }
            Self::Tag(_) | Self::Digest(_) => "OCIArtifactPullFailed",
            Self::Semver { .. } | Self::SemverFilter { .. } => "ReadOperationFailed",
            Self::Duration { .. } => "InvalidDuration",
            Self::Unsupported { .. } => "UnsupportedField",
        }
    }
}

impl TryFrom<&OCIRepository> for SourceSpec {
    type Error = SpecError;

    fn try_from(source: &OCIRepository) -> Result<Self, SpecError> {
        let spec = &source.spec;
        refuse_unsupported(spec)?;
        Ok(Self {
            url: spec.url.clone(),
            repository: parse_url(&spec.url)?,
            target: parse_target(spec)?,
            interval: parse_duration("interval", &spec.interval)?,
            timeout: parse_timeout(spec)?,
            secret: named(spec.secret_ref.as_ref()),
            cert_secret: named(spec.cert_secret_ref.as_ref()),
            proxy_secret: named(spec.proxy_secret_ref.as_ref()),
            insecure: spec.insecure,
        })
    }
}

/// The id of an object. An object without a namespace (a file of standalone mode) is in `default`.
pub fn id_of(source: &OCIRepository) -> SourceId {
    let name = source.metadata.name.clone().unwrap_or_default();
    SourceId::new(
        source
            .metadata
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
        name,
    )
}

/// The registry a source will talk to, for the engine's permits. Empty when the URL does not parse.
pub fn host_of(source: &OCIRepository) -> String {
    parse_url(&source.spec.url)
        .map(|repository| repository.registry().to_owned())
        .unwrap_or_default()
}

/// Everything that the CRD has and this version does not act on. Each later capability removes its name here.
fn refuse_unsupported(spec: &OCIRepositorySpec) -> Result<(), SpecError> {
    let is_set = |text: Option<&String>| text.is_some_and(|text| !text.is_empty());
    let used = [
        ("verify", spec.verify.is_some()),
        ("ignore", spec.ignore.is_some()),
        ("layerSelector", spec.layer_selector.is_some()),
        (
            "serviceAccountName",
            is_set(spec.service_account_name.as_ref()),
        ),
        (
            "provider",
            !matches!(spec.provider.as_str(), "" | "generic"),
        ),
    ];
    match used.into_iter().find(|(_, is_used)| *is_used) {
        Some((field, _)) => Err(SpecError::Unsupported { field }),
        None => Ok(()),
    }
}

fn parse_url(url: &str) -> Result<Repository, SpecError> {
    let Some(rest) = url.strip_prefix("oci://") else {
        let url = cut(url);
        return Err(if url.contains("://") {
            SpecError::OtherScheme { url }
        } else {
            SpecError::NoScheme { url }
        });
    };
    rest.parse().map_err(|source| SpecError::Repository {
        url: cut(url),
        source,
    })
}

/// Precedence as in Flux: digest, then semver, then tag, then `latest`. A filter without a range has nothing to filter.
fn parse_target(spec: &OCIRepositorySpec) -> Result<Target, SpecError> {
    let Some(reference) = &spec.reference else {
        return Ok(Target::Tag(Tag::latest()));
    };
    let written = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(digest) = written(&reference.digest) {
        return digest
            .parse()
            .map(Target::Digest)
            .map_err(SpecError::Digest);
    }
    if let Some(range) = written(&reference.semver) {
        let policy = parse_policy(spec, &range, written(&reference.semver_filter))?;
        return Ok(Target::Semver(Box::new(policy)));
    }
    match written(&reference.tag) {
        Some(tag) => tag.parse().map(Target::Tag).map_err(SpecError::Tag),
        None => Ok(Target::Tag(Tag::latest())),
    }
}

fn parse_policy(
    spec: &OCIRepositorySpec,
    range: &str,
    filter: Option<String>,
) -> Result<SemverPolicy, SpecError> {
    let url = || cut(&spec.url);
    let constraint = range
        .parse()
        .map_err(|source| SpecError::Semver { url: url(), source })?;
    let filter = filter.map(|pattern| pattern.parse()).transpose();
    let filter = filter.map_err(|source| SpecError::SemverFilter { url: url(), source })?;
    Ok(SemverPolicy {
        constraint,
        filter,
        encoding: TagEncoding::Verbatim,
    })
}

fn parse_timeout(spec: &OCIRepositorySpec) -> Result<Duration, SpecError> {
    match spec.timeout.as_str() {
        "" => Ok(DEFAULT_TIMEOUT),
        text => parse_duration("timeout", text),
    }
}

fn parse_duration(field: &'static str, text: &str) -> Result<Duration, SpecError> {
    duration::parse(text).map_err(|source| SpecError::Duration { field, source })
}

fn named(reference: Option<&wharf_api::v1::LocalObjectReference>) -> Option<String> {
    reference
        .map(|reference| reference.name.clone())
        .filter(|name| !name.is_empty())
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}
