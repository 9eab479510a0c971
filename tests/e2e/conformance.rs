// SPDX-License-Identifier: Apache-2.0
//! The distribution-spec's assertions against the real registries. The scriptable registry passes all of them (its own
//! tests say so), so what it does in honest mode is what real registries do.

use wharf_test_support::conformance::{GO_CONTAINERREGISTRY_FAILS, Report, Target, run};
use wharf_test_support::servers::{PASSWORD, USERNAME};

use crate::env;

/// What distribution does not offer, and need not.
const DISTRIBUTION_LACKS: [&str; 3] = [
    "a single POST stores the blob",
    "a manifest whose subject is yet unknown is listed with its type",
    "artifactType filters the list",
];
/// What go-containerregistry's registry does not offer, and need not.
const GO_CONTAINERREGISTRY_LACKS: [&str; 3] = [
    "a mounted blob can be pulled where it was mounted",
    "the Link of each page leads to the next until all tags were listed",
    "artifactType filters the list",
];

fn assert_like_distribution(report: &Report) {
    println!("{report}");
    assert_eq!(report.failures(), Vec::<&str>::new(), "\n{report}");
    assert_eq!(report.not_applicable(), DISTRIBUTION_LACKS, "\n{report}");
    assert_eq!(report.rows.len(), 30);
}

#[tokio::test]
async fn distribution_over_plain_http() {
    let registry = env::plain().await;
    assert_like_distribution(&run(&Target::new(&registry.base_url())).await);
}

#[tokio::test]
async fn distribution_over_tls_with_a_password() {
    let registry = env::secured().await;
    let target = Target::new(&registry.base_url())
        .ca(registry.authority().unwrap())
        .credentials(USERNAME, PASSWORD);
    assert_like_distribution(&run(&target).await);
}

#[tokio::test]
async fn go_containerregistry_with_referrers() {
    let registry = env::referrers().await;
    let report = run(&Target::new(&registry.base_url())).await;
    println!("{report}");
    assert_eq!(report.failures(), GO_CONTAINERREGISTRY_FAILS, "\n{report}");
    assert_eq!(
        report.not_applicable(),
        GO_CONTAINERREGISTRY_LACKS,
        "\n{report}"
    );
}
