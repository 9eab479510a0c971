// SPDX-License-Identifier: Apache-2.0
//! Which part of an artifact a request asks for. Pure.
//!
//! Source: RFC 9110, sections 13 (conditional requests) and 14 (ranges). The validator is the entity tag alone: two
//! artifacts may be published within the second that `Last-Modified` resolves, so dates decide nothing here.

use std::ops::Range;

use http::{
    HeaderMap, Method,
    header::{IF_NONE_MATCH, IF_RANGE, RANGE},
    request::Parts,
};

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Everything (200).
    Whole,
    /// These bytes (206).
    Part(Range<u64>),
    /// Nothing, the client has it (304).
    NotModified,
    /// The range begins behind the end (416).
    Unsatisfiable,
}

/// Decides for a representation of `size` bytes with the strong entity tag `etag`, quotes included.
pub(super) fn select(request: &Parts, etag: &str, size: u64) -> Selection {
    if has_current(&request.headers, etag) {
        return Selection::NotModified;
    }
    // A range means something for GET only (RFC 9110, 14.2), and only for the representation it was made for.
    if request.method != Method::GET || !is_range_valid_for(&request.headers, etag) {
        return Selection::Whole;
    }
    range(&request.headers, size)
}

// `If-None-Match` compares weakly: `W/` is ignored.
fn has_current(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    let tags = values
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    let mut tags = tags.map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

// `If-Range` compares strongly. A date is never trusted to be one, so the whole is sent.
fn is_range_valid_for(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_RANGE).is_none_or(|value| value == etag)
}

// One range is served. Several, other units and malformed ones are ignored, as the RFC allows.
fn range(headers: &HeaderMap, size: u64) -> Selection {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Selection::Whole;
    };
    let parsed = value.to_str().ok().and_then(parse_range);
    match parsed {
        None => Selection::Whole,
        Some(Spec::Suffix(n)) if n > 0 && size > 0 => Selection::Part(size.saturating_sub(n)..size),
        Some(Spec::From(first, last)) if first < size => {
            Selection::Part(first..last.saturating_add(1).min(size))
        }
        Some(_) => Selection::Unsatisfiable,
    }
}

#[derive(Clone, Copy)]
enum Spec {
    /// The last so many bytes.
    Suffix(u64),
    /// From the first to the last position, both included.
    From(u64, u64),
}

fn parse_range(value: &str) -> Option<Spec> {
    let (unit, spec) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    if first.is_empty() {
        return number(last).map(Spec::Suffix);
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    (first <= last).then_some(Spec::From(first, last))
}

// Digits only: `parse` alone would take a sign. A number beyond u64 is behind every end.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const ETAG: &str = "\"sha256:aa\"";

    fn ask(method: Method, headers: &[(&str, &str)], size: u64) -> Selection {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        select(&request.body(()).unwrap().into_parts().0, ETAG, size)
    }

    fn ranged(value: &str, size: u64) -> Selection {
        ask(Method::GET, &[("range", value)], size)
    }

    #[test]
    fn a_range_within_the_size_is_a_part() {
        for (value, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-99", 0..100),
            ("bytes=99-99", 99..100),
            ("bytes=10-", 10..100),
            ("bytes=10-1000", 10..100),
            ("bytes=-1", 99..100),
            ("bytes=-100", 0..100),
            ("bytes=-1000", 0..100),
            ("Bytes=5-6", 5..7),
            ("bytes=0-99999999999999999999999999", 0..100),
            ("bytes=0-18446744073709551615", 0..100),
        ] {
            assert_eq!(ranged(value, 100), Selection::Part(expected), "{value}");
        }
    }

    #[test]
    fn a_range_behind_the_end_cannot_be_satisfied() {
        for value in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999999999-",
        ] {
            assert_eq!(ranged(value, 100), Selection::Unsatisfiable, "{value}");
        }
        for value in ["bytes=0-", "bytes=-1"] {
            assert_eq!(
                ranged(value, 0),
                Selection::Unsatisfiable,
                "{value} of nothing"
            );
        }
    }

    #[test]
    fn several_ranges_and_malformed_ones_are_ignored() {
        for value in [
            "bytes=0-1,3-4",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=1",
            "lines=1-2",
            "0-1",
            "",
            "bytes=0x1-2",
            "bytes=1 -2",
        ] {
            assert_eq!(ranged(value, 100), Selection::Whole, "{value}");
        }
        let two = [("range", "bytes=0-1"), ("range", "bytes=2-3")];
        assert_eq!(ask(Method::GET, &two, 100), Selection::Whole);
    }

    #[test]
    fn a_range_means_nothing_to_head_or_for_another_representation() {
        let range = ("range", "bytes=0-1");
        assert_eq!(ask(Method::HEAD, &[range], 100), Selection::Whole);
        assert_eq!(
            ask(Method::GET, &[range, ("if-range", ETAG)], 100),
            Selection::Part(0..2)
        );
        for other in [
            "\"sha256:bb\"",
            "W/\"sha256:aa\"",
            "Sat, 21 Nov 2026 13:00:00 GMT",
        ] {
            assert_eq!(
                ask(Method::GET, &[range, ("if-range", other)], 100),
                Selection::Whole
            );
        }
    }

    #[test]
    fn a_client_that_has_the_entity_gets_nothing() {
        for value in [
            ETAG,
            "*",
            "W/\"sha256:aa\"",
            "\"x\", \"sha256:aa\"",
            "\"x\",\"sha256:aa\" ,\"y\"",
        ] {
            for method in [Method::GET, Method::HEAD] {
                let headers = [("if-none-match", value), ("range", "bytes=0-1")];
                assert_eq!(
                    ask(method, &headers, 100),
                    Selection::NotModified,
                    "{value}"
                );
            }
        }
        for value in ["", "\"sha256:bb\"", "sha256:aa", "\"sha256:AA\""] {
            assert_eq!(
                ask(Method::GET, &[("if-none-match", value)], 100),
                Selection::Whole,
                "{value}"
            );
        }
    }
}
