// SPDX-License-Identifier: Apache-2.0
//! Steps 3 and 4: the layer is downloaded and proved, then opened and brought into the form that is served.
//!
//! Enters as a [`Trusted`]; leaves as a [`Packed`] file in the store's staging area. Nothing is opened before the whole
//! blob is on disk and its size and digest are proved.

use std::collections::BTreeMap;

use wharf_oci::{
    Descriptor, Digest, ImageManifest,
    archive::{self, ArchiveError, Limit, Limits, Scan},
    registry::Session,
};
use wharf_verify::Trusted;

use super::{
    Tools, blocking,
    error::{Cause, Stage, StageError},
    within,
};
use crate::{
    source::{
        report::{Warning, bounded},
        spec::SourceSpec,
    },
    store::{Packer, Staged, Store},
};

/// A proved blob on disk.
pub(super) struct Fetched {
    trusted: Trusted,
    blob: Staged,
    layer: Descriptor,
    metadata: BTreeMap<String, String>,
    warnings: Vec<Warning>,
}

/// What will be served, on disk.
pub(super) struct Packed {
    pub(super) trusted: Trusted,
    pub(super) file: Staged,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) packer: Packer,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) warnings: Vec<Warning>,
}

/// Step 3.
pub(super) async fn fetch(
    session: &Session,
    spec: &SourceSpec,
    trusted: Trusted,
    tools: &Tools,
) -> Result<Fetched, StageError> {
    let image = within(
        spec.timeout,
        Stage::Manifest,
        session.image(trusted.resolved()),
    )
    .await?;
    let (layer, warnings) = choose(&image.manifest, tools.layers.strict)
        .map_err(|text| Stage::Layer.failed(Cause::Content(text)))?;
    tools
        .limits
        .check(Limit::CompressedBytes, layer.size)
        .map_err(|error| Stage::Layer.failed(ArchiveError::from(error)))?;
    let blob = stage(&tools.store).await?;
    let file = blob.writer().map_err(|error| Stage::Layer.failed(error))?;
    let mut file = tokio::fs::File::from_std(file);
    session
        .download(&layer, &mut file)
        .await
        .map_err(|error| Stage::Layer.failed(error))?;
    Ok(Fetched {
        trusted,
        blob,
        layer,
        metadata: bounded(&image.manifest.annotations),
        warnings,
    })
}

/// The first layer, as Flux takes it; several are worth a warning, or a refusal.
fn choose(manifest: &ImageManifest, strict: bool) -> Result<(Descriptor, Vec<Warning>), String> {
    let Some((first, rest)) = manifest.layers.split_first() else {
        return Err("no layers found in artifact".to_owned());
    };
    if rest.is_empty() {
        return Ok((first.clone(), Vec::new()));
    }
    let describe = |layer: &Descriptor| format!("{} ({})", layer.digest, layer.media_type);
    let left: Vec<_> = rest.iter().take(5).map(describe).collect();
    if strict {
        let found = manifest.layers.len();
        return Err(format!(
            "expected a single content layer, found {found}: {}, {}",
            describe(first),
            left.join(", ")
        ));
    }
    let text = format!(
        "the artifact has {} layers, only the first is used; left out: {}",
        rest.len() + 1,
        left.join(", ")
    );
    let reason = "MultipleLayers";
    Ok((
        first.clone(),
        vec![Warning {
            reason,
            message: text,
        }],
    ))
}

/// Step 4.
pub(super) async fn pack(fetched: Fetched, tools: &Tools) -> Result<Packed, StageError> {
    let limits = tools.limits.clone();
    let always_repack = tools.layers.always_repack;
    let store = tools.store.clone();
    blocking(Stage::Pack, move || {
        pack_blocking(fetched, &store, &limits, always_repack)
    })
    .await
}

fn pack_blocking(
    fetched: Fetched,
    store: &Store,
    limits: &Limits,
    always_repack: bool,
) -> Result<Packed, Cause> {
    let scan = archive::scan(fetched.blob.reader()?, limits)?;
    let mut warnings = fetched.warnings.clone();
    warnings.extend(dropped(&scan));
    if scan.canonical.is_ok() && !always_repack {
        return Ok(Packed {
            digest: fetched.layer.digest,
            size: fetched.layer.size,
            packer: Packer::Passthrough,
            file: fetched.blob,
            trusted: fetched.trusted,
            metadata: fetched.metadata,
            warnings,
        });
    }
    let spool = store.stage()?;
    let out = store.stage()?;
    let packed = archive::repack(fetched.blob.reader()?, spool.file(), out.file(), limits)?;
    Ok(Packed {
        digest: packed.digest,
        size: packed.size,
        packer: Packer::Repack(archive::PACKER_VERSION),
        file: out,
        trusted: fetched.trusted,
        metadata: fetched.metadata,
        warnings,
    })
}

fn dropped(scan: &Scan) -> Option<Warning> {
    let total = scan.dropped.total();
    let message = format!(
        "{total} entries of the archive are left out, because they are neither files nor directories: {}",
        scan.dropped
    );
    let reason = "EntriesDropped";
    (total > 0).then_some(Warning { reason, message })
}

async fn stage(store: &Store) -> Result<Staged, StageError> {
    let store = store.clone();
    blocking(Stage::Layer, move || store.stage()).await
}
