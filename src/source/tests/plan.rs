// SPDX-License-Identifier: Apache-2.0
use serde_json::json;

use super::{source, stored};
use crate::source::plan::{Attempt, Observed, Plan, REQUESTED_AT, decide};

#[test]
fn a_source_that_was_never_run_is_fetched() {
    let object = source(&json!({}));
    assert!(matches!(
        decide(&object, &Observed::of(&object)),
        Plan::Fetch(_)
    ));
}

#[test]
fn an_answered_object_waits_for_its_time() {
    let object = source(&json!({}));
    let mut observed = Observed::of(&object);
    observed.attempted = Some(Attempt::of(&object));
    assert_eq!(decide(&object, &observed), Plan::NotDue);
    observed.is_due = true;
    assert!(matches!(decide(&object, &observed), Plan::Fetch(_)));
}

#[test]
fn a_request_a_new_generation_and_a_new_object_are_answered_at_once() {
    let before = source(&json!({}));
    let changes: [fn(&mut wharf_api::v1::OCIRepository); 3] = [
        |object| object.metadata.generation = Some(3),
        |object| object.metadata.uid = Some("u2".into()),
        |object| {
            object.metadata.annotations =
                Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into());
        },
    ];
    for change in changes {
        let mut object = before.clone();
        change(&mut object);
        let mut observed = Observed::of(&object);
        observed.attempted = Some(Attempt::of(&before));
        assert!(matches!(decide(&object, &observed), Plan::Fetch(_)));
    }
}

#[test]
fn suspension_comes_before_everything_else() {
    let object = source(&json!({"suspend": true, "url": "nonsense"}));
    assert_eq!(decide(&object, &Observed::of(&object)), Plan::Suspended);
}

#[test]
fn an_unusable_spec_is_stalled() {
    let object = source(&json!({"url": "nonsense"}));
    assert!(matches!(
        decide(&object, &Observed::of(&object)),
        Plan::Stalled(_)
    ));
}

#[test]
fn an_artifact_of_an_earlier_object_of_that_name_does_not_count() {
    let object = source(&json!({}));
    let mut old = stored("latest@sha256:aa");
    assert!(
        Observed::of(&object)
            .with_stored(Some(old.clone()))
            .stored
            .is_some()
    );
    old.uid = "another".to_owned();
    assert!(
        Observed::of(&object)
            .with_stored(Some(old))
            .stored
            .is_none()
    );
}
