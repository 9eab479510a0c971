// SPDX-License-Identifier: Apache-2.0
//! Digests as text: made from bytes, and checked against bytes.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256, Sha512};

/// The SHA-256 digest of `bytes`, as `sha256:<hex>`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The SHA-512 digest of `bytes`, as `sha512:<hex>`.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

/// Whether `text` has the form of a digest whose algorithm is known here.
pub(crate) fn is_digest(text: &str) -> bool {
    let (hex, length) = match text.split_once(':') {
        Some(("sha256", hex)) => (hex, 64),
        Some(("sha512", hex)) => (hex, 128),
        _ => return false,
    };
    hex.len() == length
        && hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether `digest` is well-formed and the digest of `bytes`.
pub(crate) fn matches(digest: &str, bytes: &[u8]) -> bool {
    if digest.starts_with("sha512:") {
        digest == sha512(bytes)
    } else {
        digest == sha256(bytes)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string grows");
        text
    })
}
