// SPDX-License-Identifier: Apache-2.0
//! The rest of a blob: how it is asked for, and whether an answer is exactly that.
//!
//! Pure. What does not fit to the byte is not used, because a download that goes on at another place is another content.
//! The end of the range is always written, since go-containerregistry's registry knows no open ranges. Source: RFC 9110
//! sections 13 and 14.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{body::content_type, problem::Problem};

/// What an answer to a request for the rest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The rest, and nothing else.
    Fits,
    /// The whole from its start: the registry knows no ranges, or the content has changed.
    Whole,
    /// Something else, to be thrown away.
    Odd,
}

/// The value of `Range` for all of `size` bytes but the first `start`, which are fewer.
pub(crate) fn request(start: u64, size: u64) -> HeaderValue {
    let last = size.saturating_sub(1);
    let text = format!("bytes={start}-{last}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes=0-"))
}

/// Reads the answer to [`request`].
pub(crate) fn rest(status: StatusCode, headers: &HeaderMap, start: u64, size: u64) -> Rest {
    match status {
        StatusCode::OK => Rest::Whole,
        StatusCode::PARTIAL_CONTENT if is_the_rest(headers, start, size) => Rest::Fits,
        _ => Rest::Odd,
    }
}

fn is_the_rest(headers: &HeaderMap, start: u64, size: u64) -> bool {
    let mut ranges = headers.get_all(header::CONTENT_RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return false;
    };
    let expected = format!("{start}-{}/{size}", size.saturating_sub(1));
    let range = range.to_str().unwrap_or_default();
    let is_expected = range.split_once(' ').is_some_and(|(unit, range)| {
        unit.eq_ignore_ascii_case("bytes") && range.trim() == expected
    });
    is_expected && !content_type(headers).starts_with("multipart/")
}

/// Refusals that concern the range and not the blob.
pub(crate) fn is_refusal(problem: &Problem) -> bool {
    let status = problem.status().map(|status| status.as_u16());
    matches!(problem, Problem::Answer { .. })
        && matches!(status, Some(400 | 405 | 406 | 412 | 416 | 501))
}

/// The `ETag`, if it says that equal tags mean equal bytes.
pub(crate) fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    let etag = headers.get(header::ETAG)?;
    let bytes = etag.as_bytes();
    let is_strong = bytes.len() > 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"");
    is_strong.then(|| etag.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Rest {
        let pairs = headers.iter().map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().unwrap(),
                value.parse().unwrap(),
            )
        });
        rest(
            StatusCode::from_u16(status).unwrap(),
            &pairs.collect(),
            10,
            100,
        )
    }

    #[test]
    fn only_exactly_the_rest_is_the_rest() {
        assert_eq!(
            answer(206, &[("content-range", "bytes 10-99/100")]),
            Rest::Fits
        );
        assert_eq!(
            answer(206, &[("content-range", "Bytes 10-99/100")]),
            Rest::Fits
        );
        for odd in [
            "bytes 9-99/100",
            "bytes 11-99/100",
            "bytes 10-98/100",
            "bytes 10-100/101",
            "bytes 10-99/101",
            "bytes 10-99/*",
            "bytes */100",
            "bytes 10-99",
            "items 10-99/100",
            "bytes=10-99/100",
            "bytes +10-99/100",
            "bytes 010-99/100",
            "bytes 99-10/100",
            "bytes 10-18446744073709551616/100",
            "",
        ] {
            assert_eq!(answer(206, &[("content-range", odd)]), Rest::Odd, "{odd}");
        }
        assert_eq!(answer(206, &[]), Rest::Odd);
        let twice = [("content-range", "bytes 10-99/100"); 2];
        assert_eq!(answer(206, &twice), Rest::Odd);
        let parts = [
            ("content-range", "bytes 10-99/100"),
            ("content-type", "multipart/byteranges; boundary=x"),
        ];
        assert_eq!(answer(206, &parts), Rest::Odd);
        assert_eq!(
            answer(200, &[("content-range", "bytes 10-99/100")]),
            Rest::Whole
        );
        assert_eq!(answer(204, &[]), Rest::Odd);
    }

    #[test]
    fn the_end_is_always_asked_for() {
        assert_eq!(request(10, 100), "bytes=10-99");
        assert_eq!(request(1, u64::MAX), "bytes=1-18446744073709551614");
    }

    #[test]
    fn only_a_strong_tag_is_kept() {
        let etag = |text: &str| {
            let headers = HeaderMap::from_iter([(header::ETAG, text.parse().unwrap())]);
            strong_etag(&headers).is_some()
        };
        assert!(etag("\"sha256:1\""));
        for weak in ["W/\"x\"", "x", "", "\"", "\"\"", "\"x"] {
            assert!(!etag(weak), "{weak}");
        }
    }
}
