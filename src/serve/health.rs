// SPDX-License-Identifier: Apache-2.0
//! `/healthz` and `/readyz`: that the process lives and answers. Whether it may be sent requests for artifacts is said by
//! `/` of the artifact server, as in Flux (contract 8.3).

use http::{Response, StatusCode, request::Parts};

use super::{Body, Handler, response};

/// Answers 200 on the health paths for as long as the process runs.
#[derive(Clone, Copy, Debug)]
pub struct Health;

impl Handler for Health {
    async fn answer(&self, request: &Parts) -> Response<Body> {
        if let Some(refused) = response::refuse_method(&request.method) {
            return refused;
        }
        match request.uri.path() {
            "/healthz" | "/healthz/" | "/healthz/ping" | "/readyz" | "/readyz/"
            | "/readyz/ping" => response::text(StatusCode::OK, "ok"),
            _ => response::not_found(),
        }
    }
}
