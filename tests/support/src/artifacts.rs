// SPDX-License-Identifier: Apache-2.0
//! Layers with chosen properties: right ones, and each kind of wrong one.
//!
//! What enters is the files and the defect; what leaves is bytes to push. Everything is a function of its arguments, so
//! that a failing test fails again. Names that no tar library writes are put into the header as raw bytes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

/// A gzip-compressed tar of these files (path, content) that needs no change to be served: the same files give the same
/// bytes on every run.
///
/// Paths are relative; parent directories come before their content, in lexical order, after a root entry `.`; modes are
/// 0750 and 0600; there are no owners, names or times.
pub fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut layer = Layer::new();
    for (path, content) in with_parents(files) {
        layer = match content {
            Some(content) => layer.entry(&canonical(EntryType::Regular), path, content.as_bytes()),
            None => layer.entry(&canonical(EntryType::Directory), path, b""),
        };
    }
    layer.gzip()
}

/// The same files as `tar czf` in a working directory leaves them: names begin with `./`, directories end with a slash,
/// there are owners and times, blocks are padded to 10 KiB, and the gzip header tells a time.
pub fn plain_layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut layer = Layer::new();
    for (path, content) in with_parents(files) {
        layer = match (path, content) {
            (".", _) => layer.entry(&personal(EntryType::Directory), "./", b""),
            (path, Some(content)) => {
                let name = format!("./{path}");
                layer.entry(&personal(EntryType::Regular), &name, content.as_bytes())
            }
            (path, None) => {
                layer.entry(&personal(EntryType::Directory), &format!("./{path}/"), b"")
            }
        };
    }
    let mut tar = layer.tar();
    tar.resize(tar.len().next_multiple_of(10 * 1024), 0);
    let mut gzip = GzBuilder::new()
        .mtime(1_700_000_000)
        .operating_system(3)
        .write(Vec::new(), Compression::default());
    gzip.write_all(&tar).expect("compress");
    gzip.finish().expect("end the gzip")
}

/// A tar that is built entry by entry, also with entries that no tool would write.
///
/// ```
/// use wharf_test_support::artifacts::Layer;
///
/// let escape = Layer::new().file("ok.yaml", "a: 1").file("../evil", "x").gzip();
/// let links = Layer::new().symlink("link", "/etc/passwd").device("null").gzip();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Layer {
    blocks: Vec<u8>,
}

impl Layer {
    /// A tar without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file. The name is written as it stands: `../x` and `/x` too.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(&canonical(EntryType::Regular), name, content.as_ref())
    }

    /// A regular file with this mode.
    pub fn file_with_mode(self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> Self {
        let mut header = canonical(EntryType::Regular);
        header.set_mode(mode);
        self.entry(&header, name, content.as_ref())
    }

    /// A directory.
    pub fn directory(self, name: &str) -> Self {
        self.entry(&canonical(EntryType::Directory), name, b"")
    }

    /// A symbolic link.
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    /// A hard link.
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(EntryType::Link, name, target)
    }

    /// A character device with the numbers of `/dev/null`.
    pub fn device(self, name: &str) -> Self {
        let mut header = canonical(EntryType::Char);
        header.set_device_major(1).expect("ustar has devices");
        header.set_device_minor(3).expect("ustar has devices");
        self.entry(&header, name, b"")
    }

    /// A named pipe.
    pub fn fifo(self, name: &str) -> Self {
        self.entry(&canonical(EntryType::Fifo), name, b"")
    }

    /// Any entry: the header's name, size and checksum are set here, the rest is the caller's.
    pub fn entry(mut self, header: &Header, name: &str, content: &[u8]) -> Self {
        let mut header = header.clone();
        put(&mut header.as_old_mut().name, name);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.blocks.extend_from_slice(header.as_bytes());
        self.blocks.extend_from_slice(content);
        self.blocks
            .resize(self.blocks.len().next_multiple_of(512), 0);
        self
    }

    /// The tar with its end marker.
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = self.blocks.clone();
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    /// The tar without an end marker.
    pub fn tar_without_end(&self) -> Vec<u8> {
        self.blocks.clone()
    }

    /// The tar, compressed; no name and no time in the gzip header.
    pub fn gzip(&self) -> Vec<u8> {
        gzip(&self.tar())
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        let mut header = canonical(kind);
        put(&mut header.as_old_mut().linkname, target);
        self.entry(&header, name, b"")
    }
}

/// A layer that is small and expands to so many bytes of zeros, in one file. It is made without holding them.
pub fn bomb(expanded: u64) -> Vec<u8> {
    let mut header = canonical(EntryType::Regular);
    put(&mut header.as_old_mut().name, "zeros");
    header.set_size(expanded);
    header.set_cksum();
    let padded = expanded.next_multiple_of(512) + 1024;
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(header.as_bytes()).expect("compress");
    std::io::copy(&mut std::io::repeat(0).take(padded), &mut gzip).expect("compress zeros");
    gzip.finish().expect("end the gzip")
}

/// The first `keep` bytes of a layer.
///
/// # Panics
/// When the layer has no more than that, so that nothing would be cut off.
pub fn truncated(layer: &[u8], keep: usize) -> Vec<u8> {
    assert!(
        keep < layer.len(),
        "the layer has only {} bytes",
        layer.len()
    );
    layer[..keep].to_vec()
}

/// Bytes that are neither gzip nor tar.
pub fn not_gzip() -> Vec<u8> {
    b"This is a plain text, pushed by mistake.\n".to_vec()
}

/// A layer of exactly this length that unpacks to these files: the tar ends early, and padding that is not zeros follows.
///
/// Served in the place of a layer of that length, it is noticed only by those who hash it to its end: whoever stops at
/// the end of the tar has unpacked something that nobody signed.
///
/// # Panics
/// When the files, which are not compressed, do not fit into the length. Imitate a larger layer, say of [`random_text`].
pub fn forged(length: usize, files: &[(&str, &str)]) -> Vec<u8> {
    let tar = files
        .iter()
        .fold(Layer::new(), |layer, (path, content)| {
            layer.file(path, content)
        })
        .tar();
    let padded = |padding: usize| {
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::none());
        gzip.write_all(&tar).expect("store");
        gzip.write_all(&vec![b'x'; padding]).expect("store");
        gzip.finish().expect("end the gzip")
    };
    let most = length.saturating_sub(padded(0).len());
    // Each stored block costs a few bytes, so a little less padding than is missing makes up the length.
    let forged = (1..=most)
        .rev()
        .map(padded)
        .find(|bytes| bytes.len() <= length);
    let mut forged = forged.expect("the files fit into the length");
    // A length that no number of blocks makes up is reached by bytes after the gzip.
    forged.resize(length, b'x');
    forged
}

/// Compresses bytes as [`layer`] does.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::default());
    gzip.write_all(bytes).expect("compress");
    gzip.finish().expect("end the gzip")
}

/// So many KiB of text that hardly compresses; the same seed gives the same text.
pub fn random_text(kib: usize, seed: u64) -> String {
    const ALPHABET: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-\n";
    let mut state = seed;
    let letters = (0..kib * 1024).map(|_| {
        // SplitMix64: small, and good enough not to compress.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        char::from(ALPHABET[usize::from((mixed >> 58) as u8)])
    });
    letters.collect()
}

fn canonical(kind: EntryType) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(if kind.is_dir() { 0o750 } else { 0o600 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// As made by a person on a machine of theirs.
fn personal(kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_username("user").expect("a short name");
    header.set_groupname("user").expect("a short name");
    header.set_mtime(1_700_000_000);
    header
}

fn put(field: &mut [u8; 100], text: &str) {
    assert!(
        text.len() <= field.len(),
        "{text:?} does not fit into a tar header"
    );
    field.fill(0);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// The files with their parent directories (content `None`): the root first, parents before their content.
fn with_parents<'a>(files: &[(&'a str, &'a str)]) -> Vec<(&'a str, Option<&'a str>)> {
    let mut entries = BTreeMap::new();
    for (path, content) in files {
        for (end, _) in path.match_indices('/') {
            entries.insert(
                path[..end].split('/').collect::<Vec<_>>(),
                (&path[..end], None),
            );
        }
        entries.insert(path.split('/').collect(), (*path, Some(*content)));
    }
    std::iter::once((".", None))
        .chain(entries.into_values())
        .collect()
}

#[cfg(test)]
mod tests {
    use flate2::read::{GzDecoder, MultiGzDecoder};

    use super::*;

    /// Name, kind, mode and content of each entry.
    fn entries(gzip: &[u8]) -> Vec<(String, EntryType, u32, String)> {
        let mut archive = tar::Archive::new(GzDecoder::new(gzip));
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let (kind, mode) = (entry.header().entry_type(), entry.header().mode().unwrap());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            (name, kind, mode, content)
        });
        read.collect()
    }

    fn names(gzip: &[u8]) -> Vec<String> {
        entries(gzip).into_iter().map(|entry| entry.0).collect()
    }

    const FILES: [(&str, &str); 3] = [("b/c/two.txt", "2"), ("b.txt", "3"), ("-a.txt", "1")];

    #[test]
    fn a_layer_lists_the_root_and_parents_first_and_is_the_same_every_time() {
        let bytes = layer(&FILES);
        assert_eq!(bytes, layer(&FILES));
        assert_eq!(
            names(&bytes),
            [".", "-a.txt", "b", "b/c", "b/c/two.txt", "b.txt"]
        );
        let (_, kind, mode, content) = entries(&bytes).remove(4);
        assert_eq!(
            (kind, mode, content.as_str()),
            (EntryType::Regular, 0o600, "2")
        );
    }

    #[test]
    fn a_plain_layer_has_the_marks_of_the_machine_it_was_made_on() {
        let bytes = plain_layer(&FILES);
        assert_eq!(
            names(&bytes),
            [
                "./",
                "./-a.txt",
                "./b/",
                "./b/c/",
                "./b/c/two.txt",
                "./b.txt"
            ]
        );
        let mut tar = Vec::new();
        GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(tar.len() % 10_240, 0);
        assert_ne!(bytes[4..8], [0; 4], "the gzip header tells a time");
    }

    #[test]
    fn names_and_kinds_that_no_tool_writes_are_written_as_they_stand() {
        let bytes = Layer::new()
            .file("../up", "")
            .file("/absolute", "")
            .symlink("link", "/etc/passwd")
            .hard_link("hard", "link")
            .device("null")
            .fifo("pipe")
            .file_with_mode("run", "", 0o4755)
            .gzip();
        let kinds: Vec<_> = entries(&bytes)
            .into_iter()
            .map(|e| (e.0, e.1, e.2))
            .collect();
        let expected = [
            ("../up", EntryType::Regular, 0o600),
            ("/absolute", EntryType::Regular, 0o600),
            ("link", EntryType::Symlink, 0o600),
            ("hard", EntryType::Link, 0o600),
            ("null", EntryType::Char, 0o600),
            ("pipe", EntryType::Fifo, 0o600),
            ("run", EntryType::Regular, 0o4755),
        ];
        assert_eq!(
            kinds,
            expected.map(|(name, kind, mode)| (name.to_owned(), kind, mode))
        );
    }

    #[test]
    fn a_bomb_is_small_and_expands_to_its_size() {
        let bytes = bomb(64 << 20);
        assert!(bytes.len() < 128 << 10, "{} bytes", bytes.len());
        let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.size(), 64 << 20);
    }

    #[test]
    fn a_truncated_layer_and_a_text_do_not_inflate() {
        let whole = layer(&FILES);
        for bytes in [
            truncated(&whole, whole.len() - 1),
            truncated(&whole, 40),
            not_gzip(),
        ] {
            assert!(
                std::io::copy(
                    &mut MultiGzDecoder::new(bytes.as_slice()),
                    &mut std::io::sink()
                )
                .is_err()
            );
        }
    }

    #[test]
    fn a_forged_layer_has_the_length_asked_for_and_other_files() {
        for length in [4000, 65_000, 65_562, 65_563, 70_000, 200_000] {
            let bytes = forged(length, &[("evil", "x")]);
            assert_eq!(bytes.len(), length);
            assert_eq!(names(&bytes), ["evil"]);
        }
    }

    #[test]
    fn a_seed_gives_the_same_text_every_time_and_another_seed_another() {
        let text = random_text(3, 7);
        assert_eq!((text.len(), &text), (3072, &random_text(3, 7)));
        assert_ne!(text, random_text(3, 8));
        assert!(gzip(text.as_bytes()).len() > 2000);
    }
}
