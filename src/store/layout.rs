// SPDX-License-Identifier: Apache-2.0
//! Where things are: paths on disk and paths in URLs. Pure.
//!
//! The paths in URLs are Flux's (contract 6.6), colon included; those on disk are our own, and the two meet only in the
//! index.

use std::path::{Path, PathBuf};

use wharf_oci::{Algorithm, Digest};

use super::ArtifactKey;

/// What the name of every artifact ends with in its URL.
pub const ARTIFACT_EXTENSION: &str = ".tar.gz";

const KIND: &str = "ocirepository";
const LATEST: &str = "latest.tar.gz";
const SIDECAR_EXTENSION: &str = ".json";
/// The algorithms that blobs may be stored under; each has a directory.
pub(super) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// The path of an artifact in its URL, without a leading slash.
pub(super) fn artifact_path(key: &ArtifactKey, manifest: &Digest) -> String {
    let (namespace, name) = (key.namespace(), key.name());
    format!("{KIND}/{namespace}/{name}/{manifest}{ARTIFACT_EXTENSION}")
}

/// The path of an object's current artifact in its URL, without a leading slash.
pub(super) fn latest_path(key: &ArtifactKey) -> String {
    format!("{KIND}/{}/{}/{LATEST}", key.namespace(), key.name())
}

/// Which artifact of an object a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// The current one.
    Latest,
    /// The one made from this manifest.
    Manifest(Digest),
}

/// Reads a path as [`artifact_path`] and [`latest_path`] write it; anything else is nothing.
pub(super) fn parse_path(path: &str) -> Option<(ArtifactKey, Requested)> {
    let mut parts = path.split('/');
    let (kind, namespace, name, file) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if kind != KIND || parts.next().is_some() {
        return None;
    }
    let key = ArtifactKey::new(namespace, name).ok()?;
    let requested = match file {
        LATEST => Requested::Latest,
        _ => Requested::Manifest(file.strip_suffix(ARTIFACT_EXTENSION)?.parse().ok()?),
    };
    Some((key, requested))
}

/// The paths of one store on disk.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The file that marks the directory as a store and carries the lock.
    pub(super) fn marker(&self) -> PathBuf {
        self.root.join(".wharf-store")
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    pub(super) fn blobs_of(&self, algorithm: Algorithm) -> PathBuf {
        self.blobs().join(algorithm.name())
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs_of(digest.algorithm()).join(digest.hex())
    }

    /// The directory of all names of the one kind there is.
    pub(super) fn kind(&self) -> PathBuf {
        self.names().join(KIND)
    }

    pub(super) fn namespace(&self, key: &ArtifactKey) -> PathBuf {
        self.kind().join(key.namespace())
    }

    pub(super) fn object(&self, key: &ArtifactKey) -> PathBuf {
        self.namespace(key).join(key.name())
    }

    pub(super) fn sidecar(&self, key: &ArtifactKey, manifest: &Digest) -> PathBuf {
        self.object(key).join(sidecar_name(manifest))
    }
}

fn sidecar_name(manifest: &Digest) -> String {
    let (algorithm, hex) = (manifest.algorithm().name(), manifest.hex());
    format!("{algorithm}-{hex}{SIDECAR_EXTENSION}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ArtifactKey {
        ArtifactKey::new("apps", "web").unwrap()
    }

    #[test]
    fn the_path_of_an_artifact_is_flux_s() {
        let manifest = Digest::sha256_of(b"m");
        let path = artifact_path(&key(), &manifest);
        assert_eq!(
            path,
            format!("ocirepository/apps/web/sha256:{}.tar.gz", manifest.hex())
        );
        assert_eq!(
            parse_path(&path),
            Some((key(), Requested::Manifest(manifest)))
        );
        assert_eq!(
            parse_path(&latest_path(&key())),
            Some((key(), Requested::Latest))
        );
    }

    #[test]
    fn a_path_of_any_other_form_is_nothing() {
        let hex = "a".repeat(64);
        for bad in [
            String::new(),
            "/".into(),
            "ocirepository".into(),
            "ocirepository/apps/web".into(),
            "ocirepository/apps/web/".into(),
            format!("/ocirepository/apps/web/sha256:{hex}.tar.gz"),
            format!("gitrepository/apps/web/sha256:{hex}.tar.gz"),
            format!("ocirepository//web/sha256:{hex}.tar.gz"),
            format!("ocirepository/apps/web/../web/sha256:{hex}.tar.gz"),
            format!("ocirepository/../web/sha256:{hex}.tar.gz"),
            format!("ocirepository/apps/web/sha256:{hex}.tar.gz/"),
            format!("ocirepository/apps/web/sha256:{hex}.tar.gz.lock"),
            format!("ocirepository/apps/web/sha256:{hex}"),
            format!("ocirepository/apps/web/{hex}.tar.gz"),
            format!(
                "ocirepository/apps/web/sha256:{}.tar.gz",
                hex.to_uppercase()
            ),
            "ocirepository/apps/web/LATEST.tar.gz".into(),
        ] {
            assert_eq!(parse_path(&bad), None, "{bad}");
        }
    }

    #[test]
    fn sidecars_of_two_algorithms_have_names_of_their_own() {
        let layout = Layout::new(Path::new("/s"));
        let [one, other] = ALGORITHMS.map(|a| layout.sidecar(&key(), &Digest::of(a, b"x")));
        assert!(one.starts_with("/s/names/ocirepository/apps/web") && one != other);
    }
}
