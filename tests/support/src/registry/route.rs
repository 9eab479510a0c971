// SPDX-License-Identifier: Apache-2.0
//! From a request's path to what it is about.
//!
//! Repository names contain slashes, so a path is read from its end. Source: distribution-spec "Endpoints".

/// A kind of resource that the registry serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v2/`
    Ping,
    /// `/token`, where bearer tokens are given out.
    Token,
    /// `/v2/<name>/manifests/<reference>`
    Manifest,
    /// `/v2/<name>/blobs/<digest>`
    Blob,
    /// `/v2/<name>/blobs/uploads/` and the sessions below it.
    Upload,
    /// `/v2/<name>/tags/list`
    Tags,
    /// `/v2/<name>/referrers/<digest>`
    Referrers,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    /// Empty for [`Endpoint::Ping`] and [`Endpoint::Token`].
    pub(crate) repository: String,
    /// Tag, digest or upload session; empty where there is none.
    pub(crate) reference: String,
}

impl Route {
    /// Reads a path; `None` when the registry has nothing there.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        match path {
            "/v2/" | "/v2" => return Some(Self::new(Endpoint::Ping, "", "")),
            "/token" => return Some(Self::new(Endpoint::Token, "", "")),
            _ => {}
        }
        let path = path.strip_prefix("/v2/")?;
        let route = Self::below_repository(path)?;
        is_name(&route.repository).then_some(route)
    }

    fn below_repository(path: &str) -> Option<Self> {
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return Some(Self::new(Endpoint::Tags, repository, ""));
        }
        let (rest, reference) = path.rsplit_once('/')?;
        let (repository, kind) = rest.rsplit_once('/')?;
        match kind {
            "manifests" => Some(Self::new(Endpoint::Manifest, repository, reference)),
            "blobs" if reference == "uploads" => Some(Self::new(Endpoint::Upload, repository, "")),
            "blobs" => Some(Self::new(Endpoint::Blob, repository, reference)),
            "uploads" => {
                let repository = repository.strip_suffix("/blobs")?;
                Some(Self::new(Endpoint::Upload, repository, reference))
            }
            "referrers" => Some(Self::new(Endpoint::Referrers, repository, reference)),
            _ => None,
        }
    }

    fn new(endpoint: Endpoint, repository: &str, reference: &str) -> Self {
        Self {
            endpoint,
            repository: repository.into(),
            reference: reference.into(),
        }
    }
}

/// The parameters of a query string, decoded, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&');
        let decoded = pairs
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (percent_decode(key), percent_decode(value)));
        Self(decoded.collect())
    }

    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Whether `text` is a tag: at most 128 of letters, digits, `_`, `.`, `-`, not beginning with `.` or `-`.
pub(crate) fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && !text.starts_with(['.', '-'])
        && !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Whether `text` is a repository name: components of lower-case letters and digits with separators between them.
fn is_name(text: &str) -> bool {
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '_', '-'])
            && !part.ends_with(['.', '_', '-'])
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    text.len() <= 255 && text.split('/').all(component)
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let decoded = escaped
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = if decoded.is_some() { &tail[2..] } else { tail };
        bytes.push(decoded.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_from_its_end_because_names_have_slashes() {
        let route = |path| Route::parse(path).map(|r| (r.endpoint, r.repository, r.reference));
        let of = |endpoint, repository: &str, reference: &str| {
            Some((endpoint, repository.to_owned(), reference.to_owned()))
        };
        assert_eq!(route("/v2/"), of(Endpoint::Ping, "", ""));
        assert_eq!(
            route("/v2/a/b/manifests/1"),
            of(Endpoint::Manifest, "a/b", "1")
        );
        assert_eq!(route("/v2/a/blobs/uploads/"), of(Endpoint::Upload, "a", ""));
        assert_eq!(
            route("/v2/a/blobs/uploads/7"),
            of(Endpoint::Upload, "a", "7")
        );
        assert_eq!(
            route("/v2/manifests/tags/list"),
            of(Endpoint::Tags, "manifests", "")
        );
        assert_eq!(route("/v2/A/tags/list"), None);
        assert_eq!(route("/v2/a/../b/manifests/1"), None);
        assert_eq!(route("/"), None);
    }

    #[test]
    fn a_query_is_decoded_and_keeps_repeated_keys() {
        let query = Query::parse(Some("scope=a%3Ab&scope=c+d&n=%zz&flag"));
        assert_eq!(query.all("scope").collect::<Vec<_>>(), ["a:b", "c d"]);
        assert_eq!(query.first("n"), Some("%zz"));
        assert_eq!(query.first("flag"), Some(""));
        assert_eq!(query.first("absent"), None);
    }
}
