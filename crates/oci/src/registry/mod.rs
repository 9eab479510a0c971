// SPDX-License-Identifier: Apache-2.0
//! The registry client.
//!
//! What it is: a [`Client`] (one per process) makes a [`Session`] per repository and credential; a session resolves,
//! reads manifests, lists tags and referrers, downloads blobs into files and pushes. Source: OCI distribution-spec 1.1.
//!
//! What it is not: it opens no archive, verifies no signature and reads no Kubernetes object.
//!
//! How data flows: an operation of a session is asked of its mirrors and then of the registry (`mirrors`), of each until
//! the attempts are used up (`retry`). Each request, whatever host it goes to (registry, mirror, token service, redirect
//! target, storage), passes `request`, where it gets its authorisation and follows redirects; then the gate of its host
//! (`flow`); then one hyper client over the one `connector`, which checks the address that it dials. Bytes leave only
//! through `body`, under a cap and a deadline, and are proved against a digest before they are called a manifest or a blob.
//!
//! ```text
//! session -> mirrors -> manifests, tags, referrers, download; push goes past the mirrors
//!                            |
//!                          retry -> request -> authorize -> auth (challenge, token)
//!                                      |                     |
//!                                      +------> wire <-------+ -> flow, connector (egress, proxy, tls) -> socket
//! ```
//!
//! Where to look:
//!
//! | for | modules |
//! | --- | --- |
//! | settings and what is shared | `client`, `access`, `hosts` |
//! | the operations | `session` (the public face), `manifests`, `tags`, `referrers`, `download`, `push` |
//! | parts of the operations | `tag_page` (the JSON of tags), `paging` (`Link` headers), `range` (going on with a blob) |
//! | whom to ask, and how often | `mirrors`, `retry` |
//! | one request | `request`, `redirect`, `authorize`, `auth`, `scheme` (HTTPS or plain HTTP), `origin` (URLs) |
//! | one exchange over HTTP | `wire`, `flow` (rates, places, pauses), `body` |
//! | one connection | `connector`, `egress`, `proxy`, `tls`, `stream` |
//! | what goes wrong | `problem` (in one request), `error` (in an operation: what a user sees) |

mod access;
mod auth;
mod authorize;
mod body;
mod client;
mod connector;
mod download;
mod egress;
mod error;
mod flow;
mod hosts;
mod manifests;
mod mirrors;
mod origin;
mod paging;
mod problem;
mod proxy;
mod push;
mod range;
mod redirect;
mod referrers;
mod request;
mod retry;
mod scheme;
mod session;
mod stream;
mod tag_page;
mod tags;
mod tls;
mod wire;

pub use access::{Access, ProxyChoice, Transport};
pub use auth::{
    ArgoAccess, ArgoCd, ArgoCdError, Credentials, DockerConfig, DockerConfigError, Helper,
    HelperName, HelperNameError, Secret,
};
pub use client::{Client, Limits, Options, Timeouts};
pub use egress::{
    Dials, Egress, HostPattern, HostPatternError, Network, NetworkError, RealmPair, RealmPairError,
    Refusal, StrictEgress,
};
pub use error::{Error, ErrorKind, Retry};
pub use flow::{HostStatus, RateLimit, Stats};
pub use hosts::{Host, HostLimits, Hosts, Mirror, MirrorError, Rate, RateError};
pub use manifests::{Document, Image, Target};
pub use mirrors::MirrorStatus;
pub use proxy::{Proxy, ProxyError, ProxyRules, ProxyRulesError};
pub use push::{BlobPushed, Content, Listed, PushOptions, PushedReferrer};
pub use referrers::{Referrers, ReferrersApi, ReferrersOrigin};
pub use retry::RetryPolicy;
pub use session::Session;
pub use tags::{TagPage, Tags};
pub use tls::{Tls, TlsError};
