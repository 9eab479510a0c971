// SPDX-License-Identifier: Apache-2.0
//! Turns a [`Resolved`] artifact into a [`Trusted`] one, with the [`Proof`] of why.
//!
//! What it is: the only place where a [`Trusted`] can be made. Whatever fetches content takes a `Trusted`, so forgetting
//! to verify does not compile. What it is not: it does not talk to a registry by itself and stores nothing.
//!
//! Enters as a [`Resolved`] and a [`Policy`]; leaves as a [`Trusted`] or a [`VerifyError`]. Signature policies come with
//! the capability that implements them; until then the only policy is that none is required.
//!
//! ```
//! use wharf_oci::{Digest, Resolved};
//! use wharf_verify::{Policy, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let resolved = Resolved { repository: "ghcr.io/org/app".parse()?, tag: None, digest: Digest::sha256_of(b"manifest") };
//! let trusted = verify(resolved, &Policy::NotRequired)?;
//! assert_eq!(trusted.fingerprint(), "not-required");
//! # Ok(())
//! # }
//! ```

use wharf_oci::Resolved;

/// What must be proved before content may be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Nothing: the source does not ask for verification.
    NotRequired,
}

/// Why a resolved artifact is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// The policy was [`Policy::NotRequired`].
    NotRequired,
}

/// A resolved artifact that satisfied its policy. Only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    resolved: Resolved,
    proof: Proof,
}

impl Trusted {
    /// What was resolved.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Why it is trusted.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// What was proved, as a text that changes whenever the trust does (keys, identities, policy, root). An artifact that
    /// was stored under another fingerprint has to be verified again.
    pub fn fingerprint(&self) -> &'static str {
        match self.proof {
            Proof::NotRequired => "not-required",
        }
    }
}

/// Why an artifact is not trusted. There is no way to fail yet; the signature policies bring theirs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {}

/// Checks a resolved artifact against a policy. Guarantee: what it returns was proved for exactly this digest.
pub fn verify(resolved: Resolved, policy: &Policy) -> Result<Trusted, VerifyError> {
    match policy {
        Policy::NotRequired => Ok(Trusted {
            resolved,
            proof: Proof::NotRequired,
        }),
    }
}
