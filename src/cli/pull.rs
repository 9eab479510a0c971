// SPDX-License-Identifier: Apache-2.0
//! `wharf pull REF DIR`: resolve, download, prove, unpack. Nothing is written into DIR before the whole archive was found
//! to be sound.

use std::path::Path;

use wharf_oci::{
    Descriptor, Digest, Reference, Resolved, Tag,
    archive::{self, Limits, Unpacked},
    registry::{Session, Target},
};
use wharf_verify::{Policy, verify};

use super::{
    Exit, Failure,
    args::{Output, PullArgs},
    config, output, registry,
};

/// Runs it.
pub(super) async fn run(args: PullArgs) -> Result<Exit, Failure> {
    let reference = registry::reference(&args.reference)?;
    let session = registry::session(&args.registry, &args.limits, &reference.repository).await?;
    let what = format!("could not pull {reference}");
    let resolved = resolve(&session, &reference)
        .await
        .map_err(|error| Failure::new(&*what, error))?;
    let trusted =
        verify(resolved, &Policy::NotRequired).map_err(|error| Failure::new(&*what, error))?;
    let image = session
        .image(trusted.resolved())
        .await
        .map_err(|error| Failure::new(&*what, error))?;
    let layer = only_layer(&image.manifest.layers, &what)?;
    let blob = download(&session, &layer, &what).await?;
    let unpacked = unpack(blob, &args.dir, config::limits(&args.limits), &what).await?;
    super::print(&told(&args, &trusted.resolved().digest, &unpacked))
}

async fn resolve(
    session: &Session,
    reference: &Reference,
) -> Result<Resolved, wharf_oci::registry::Error> {
    let target = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => Target::Digest(digest.clone()),
        (None, tag) => Target::Tag(tag.clone().unwrap_or_else(Tag::latest)),
    };
    session.resolve(&target).await
}

/// A person can be asked which one is meant; guessing would unpack something else than was wanted.
fn only_layer(layers: &[Descriptor], what: &str) -> Result<Descriptor, Failure> {
    match layers {
        [] => Err(Failure::plain(format!(
            "{what}: the artifact has no layers"
        ))),
        [layer] => Ok(layer.clone()),
        many => {
            let found: Vec<_> = many
                .iter()
                .take(5)
                .map(|layer| layer.media_type.as_str())
                .collect();
            let (count, found) = (many.len(), found.join(", "));
            Err(Failure::plain(format!(
                "{what}: expected a single content layer, found {count}: {found}"
            )))
        }
    }
}

async fn download(
    session: &Session,
    layer: &Descriptor,
    what: &str,
) -> Result<std::fs::File, Failure> {
    let file = tempfile::tempfile()
        .map_err(|error| Failure::new("could not make a temporary file", error))?;
    let handle = file
        .try_clone()
        .map_err(|error| Failure::new("could not use the temporary file", error))?;
    session
        .download(layer, &mut tokio::fs::File::from_std(handle))
        .await
        .map_err(|error| Failure::new(what, error))?;
    Ok(file)
}

async fn unpack(
    mut blob: std::fs::File,
    dir: &Path,
    limits: Limits,
    what: &str,
) -> Result<Unpacked, Failure> {
    let dir = dir.to_owned();
    let work = move || {
        std::io::Seek::rewind(&mut blob).map_err(archive::ArchiveError::Read)?;
        archive::unpack(blob, &dir, &limits)
    };
    let unpacked = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(what, error))?;
    unpacked.map_err(|error| Failure::new(what, error))
}

fn told(args: &PullArgs, digest: &Digest, unpacked: &Unpacked) -> String {
    let dir = args.dir.display().to_string();
    match args.output {
        Output::Json => output::json_line(&serde_json::json!({
            "reference": args.reference, "digest": digest, "directory": dir, "files": unpacked.files,
            "bytes": unpacked.bytes, "dropped": unpacked.dropped.total(),
        })),
        Output::Table => {
            let (files, size) = (unpacked.files, output::bytes(unpacked.bytes));
            let left = match unpacked.dropped.total() {
                0 => String::new(),
                _ => format!("; left out {}", unpacked.dropped),
            };
            format!(
                "pulled {}@{digest} into {dir}: {files} files, {size}{left}\n",
                args.reference
            )
        }
    }
}
