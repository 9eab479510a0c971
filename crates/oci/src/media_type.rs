// SPDX-License-Identifier: Apache-2.0
//! The media types that Wharf reads and writes, by name.
//!
//! A media type chooses how a manifest is parsed and which layer is taken; it never decides how bytes are decoded (that
//! is read off the bytes). Sources: OCI image-spec "Media Types", Docker distribution, Flux.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest, schema 1: refused, because its digest is not over the bytes as they are sent.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker image manifest, schema 1, signed: refused for the same reason.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// A gzip-compressed tar layer as Flux's command line pushes it.
pub const FLUX_CONTENT: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
/// The configuration object that goes with [`FLUX_CONTENT`].
pub const FLUX_CONFIG: &str = "application/vnd.cncf.flux.config.v1+json";
/// The layer of a Helm chart; the tags of charts are written in an encoding of their own.
pub const HELM_CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The value of `Accept` for a manifest request: everything [`crate::Manifest`] can parse.
pub const MANIFEST_ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";
