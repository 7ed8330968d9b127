//! What outboard answers itself: a refusal has a reason, and a reason has one status, one sentence, one metric label.
//!
//! A refusal travels by `?` from any phase of a request to the one place that answers it.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode};

/// Why a request was not answered by the application. The words are stable: clients, dashboards and alerts use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// No route takes this request.
    NoRoute,
    /// A route takes the path, but not with this method.
    MethodNotAllowed,
    /// The request breaks the protocol, or could be read in two ways.
    BadRequest,
    /// The head is larger than limits.max_request_headers.
    HeaderTooLarge,
    /// The target is longer than a head may be.
    UriTooLong,
    /// The body is larger than max_request_body.
    BodyTooLarge,
    /// A method or transfer coding that outboard does not speak.
    NotImplemented,
    /// A version of HTTP that outboard does not speak.
    VersionNotSupported,
    /// The client was too slow to send its request.
    RequestTimeout,
    /// A limit of requests in a time is used up.
    RateLimited,
    /// The route has as many requests in work as it may have.
    BulkheadFull,
    /// Too many requests wait for the application already.
    QueueFull,
    /// The application was not free in time.
    QueueTimeout,
    /// The application failed too often: it is left alone for a while.
    BreakerOpen,
    /// A fault that the configuration asks for.
    FaultInjected,
    /// No connection to the application.
    UpstreamConnect,
    /// The application did not answer in time.
    UpstreamTimeout,
    /// The application broke the connection, or its answer breaks the protocol.
    UpstreamReset,
    /// It must have an idempotency key, and has none.
    IdempotencyKeyMissing,
    /// Its idempotency key is none.
    IdempotencyKeyMalformed,
    /// It does not say whose its idempotency key is.
    IdempotencyOwnerMissing,
    /// The first request with its idempotency key is still at work.
    IdempotencyInFlight,
    /// The first request with its idempotency key was another one.
    IdempotencyMismatch,
    /// Nobody knows whether the first request with its idempotency key was carried out.
    IdempotencyUnknown,
    /// The first request with its idempotency key was carried out, but its answer is not kept.
    IdempotencyNotKept,
    /// The first request with its idempotency key came with another credential.
    IdempotencyCredentialChanged,
    /// It cannot be written down that it is sent.
    IdempotencyStore,
    /// Another request's fetch of the same thing took too long.
    CoalesceTimeout,
    /// It wants an answer from the cache alone, and there is none.
    OnlyIfCached,
    /// The client left before its answer. Never sent, only counted and logged.
    ClientLeft,
    /// outboard itself is short of memory or places.
    Overloaded,
    /// outboard is leaving and the request would not end in time.
    Draining,
    /// A defect of outboard.
    Internal,
}

impl Reason {
    /// Every reason, in the order of [`Reason::index`].
    pub const ALL: [Reason; 33] = [
        Reason::NoRoute,
        Reason::MethodNotAllowed,
        Reason::BadRequest,
        Reason::HeaderTooLarge,
        Reason::UriTooLong,
        Reason::BodyTooLarge,
        Reason::NotImplemented,
        Reason::VersionNotSupported,
        Reason::RequestTimeout,
        Reason::RateLimited,
        Reason::BulkheadFull,
        Reason::QueueFull,
        Reason::QueueTimeout,
        Reason::BreakerOpen,
        Reason::FaultInjected,
        Reason::UpstreamConnect,
        Reason::UpstreamTimeout,
        Reason::UpstreamReset,
        Reason::IdempotencyKeyMissing,
        Reason::IdempotencyKeyMalformed,
        Reason::IdempotencyOwnerMissing,
        Reason::IdempotencyInFlight,
        Reason::IdempotencyMismatch,
        Reason::IdempotencyUnknown,
        Reason::IdempotencyNotKept,
        Reason::IdempotencyCredentialChanged,
        Reason::IdempotencyStore,
        Reason::CoalesceTimeout,
        Reason::OnlyIfCached,
        Reason::ClientLeft,
        Reason::Overloaded,
        Reason::Draining,
        Reason::Internal,
    ];

    /// The position in [`Reason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word in the header `x-outboard-reason`, in metrics and in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::NoRoute => "no_route",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::BadRequest => "bad_request",
            Reason::HeaderTooLarge => "header_too_large",
            Reason::UriTooLong => "uri_too_long",
            Reason::BodyTooLarge => "body_too_large",
            Reason::NotImplemented => "not_implemented",
            Reason::VersionNotSupported => "version_not_supported",
            Reason::RequestTimeout => "request_timeout",
            Reason::RateLimited => "rate_limited",
            Reason::BulkheadFull => "bulkhead_full",
            Reason::QueueFull => "queue_full",
            Reason::QueueTimeout => "queue_timeout",
            Reason::BreakerOpen => "breaker_open",
            Reason::FaultInjected => "fault_injected",
            Reason::UpstreamConnect => "upstream_connect",
            Reason::UpstreamTimeout => "upstream_timeout",
            Reason::UpstreamReset => "upstream_reset",
            Reason::IdempotencyKeyMissing => "idempotency_key_missing",
            Reason::IdempotencyKeyMalformed => "idempotency_key_malformed",
            Reason::IdempotencyOwnerMissing => "idempotency_owner_missing",
            Reason::IdempotencyInFlight => "idempotency_in_flight",
            Reason::IdempotencyMismatch => "idempotency_mismatch",
            Reason::IdempotencyUnknown => "idempotency_unknown",
            Reason::IdempotencyNotKept => "idempotency_not_kept",
            Reason::IdempotencyCredentialChanged => "idempotency_credential_changed",
            Reason::IdempotencyStore => "idempotency_store",
            Reason::CoalesceTimeout => "coalesce_timeout",
            Reason::OnlyIfCached => "only_if_cached",
            Reason::ClientLeft => "client_left",
            Reason::Overloaded => "overloaded",
            Reason::Draining => "draining",
            Reason::Internal => "internal",
        }
    }

    /// A refusal for this reason; `detail` says what exactly.
    pub fn into_refusal(self, detail: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(self, detail)
    }

    /// The status it is answered with; a fault has the one that the configuration says ([`Refusal::status`]).
    pub const fn status(self) -> StatusCode {
        match self {
            Reason::NoRoute => StatusCode::NOT_FOUND,
            Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Reason::BadRequest
            | Reason::IdempotencyKeyMissing
            | Reason::IdempotencyKeyMalformed
            | Reason::IdempotencyOwnerMissing => StatusCode::BAD_REQUEST,
            // As the IETF's draft has it.
            Reason::IdempotencyInFlight
            | Reason::IdempotencyUnknown
            | Reason::IdempotencyNotKept
            | Reason::IdempotencyCredentialChanged => StatusCode::CONFLICT,
            Reason::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Reason::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::UriTooLong => StatusCode::URI_TOO_LONG,
            Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Reason::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Reason::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Reason::UpstreamConnect | Reason::UpstreamReset => StatusCode::BAD_GATEWAY,
            Reason::UpstreamTimeout | Reason::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Reason::BulkheadFull
            | Reason::QueueFull
            | Reason::QueueTimeout
            | Reason::BreakerOpen
            | Reason::FaultInjected
            | Reason::CoalesceTimeout
            | Reason::IdempotencyStore
            | Reason::Overloaded
            | Reason::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Reason::ClientLeft | Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence for a person: the `title` of the problem.
    pub const fn title(self) -> &'static str {
        match self {
            Reason::NoRoute => "no route takes this request",
            Reason::MethodNotAllowed => "no route takes this path with this method",
            Reason::BadRequest => "the request is malformed",
            Reason::HeaderTooLarge => "the request's head is too large",
            Reason::UriTooLong => "the request's target is too long",
            Reason::BodyTooLarge => "the request's body is too large",
            Reason::NotImplemented => "the method or transfer coding is not supported",
            Reason::VersionNotSupported => "the version of HTTP is not supported",
            Reason::RequestTimeout => "the request did not arrive in time",
            Reason::RateLimited => "too many requests",
            Reason::BulkheadFull => "too many requests of this kind are in work",
            Reason::QueueFull => "too many requests wait already",
            Reason::QueueTimeout => "the application was not free in time",
            Reason::BreakerOpen => "the application failed too often",
            Reason::FaultInjected => "a fault that was asked for",
            Reason::UpstreamConnect => "the application cannot be reached",
            Reason::UpstreamTimeout => "the application did not answer in time",
            Reason::UpstreamReset => "the application broke off",
            Reason::IdempotencyKeyMissing => "the request must have an idempotency key",
            Reason::IdempotencyKeyMalformed => "the idempotency key is malformed",
            Reason::IdempotencyOwnerMissing => "the request does not say whose its idempotency key is",
            Reason::IdempotencyInFlight => "the first request with this idempotency key is still in work",
            Reason::IdempotencyMismatch => "this idempotency key was used for another request",
            Reason::IdempotencyUnknown => {
                "whether the first request with this idempotency key was carried out is not known"
            }
            Reason::IdempotencyNotKept => {
                "the first request with this idempotency key was carried out, its answer is not kept"
            }
            Reason::IdempotencyCredentialChanged => "this idempotency key was used with another credential",
            Reason::IdempotencyStore => "idempotency keys cannot be kept now",
            Reason::CoalesceTimeout => "another request for the same took too long",
            Reason::OnlyIfCached => "it is not in the cache",
            Reason::ClientLeft => "the client left",
            Reason::Overloaded => "the proxy is overloaded",
            Reason::Draining => "the proxy is shutting down",
            Reason::Internal => "the proxy failed",
        }
    }
}

/// A reason, and what is worth saying beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What exactly, for the client: nothing internal, nothing of the request's content.
    pub detail: Cow<'static, str>,
    /// Header fields that its answer carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The status of a fault.
    fault: Option<StatusCode>,
}

impl Refusal {
    /// A refusal for this reason; `detail` says what exactly.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal { reason, detail: detail.into(), headers: Vec::new(), fault: None }
    }

    /// A fault that is answered with this status.
    pub fn fault(status: StatusCode) -> Self {
        Refusal { fault: Some(status), ..Refusal::from(Reason::FaultInjected) }
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.fault.unwrap_or(self.reason.status())
    }

    /// The same, with a Retry-After: whole seconds, rounded up, at least one.
    pub fn retry_after(self, after: std::time::Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with_header(http::header::RETRY_AFTER, &seconds.max(1).to_string())
    }

    /// The same, with a header field on its answer.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal::new(reason, "")
    }
}

impl Refusal {
    /// The body: `application/problem+json` (RFC 9457) with a stable type and the request's id.
    pub fn problem(&self, request_id: &str) -> Vec<u8> {
        let mut problem = serde_json::json!({
            "type": format!("urn:outboard:{}", self.reason.as_str().replace('_', "-")),
            "title": self.reason.title(),
            "status": self.status().as_u16(),
            "reason": self.reason.as_str(),
            "request_id": request_id,
        });
        if !self.detail.is_empty() {
            problem["detail"] = self.detail.as_ref().into();
        }
        problem.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index_and_has_its_own_word() {
        let mut words = std::collections::HashSet::new();
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), i);
            assert!(words.insert(reason.as_str()));
            assert!(reason.status().as_u16() >= 400);
        }
    }

    #[test]
    fn a_problem_names_its_type_and_its_request() {
        let body = Refusal::new(Reason::BodyTooLarge, "at most 10MiB").problem("abc");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["type"], "urn:outboard:body-too-large");
        assert_eq!(json["status"], 413);
        assert_eq!(json["request_id"], "abc");
        assert_eq!(json["detail"], "at most 10MiB");
    }
}
