//! What idempotency keys count.

use std::sync::{Arc, OnceLock};

use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::build;

/// What became of a request with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyedResult {
    /// The first of its key: it went to the application.
    First,
    /// It got the answer of the first.
    Replayed,
    /// The first was at work for longer than it could wait.
    InFlight,
    /// Its payload is not that of the first.
    Mismatch,
    /// Its credential is not that of the first.
    CredentialChanged,
    /// Nobody knows how the first ended.
    Unknown,
    /// The first was carried out, and its answer is not kept.
    NotKept,
    /// It has no key, and must have one.
    Missing,
    /// Its key, or its owner, is none.
    Malformed,
    /// The records cannot be written, or there are too many.
    Store,
}

impl KeyedResult {
    const COUNT: usize = 10;

    const fn as_str(self) -> &'static str {
        match self {
            KeyedResult::First => "first",
            KeyedResult::Replayed => "replayed",
            KeyedResult::InFlight => "in_flight",
            KeyedResult::Mismatch => "mismatch",
            KeyedResult::CredentialChanged => "credential_changed",
            KeyedResult::Unknown => "unknown",
            KeyedResult::NotKept => "not_kept",
            KeyedResult::Missing => "missing",
            KeyedResult::Malformed => "malformed",
            KeyedResult::Store => "store",
        }
    }
}

/// What became of the record of a request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum KeyedEnd {
    Kept,
    NotKept,
    Released,
    Unknown,
}

impl KeyedEnd {
    const COUNT: usize = 4;

    /// The word in metrics and log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyedEnd::Kept => "kept",
            KeyedEnd::NotKept => "not_kept",
            KeyedEnd::Released => "released",
            KeyedEnd::Unknown => "unknown",
        }
    }
}

/// The keyed requests of one route.
pub struct RouteKeys {
    name: String,
    requests: IntCounterVec,
    outcomes: IntCounterVec,
    results: [OnceLock<IntCounter>; KeyedResult::COUNT],
    ends: [OnceLock<IntCounter>; KeyedEnd::COUNT],
    sent: Histogram,
    done: Histogram,
}

impl RouteKeys {
    /// Counts a request.
    pub fn count(&self, result: KeyedResult) {
        let make = || self.requests.with_label_values(&[self.name.as_str(), result.as_str()]);
        self.results[result as usize].get_or_init(make).inc();
    }

    /// Counts how a request that was sent has ended.
    pub fn ended(&self, end: KeyedEnd) {
        let make = || self.outcomes.with_label_values(&[self.name.as_str(), end.as_str()]);
        self.ends[end as usize].get_or_init(make).inc();
    }

    /// So many seconds a request waited until it was written down that it is sent.
    pub fn sent_after(&self, seconds: f64) {
        self.sent.observe(seconds);
    }

    /// So many seconds its answer waited until it was kept.
    pub fn kept_after(&self, seconds: f64) {
        self.done.observe(seconds);
    }
}

/// What the idempotency records of the process count.
pub struct KeyMetrics {
    requests: IntCounterVec,
    outcomes: IntCounterVec,
    steps: HistogramVec,
    /// Records, by store and state.
    pub records: IntGaugeVec,
    /// How long ago the oldest request of unknown outcome was sent.
    pub oldest_unknown: Gauge,
    /// Whether a store can be written.
    pub store_up: IntGaugeVec,
}

impl KeyMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(KeyMetrics {
            requests: build::counters(
                r,
                "idempotency_requests_total",
                &["route", "result"],
                "Requests of routes with idempotency: first (went to the application), replayed, and why others were refused: \
                 in_flight, mismatch, credential_changed, unknown, not_kept, missing, malformed, store.",
            )?,
            outcomes: build::counters(
                r,
                "idempotency_outcomes_total",
                &["route", "outcome"],
                "Keyed requests that were sent, by what became of their record: kept, not_kept (carried out, the answer too \
                 long), released (not carried out), unknown.",
            )?,
            steps: build::seconds(
                r,
                "idempotency_step_seconds",
                &["route", "step"],
                "How long a keyed request waited for its record to be durable: sent (before its first byte), done (before its \
                 answer's).",
            )?,
            records: build::gauges(
                r,
                "idempotency_records",
                &["store", "state"],
                "Idempotency records: reserved, sent, done, unknown. Unknown ones are refused until somebody resolves them.",
            )?,
            oldest_unknown: build::float_gauge(
                r,
                "idempotency_unknown_oldest_seconds",
                "How long ago the oldest request of unknown outcome was sent; 0 where there is none.",
            )?,
            store_up: build::gauges(
                r,
                "idempotency_store_up",
                &["store"],
                "Whether the idempotency records can be written: 1, or 0, and then keyed requests are refused.",
            )?,
        })
    }

    pub(super) fn route(&self, name: &str) -> RouteKeys {
        RouteKeys {
            name: name.to_owned(),
            requests: self.requests.clone(),
            outcomes: self.outcomes.clone(),
            results: Default::default(),
            ends: Default::default(),
            sent: self.steps.with_label_values(&[name, "sent"]),
            done: self.steps.with_label_values(&[name, "done"]),
        }
    }
}

/// The handles of routes, by name.
pub(super) type Routes = parking_lot::Mutex<std::collections::HashMap<String, Arc<RouteKeys>>>;
