//! Whether a request is tried once more: asked at the one moment in which it can be.
//!
//! The rule is in `policy::retry`; here stands what it has to know of the request, and what is counted.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use tokio::time::{Duration, Instant};

use super::context::Context;
use super::request::is_passed_on;
use super::{Proxy, Received, breakers};
use crate::observe::log::UpstreamSent;
use crate::observe::metrics::RetryOutcome;
use crate::policy::failure::Failure;
use crate::policy::retry::{self, Kind, Seen};
use crate::policy::switch::{Policy, Switch};
use crate::route::table::Route;
use crate::timer;

/// By which an application that says so knows a request that comes twice.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What an attempt takes at least: with less time left none is begun.
const LEAST: Duration = Duration::from_millis(1);

/// What is known of a request that might be tried again.
pub(super) struct Repeat<'x> {
    proxy: &'x Proxy,
    route: &'x Route,
    settings: Option<&'x retry::Settings>,
    streams_body: bool,
    has_idempotency_key: bool,
    /// It is carried out once, by a key that is kept here.
    keyed: bool,
}

impl<'x> Repeat<'x> {
    /// Counts the request into the budget of its upstream.
    pub(super) fn new(
        proxy: &'x Proxy,
        route: &'x Route,
        request: &Received,
        headers: &HeaderMap,
        keyed: bool,
    ) -> Self {
        let now = timer::uptime();
        let settings = route.retry.as_ref().filter(|_| route.switches.get(Policy::Retry, || now) != Switch::Off);
        if settings.is_some() {
            route.upstream.retry_budget.deposit(now);
        }
        Repeat {
            proxy,
            route,
            settings,
            streams_body: request.streams_body(),
            has_idempotency_key: route.upstream.settings.honours_idempotency_keys
                && is_passed_on(route, headers, &IDEMPOTENCY_KEY),
            keyed,
        }
    }

    /// Whether an answer with this status may be thrown away for another try.
    pub(super) fn heeds(&self, status: StatusCode) -> bool {
        let failure = Failure::Status(status.as_u16());
        self.settings.is_some_and(|s| s.retry_on.iter().any(|cause| cause.get() == failure))
    }

    /// How long the attempt that begins may take before another is tried instead; none for the last one, and for one that
    /// may do harm twice.
    pub(super) fn per_attempt(&self, cx: &Context) -> Option<Duration> {
        let settings = self.settings.filter(|s| s.per_attempt.is_some() && !self.streams_body)?;
        let honours = self.route.upstream.settings.honours_idempotency_keys;
        let seen = retry::may_repeat(settings, self.method(cx), self.has_idempotency_key, honours, Seen::MaybeSeen);
        settings.per_attempt(cx.tries, seen)
    }

    /// The method by which it is judged. That one may be sent twice by its method does not hold where a key says that it is
    /// sent once.
    fn method<'m>(&self, cx: &'m Context) -> &'m Method {
        if self.keyed && !cx.method.is_safe() { &Method::POST } else { &cx.method }
    }

    /// Asks whether there is another try, and after how long; none: what came of the last one is told the client.
    pub(super) fn again(&self, cx: &Context, kind: Kind, retry_after: Option<Duration>) -> Option<Duration> {
        let settings = self.settings?;
        // A connection that was closed while it waited says nothing of the application, and while we leave it is still
        // ours to make good.
        let harmless = matches!(kind, Kind::Unsent | Kind::Stale);
        let failed = retry::Failed {
            kind,
            seen: if cx.sent == UpstreamSent::None { Seen::Nothing } else { Seen::MaybeSeen },
            method: self.method(cx),
            has_idempotency_key: self.has_idempotency_key,
            upstream_honours_keys: self.route.upstream.settings.honours_idempotency_keys,
            attempt: cx.tries,
            body_at_hand: !self.streams_body || cx.request_bytes == 0,
            body_len: cx.request_bytes,
            // Endpoints that cannot be reached were passed over within the attempt.
            other_endpoint: false,
            retry_after,
            time_left: cx.deadline.saturating_duration_since(Instant::now()),
            expected_least: LEAST,
            draining: !harmless && self.proxy.lifecycle.is_leaving(),
            seed: fastrand::u64(..),
        };
        let again = retry::decide(settings, &failed)?;
        if !harmless && !breakers::are_closed(self.route) {
            return None;
        }
        if again.charged && !self.route.upstream.retry_budget.withdraw(timer::uptime()) {
            self.route.metrics.retried(RetryOutcome::Budget);
            return None;
        }
        Some(again.after)
    }
}
