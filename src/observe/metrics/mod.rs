//! Every metric family, in one registry made by one value: no global state, so two of them can live in one test.
//!
//! Labels come from the configuration alone, never from a request, so the number of series is known when it is read.
//! What a request touches is resolved when its route is compiled ([`Metrics::route`], [`Metrics::upstream`]): on its way
//! a request adds to atomics and looks nothing up. Handles are kept by name, so a reload goes on counting.

mod breaker;
mod build;
mod cache;
mod coding;
mod keyed;
mod listener;
mod process;
mod queue;
mod route;
mod upstream;

#[cfg(test)]
mod tests;

pub use breaker::BreakerMetrics;
pub use cache::{CacheMetrics, CacheResult, RefreshResult, RouteCache};
pub use coding::CodingMetrics;
pub use keyed::{KeyMetrics, KeyedEnd, KeyedResult, RouteKeys};
pub use listener::{ConnectionRefused, ListenerMetrics, OpenConnection};
pub use process::{DrainState, ProcessMetrics, ResultLabel};
pub use prometheus::{IntCounter, IntGauge};
pub use queue::QueueMetrics;
pub use route::{InFlight, MethodLabel, RetryOutcome, RouteMetrics, UNROUTED};
pub use upstream::{AttemptOutcome, OutBy, UpstreamMetrics};

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Registry, TextEncoder};

/// Every metric of this process.
pub struct Metrics {
    registry: Registry,
    /// Families without a label from the configuration.
    pub process: ProcessMetrics,
    routes: Kept<route::Families, RouteMetrics>,
    upstreams: Kept<upstream::Families, UpstreamMetrics>,
    listeners: Kept<listener::Families, ListenerMetrics>,
    breakers: Kept<breaker::Families, BreakerMetrics>,
    queues: Kept<queue::Families, QueueMetrics>,
    codings: Kept<coding::Families, CodingMetrics>,
    /// What the response cache counts.
    pub cache: Arc<CacheMetrics>,
    caches: Mutex<HashMap<String, Arc<RouteCache>>>,
    /// What idempotency keys count.
    pub keys: KeyMetrics,
    keyed: keyed::Routes,
}

/// The handles that were made from some families, by the name they are labelled with.
struct Kept<F, M> {
    families: F,
    by_name: Mutex<HashMap<String, Arc<M>>>,
}

impl<F, M> Kept<F, M> {
    fn new(families: F) -> Self {
        Kept { families, by_name: Mutex::default() }
    }

    fn get(&self, name: &str, make: impl FnOnce(&F) -> M) -> Arc<M> {
        let mut by_name = self.by_name.lock();
        if let Some(kept) = by_name.get(name) {
            return kept.clone();
        }
        let made = Arc::new(make(&self.families));
        by_name.insert(name.to_owned(), made.clone());
        made
    }
}

impl Metrics {
    /// Registers every family. An error is a defect: two families of one name, or a name that is not allowed.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        Ok(Metrics {
            process: ProcessMetrics::new(&registry)?,
            routes: Kept::new(route::Families::new(&registry)?),
            upstreams: Kept::new(upstream::Families::new(&registry)?),
            listeners: Kept::new(listener::Families::new(&registry)?),
            breakers: Kept::new(breaker::Families::new(&registry)?),
            queues: Kept::new(queue::Families::new(&registry)?),
            codings: Kept::new(coding::Families::new(&registry)?),
            cache: Arc::new(CacheMetrics::new(&registry)?),
            caches: Mutex::default(),
            keys: KeyMetrics::new(&registry)?,
            keyed: Mutex::default(),
            registry,
        })
    }

    /// What the requests of this route count into; the same handles for the same name, whenever asked.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.routes.get(name, |families| RouteMetrics::new(families, name))
    }

    /// What is counted of a request that is refused before it has a route: [`Metrics::route`] named [`UNROUTED`].
    pub fn unrouted(&self) -> Arc<RouteMetrics> {
        self.route(UNROUTED)
    }

    /// What the attempts at this upstream count into.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.get(name, |families| UpstreamMetrics::new(families, name))
    }

    /// What the connections of this listener count into.
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        self.listeners.get(name, |families| ListenerMetrics::new(families, name))
    }

    /// What this breaker counts into: `upstream:NAME` or `route:NAME`.
    pub fn breaker(&self, scope: &str) -> Arc<BreakerMetrics> {
        self.breakers.get(scope, |families| BreakerMetrics::new(families, scope))
    }

    /// What the queue of this upstream counts into; `priorities` are their names, in the order of their numbers.
    pub fn queue(&self, upstream: &str, priorities: &[&str]) -> Arc<QueueMetrics> {
        self.queues.get(upstream, |families| QueueMetrics::new(families, upstream, priorities))
    }

    /// What encoding into this coding counts into.
    pub fn coding(&self, encoding: &str) -> Arc<CodingMetrics> {
        self.codings.get(encoding, |families| CodingMetrics::new(families, encoding))
    }

    /// What the requests of a route that caches count into.
    pub fn route_cache(&self, route: &str) -> Arc<RouteCache> {
        let mut caches = self.caches.lock();
        caches.entry(route.to_owned()).or_insert_with(|| Arc::new(self.cache.route(route))).clone()
    }

    /// What the keyed requests of a route count into.
    pub fn route_keys(&self, route: &str) -> Arc<RouteKeys> {
        let mut keyed = self.keyed.lock();
        keyed.entry(route.to_owned()).or_insert_with(|| Arc::new(self.keys.route(route))).clone()
    }

    /// Everything in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Families are valid by construction; what could not be encoded is left out rather than failing the scrape.
        let _ = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}
