// SPDX-License-Identifier: Apache-2.0
//! The test registry, when honest, does what the OCI distribution-spec says: thirty assertions, in every way in.

use wharf_test_support::FakeRegistry;
use wharf_test_support::conformance::{self, Report, Target, Verdict};
use wharf_test_support::registry::{Endpoint, Fault, Rule};
use wharf_test_support::tls::Authority;

fn assert_all_hold(report: &Report) {
    assert_eq!(report.rows.len(), 30);
    assert_eq!(report.passed(), 30, "\n{report}");
}

#[tokio::test]
async fn over_plain_http() {
    let registry = FakeRegistry::start().await;
    assert_all_hold(&conformance::run(&Target::new(registry.base_url())).await);
}

#[tokio::test]
async fn over_tls() {
    let authority = Authority::new("Test CA");
    let builder = FakeRegistry::builder().tls(&authority.local_leaf());
    let registry = builder.start().await.unwrap();
    let target = Target::new(registry.base_url()).ca(authority.pem());
    assert_all_hold(&conformance::run(&target).await);
}

#[tokio::test]
async fn with_basic_authentication() {
    let builder = FakeRegistry::builder().basic("user", "pass");
    let registry = builder.start().await.unwrap();
    let target = Target::new(registry.base_url());
    assert_eq!(conformance::run(&target).await.passed(), 0);
    assert_all_hold(&conformance::run(&target.credentials("user", "pass")).await);
}

#[tokio::test]
async fn with_bearer_tokens() {
    let builder = FakeRegistry::builder().bearer("user", "pass");
    let registry = builder.start().await.unwrap();
    let target = Target::new(registry.base_url());
    assert_eq!(conformance::run(&target).await.passed(), 0);
    assert_all_hold(&conformance::run(&target.credentials("user", "pass")).await);
}

#[tokio::test]
async fn what_is_switched_off_is_not_applicable() {
    let builder = FakeRegistry::builder().without_ranges().without_referrers();
    let registry = builder.start().await.unwrap();
    let report = conformance::run(&Target::new(registry.base_url())).await;
    assert_eq!((report.passed(), report.failed()), (27, 0), "\n{report}");
}

#[tokio::test]
async fn a_registry_that_lies_fails() {
    let registry = FakeRegistry::start().await;
    registry.script(Rule::on(Endpoint::Blob).get().fault(Fault::WrongDigest));
    let report = conformance::run(&Target::new(registry.base_url())).await;
    let row = report
        .rows
        .iter()
        .find(|row| row.section == "Pulling blobs")
        .unwrap();
    assert_eq!(
        row.verdict,
        Verdict::Fail("other bytes than were pushed".to_owned())
    );
}

#[tokio::test]
async fn the_known_failures_of_others_name_assertions_that_exist() {
    let registry = FakeRegistry::start().await;
    let report = conformance::run(&Target::new(registry.base_url())).await;
    for name in conformance::GO_CONTAINERREGISTRY_FAILS {
        assert!(report.rows.iter().any(|row| row.name == name), "{name}");
    }
}

#[tokio::test]
async fn faults_reach_the_socket_below_tls() {
    let authority = Authority::new("Test CA");
    let builder = FakeRegistry::builder().tls(&authority.local_leaf());
    let registry = builder.start().await.unwrap();
    let target = Target::new(registry.base_url()).ca(authority.pem());
    for (fault, sign) in [
        (Fault::ResetAt(3), "ConnectionReset"),
        (Fault::CloseAt(3), "UnexpectedEof"),
    ] {
        registry.be_honest();
        registry.script(Rule::on(Endpoint::Blob).get().fault(fault));
        let report = conformance::run(&target).await;
        let row = report
            .rows
            .iter()
            .find(|row| row.section == "Pulling blobs")
            .unwrap();
        let Verdict::Fail(reason) = &row.verdict else {
            panic!("{row:?}");
        };
        assert!(reason.contains(sign), "{reason}");
    }
}
