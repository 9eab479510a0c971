// SPDX-License-Identifier: Apache-2.0
//! The decisions, seen as a user sees them: this object, that outcome, what is done and said.

mod plan;
mod report;
mod spec;

use jiff::Timestamp;
use wharf_api::v1::OCIRepository;
use wharf_oci::Digest;

use super::plan::{Form, Stored};

/// A source as an API server hands it over, with fields of `spec` replaced or added.
fn source(spec: &serde_json::Value) -> OCIRepository {
    let mut object = serde_json::json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": {"name": "app", "namespace": "apps", "uid": "u1", "generation": 2},
        "spec": {"url": "oci://registry.example/org/app", "interval": "10m", "timeout": "60s", "provider": "generic"},
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn stored(revision: &str) -> Stored {
    Stored {
        revision: revision.to_owned(),
        digest: Digest::sha256_of(revision.as_bytes()),
        size: 7,
        path: "ocirepository/apps/app/sha256:aa.tar.gz".to_owned(),
        latest_path: "ocirepository/apps/app/latest.tar.gz".to_owned(),
        at: Timestamp::from_second(1_700_000_000).unwrap(),
        uid: "u1".to_owned(),
        trust: "not-required".to_owned(),
        form: Form::Layer,
        metadata: [(
            "org.opencontainers.image.source".to_owned(),
            "https://git.example/app".to_owned(),
        )]
        .into(),
    }
}
