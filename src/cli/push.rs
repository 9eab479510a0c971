// SPDX-License-Identifier: Apache-2.0
//! `wharf push PATH REF`: pack, push the layer and its configuration, then the manifest that names them.
//!
//! The layer of a directory depends on its content alone, so pushing the same tree twice pushes one blob. The manifest is
//! the one Flux's command line writes: its media types, its annotations.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Seek,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use tempfile::NamedTempFile;
use wharf_oci::{
    Algorithm, Descriptor, Digest, Hasher, ImageManifest, Repository, Tag,
    archive::{self, ArchiveError, Dropped, Limits},
    media_type,
    registry::{BlobPushed, Content, PushOptions, Session, Target},
};

use super::{
    Exit, Failure,
    args::{Output, PushArgs},
    config, output, registry,
};

/// The configuration of an artifact that has none.
const CONFIG: &[u8] = b"{}";

/// A layer on disk: the file that was named, or a private one that a directory was packed into.
struct Layer {
    path: PathBuf,
    // Held, not read: the private file is removed with it.
    _packed: Option<NamedTempFile>,
    digest: Digest,
    size: u64,
    files: u64,
    dropped: Dropped,
}

/// Runs it.
pub(super) async fn run(args: PushArgs) -> Result<Exit, Failure> {
    let reference = registry::reference(&args.reference)?;
    if reference.digest.is_some() {
        return Err(Failure::usage(format!(
            "{}: push to a tag; the digest is known only afterwards",
            args.reference
        )));
    }
    let annotations = annotations(&args)?;
    let options = options(&args, &reference.repository)?;
    let tag = reference.tag.clone().unwrap_or_else(Tag::latest);
    let session = registry::session(&args.registry, &args.limits, &reference.repository).await?;
    let layer = pack(&args.path, config::limits(&args.limits)).await?;
    let what = format!("could not push to {}:{tag}", reference.repository);
    let (manifest, sent) = push(&session, &tag, &layer, &options, annotations)
        .await
        .map_err(|error| Failure::new(what, error))?;
    super::print(&told(
        &args,
        &format!("{}:{tag}", reference.repository),
        &manifest,
        &layer,
        sent,
    ))
}

fn options(args: &PushArgs, to: &Repository) -> Result<PushOptions, Failure> {
    let mount_from = args.mount_from.as_deref();
    Ok(PushOptions {
        mount_from: mount_from.map(|text| mountable(text, to)).transpose()?,
        chunk: args.chunk_bytes,
    })
}

/// Only a repository of the same registry can be mounted from, so that a name without a registry is one of that.
fn mountable(text: &str, to: &Repository) -> Result<Repository, Failure> {
    let name = text.strip_prefix("oci://").unwrap_or(text);
    let first = name.split_once('/').map_or("", |(first, _)| first);
    let names_registry = first.contains(['.', ':']) || first == "localhost";
    let from = if names_registry {
        name.parse()
    } else {
        format!("{}/{name}", to.registry()).parse()
    };
    let from: Repository =
        from.map_err(|error| Failure::usage(format!("--mount-from: {error}")))?;
    if from.registry() == to.registry() {
        return Ok(from);
    }
    Err(Failure::usage(format!(
        "--mount-from: {from} is in the registry {}, and the push goes to {}: only a repository of the same registry can be \
         mounted from",
        from.registry(),
        to.registry()
    )))
}

fn annotations(args: &PushArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut annotations =
        BTreeMap::from([("org.opencontainers.image.created".to_owned(), created()?)]);
    let named = [("source", &args.source), ("revision", &args.revision)];
    annotations.extend(named.into_iter().filter_map(|(key, value)| {
        value
            .as_ref()
            .map(|value| (format!("org.opencontainers.image.{key}"), value.clone()))
    }));
    for pair in &args.annotations {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                Failure::usage(format!("--annotation {pair:?}: write it as KEY=VALUE"))
            })?;
        annotations.insert(key.to_owned(), value.to_owned());
    }
    Ok(annotations)
}

/// Now, or the time that reproducible builds agree on (`SOURCE_DATE_EPOCH`).
fn created() -> Result<String, Failure> {
    let now = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .ok_or_else(|| {
                Failure::usage(format!(
                    "SOURCE_DATE_EPOCH: {text:?} is not a number of seconds"
                ))
            })?,
        Err(_) => Timestamp::now(),
    };
    Ok(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

async fn pack(path: &Path, limits: Limits) -> Result<Layer, Failure> {
    let (path, shown) = (path.to_owned(), path.display().to_string());
    std::fs::metadata(&path)
        .map_err(|error| Failure::new(format!("could not read {shown}"), error))?;
    let work = move || {
        if path.is_dir() {
            pack_directory(&path, &limits)
        } else {
            check_file(&path, &limits)
        }
    };
    let packed = tokio::task::spawn_blocking(work).await;
    let packed = packed.map_err(|error| Failure::new(format!("could not pack {shown}"), error))?;
    packed.map_err(|error| Failure::new(format!("could not pack {shown}"), error))
}

fn pack_directory(path: &Path, limits: &Limits) -> Result<Layer, ArchiveError> {
    let file = NamedTempFile::new().map_err(ArchiveError::Write)?;
    let packed = archive::pack_dir(path, file.as_file(), limits)?;
    Ok(Layer {
        path: file.path().to_owned(),
        _packed: Some(file),
        digest: packed.digest,
        size: packed.size,
        files: packed.files,
        dropped: packed.dropped,
    })
}

/// A file is pushed as it is, once it is known to be an archive that a source could serve.
fn check_file(path: &Path, limits: &Limits) -> Result<Layer, ArchiveError> {
    let mut file = File::open(path).map_err(ArchiveError::Read)?;
    let scan = archive::scan(&file, limits)?;
    file.rewind().map_err(ArchiveError::Read)?;
    let mut hashing = Hashing(Hasher::new(Algorithm::Sha256));
    let size = std::io::copy(&mut file, &mut hashing).map_err(ArchiveError::Read)?;
    Ok(Layer {
        path: path.to_owned(),
        _packed: None,
        digest: hashing.0.finish(),
        size,
        files: scan.entries,
        dropped: scan.dropped,
    })
}

async fn push(
    session: &Session,
    tag: &Tag,
    layer: &Layer,
    options: &PushOptions,
    annotations: BTreeMap<String, String>,
) -> Result<(Digest, BlobPushed), Box<dyn std::error::Error + Send + Sync>> {
    let config = Descriptor::new(
        media_type::FLUX_CONFIG,
        Digest::sha256_of(CONFIG),
        CONFIG.len() as u64,
    );
    let content = Descriptor::new(media_type::FLUX_CONTENT, layer.digest.clone(), layer.size);
    session
        .push_blob(&config, &Content::Bytes(CONFIG.into()))
        .await?;
    let sent = session
        .push_blob_with(&content, &Content::File(layer.path.clone()), options)
        .await?;
    let manifest = ImageManifest::new(config, vec![content], annotations);
    let bytes = serde_json::to_vec(&manifest)?;
    let target = Target::Tag(tag.clone());
    let manifest = session
        .push_manifest(&target, bytes.into(), media_type::OCI_MANIFEST)
        .await?;
    Ok((manifest, sent))
}

fn told(args: &PushArgs, to: &str, manifest: &Digest, layer: &Layer, sent: BlobPushed) -> String {
    match args.output {
        Output::Json => output::json_line(&serde_json::json!({
            "reference": to, "digest": manifest, "layer": layer.digest, "size": layer.size, "files": layer.files,
            "dropped": layer.dropped.total(), "blob": sent.as_str(),
        })),
        Output::Table => {
            let (files, size) = (layer.files, output::bytes(layer.size));
            let left = match layer.dropped.total() {
                0 => String::new(),
                _ => format!("; left out {}", layer.dropped),
            };
            let how = match sent {
                BlobPushed::Existed => ", which the registry had",
                BlobPushed::Mounted => ", which the registry took from the other repository",
                BlobPushed::Uploaded { .. } => "",
            };
            format!("pushed {to}@{manifest}: {files} files, {size} compressed{how}{left}\n")
        }
    }
}

/// A writer that keeps nothing but the hash.
struct Hashing(Hasher);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
