// SPDX-License-Identifier: Apache-2.0
//! What a host says about how much it wants to be asked: `Retry-After` and `RateLimit-*`.
//!
//! Pure: headers and the time go in, durations within bounds come out, or nothing when the headers make no sense. Source:
//! RFC 9110 section 10.2.3 (`Retry-After`) and 5.6.7 (its dates), draft-ietf-httpapi-ratelimit-headers up to 07
//! (`RateLimit-Limit`, `-Remaining`, `-Reset`) and Docker Hub's form of them (`100;w=21600`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, header};

/// The shortest time that a host is taken to have asked for: 0, a moment ago or a date in the past mean "not yet".
pub(crate) const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: a day is as good as never, and arithmetic stays safe.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// From here on a reset is a point in time (2001), not a number of seconds.
const EPOCH_FROM: u64 = 1_000_000_000;

/// How long the answer asks to wait, [`SHORTEST`] to [`LONGEST`]; `None` without a `Retry-After` that can be read.
///
/// A date is compared with the answer's own `Date`, so that a wrong clock on either side does no harm; without one with
/// `now`.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = text(headers, &header::RETRY_AFTER)?;
    let wait = match seconds(text) {
        Some(seconds) => Duration::from_secs(seconds),
        None => until(date(text)?, headers, now),
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}

/// How much a host says it may still be asked. Each number is what it said, whatever it is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// Requests in a window.
    pub limit: Option<u64>,
    /// Requests that are left of it.
    pub remaining: Option<u64>,
    /// The window, where the host names one. At most a day.
    pub window: Option<Duration>,
    /// After which time there is a new window, counted from the answer. At most a day.
    pub reset: Option<Duration>,
}

impl RateLimit {
    /// Reads the headers; `None` if there is nothing to be read in them.
    pub(crate) fn read(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let field = |name| text(headers, &HeaderName::from_static(name)).and_then(Quota::parse);
        let (limit, remaining) = (field("ratelimit-limit"), field("ratelimit-remaining"));
        let reset = field("ratelimit-reset").map(|quota| match quota.number {
            epoch if epoch >= EPOCH_FROM => UNIX_EPOCH
                .checked_add(Duration::from_secs(epoch))
                .map_or(LONGEST, |then| until(then, headers, now)),
            seconds => Duration::from_secs(seconds),
        });
        let window = [limit, remaining]
            .into_iter()
            .flatten()
            .find_map(|quota| quota.window);
        let read = Self {
            limit: limit.map(|quota| quota.number),
            remaining: remaining.map(|quota| quota.number),
            window,
            reset: reset.map(|reset| reset.min(LONGEST)),
        };
        (read != Self::default()).then_some(read)
    }

    /// For how long nothing may be asked any more: only when nothing is left and it is known until when.
    pub(crate) fn exhausted(&self) -> Option<Duration> {
        match (self.remaining, self.reset) {
            (Some(0), Some(reset)) => Some(reset.clamp(SHORTEST, LONGEST)),
            _ => None,
        }
    }
}

/// `100` or `100;w=21600`; of a list, the first.
#[derive(Clone, Copy)]
struct Quota {
    number: u64,
    window: Option<Duration>,
}

impl Quota {
    fn parse(text: &str) -> Option<Self> {
        let first = text.split(',').next()?;
        let mut parts = first.split(';').map(str::trim);
        let number = seconds(parts.next()?)?;
        let window = parts.find_map(|part| seconds(part.strip_prefix("w=")?));
        let window = window.map(|window| Duration::from_secs(window).min(LONGEST));
        Some(Self { number, window })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Digits and nothing else; a number that does not fit is the largest there is.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A date in any of the three forms of RFC 9110 section 5.6.7.
fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// From the answer's `Date`, or from now, until then.
fn until(then: SystemTime, headers: &HeaderMap, now: SystemTime) -> Duration {
    let said = text(headers, &header::DATE).and_then(date).unwrap_or(now);
    then.duration_since(said).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_014_400;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOON)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        fields.collect()
    }

    fn wait(fields: &[(&'static str, &str)]) -> Option<u64> {
        retry_after(&headers(fields), noon()).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_are_read_and_kept_within_bounds() {
        let of = |value| wait(&[("retry-after", value)]);
        assert_eq!(of("7"), Some(7));
        assert_eq!(of(" 7 "), Some(7));
        assert_eq!(of("0"), Some(1));
        assert_eq!(of("3600"), Some(3600));
        for huge in [
            "86401",
            "1000000000000",
            "18446744073709551616",
            "99999999999999999999999",
        ] {
            assert_eq!(of(huge), Some(86_400), "{huge}");
        }
    }

    #[test]
    fn what_is_neither_a_number_nor_a_date_is_no_wish() {
        let long = "9".repeat(8000) + "x";
        for odd in [
            "-1",
            "+1",
            "1.5",
            "1e3",
            "0x10",
            "soon",
            "",
            "1 s",
            "1;2",
            "7, 8",
            "\u{e9}",
            "NaN",
            &long,
            "Sun, 06 Nov 1994",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "2026-01-01T00:00:00Z",
            "Sun, 06 Nov 0001 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
        ] {
            assert_eq!(wait(&[("retry-after", odd)]), None, "{odd:.40}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn dates_in_all_three_forms_are_counted_from_the_date_of_the_answer() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for form in [
            "Sun, 06 Nov 1994 08:50:07 GMT",
            "Sunday, 06-Nov-94 08:50:07 GMT",
            "Sun Nov  6 08:50:07 1994",
        ] {
            assert_eq!(wait(&[("retry-after", form), date]), Some(30), "{form}");
            assert_eq!(wait(&[("retry-after", form)]), Some(1), "{form}");
        }
    }

    #[test]
    fn without_a_date_the_clock_here_counts() {
        let in_a_minute = httpdate::fmt_http_date(noon() + Duration::from_secs(60));
        assert_eq!(wait(&[("retry-after", &in_a_minute)]), Some(60));
        let odd = ("date", "yesterday");
        assert_eq!(wait(&[("retry-after", &in_a_minute), odd]), Some(60));
        let end_of_time = "Fri, 31 Dec 9999 23:59:59 GMT";
        assert_eq!(wait(&[("retry-after", end_of_time)]), Some(86_400));
    }

    fn rate(fields: &[(&'static str, &str)]) -> Option<RateLimit> {
        RateLimit::read(&headers(fields), noon())
    }

    #[test]
    fn docker_hub_s_form_is_read() {
        let read = rate(&[
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "76;w=21600"),
        ])
        .unwrap();
        assert_eq!((read.limit, read.remaining), (Some(100), Some(76)));
        assert_eq!(read.window, Some(Duration::from_secs(21_600)));
        assert_eq!((read.reset, read.exhausted()), (None, None));
        let empty = rate(&[("ratelimit-remaining", "0;w=21600")]).unwrap();
        assert_eq!(empty.exhausted(), None, "nobody said until when");
    }

    #[test]
    fn nothing_left_and_a_reset_is_a_closed_window() {
        let of = |reset: &str| {
            rate(&[
                ("ratelimit-limit", "10, 10;w=60"),
                ("ratelimit-remaining", "0"),
                ("ratelimit-reset", reset),
            ])
            .unwrap()
            .exhausted()
            .map(|wait| wait.as_secs())
        };
        assert_eq!(of("30"), Some(30));
        assert_eq!(of("0"), Some(1));
        assert_eq!(of(&(NOON + 90).to_string()), Some(90), "a point in time");
        assert_eq!(of(&(NOON - 90).to_string()), Some(1));
        for huge in [
            "999999999",
            "18446744073709551615",
            "99999999999999999999999",
        ] {
            assert_eq!(of(huge), Some(86_400), "{huge}");
        }
        assert_eq!(of("-1"), None);
        assert_eq!(of("soon"), None);
        let left = rate(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "30")]).unwrap();
        assert_eq!(left.exhausted(), None);
    }

    #[test]
    fn hostile_limits_say_nothing() {
        for odd in ["", "-1", ";w=1", "w=1", ",", "1e9", "\u{e9}", "a;b;c"] {
            assert_eq!(
                rate(&[("ratelimit-remaining", odd), ("ratelimit-reset", odd)]),
                None,
                "{odd}"
            );
        }
        let window = rate(&[("ratelimit-limit", "5;w=99999999999999999999;x;=;w=1")]).unwrap();
        assert_eq!(window.window, Some(LONGEST));
    }
}
