//! What the sample application answers: JSON, with a status that says what happened.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::demo::Error;

/// A good answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    /// 200.
    pub(super) fn ok(body: Value) -> Self {
        Answer { status: StatusCode::OK, body }
    }

    /// 201.
    pub(super) fn created(body: Value) -> Self {
        Answer { status: StatusCode::CREATED, body }
    }
}

/// A bad one. The code is for programs, the message for people.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// For 405.
    pub(super) allow: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Problem { status, code, message: message.into(), allow: None }
    }

    /// 400: it cannot be read.
    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 404.
    pub(super) fn missing(what: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("no {what} {id:?}"))
    }

    /// 409: the payment is in a state that does not allow it.
    pub(super) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 422: it can be read, and is wrong.
    pub(super) fn wrong(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    }
}

/// The response for either.
pub(super) fn respond(result: Result<Answer, Problem>) -> Response<Full<Bytes>> {
    let (status, body, allow) = match result {
        Ok(answer) => (answer.status, answer.body, None),
        Err(p) => (p.status, json!({ "error": { "code": p.code, "message": p.message } }), p.allow),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(methods) = allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    response
}
