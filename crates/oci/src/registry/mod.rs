// SPDX-License-Identifier: Apache-2.0
//! The registry client.
//!
//! What it is: a [`Client`] (one per process) makes a [`Session`] per repository and credential; a session resolves,
//! reads manifests, downloads blobs into files and pushes. Source: OCI distribution-spec 1.1.
//!
//! What it is not: it opens no archive, verifies no signature and reads no Kubernetes object.
//!
//! How data flows: every request, whatever host it goes to (registry, token service, redirect target), passes
//! `request` (authorisation, redirects), then one hyper client, then the one `connector`, which checks the address that
//! it dials. Bytes leave only through `body`, under a cap and a deadline, and are proved against a digest before they
//! are called a manifest or a blob.
//!
//! ```text
//! session, download, push --> request --> auth (challenge, token)
//!                                |            |
//!                                +--> wire <--+ --> connector (egress, tls) --> socket
//! ```

mod access;
mod auth;
mod authorize;
mod body;
mod client;
mod connector;
mod download;
mod egress;
mod error;
mod hosts;
mod manifests;
mod origin;
mod problem;
mod proxy;
mod push;
mod redirect;
mod request;
mod retry;
mod scheme;
mod session;
mod tls;
mod wire;

pub use access::{Access, Transport};
pub use auth::{
    ArgoAccess, ArgoCd, ArgoCdError, Credentials, DockerConfig, DockerConfigError, Helper,
    HelperName, HelperNameError, Secret,
};
pub use client::{Client, Limits, Options, Timeouts};
pub use egress::{Egress, Network, NetworkError, Refusal};
pub use error::{Error, ErrorKind, Retry};
pub use hosts::{Host, HostLimits, Hosts, Mirror, Rate};
pub use manifests::{Document, Image, Target};
pub use proxy::{Proxy, ProxyError};
pub use push::Content;
pub use retry::RetryPolicy;
pub use session::Session;
pub use tls::{Tls, TlsError};
