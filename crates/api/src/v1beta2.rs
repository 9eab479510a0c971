// SPDX-License-Identifier: Apache-2.0
//! `source.toolkit.fluxcd.io/v1beta2`: served for old manifests, deprecated, never stored.
//!
//! Its spec is that of [`v1`]; its status has one field more, which nothing reads. Objects arrive here from
//! a manifest and leave as a [`v1::OCIRepository`] through `From`; there is no way back, because nothing needs one.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::v1;

/// The spec of v1, word for word.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1beta2",
    kind = "OCIRepository",
    plural = "ocirepositories",
    singular = "ocirepository",
    namespaced,
    storage = false,
    deprecated = "source.toolkit.fluxcd.io/v1beta2 OCIRepository is deprecated; write apiVersion: source.toolkit.fluxcd.io/v1, every other line stays the same",
    status = "OCIRepositoryStatus",
    derive = "PartialEq",
    doc = "OCIRepository follows an artifact in an OCI registry and makes its content available over HTTP."
)]
#[serde(transparent)]
pub struct OCIRepositorySpec {
    /// The spec of v1.
    pub inner: v1::OCIRepositorySpec,
}

/// The status of v1 and the field that only this version has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OCIRepositoryStatus {
    /// The status of v1.
    #[serde(flatten)]
    pub inner: v1::OCIRepositoryStatus,

    /// Checksum over the ignore rules and the layer selector. Replaced by observedIgnore and observedLayerSelector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_config_checksum: Option<String>,
}

impl From<OCIRepository> for v1::OCIRepository {
    /// Drops `status.contentConfigChecksum`, as an API server does when it stores the object.
    fn from(old: OCIRepository) -> Self {
        Self {
            metadata: old.metadata,
            spec: old.spec.inner,
            status: old.status.map(|status| status.inner),
        }
    }
}
