//! What is counted for each route.

use std::sync::{Arc, OnceLock};

use http::{Method, StatusCode};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::build;
use crate::refusal::Reason;

/// The route's name in the metrics of requests that were refused before they had one.
pub const UNROUTED: &str = "-";

pub(super) struct Families {
    requests: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGaugeVec,
    refusals: IntCounterVec,
    observed: IntCounterVec,
    decisions: IntCounterVec,
    retries: IntCounterVec,
    faults: IntCounterVec,
    switches: IntGaugeVec,
}

impl Families {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Families {
            requests: build::counters(
                r,
                "requests_total",
                &["route", "method", "status"],
                "Requests that were answered, by route, method and class of status; our own refusals included. \
                 Route \"-\": malformed, or no route took it.",
            )?,
            duration: build::seconds(
                r,
                "request_duration_seconds",
                &["route"],
                "What clients waited: from a request's first byte to the last byte of its answer.",
            )?,
            in_flight: build::gauges(
                r,
                "requests_in_flight",
                &["route"],
                "Requests being worked on now. A drain ends when this is 0 on every route.",
            )?,
            refusals: build::counters(
                r,
                "refusals_total",
                &["route", "reason"],
                "Requests that outboard answered itself instead of the application, by reason; the same word stands \
                 in the header x-outboard-reason and in the access log.",
            )?,
            observed: build::counters(
                r,
                "observed_refusals_total",
                &["route", "reason"],
                "Requests that would have been refused if the policy that said so were not in mode observe.",
            )?,
            decisions: build::counters(
                r,
                "rate_limit_decisions_total",
                &["route", "limit", "decision"],
                "What each rate limit decided: allowed, refused, observed (refused, but only observing), skipped (the \
                 request has no such key).",
            )?,
            retries: build::counters(
                r,
                "retries_total",
                &["route", "outcome"],
                "Attempts after the first, by what came of them: ok, failed; budget: not made, the upstream's \
                 retry_budget was used up.",
            )?,
            faults: build::counters(
                r,
                "faults_injected_total",
                &["route", "kind"],
                "Faults on purpose: abort, delay.",
            )?,
            switches: build::gauges(
                r,
                "policy_state",
                &["route", "policy"],
                "What a policy of a route does now, by its mode or by an operator's switch: 0 off, 1 observe, 2 on.",
            )?,
        })
    }
}

/// The method of a request as a label: what HTTP defines, and one word for the rest, since clients choose the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum MethodLabel {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Other,
}

impl MethodLabel {
    const COUNT: usize = 8;

    const fn as_str(self) -> &'static str {
        match self {
            MethodLabel::Get => "GET",
            MethodLabel::Head => "HEAD",
            MethodLabel::Post => "POST",
            MethodLabel::Put => "PUT",
            MethodLabel::Patch => "PATCH",
            MethodLabel::Delete => "DELETE",
            MethodLabel::Options => "OPTIONS",
            MethodLabel::Other => "other",
        }
    }
}

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => MethodLabel::Get,
            Method::HEAD => MethodLabel::Head,
            Method::POST => MethodLabel::Post,
            Method::PUT => MethodLabel::Put,
            Method::PATCH => MethodLabel::Patch,
            Method::DELETE => MethodLabel::Delete,
            Method::OPTIONS => MethodLabel::Options,
            _ => MethodLabel::Other,
        }
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A status outside 100..=599 cannot come from us; an application's 6xx counts as the failure that it is.
fn class(status: StatusCode) -> usize {
    (usize::from(status.as_u16() / 100)).clamp(1, CLASSES.len()) - 1
}

/// What came of an attempt after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RetryOutcome {
    /// It was answered below 500.
    Ok,
    /// It failed as well.
    Failed,
    /// It was not made: the budget was used up.
    Budget,
}

impl RetryOutcome {
    /// Every outcome, in the order of its number.
    pub const ALL: [RetryOutcome; 3] = [RetryOutcome::Ok, RetryOutcome::Failed, RetryOutcome::Budget];

    const fn as_str(self) -> &'static str {
        match self {
            RetryOutcome::Ok => "ok",
            RetryOutcome::Failed => "failed",
            RetryOutcome::Budget => "budget",
        }
    }
}

/// A series that shows only once something was counted: a route has 40 of methods and classes and uses five.
type Lazy = OnceLock<IntCounter>;

/// What the requests of one route count into.
pub struct RouteMetrics {
    name: String,
    requests_family: IntCounterVec,
    refusals_family: IntCounterVec,
    requests: [[Lazy; CLASSES.len()]; MethodLabel::COUNT],
    refusals: [Lazy; Reason::ALL.len()],
    observed_family: IntCounterVec,
    observed: [Lazy; Reason::ALL.len()],
    decisions: IntCounterVec,
    retries_family: IntCounterVec,
    retries: [Lazy; RetryOutcome::ALL.len()],
    faults: IntCounterVec,
    switches: IntGaugeVec,
    duration: Histogram,
    in_flight: IntGauge,
}

impl RouteMetrics {
    pub(super) fn new(families: &Families, name: &str) -> Self {
        RouteMetrics {
            name: name.to_owned(),
            requests_family: families.requests.clone(),
            refusals_family: families.refusals.clone(),
            requests: Default::default(),
            refusals: std::array::from_fn(|_| OnceLock::new()),
            observed_family: families.observed.clone(),
            observed: std::array::from_fn(|_| OnceLock::new()),
            decisions: families.decisions.clone(),
            retries_family: families.retries.clone(),
            retries: Default::default(),
            faults: families.faults.clone(),
            switches: families.switches.clone(),
            duration: families.duration.with_label_values(&[name]),
            in_flight: families.in_flight.with_label_values(&[name]),
        }
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight(self.clone())
    }

    /// Counts a request that was answered: `seconds` from its first byte to the last byte of its answer. For a client
    /// that left before an answer the caller says 499, so that it is not taken for a failure.
    pub fn finish(&self, method: MethodLabel, status: StatusCode, seconds: f64) {
        let class = class(status);
        self.requests[method as usize][class]
            .get_or_init(|| {
                self.requests_family.with_label_values(&[self.name.as_str(), method.as_str(), CLASSES[class]])
            })
            .inc();
        self.duration.observe(seconds);
    }

    /// Counts a refusal; beside [`RouteMetrics::finish`], which counts its answer.
    pub fn refused(&self, reason: Reason) {
        self.refusals[reason.index()]
            .get_or_init(|| self.refusals_family.with_label_values(&[self.name.as_str(), reason.as_str()]))
            .inc();
    }

    /// Counts a refusal that a policy decided on while it only observes.
    pub fn observed(&self, reason: Reason) {
        self.observed[reason.index()]
            .get_or_init(|| self.observed_family.with_label_values(&[self.name.as_str(), reason.as_str()]))
            .inc();
    }

    /// The counter of a decision of one of the route's limits; to be kept, not looked up for each request.
    pub fn decision(&self, limit: &str, decision: &str) -> IntCounter {
        self.decisions.with_label_values(&[self.name.as_str(), limit, decision])
    }

    /// Counts an attempt after the first.
    pub fn retried(&self, outcome: RetryOutcome) {
        self.retries[outcome as usize]
            .get_or_init(|| self.retries_family.with_label_values(&[self.name.as_str(), outcome.as_str()]))
            .inc();
    }

    /// Counts a fault on purpose: `abort` or `delay`.
    pub fn fault(&self, kind: &str) {
        self.faults.with_label_values(&[self.name.as_str(), kind]).inc();
    }

    /// Shows what a policy does: 0 off, 1 observe, 2 on.
    pub fn set_policy_state(&self, policy: &str, does: i64) {
        self.switches.with_label_values(&[self.name.as_str(), policy]).set(does);
    }

    /// Requests being worked on now.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }
}

/// One request in flight; dropping it ends that, however the request ended.
pub struct InFlight(Arc<RouteMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
