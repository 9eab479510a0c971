// SPDX-License-Identifier: Apache-2.0
//! Who asks, and how that is proved to a registry.
//!
//! [`Credentials`] enter from a Docker configuration, Argo CD's Secrets or the command line and know where they came
//! from; a [`challenge`] of the registry becomes a [`demand`], and that a [`grants::Grant`], with the help of the
//! [`token`] service where the registry names one. [`grants`] keeps it, and `authorize` puts it on requests to that
//! registry only. Nothing here can be printed with its secret.

pub(crate) mod argocd;
pub(crate) mod challenge;
mod credentials;
pub(crate) mod demand;
mod docker_config;
mod docker_entry;
pub(crate) mod grants;
mod helper;
mod identity;
mod scope;
pub(crate) mod scrub;
pub(crate) mod token;
mod token_answer;

use http::HeaderValue;

use super::problem::Problem;

pub use argocd::{ArgoAccess, ArgoCd, ArgoCdError};
pub use credentials::{Credentials, Secret};
pub use docker_config::{DockerConfig, DockerConfigError};
pub use helper::{Helper, HelperName, HelperNameError};
pub(crate) use identity::Identity;
pub(crate) use scope::{Extra, Scope};

/// A header value that no log shows. Fails if the text cannot stand in a header.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Problem::Header("the credentials cannot be sent in an HTTP header"))?;
    value.set_sensitive(true);
    Ok(value)
}
