// SPDX-License-Identifier: Apache-2.0
//! One request, read whole and understood, and the honest answer to it.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::reply::{self, Refusal, Reply};
use super::route::{Endpoint, Query, Route};
use super::store::Store;
use super::{discovery, pull, push};

/// A request with its body.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) route: Route,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The digest of the certificate that the client showed.
    pub(crate) certificate: Option<String>,
    pub(crate) features: Features,
}

/// What this registry can do; real ones differ in these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// Serves ranges of blobs.
    pub(crate) ranges: bool,
    /// Has the referrers API.
    pub(crate) referrers: bool,
    /// Lists at most so many tags at a time.
    pub(crate) tag_page: usize,
    /// Wants at least so many bytes in a chunk of an upload, but for the last.
    pub(crate) least_chunk: usize,
    /// Takes no larger body.
    pub(crate) largest_body: usize,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            ranges: true,
            referrers: true,
            tag_page: usize::MAX,
            least_chunk: 0,
            largest_body: usize::MAX,
        }
    }
}

impl Call {
    /// What an honest registry answers. Tokens are given out elsewhere.
    pub(crate) fn answer(&self, store: &mut Store) -> Reply {
        let answer = match self.route.endpoint {
            Endpoint::Ping => Ok(reply::json(
                StatusCode::OK,
                "application/json",
                &serde_json::json!({}),
            )),
            Endpoint::Token => Err(Refusal::method_not_allowed()),
            Endpoint::Manifest => pull::manifest(self, store),
            Endpoint::Blob => pull::blob(self, store),
            Endpoint::Upload => push::upload(self, store),
            Endpoint::Tags => discovery::tags(self, store),
            Endpoint::Referrers => discovery::referrers(self, store),
        };
        answer.unwrap_or_else(Reply::from)
    }
}
