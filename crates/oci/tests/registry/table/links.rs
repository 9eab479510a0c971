// SPDX-License-Identifier: Apache-2.0
//! Lists whose pages lead nowhere good.

use serde_json::json;
use wharf_oci::Digest;
use wharf_test_support::registry::{Fault, OCI_INDEX, OCI_MANIFEST};

use super::{PAGES, steps::Step};
use crate::support::REPOSITORY;

/// Where one page after the other leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pages {
    /// Each to a new one with something new on it.
    Endless,
    /// Each to a new one with nothing on it.
    EndlessAndEmpty,
    /// Each to a new one with the same on it.
    EndlessRepeat,
    /// To itself.
    Itself,
    /// To one another.
    InCircles,
    /// To a port where nobody is to be asked.
    OtherPort,
    /// To where cloud machines keep their credentials.
    Metadata,
    /// Somewhere with a password.
    WithPassword,
    /// Nowhere that can be read.
    Unreadable,
    /// To two places.
    TwoNext,
    /// Through a target of 64 KiB.
    Long,
}

pub(super) const ALL: [Pages; 11] = [
    Pages::Endless,
    Pages::EndlessAndEmpty,
    Pages::EndlessRepeat,
    Pages::Itself,
    Pages::InCircles,
    Pages::OtherPort,
    Pages::Metadata,
    Pages::WithPassword,
    Pages::Unreadable,
    Pages::TwoNext,
    Pages::Long,
];

impl Pages {
    /// More of them than may be asked for.
    pub(super) fn faults(self, step: Step) -> Vec<Fault> {
        let count = 3 * PAGES as usize;
        (0..count).map(|n| self.page(step, n)).collect()
    }

    fn page(self, step: Step, n: usize) -> Fault {
        let entries = match self {
            Self::EndlessAndEmpty => Vec::new(),
            Self::EndlessRepeat => vec![0],
            _ => vec![n + 1],
        };
        page(step, &entries, &self.link(n))
    }

    fn link(self, n: usize) -> String {
        let next = |target: &str| format!("<{target}>; rel=\"next\"");
        match self {
            Self::Endless | Self::EndlessAndEmpty | Self::EndlessRepeat => {
                next(&format!("?page={n}"))
            }
            Self::Itself => next("?page=same"),
            Self::InCircles => next(&format!("?page={}", n % 3)),
            Self::OtherPort => {
                next("http://127.0.0.1:1/v2/team/app/tags/list?sig=canary-signature")
            }
            Self::Metadata => next("http://169.254.169.254/latest?sig=canary-signature"),
            Self::WithPassword => next("http://robot:canary-password@127.0.0.1:1/"),
            Self::Unreadable => "<?page=2; rel=\"next".to_owned(),
            Self::TwoNext => format!("{}, {}", next("?page=a"), next("?page=b")),
            Self::Long => next(&format!("?page={}", "a".repeat(64 << 10))),
        }
    }
}

/// An honest first page that leads to a second one.
pub(super) fn first_referrers() -> Fault {
    page(Step::Referrers, &[1], "<?page=2>; rel=\"next\"")
}

fn page(step: Step, entries: &[usize], link: &str) -> Fault {
    if step.is_of_tags() {
        let tags: Vec<_> = entries.iter().map(|n| format!("t{n}")).collect();
        let body = json!({"name": REPOSITORY, "tags": tags});
        let headers = [("content-type", "application/json"), ("link", link)];
        return Fault::status_with(200, &headers, body.to_string());
    }
    let entries: Vec<_> = entries
        .iter()
        .map(|n| {
            let digest = Digest::sha256_of(&n.to_le_bytes());
            json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 2})
        })
        .collect();
    let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    let headers = [("content-type", OCI_INDEX), ("link", link)];
    Fault::status_with(200, &headers, body.to_string())
}
