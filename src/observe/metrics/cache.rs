//! What the response cache counts.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::build;

/// What became of a request of a route that caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CacheResult {
    /// Answered from the store.
    Hit,
    /// Fetched.
    Miss,
    /// Answered from the store although it was stale.
    Stale,
    /// What was stored still held; the application said so.
    Revalidated,
    /// Waited for another request's fetch.
    Coalesced,
    /// Sent on by itself: no part of the cache.
    Bypass,
}

impl CacheResult {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Miss => "miss",
            CacheResult::Stale => "stale",
            CacheResult::Revalidated => "revalidated",
            CacheResult::Coalesced => "coalesced",
            CacheResult::Bypass => "bypass",
        }
    }
}

/// What came of a fetch that nobody waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshResult {
    /// It is stored.
    Stored,
    /// It is not to be stored, or came too late.
    NotStored,
    /// The application failed.
    Failed,
    /// It was not begun: too many ran already.
    Dropped,
}

impl RefreshResult {
    const fn as_str(self) -> &'static str {
        match self {
            RefreshResult::Stored => "stored",
            RefreshResult::NotStored => "not_stored",
            RefreshResult::Failed => "failed",
            RefreshResult::Dropped => "dropped",
        }
    }
}

/// The requests of one route that its cache counts.
pub struct RouteCache {
    name: String,
    family: IntCounterVec,
    results: [OnceLock<IntCounter>; CacheResult::COUNT],
}

impl RouteCache {
    /// Counts a request.
    pub fn count(&self, result: CacheResult) {
        let make = || self.family.with_label_values(&[self.name.as_str(), result.as_str()]);
        self.results[result as usize].get_or_init(make).inc();
    }
}

/// What the cache of the process counts.
pub struct CacheMetrics {
    requests: IntCounterVec,
    stores: IntCounterVec,
    compared: IntCounterVec,
    refreshes: IntCounterVec,
    invalidations: IntCounterVec,
    bytes: IntGauge,
    objects: IntGauge,
    evictions: IntCounter,
}

impl CacheMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(CacheMetrics {
            requests: build::counters(
                r,
                "cache_requests_total",
                &["route", "result"],
                "Requests of routes that cache: hit, miss, stale, revalidated, coalesced (waited for another's fetch), bypass \
                 (sent on by itself).",
            )?,
            stores: build::counters(
                r,
                "cache_stores_total",
                &["route", "result"],
                "Answers that were fetched for the cache: stored, or why not (no_store, private, set_cookie, card_number, \
                 raced, too_large and others).",
            )?,
            compared: build::counters(
                r,
                "cache_compared_total",
                &["route", "result"],
                "In mode observe: answers of the application that were the same as what was stored, or different.",
            )?,
            refreshes: build::counters(
                r,
                "cache_refresh_total",
                &["result"],
                "Fetches that no client waited for: stored, not_stored, failed, dropped (too many ran).",
            )?,
            invalidations: build::counters(
                r,
                "cache_invalidations_total",
                &["cause"],
                "What ended stored answers: change (a request that changed something), purge, reload.",
            )?,
            bytes: build::gauge(
                r,
                "cache_bytes",
                "Memory that stored answers take: keys, heads, bodies, encoded forms.",
            )?,
            objects: build::gauge(r, "cache_objects", "Answers that are stored.")?,
            evictions: build::counter(r, "cache_evictions_total", "Stored answers that were driven out by others.")?,
        })
    }

    /// What the requests of a route count into.
    pub(super) fn route(&self, name: &str) -> RouteCache {
        RouteCache { name: name.to_owned(), family: self.requests.clone(), results: Default::default() }
    }

    /// Counts an answer that was stored.
    pub fn kept(&self, route: &str) {
        self.not_kept(route, "stored");
    }

    /// Counts an answer that was not stored, by why.
    pub fn not_kept(&self, route: &str, why: &str) {
        self.stores.with_label_values(&[route, why]).inc();
    }

    /// Counts a comparison.
    pub fn compared(&self, route: &str, same: bool) {
        self.compared.with_label_values(&[route, if same { "same" } else { "different" }]).inc();
    }

    /// Counts a fetch that nobody waited for.
    pub fn refreshed(&self, result: RefreshResult) {
        self.refreshes.with_label_values(&[result.as_str()]).inc();
    }

    /// Counts something that ended stored answers: `change`, `purge` or `reload`.
    pub fn invalidated(&self, cause: &str) {
        self.invalidations.with_label_values(&[cause]).inc();
    }

    /// Shows what is stored.
    pub fn show(&self, bytes: u64, objects: u64, evictions: u64) {
        let shown = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.bytes.set(shown(bytes));
        self.objects.set(shown(objects));
        self.evictions.inc_by(evictions.saturating_sub(self.evictions.get()));
    }
}
