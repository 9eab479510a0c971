// SPDX-License-Identifier: Apache-2.0
//! Where a redirect leads, and whether to go there.
//!
//! Pure, but for the count of refusals: the request's URL and the `Location` go in, the next URL or a [`Problem`] comes
//! out. Whether credentials go along is decided by comparing origins, see `request`.

use http::{HeaderMap, StatusCode, header};

use super::{
    egress::Checks,
    origin::{Link, Origin, Scheme},
    problem::Problem,
};

/// More hops than any registry needs.
pub(crate) const MAX_HOPS: u32 = 5;

/// Whether a status asks to look elsewhere.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The URL that an answer leads to, if it may lead there.
pub(crate) fn next(from: &Link, headers: &HeaderMap, egress: &Checks) -> Result<Link, Problem> {
    let to = location(from, headers)?;
    permit(&from.origin, &to.origin, egress)?;
    Ok(to)
}

/// Whether one host may send us to another, by redirect or by the place of an upload.
///
/// https never leads to http. As in Flux, another host may not be an internal address written as such; where a name leads
/// is the connector's business.
pub(crate) fn permit(from: &Origin, to: &Origin, egress: &Checks) -> Result<(), Problem> {
    let host = || from.clone();
    if from.scheme == Scheme::Https && to.scheme == Scheme::Http {
        return Err(Problem::Downgrade { host: host() });
    }
    if from.host != to.host && egress.check_redirect(&to.host).is_err() {
        let (host, target) = (host(), to.host.to_string());
        return Err(Problem::InternalRedirect { host, target });
    }
    Ok(())
}

/// The `Location` of an answer, absolute.
pub(crate) fn location(from: &Link, headers: &HeaderMap) -> Result<Link, Problem> {
    headers
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| from.join(value))
        .ok_or_else(|| Problem::Location {
            host: from.origin.clone(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(url: &str, location: &str) -> Result<String, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().unwrap());
        next(&Link::parse(url).unwrap(), &headers, &Checks::default())
            .map(|link| link.uri.to_string())
    }

    #[test]
    fn redirects_to_other_hosts_are_followed() {
        assert_eq!(
            from("https://r.example/a", "https://cdn.example/b?s=1").unwrap(),
            "https://cdn.example/b?s=1"
        );
        assert!(from("http://r.example/a", "https://cdn.example/b").is_ok());
        assert!(from("http://127.0.0.1:1/a", "http://127.0.0.1:2/b").is_ok());
    }

    #[test]
    fn https_never_leads_to_http() {
        let got = from("https://r.example/a", "http://r.example/a");
        assert!(matches!(got, Err(Problem::Downgrade { .. })), "{got:?}");
    }

    #[test]
    fn another_host_may_not_be_an_internal_literal() {
        for target in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "[::1]",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
            "2130706433",
            "0x7f.1",
            "localhost",
        ] {
            let got = from("https://r.example/a", &format!("https://{target}/b"));
            assert!(
                matches!(got, Err(Problem::InternalRedirect { .. })),
                "{target}: {got:?}"
            );
        }
        assert!(from("https://r.example/a", "https://8.8.8.8/b").is_ok());
    }

    #[test]
    fn a_location_that_is_no_url_is_an_error() {
        for bad in ["", "ftp://a/b", "https://u:p@a/b", "https://"] {
            let headers = HeaderMap::from_iter([(header::LOCATION, bad.parse().unwrap())]);
            let link = Link::parse("https://r.example/a").unwrap();
            assert!(
                matches!(
                    next(&link, &headers, &Checks::default()),
                    Err(Problem::Location { .. })
                ),
                "{bad:?}"
            );
        }
        assert!(
            next(
                &Link::parse("https://r.example/a").unwrap(),
                &HeaderMap::new(),
                &Checks::default()
            )
            .is_err()
        );
    }
}
