// SPDX-License-Identifier: Apache-2.0
//! `source.toolkit.fluxcd.io/v1`: the stored version.
//!
//! The comments on fields are what `kubectl explain` shows, so they speak to the author of a manifest. What is not
//! here: parsing (a value the schema refuses still decodes) and any method that decides something.

#![expect(
    clippy::doc_markdown,
    reason = "kubectl shows these comments as plain text"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{crd, operation, provider, verifier};

/// The reconcile interval: a Go duration of hours, minutes, seconds and milliseconds.
const INTERVAL_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// The timeout: as the interval, without hours.
const TIMEOUT_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";
const URL_PATTERN: &str = r"^oci://.*$";
const DIGEST_PATTERN: &str = r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$";

/// `status.observedGeneration` of an object that no run has finished for.
pub const NOT_OBSERVED: i64 = -1;

/// What to follow, how often, with which credentials and under which proof.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "OCIRepository",
    plural = "ocirepositories",
    singular = "ocirepository",
    shortname = "ocirepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    namespaced,
    status = "OCIRepositoryStatus",
    derive = "PartialEq",
    doc = "OCIRepository follows an artifact in an OCI registry and makes its content available over HTTP.",
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled")
)]
#[serde(rename_all = "camelCase")]
pub struct OCIRepositorySpec {
    /// Repository to follow, as oci://HOST/PATH, without a tag or a digest.
    #[schemars(extend("pattern" = URL_PATTERN))]
    pub url: String,

    /// Which artifact of the repository to follow. The tag "latest" when left out.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<OCIRepositoryRef>,

    /// Which layer of the artifact to take, and how. The first layer, extracted, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_selector: Option<LayerSelector>,

    /// Where registry credentials come from.
    #[serde(default = "generic")]
    #[schemars(extend("enum" = provider::ALL))]
    pub provider: String,

    /// Secret of type kubernetes.io/dockerconfigjson in the same namespace, with the registry credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,

    /// Signature check that an artifact must pass before it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,

    /// ServiceAccount in the same namespace whose image pull secrets, or cloud identity, are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,

    /// Secret in the same namespace with a CA certificate (ca.crt), a client certificate (tls.crt, tls.key), or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,

    /// Secret in the same namespace with the address and the credentials of an HTTP proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,

    /// How often to look for a new revision, such as 10m.
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: String,

    /// How long operations on the registry may take, such as 60s.
    #[serde(default = "sixty_seconds")]
    #[schemars(extend("pattern" = TIMEOUT_PATTERN))]
    pub timeout: String,

    /// Paths to leave out of the artifact, in gitignore syntax. Empty is not the same as left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,

    /// Allows a registry without TLS, or with a certificate that cannot be checked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,

    /// Stops reconciliation. What is served stays.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

/// Which artifact of a repository to follow. When several are set: digest before semver before tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OCIRepositoryRef {
    /// Digest of the manifest, as sha256:HEX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Range of versions; the highest tag inside it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// Regular expression a tag must match before semver looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver_filter: Option<String>,
    /// Tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Which layer of an artifact to take, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LayerSelector {
    /// Media type; the first layer that has it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Whether the layer is extracted and archived (extract) or kept as it is (copy). Extracted when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = operation::ALL))]
    pub operation: Option<String>,
}

/// Signature check that an artifact must pass.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["provider"]))]
pub struct Verify {
    /// Kind of signature.
    #[serde(default = "cosign")]
    #[schemars(extend("enum" = verifier::ALL))]
    pub provider: String,
    /// Secret in the same namespace with the trusted public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Identities of which the signer must have at least one, for signatures made without a key.
    #[serde(
        rename = "matchOIDCIdentity",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub match_oidc_identity: Vec<OidcIdentity>,
    /// Secret in the same namespace with a trusted root (JSON) to use in place of the public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<LocalObjectReference>,
}

/// Identity of a signer, as its certificate states it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcIdentity {
    /// Regular expression for the issuer in the certificate.
    pub issuer: String,
    /// Regular expression for the subject in the certificate.
    pub subject: String,
}

/// Name of an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalObjectReference {
    /// Name.
    pub name: String,
}

/// What the controller found and what it serves.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OCIRepositoryStatus {
    /// Last generation whose run ended: with success, suspended, or stalled. -1 before the first.
    #[serde(default = "not_observed")]
    #[schemars(transform = crd::without_default)]
    pub observed_generation: i64,

    /// State of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crd::conditions_schema")]
    pub conditions: Vec<Condition>,

    /// Address that always leads to the newest artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// Artifact that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,

    /// The ignore rules of the spec that the artifact was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,

    /// The layer selector of the spec that the artifact was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_layer_selector: Option<LayerSelector>,

    /// Value of the annotation reconcile.fluxcd.io/requestedAt that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

impl Default for OCIRepositoryStatus {
    /// The status an API server gives a new object.
    fn default() -> Self {
        Self {
            observed_generation: NOT_OBSERVED,
            conditions: Vec::new(),
            url: None,
            artifact: None,
            observed_ignore: None,
            observed_layer_selector: None,
            last_handled_reconcile_at: None,
        }
    }
}

/// A file that was stored and is served.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Digest of the file, as ALGORITHM:SUM.
    #[schemars(extend("pattern" = DIGEST_PATTERN))]
    pub digest: String,
    /// When the file was stored.
    pub last_update_time: Time,
    /// Annotations of the manifest the file was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Path of the file below the root of the store.
    pub path: String,
    /// What was fetched, as TAG@DIGEST or DIGEST.
    pub revision: String,
    /// Size of the file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Address of the file.
    pub url: String,
}

fn generic() -> String {
    provider::GENERIC.to_owned()
}

fn cosign() -> String {
    verifier::COSIGN.to_owned()
}

fn sixty_seconds() -> String {
    "60s".to_owned()
}

const fn not_observed() -> i64 {
    NOT_OBSERVED
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}
