// SPDX-License-Identifier: Apache-2.0
//! The small answers that all servers share.

use std::io;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

/// The body of an answer: text in memory, or a file read piece by piece.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is in memory.
pub(super) fn memory(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// An answer of a few words. Browsers are told not to guess what it is.
pub(super) fn text(status: StatusCode, words: impl Into<Bytes>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", memory(words))
}

/// An answer with a content type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 404.
pub(super) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found\n")
}

/// 503: the client should ask again.
pub(super) fn unavailable(words: &'static str) -> Response<Body> {
    text(StatusCode::SERVICE_UNAVAILABLE, words)
}

/// 405 when the method is neither GET nor HEAD.
pub(super) fn refuse_method(method: &Method) -> Option<Response<Body>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}
