// SPDX-License-Identifier: Apache-2.0
//! The traps of the grammar, by hand. `crates/oci/tests/select` compares with the Go library at large.

use super::*;

fn constraint(text: &str) -> Constraint {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn is_in(range: &str, version: &str) -> bool {
    constraint(range).matches(&version.parse().unwrap()).is_ok()
}

#[test]
fn each_operator_takes_what_it_takes_in_go() {
    #[rustfmt::skip]
    let table: &[(&str, &str, &str)] = &[
        // range, in, out
        ("1.2.3", "1.2.3 v1.2.3 1.2.3+b2 01.2.3", "1.2.4 1.2.2 1.2.3-a"),
        ("=1.2.3+b1", "1.2.3 1.2.3+b2", "1.2.4"),
        ("v1.2.3", "1.2.3", "1.2.4"),
        ("1.2", "1.2.0 1.2.9", "1.3.0 1.1.9 1.2.1-a"),
        ("=1.x", "1.0.0 1.9.9", "2.0.0 0.9.9"),
        ("*", "0.0.0 9.9.9", "1.0.0-a"),
        ("!=1.2.3", "1.2.4 1.2.2", "1.2.3 1.2.3+b"),
        ("!=1.x", "2.0.0 0.1.0", "1.0.0 1.9.9"),
        ("!=1.2.x", "1.3.0 2.2.0", "1.2.0 1.2.9"),
        ("!=1.2-a", "1.2.0-b 1.2.0 1.3.0-a", "1.2.0-a 1.2.9-a"),
        ("!=*", "1.0.0 0.0.1", "0.0.0"),
        (">1.2.3", "1.2.4 2.0.0", "1.2.3 1.2.3+b 1.0.0"),
        (">11", "12.0.0", "11.1.0 11.0.0 10.0.0"),
        (">11.1", "11.2.0 12.0.0", "11.1.1 11.0.0"),
        (">*", "0.0.1 1.0.0", "0.0.0"),
        (">=1.2", "1.2.0 3.0.0", "1.1.9 1.2.0-a"),
        ("=>1.2", "1.2.0 3.0.0", "1.1.9"),
        ("<1.2", "1.1.9 0.0.0", "1.2.0 1.1.9-a"),
        ("<=1.2", "1.2.0 1.2.9 0.1.0", "1.3.0 2.0.0"),
        ("=<1", "1.9.9 0.1.0", "2.0.0"),
        ("<=1.2.3", "1.2.3 1.2.2", "1.2.4"),
        ("<=*", "0.0.0 0.0.5", "0.1.0 1.0.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0 2.2.3"),
        ("~>1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.9", "2.0.0"),
        ("~0.0.0", "0.0.0 0.5.0 9.0.0", "0.0.1-a"),
        ("~0.0", "0.0.0 0.0.9", "0.1.0"),
        ("~0", "0.9.9", "1.0.0"),
        ("~*", "9.0.0", "9.0.0-a"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2 1.2.3"),
        ("^0.0.3", "0.0.3", "0.0.4 0.1.3 1.0.3"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0 1.0.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("^*", "0.0.0", "0.0.1 1.0.0"),
    ];
    for (range, ins, outs) in table {
        for version in ins.split(' ') {
            assert!(is_in(range, version), "{version} is not in {range}");
        }
        for version in outs.split(' ') {
            assert!(!is_in(range, version), "{version} is in {range}");
        }
    }
}

#[test]
fn one_prerelease_admits_prereleases_to_its_whole_group() {
    assert!(is_in(">1.0.0-beta.1 <2", "1.5.0-rc.1"));
    assert!(is_in("~1.2.3-beta.2", "1.2.4-alpha"));
    assert!(is_in(">=1.0.0-0", "2.0.0-alpha"));
    assert!(is_in(">= 6.1.x-0", "6.1.0-rc.1"));
    assert!(!is_in("<2 || >=3.0.0-0", "1.5.0-rc.1"));
    assert!(is_in("<2 || >=3.0.0-0", "3.1.0-rc.1"));
}

#[test]
fn groups_are_joined_and_divided_as_in_go() {
    for (range, version, takes) in [
        (">=1.2 <3 || >=4.2.3", "2.0.0", true),
        (">=1.2,<3||>=4.2.3", "3.0.0", false),
        (">= 1.2 , < 3", "1.2.0", true),
        ("\t>=1.2\n\r\u{0c}<3 ", "1.2.0", true),
        ("1.2 - 3", "3.9.9", true),
        ("1.2 - 3.0.0", "3.0.1", false),
        ("0, 1.2 - 3", "1.2.0", false),
        ("1 - 3,11 - 3", "2.0.0", false),
        ("1 - 3,1 - 3", "2.0.0", true),
        // `|` is of the character class of numbers, so the first range begins before `||`.
        ("1||2 - 3", "9.0.0", true),
        // What follows a wildcard is not read.
        ("1.x.7", "1.3.0", true),
        ("1.x.|", "1.3.0", true),
    ] {
        assert_eq!(is_in(range, version), takes, "{version} in {range:?}");
    }
}

#[test]
fn what_go_refuses_is_refused_by_kind() {
    for text in [
        "",
        " ",
        "||",
        "1 ||",
        "|| 1",
        "1,",
        ",1",
        "1,,2",
        "latest",
        "1.2.3.4",
        "> = 1",
        "==1",
        ">>1",
        "1 2 - 3",
        ">1 - 2",
        "1.2.3-",
        "1.2.3+",
        "1.2.3-a_b",
        "V1",
        "1\u{0b}2",
        "1.\u{0661}",
        "1 and 2",
        "1 - 2 - 3",
    ] {
        let error = text.parse::<Constraint>().unwrap_err();
        assert!(
            matches!(error, ConstraintError::Improper { .. }),
            "{text:?}: {error}"
        );
    }
    for text in [
        "1x",
        "xx",
        "1|2",
        "18446744073709551616",
        "1.2.3-01",
        "1.2.18446744073709551616",
    ] {
        let error = text.parse::<Constraint>().unwrap_err();
        assert!(
            matches!(error, ConstraintError::Version { .. }),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn a_range_has_at_most_512_bytes_and_32_groups() {
    let padded = format!(">=1{}", " ".repeat(509));
    assert!(is_in(&padded, "1.0.0"));
    for len in [513, 1024 * 1024] {
        let padded = format!(">=1{}", " ".repeat(len - 3));
        assert_eq!(
            padded.parse::<Constraint>(),
            Err(ConstraintError::TooLong { len })
        );
    }
    assert!(is_in(&vec!["2"; 32].join("||"), "2.1.0"));
    assert_eq!(
        vec!["2"; 33].join("||").parse::<Constraint>(),
        Err(ConstraintError::TooManyGroups { groups: 33 })
    );
}

#[test]
fn a_mismatch_names_the_comparator_and_the_side() {
    for (range, version, why) in [
        (">=1.2 <2", "1.1.0", "below >=1.2"),
        (">=1.2 < 2", "2.0.0", "above < 2"),
        (">11", "11.1.0", "below >11"),
        ("1.2.x", "1.3.0", "above 1.2.x"),
        ("^1.2", "1.1.0", "below ^1.2"),
        (">=1, !=1.5.0", "1.5.0", "excluded by !=1.5.0"),
        (
            ">=1",
            "2.0.0-rc.1",
            "a pre-release, and the range names none",
        ),
        (">=1 || >=3.0.0-0", "2.0.0-rc.1", "below >=3.0.0-0"),
        ("1 - 2", "3.0.0", "above <= 2"),
    ] {
        let range = constraint(range);
        let mismatch = range.matches(&version.parse().unwrap()).unwrap_err();
        assert_eq!(mismatch.to_string(), why, "{version} in {range}");
    }
}
