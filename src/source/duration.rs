// SPDX-License-Identifier: Apache-2.0
//! Go's duration text (`1h30m`, `0.5s`, `250ms`), as far as the CRD's patterns allow it.
//!
//! Enters as a string of the CR; leaves as a [`Duration`] of at most [`MAX`]. No signs, no `us` or `ns`: the CRD's
//! patterns have none.

use std::time::Duration;

/// The longest duration that is accepted: ten years. Longer ones are a mistake, and sums of them would overflow.
pub const MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A text is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a duration, write it as numbers with the units h, m, s or ms, for instance 1h30m or 90s"
)]
pub struct DurationError(String);

/// Parses a duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let fail = || DurationError(text.chars().take(60).collect());
    let mut rest = text;
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let number_len = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(fail)?;
        let (number, after) = rest.split_at(number_len);
        let unit_len = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        total += plain_number(number).ok_or_else(fail)? * seconds_of(unit).ok_or_else(fail)?;
        rest = next;
    }
    let in_range = !text.is_empty() && total <= MAX.as_secs_f64();
    if in_range {
        Ok(Duration::from_secs_f64(total))
    } else {
        Err(fail())
    }
}

/// Digits with at most one point that has digits on both sides.
fn plain_number(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if is_digits(whole) && is_digits(fraction) {
        text.parse().ok()
    } else {
        None
    }
}

fn seconds_of(unit: &str) -> Option<f64> {
    match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        assert_eq!(parse("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_the_pattern_refuses_is_refused() {
        let huge = format!("{}h", "9".repeat(400));
        for bad in [
            "", "5", "s", "-1s", "1d", "1 s", "1.s", ".5s", "1..2s", "1us", "infs", "1e9s", "s1",
            &huge,
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("1h30m") && error.len() < 300, "{error}");
        }
    }
}
