// SPDX-License-Identifier: Apache-2.0
//! Which flag helps when a registry could not be used.
//!
//! Pure: the chain of causes goes in, a line for the person at the command line comes out. The library's own messages know
//! no flags. A controller never gives this advice: its sources have fields instead.

use std::error::Error;

use wharf_oci::registry::{self, ErrorKind};

/// What to do about it, if a flag or a login may help.
pub(super) fn on(failure: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut causes = std::iter::successors(Some(failure), |cause| (**cause).source());
    causes
        .find_map(|cause| cause.downcast_ref::<registry::Error>())
        .and_then(on_registry)
}

fn on_registry(error: &registry::Error) -> Option<&'static str> {
    if error.is_about_trust() {
        return Some(
            "--ca-file trusts further certificates for this registry, --insecure-skip-tls-verify trusts whoever answers",
        );
    }
    if error.is_about_plain_http() {
        return Some("--insecure allows plain HTTP");
    }
    match error.kind() {
        ErrorKind::Unauthorized => Some(
            "log in with docker login or podman login, or give --username and --password-stdin; many registries answer the \
             same where there is no such repository",
        ),
        ErrorKind::Forbidden => Some(
            "who asks may not do this: log in as somebody who may with docker login or podman login, or give --username and \
             --password-stdin",
        ),
        ErrorKind::EgressDenied => Some(
            "--egress-allow opens an address; --help says under Egress what else may be reached",
        ),
        _ => None,
    }
}
