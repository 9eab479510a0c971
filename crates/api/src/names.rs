// SPDX-License-Identifier: Apache-2.0
//! The words of the API that appear on the wire: group, condition types, reasons, annotations, labels, enumerations.
//!
//! Other programs compare these byte for byte, so they are written once, here. Nothing is parsed and nothing decided.

/// The API group of `OCIRepository`. It belongs to Flux; Wharf implements it and adds nothing to it.
pub const GROUP: &str = "source.toolkit.fluxcd.io";

/// The kind this crate describes.
pub const KIND: &str = "OCIRepository";

/// The finalizer Flux sets on its sources. Wharf adds none; it is named to be recognised when an object is taken over.
pub const FINALIZER: &str = "finalizers.fluxcd.io";

/// Types of `status.conditions[]`.
pub mod condition {
    /// The artifact of the last successful run is in the store and served.
    pub const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
    /// The source has moved on from what is stored.
    pub const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
    /// The signature of the revision was checked; absent when nothing is to be verified.
    pub const SOURCE_VERIFIED: &str = "SourceVerified";
    /// The registry could not be read.
    pub const FETCH_FAILED: &str = "FetchFailed";
    /// The store could not be read or written.
    pub const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";
    /// An artifact could not be built from its parts; no `OCIRepository` carries it.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// The sum of the others, and what consumers wait for.
    pub const READY: &str = "Ready";
    /// A run is under way or will be tried again.
    pub const RECONCILING: &str = "Reconciling";
    /// No run can succeed until the object changes.
    pub const STALLED: &str = "Stalled";
}

/// Reasons of conditions and events.
pub mod reason {
    /// `spec.url` or `spec.ref` does not parse.
    pub const URL_INVALID: &str = "URLInvalid";
    /// Credentials, certificates or a proxy could not be obtained or were refused.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// The signature check failed or could not be made.
    pub const VERIFICATION_ERROR: &str = "VerificationError";
    /// A working directory could not be made.
    pub const DIRECTORY_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// A file of the store could not be examined.
    pub const STAT_OPERATION_FAILED: &str = "StatOperationFailed";
    /// A file of the store could not be read.
    pub const READ_OPERATION_FAILED: &str = "ReadOperationFailed";
    /// A path inside an artifact leaves it.
    pub const INVALID_PATH: &str = "InvalidPath";
    /// The archive could not be written.
    pub const ARCHIVE_OPERATION_FAILED: &str = "ArchiveOperationFailed";
    /// The name of the newest artifact could not be moved to it.
    pub const SYMLINK_UPDATE_FAILED: &str = "SymlinkUpdateFailed";
    /// Nothing changed since the last run.
    pub const ARTIFACT_UP_TO_DATE: &str = "ArtifactUpToDate";
    /// The status could not be written.
    pub const PATCH_OPERATION_FAILED: &str = "PatchOperationFailed";
    /// The artifact could not be resolved or pulled.
    pub const OCI_ARTIFACT_PULL_FAILED: &str = "OCIArtifactPullFailed";
    /// The layer could not be chosen, read or unpacked.
    pub const OCI_ARTIFACT_LAYER_OPERATION_FAILED: &str = "OCIArtifactLayerOperationFailed";
    /// The registry holds a revision that is not stored yet.
    pub const NEW_REVISION: &str = "NewRevision";
    /// `spec.ignore` or an ignore file could not be read.
    pub const SOURCE_IGNORE_ERROR: &str = "SourceIgnoreError";
    /// Old artifacts could not be removed.
    pub const GARBAGE_COLLECTION_FAILED: &str = "GarbageCollectionFailed";
    /// Old artifacts were removed.
    pub const GARBAGE_COLLECTION_SUCCEEDED: &str = "GarbageCollectionSucceeded";
    /// A stored artifact is not what its status says.
    pub const ARTIFACT_VERIFICATION_FAILED: &str = "ArtifactVerificationFailed";
    /// A new artifact was stored.
    pub const NEW_ARTIFACT: &str = "NewArtifact";
    /// The run succeeded.
    pub const SUCCEEDED: &str = "Succeeded";
    /// The run failed, and nothing more precise is known.
    pub const FAILED: &str = "Failed";
    /// The run is under way.
    pub const PROGRESSING: &str = "Progressing";
    /// The last run failed and another one is scheduled.
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    /// The object asks for something that is switched off in this process.
    pub const FEATURE_GATE_DISABLED: &str = "FeatureGateDisabled";
    /// A lock could not be taken; no `OCIRepository` carries it.
    pub const ACQUIRE_LOCK_FAILED: &str = "AcquireLockFailed";
    /// A cache could not be used; no `OCIRepository` carries it.
    pub const CACHE_OPERATION_FAILED: &str = "CacheOperationFailed";
    /// STS settings are wrong; no `OCIRepository` carries it.
    pub const INVALID_STS_CONFIGURATION: &str = "InvalidSTSConfiguration";
    /// Provider settings are wrong; no `OCIRepository` carries it.
    pub const INVALID_PROVIDER_CONFIGURATION: &str = "InvalidProviderConfiguration";
}

/// Keys of `metadata.annotations`.
pub mod annotation {
    /// Asks for a run now: each new value is one request.
    pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
    /// On the definition: tells kustomize-controller to leave `$` in it alone.
    pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
}

/// Keys of `metadata.labels`.
pub mod label {
    /// Names the shard, and so the controller, that an object belongs to.
    pub const SHARDING_KEY: &str = "sharding.fluxcd.io/key";
}

/// Values of `spec.provider`.
pub mod provider {
    /// Credentials come from secrets, or none are used.
    pub const GENERIC: &str = "generic";
    /// Credentials come from AWS.
    pub const AWS: &str = "aws";
    /// Credentials come from Azure.
    pub const AZURE: &str = "azure";
    /// Credentials come from Google Cloud.
    pub const GCP: &str = "gcp";
    /// All of them, in the order of the schema.
    pub const ALL: [&str; 4] = [GENERIC, AWS, AZURE, GCP];
}

/// Values of `spec.layerSelector.operation`.
pub mod operation {
    /// The layer is unpacked and archived anew; also what absence means.
    pub const EXTRACT: &str = "extract";
    /// The layer is stored as it is.
    pub const COPY: &str = "copy";
    /// All of them, in the order of the schema.
    pub const ALL: [&str; 2] = [EXTRACT, COPY];
}

/// Values of `spec.verify.provider`.
pub mod verifier {
    /// Sigstore's cosign.
    pub const COSIGN: &str = "cosign";
    /// The Notary Project's notation.
    pub const NOTATION: &str = "notation";
    /// All of them, in the order of the schema.
    pub const ALL: [&str; 2] = [COSIGN, NOTATION];
}
