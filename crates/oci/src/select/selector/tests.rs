// SPDX-License-Identifier: Apache-2.0
//! What wins, why the others lose, and that neither depends on the order of the tags.

use super::*;
use crate::select::{Reason, TagEncoding, VersionError, constraint::Side};

fn policy(range: &str) -> SemverPolicy {
    SemverPolicy {
        constraint: range.parse().unwrap(),
        filter: None,
        encoding: TagEncoding::Verbatim,
    }
}

fn filtered(range: &str, filter: &str) -> SemverPolicy {
    SemverPolicy {
        filter: Some(filter.parse().unwrap()),
        ..policy(range)
    }
}

fn helm(range: &str) -> SemverPolicy {
    SemverPolicy {
        encoding: TagEncoding::of_layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        ..policy(range)
    }
}

fn select<'t>(policy: &SemverPolicy, tags: impl IntoIterator<Item = &'t str>) -> Selection {
    let mut selector = Selector::new(policy, Verdicts::All);
    tags.into_iter().for_each(|tag| selector.consider(tag));
    selector.finish()
}

fn chosen(policy: &SemverPolicy, tags: &str) -> Option<String> {
    select(policy, tags.split(' '))
        .chosen
        .map(|tag| tag.to_string())
}

#[test]
fn the_highest_version_in_the_range_wins_and_keeps_its_spelling() {
    for (policy, tags, expected) in [
        (policy(">=1"), "1.2.3 v1.10.0 1.9.0", Some("v1.10.0")),
        (policy(">=1"), "1.9.0 2 2.1 latest", Some("1.9.0")),
        (
            policy(">=2024"),
            "2025.02.03 2025.01.31",
            Some("2025.02.03"),
        ),
        (
            policy(">=1.0.0-0"),
            "1.0.0 1.1.0-rc.1 1.1.0-rc.2",
            Some("1.1.0-rc.2"),
        ),
        (policy("<1"), "1.0.0 2.0.0", None),
        (policy("6.2.x"), "6.2.1_ref.1 6.2.0", Some("6.2.0")),
        (helm("6.2.x"), "6.2.1_ref.1 6.2.0", Some("6.2.1_ref.1")),
        (filtered("*", "-rc"), "1.0.0 1.0.0-rc", None),
        (filtered("*-0", "-rc"), "1.0.0 1.0.0-rc", Some("1.0.0-rc")),
    ] {
        assert_eq!(
            chosen(&policy, tags).as_deref(),
            expected,
            "{policy:?} {tags}"
        );
    }
}

#[test]
fn the_filter_sees_the_tag_as_the_registry_has_it() {
    let policy = SemverPolicy {
        filter: Some("_build".parse().unwrap()),
        ..helm(">=1")
    };
    assert_eq!(
        chosen(&policy, "1.0.0_build.1 1.0.0_other").as_deref(),
        Some("1.0.0_build.1")
    );
}

#[test]
fn ties_are_decided_in_the_same_way_whatever_the_order() {
    for (policy, rising) in [
        (
            helm(">=1"),
            "v1.0.0 01.0.0 1.0.0 1.0.0_9 1.0.0_10 1.0.0_a 1.0.0_a.1",
        ),
        (policy(">=1"), "v01.00.00 v1.0.0 01.0.0 1.0.0"),
    ] {
        let tags: Vec<_> = rising.split(' ').collect();
        for pair in tags.windows(2) {
            let forth = format!("{} {}", pair[0], pair[1]);
            let back = format!("{} {}", pair[1], pair[0]);
            assert_eq!(chosen(&policy, &forth).as_deref(), Some(pair[1]), "{forth}");
            assert_eq!(chosen(&policy, &back).as_deref(), Some(pair[1]), "{back}");
        }
    }
}

#[test]
fn every_tag_that_lost_says_why() {
    let policy = filtered(">=1 <2", "^[^x]");
    let tags = [
        "a b",
        "x1.5.0",
        "1.5",
        "1.5.0-rc.1",
        "0.9.0",
        "2.0.0",
        "1.4.0",
        "01.5.0",
        "1.5.0",
        "1.5.0",
    ];
    let selection = select(&policy, tags);
    let outside = |side, comparator: &str| Loss::Outside {
        side,
        comparator: comparator.into(),
    };
    let expected = [
        Some(Loss::NotATag),
        Some(Loss::FilteredOut),
        Some(Loss::NotAVersion(VersionError::TooFewParts)),
        Some(Loss::Prerelease),
        Some(outside(Side::Below, ">=1")),
        Some(outside(Side::Above, "<2")),
        Some(Loss::Lower),
        Some(Loss::TieLost),
        None,
        Some(Loss::TieLost),
    ];
    assert_eq!(selection.chosen.as_ref().unwrap().as_str(), "1.5.0");
    assert_eq!(selection.considered, 10);
    for (verdict, (tag, lost)) in selection
        .verdicts
        .iter()
        .zip(tags.into_iter().zip(expected))
    {
        assert_eq!((&*verdict.tag, &verdict.lost), (tag, &lost));
    }
    for reason in Reason::ALL {
        let counted = selection
            .verdicts
            .iter()
            .filter_map(|verdict| verdict.lost.as_ref());
        let counted = counted.filter(|loss| loss.reason() == reason).count();
        assert_eq!(
            selection.rejected.count(reason),
            counted as u64,
            "{reason:?}"
        );
    }
}

#[test]
fn the_counts_do_not_depend_on_the_order() {
    let policy = helm(">=1");
    let tags = [
        "1.0.0", "1.0.0_1", "1.0.0_2", "2.0.0", "2.0.0_1", "2.0.0_2", "latest",
    ];
    let counts = |tags: &mut dyn Iterator<Item = &'static str>| {
        let selection = select(&policy, tags);
        let counts = Reason::ALL.map(|reason| selection.rejected.count(reason));
        (counts, selection.chosen.unwrap().to_string())
    };
    let expected = ([0, 0, 1, 0, 0, 3, 2], "2.0.0_2".to_owned());
    assert_eq!(counts(&mut tags.into_iter()), expected);
    assert_eq!(counts(&mut tags.into_iter().rev()), expected);
    assert_eq!(
        counts(&mut tags.into_iter().cycle().skip(3).take(7)),
        expected
    );
}

#[test]
fn a_hundred_thousand_tags_leave_three_examples_of_each_reason() {
    let policy = policy(">=1000000");
    let mut selector = Selector::new(&policy, Verdicts::Examples);
    for number in 0..50_000 {
        selector.consider(&format!("1.{number}.0"));
        selector.consider(&format!("build-{number}"));
    }
    let selection = selector.finish();
    assert_eq!(selection.considered, 100_000);
    assert!(selection.verdicts.is_empty());
    let examples = |reason| -> Vec<_> {
        selection
            .rejected
            .examples(reason)
            .map(|verdict| &*verdict.tag)
            .collect()
    };
    assert_eq!(
        examples(Reason::Outside),
        ["1.49999.0", "1.49998.0", "1.49997.0"]
    );
    assert_eq!(
        examples(Reason::NotAVersion),
        ["build-0", "build-1", "build-2"]
    );
}

#[test]
fn no_match_says_what_was_seen_and_what_to_do() {
    let policy = filtered(">=2.0.0 <3", "^[0-9v\"]|latest");
    let tags = [
        "1.9.3",
        "1.9.2",
        "3.0.0",
        "latest",
        "2.0.0-rc.1",
        "dev",
        "\"\n\"",
    ];
    let selection = select(&policy, tags);
    assert_eq!(
        selection.choice(&policy).unwrap_err().to_string(),
        "no match found for semver: >=2.0.0 <3; tags seen: 7, of them 1 no valid tag (\"\\\"\\n\\\"\"), \
         1 not matched by the filter \"^[0-9v\\\"]|latest\" (dev), 1 no version of three parts (latest), \
         1 pre-release, admitted only by a range that names one such as \">=1.0.0-0\" (2.0.0-rc.1), \
         3 outside the range (3.0.0 is above <3, 1.9.3 is below >=2.0.0, 1.9.2 is below >=2.0.0)"
    );
    assert_eq!(
        select(&policy, []).choice(&policy).unwrap_err().to_string(),
        "no match found for semver: >=2.0.0 <3; the repository has no tags"
    );
}

#[test]
fn hostile_tags_are_counted_and_cut() {
    let policy = filtered("*", ".*");
    let huge = "1.".repeat(5 * 1024);
    let split = format!("{}\u{1f600}", "a".repeat(126));
    let tags = ["", " ", "1.0.0+b", "../1.0.0", "1.0.0\u{0}", &huge, &split];
    let selection = select(&policy, tags);
    assert_eq!(selection.chosen, None);
    assert_eq!(selection.rejected.count(Reason::NotATag), tags.len() as u64);
    assert!(
        selection
            .verdicts
            .iter()
            .all(|verdict| verdict.tag.len() <= 128)
    );
    assert!(selection.choice(&policy).unwrap_err().to_string().len() < 1024);
}

#[test]
fn a_number_beyond_64_bits_is_no_version() {
    let selection = select(
        &policy("*"),
        ["99999999999999999999.0.0", "18446744073709551615.0.0"],
    );
    assert_eq!(
        selection.chosen.unwrap().as_str(),
        "18446744073709551615.0.0"
    );
    assert_eq!(
        selection.verdicts[0].lost,
        Some(Loss::NotAVersion(VersionError::Overflow))
    );
}
