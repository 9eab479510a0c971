// SPDX-License-Identifier: Apache-2.0
//! Answers: whole in memory, with the error envelope of distribution-spec "Error Codes".

use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// An answer whose body is known.
pub(crate) type Reply = Response<Bytes>;

/// Why the registry refuses a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the operation is unsupported";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let errors = json!({"errors": [{"code": refusal.code, "message": refusal.message}]});
        json(refusal.status, "application/json", &errors)
    }
}

pub(crate) fn empty(status: StatusCode) -> Reply {
    bytes(status, Bytes::new())
}

pub(crate) fn json(status: StatusCode, media_type: &str, value: &Value) -> Reply {
    bytes(status, value.to_string().into()).with(header::CONTENT_TYPE, media_type)
}

pub(crate) fn bytes(status: StatusCode, body: Bytes) -> Reply {
    let length = body.len();
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.with(header::CONTENT_LENGTH, length)
}

/// Setting headers from values that are text once printed.
pub(crate) trait With: Sized {
    fn with(self, name: HeaderName, value: impl Display) -> Self;
}

impl With for Reply {
    fn with(mut self, name: HeaderName, value: impl Display) -> Self {
        let value = HeaderValue::try_from(value.to_string()).expect("a header value is printable");
        self.headers_mut().insert(name, value);
        self
    }
}

/// `Docker-Content-Digest`
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
