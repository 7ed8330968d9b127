//! What is counted for each upstream.

use std::sync::OnceLock;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::build;
use super::process::ResultLabel;

pub(super) struct Families {
    duration: HistogramVec,
    attempts: IntCounterVec,
    connections: IntGaugeVec,
    opened: IntCounterVec,
    requests: IntCounterVec,
    resolves: IntCounterVec,
    endpoints: IntGaugeVec,
    unverified: IntGaugeVec,
    endpoints_out: IntGaugeVec,
    ejections: IntCounterVec,
    checks: IntCounterVec,
}

impl Families {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Families {
            duration: build::seconds(
                r,
                "upstream_duration_seconds",
                &["upstream"],
                "What the application took: from an attempt's start to the first byte of its answer. The rest of \
                 outboard_request_duration_seconds is ours and the client's.",
            )?,
            attempts: build::counters(
                r,
                "attempts_total",
                &["upstream", "outcome"],
                "Attempts at an endpoint by how they ended: ok (answered below 500), error (5xx), connect (no \
                 connection), timeout, reset (broke off), client_left, neutral (says nothing of the application).",
            )?,
            connections: build::gauges(
                r,
                "upstream_connections",
                &["upstream", "state"],
                "Connections to the application now: active carries a request, idle waits for the next.",
            )?,
            opened: build::counters(
                r,
                "upstream_connections_opened_total",
                &["upstream"],
                "Connections opened to the application. Near the rate of requests: connections are not reused.",
            )?,
            requests: build::counters(
                r,
                "upstream_requests_total",
                &["upstream", "connection"],
                "Requests sent to the application, on a new connection or a reused one.",
            )?,
            resolves: build::counters(
                r,
                "upstream_resolves_total",
                &["upstream", "result"],
                "Look-ups of an upstream's host names. After failed ones the last good answer is used.",
            )?,
            endpoints: build::gauges(
                r,
                "upstream_endpoints",
                &["upstream"],
                "Addresses that requests can be sent to. 0: every request to this upstream fails.",
            )?,
            unverified: build::gauges(
                r,
                "upstream_tls_unverified",
                &["upstream"],
                "1 where insecure_skip_verify lets anyone answer for the application.",
            )?,
            endpoints_out: build::gauges(
                r,
                "upstream_endpoints_out",
                &["upstream", "cause"],
                "Endpoints that get no requests now: health_check (their checks fail), outlier (attempts at them failed). \
                 The last usable one is never among them.",
            )?,
            ejections: build::counters(
                r,
                "endpoint_ejections_total",
                &["upstream", "cause"],
                "Times that an endpoint was taken out, by what took it out.",
            )?,
            checks: build::counters(
                r,
                "health_checks_total",
                &["upstream", "result"],
                "Active health checks by their result.",
            )?,
        })
    }
}

/// How an attempt at an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AttemptOutcome {
    /// Answered with a status below 500.
    Ok,
    /// Answered with a 5xx.
    Error,
    /// No connection.
    Connect,
    /// No answer, or no more of it, in time.
    Timeout,
    /// Broken off, or an answer that breaks the protocol.
    Reset,
    /// The client left first.
    ClientLeft,
    /// Says nothing of the application: we gave it up for a reason of ours.
    Neutral,
}

impl AttemptOutcome {
    /// What an answer with this status is.
    pub const fn of(status: u16) -> Self {
        if status >= 500 { AttemptOutcome::Error } else { AttemptOutcome::Ok }
    }

    /// Every outcome, in the order of its number.
    pub const ALL: [AttemptOutcome; 7] = [
        AttemptOutcome::Ok,
        AttemptOutcome::Error,
        AttemptOutcome::Connect,
        AttemptOutcome::Timeout,
        AttemptOutcome::Reset,
        AttemptOutcome::ClientLeft,
        AttemptOutcome::Neutral,
    ];

    /// The word in metrics and log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            AttemptOutcome::Ok => "ok",
            AttemptOutcome::Error => "error",
            AttemptOutcome::Connect => "connect",
            AttemptOutcome::Timeout => "timeout",
            AttemptOutcome::Reset => "reset",
            AttemptOutcome::ClientLeft => "client_left",
            AttemptOutcome::Neutral => "neutral",
        }
    }
}

/// What took an endpoint out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OutBy {
    /// Its checks fail.
    HealthCheck,
    /// Attempts at it failed.
    Outlier,
}

/// The words of [`OutBy`], at their numbers.
const CAUSES: [&str; 2] = ["health_check", "outlier"];

/// What the attempts at one upstream count into.
pub struct UpstreamMetrics {
    name: String,
    attempts_family: IntCounterVec,
    attempts: [OnceLock<IntCounter>; AttemptOutcome::ALL.len()],
    duration: Histogram,
    /// Connections that carry a request.
    pub connections_active: IntGauge,
    /// Connections that wait in the pool.
    pub connections_idle: IntGauge,
    /// Connections opened.
    pub connections_opened: IntCounter,
    /// Addresses that requests can be sent to.
    pub endpoints: IntGauge,
    requests_new: IntCounter,
    requests_reused: IntCounter,
    resolves_ok: IntCounter,
    resolves_failed: IntCounter,
    unverified: IntGauge,
    /// By health_check, and by outlier.
    out: [IntGauge; 2],
    ejections: [IntCounter; 2],
    checks_ok: IntCounter,
    checks_failed: IntCounter,
}

impl UpstreamMetrics {
    pub(super) fn new(families: &Families, name: &str) -> Self {
        UpstreamMetrics {
            name: name.to_owned(),
            attempts_family: families.attempts.clone(),
            attempts: Default::default(),
            duration: families.duration.with_label_values(&[name]),
            connections_active: families.connections.with_label_values(&[name, "active"]),
            connections_idle: families.connections.with_label_values(&[name, "idle"]),
            connections_opened: families.opened.with_label_values(&[name]),
            endpoints: families.endpoints.with_label_values(&[name]),
            requests_new: families.requests.with_label_values(&[name, "new"]),
            requests_reused: families.requests.with_label_values(&[name, "reused"]),
            resolves_ok: families.resolves.with_label_values(&[name, ResultLabel::Ok.as_str()]),
            resolves_failed: families.resolves.with_label_values(&[name, ResultLabel::Failed.as_str()]),
            unverified: families.unverified.with_label_values(&[name]),
            out: CAUSES.map(|cause| families.endpoints_out.with_label_values(&[name, cause])),
            ejections: CAUSES.map(|cause| families.ejections.with_label_values(&[name, cause])),
            checks_ok: families.checks.with_label_values(&[name, ResultLabel::Ok.as_str()]),
            checks_failed: families.checks.with_label_values(&[name, ResultLabel::Failed.as_str()]),
        }
    }

    /// Counts an attempt that ended.
    pub fn attempt(&self, outcome: AttemptOutcome) {
        self.attempts[outcome as usize]
            .get_or_init(|| self.attempts_family.with_label_values(&[self.name.as_str(), outcome.as_str()]))
            .inc();
    }

    /// Takes down how long the application took to its answer's first byte.
    pub fn answered_after(&self, seconds: f64) {
        self.duration.observe(seconds);
    }

    /// Counts a request that is sent, on a reused connection or a new one.
    pub fn sent(&self, reused: bool) {
        if reused { &self.requests_reused } else { &self.requests_new }.inc();
    }

    /// Counts a look-up of host names.
    pub fn resolved(&self, result: ResultLabel) {
        match result {
            ResultLabel::Ok => &self.resolves_ok,
            ResultLabel::Failed => &self.resolves_failed,
        }
        .inc();
    }

    /// Counts a health check.
    pub fn checked(&self, result: ResultLabel) {
        match result {
            ResultLabel::Ok => &self.checks_ok,
            ResultLabel::Failed => &self.checks_failed,
        }
        .inc();
    }

    /// Counts that an endpoint was taken out; the gauge in which it stands while it is.
    pub fn taken_out(&self, by: OutBy) -> &IntGauge {
        self.ejections[by as usize].inc();
        &self.out[by as usize]
    }

    /// Says whether certificates of this upstream go unverified.
    pub fn set_tls_unverified(&self, unverified: bool) {
        self.unverified.set(i64::from(unverified));
    }
}
