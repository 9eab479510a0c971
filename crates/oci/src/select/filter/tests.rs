// SPDX-License-Identifier: Apache-2.0
//! The traps of the syntax, by hand. `crates/oci/tests/select` compares with Go's `regexp` at large.

use super::*;

fn is_match(pattern: &str, text: &str) -> bool {
    let filter: Filter = pattern
        .parse()
        .unwrap_or_else(|error| panic!("{pattern:?}: {error}"));
    filter.is_match(text)
}

fn refusal(pattern: &str) -> (Refusal, usize, String) {
    match pattern.parse::<Filter>() {
        Err(FilterError::Refused { why, at, construct }) => (why, at, construct),
        other => panic!("{pattern:?}: {other:?}"),
    }
}

#[test]
fn a_filter_is_not_anchored() {
    assert!(is_match("rc", "1.0.0-rc.1"));
    assert!(is_match("", ""));
    assert!(!is_match("^rc", "1.0.0-rc.1"));
    assert!(!is_match(r"\Arc\z", "1.0.0-rc"));
}

#[test]
fn classes_are_ascii_unless_they_say_otherwise() {
    assert!(!is_match(r"\d", "\u{0663}"));
    assert!(!is_match(r"\w", "\u{e9}"));
    assert!(!is_match(r"\s", "\u{0b}"));
    assert!(is_match(r"[[:space:]]", "\u{0b}"));
    assert!(is_match(r"\pN", "\u{0663}"));
    assert!(!is_match(r"\B", "a\u{e9}a"));
    assert!(is_match("^.$", "\u{e9}"));
    assert!(!is_match("^.$", "\n"));
    assert!(is_match("(?i)^k$", "\u{212a}"));
    assert!(!is_match("(?i)[^k]", "\u{212a}"));
}

#[test]
fn what_rust_would_read_differently_is_read_as_in_go() {
    for (pattern, text, expected) in [
        (r"^\Qa.b*\E+$", "a.b***", true),
        (r"\Qa.b", "axb", false),
        ("^[a&&b]$", "&", true),
        ("^[a[b]]$", "[]", true),
        ("^[+--]$", ",", true),
        (r"^\<$", "<", true),
        ("^a{,2}$", "a{,2}", true),
        ("^x{01}$", "x{01}", true),
        ("^a(?i)*$", "aaa", true),
        ("^a*(?i)*$", "aaa", true),
        (r"^\101\x41\x{41}$", "AAA", true),
        ("(?-i:A)(?i)b", "AB", true),
        ("^(?:(?i)a)b$", "AB", false),
        ("(?m)^b$", "a\nb", true),
        ("b$", "b\n", false),
        (r"\x{D800}", "\u{d7ff}\u{e000}", false),
        ("a||b", "", true),
        ("^(?<n>a)(?P<n>b)$", "ab", true),
    ] {
        assert_eq!(is_match(pattern, text), expected, "{pattern:?} {text:?}");
    }
}

#[test]
fn what_go_does_not_have_is_refused_by_name_and_place() {
    use Refusal::*;
    for (pattern, why, at, construct) in [
        ("a(?=b)", LookAround, 1, "(?="),
        ("a(?<!b)", LookAround, 1, "(?<!"),
        (r"(a)\1", BackReference, 3, r"\1"),
        ("(?P=n)", BackReference, 0, "(?P="),
        ("(?x)a", GroupSyntax, 0, "(?x"),
        ("(?i-)a", GroupSyntax, 0, "(?i-)"),
        ("(?>a)", GroupSyntax, 0, "(?>"),
        ("(?'n'a)", GroupSyntax, 0, "(?'"),
        ("(?P<n-m>a)", CaptureName, 0, "(?P<n-m>"),
        ("(?<n", CaptureName, 0, "(?<"),
        (r"a\C", SingleByte, 1, r"\C"),
        (r"\h", Escape, 0, r"\h"),
        (r"[\b]", Escape, 1, r"\b"),
        (r"\x{110000}", Escape, 0, r"\x{110000"),
        (r"\Z", Escape, 0, r"\Z"),
        ("a\\", TrailingBackslash, 1, "\\"),
        ("(a", UnclosedGroup, 0, "(a"),
        ("a)", UnopenedGroup, 1, ")"),
        ("[a", UnclosedClass, 0, "[a"),
        ("[]", UnclosedClass, 0, "[]"),
        ("[b-a]", ClassRange, 1, "b-a"),
        ("[[:letter:]]", ClassName, 1, "[:letter:]"),
        (r"\p{Grek}", UnicodeName, 0, r"\p{Grek}"),
        ("*a", NothingToRepeat, 0, "*"),
        ("a|*", NothingToRepeat, 2, "*"),
        ("(+)", NothingToRepeat, 1, "+"),
        ("a**", NestedRepetition, 2, "*"),
        ("a++", NestedRepetition, 2, "+"),
        ("a{1001}", RepetitionSize, 1, "{1001}"),
        ("a{2,1}", RepetitionSize, 1, "{2,1}"),
        (
            "a{99999999999999999999}",
            RepetitionSize,
            1,
            "{99999999999999999999}",
        ),
        ("(a{1000}){1000}", RepetitionSize, 9, "{1000}"),
        ("((a{10}){10}){11}", RepetitionSize, 13, "{11}"),
    ] {
        assert_eq!(
            refusal(pattern),
            (why, at, construct.to_owned()),
            "{pattern:?}"
        );
    }
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let error = "v(?!rc)".parse::<Filter>().unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"regular expression has a look-around, which Go does not have, at byte 1: "(?!""#
    );
}

#[test]
fn patterns_have_a_limit_in_length_depth_and_size() {
    assert!(is_match(&"a".repeat(1024), &"a".repeat(1024)));
    for len in [1025, 1024 * 1024] {
        assert_eq!(
            "(".repeat(len).parse::<Filter>().unwrap_err(),
            FilterError::TooLong { len }
        );
    }
    assert!(is_match(&nested("(", 511, ")"), "a"));
    assert_eq!(
        r"\pL{1000}".parse::<Filter>().unwrap_err(),
        FilterError::TooLarge
    );
}

#[test]
fn a_deep_pattern_does_not_exhaust_a_small_stack() {
    let deepest = || {
        assert!(is_match(&nested("(", 31, ")*"), "a"));
        assert!(is_match(&nested("(b|", 15, ")"), "a"));
        assert!(is_match(
            &nested("(b", 15, "|c)"),
            &format!("{}a", "b".repeat(15))
        ));
        for (open, close) in [("(", ")*"), ("(b|", ")"), ("(b", "|c)"), ("", "(?i)*")] {
            let error = nested(open, 150, close).parse::<Filter>().unwrap_err();
            assert!(
                matches!(error, FilterError::TooDeep { .. }),
                "{open} {close}: {error}"
            );
        }
    };
    // Half of what a thread of the runtime has.
    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    thread.spawn(deepest).unwrap().join().unwrap();
}

fn nested(open: &str, depth: usize, close: &str) -> String {
    format!("{}a{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn a_long_tag_is_matched_in_linear_time() {
    let long = format!("{}b", "a".repeat(10 * 1024));
    assert!(!is_match("(a*)*c", &long));
    assert!(is_match("(a|aa)+b$", &long));
}
