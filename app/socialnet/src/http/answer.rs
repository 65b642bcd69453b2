//! Answers: which status an error has, and how it is said.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use sigmaos::{Code, Error};
use std::convert::Infallible;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of a large answer that are written at a time.
const PIECE: usize = 64 << 10;

/// The status of an error.
pub(super) fn status(error: &Error) -> StatusCode {
    match error.code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Exists => StatusCode::CONFLICT,
        Code::Denied => StatusCode::UNAUTHORIZED,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Deadline => StatusCode::GATEWAY_TIMEOUT,
        Code::Unreachable | Code::Busy | Code::Quota | Code::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error as plain text.
#[derive(Debug)]
pub(super) struct Plain(Error);

impl From<Error> for Plain {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Plain {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            // Without logins nobody but a system behind the services can deny anything.
            Code::Denied => StatusCode::SERVICE_UNAVAILABLE,
            _ => status(&self.0),
        };
        (status, format!("{}\n", self.0)).into_response()
    }
}

/// An error as JSON: `{"error": "…"}`.
#[derive(Debug)]
pub(super) struct Object(Error);

impl From<Error> for Object {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Object {
    fn into_response(self) -> Response {
        (status(&self.0), json(&json!({ "error": self.0.message }))).into_response()
    }
}

/// A value as JSON.
pub(super) fn json(value: &serde_json::Value) -> Response {
    bytes("application/json", value.to_string())
}

/// Posts as a list of JSON. They are JSON already.
pub(super) fn posts(posts: &[u8]) -> Response {
    let mut list = Vec::with_capacity(posts.len() + 2);
    list.push(b'[');
    list.extend_from_slice(posts);
    list.push(b']');
    bytes("application/json", list)
}

/// Many bytes of a type, which keep their place in memory until the client has taken the last of them.
pub(super) fn in_pieces(kind: &'static str, whole: Bytes, place: OwnedSemaphorePermit) -> Response {
    let length = whole.len();
    let pieces = stream::unfold((whole, place), |(mut rest, place)| async move {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (rest, place)))
    });
    let mut response = bytes(kind, Bytes::new());
    *response.body_mut() = Body::from_stream(pieces);
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

/// Bytes of a type, which browsers are not to guess.
pub(super) fn bytes(kind: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = bytes.into().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
