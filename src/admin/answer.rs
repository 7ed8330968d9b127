//! The shapes of answers: JSON, text, problems, the dashboard's page.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

pub(super) type Answer = Response<Full<Bytes>>;

const SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

pub(super) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(SNIFF, HeaderValue::from_static("nosniff"));
    answer
}

pub(super) fn json(status: StatusCode, body: &Value) -> Answer {
    text(status, "application/json", body.to_string())
}

/// An error, as RFC 9457 has it. `word` is stable.
pub(super) fn problem(status: StatusCode, word: &str, detail: &str) -> Answer {
    problem_with(status, word, detail, None)
}

/// An error with a list of what is wrong.
pub(super) fn problem_with(status: StatusCode, word: &str, detail: &str, errors: Option<Vec<String>>) -> Answer {
    let mut body = json!({
        "type": format!("urn:outboard:admin:{word}"),
        "title": word.replace('-', " "),
        "status": status.as_u16(),
        "detail": detail,
    });
    if let Some(errors) = errors {
        body["errors"] = errors.into();
    }
    let mut answer = text(status, "application/problem+json", body.to_string());
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

pub(super) fn wrong_method(allow: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", &format!("expected {allow}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// The page holds no data: it asks for it with the token that the reader brings.
pub(super) fn dashboard() -> Answer {
    let mut random = [0u8; 16];
    if getrandom::fill(&mut random).is_err() {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "no-randomness", "cannot make a nonce for the page");
    }
    let nonce = format!("{:032x}", u128::from_be_bytes(random));
    let page = include_str!("dashboard.html").replace("{nonce}", &nonce);
    let mut answer = text(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = answer.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert("content-security-policy", policy);
    }
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    answer
}
