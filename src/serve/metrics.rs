// SPDX-License-Identifier: Apache-2.0
//! `/metrics`: what the registry of metrics says, in the `OpenMetrics` text format.

use std::{fmt, sync::Arc};

use http::{Response, StatusCode, request::Parts};

use super::{Body, Handler, response};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes all metrics as text.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers `/metrics`.
#[derive(Clone)]
pub struct MetricsPage {
    render: Render,
}

impl MetricsPage {
    /// A page that calls `render` for each scrape. It must not block.
    pub fn new(render: Render) -> Self {
        Self { render }
    }
}

impl fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsPage")
    }
}

impl Handler for MetricsPage {
    async fn answer(&self, request: &Parts) -> Response<Body> {
        if let Some(refused) = response::refuse_method(&request.method) {
            return refused;
        }
        match request.uri.path() {
            "/metrics" => {
                let body = response::memory((self.render)());
                response::typed(StatusCode::OK, OPEN_METRICS, body)
            }
            _ => response::not_found(),
        }
    }
}
