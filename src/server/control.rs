//! What the administration sees of the process and may tell it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::run::{Shared, Told};
use super::{records, switches, unknowns};
use crate::admin::{Control, Purge, PurgeOrder, Refused, ResolveOrder};
use crate::config::Level;
use crate::lifecycle::Phase;
use crate::observe::metrics::DrainState;
use crate::proxy::caching::purge::Purge as Ended;

/// Requests shown by GET /requests.
const SHOWN: usize = 200;

/// The process, for the administration.
pub(super) struct Administration(pub(super) Arc<Shared>);

#[async_trait::async_trait]
impl Control for Administration {
    fn live(&self) -> bool {
        true
    }

    fn ready(&self) -> Result<(), String> {
        match self.0.proxy.lifecycle.phase() {
            Phase::Ready => {}
            phase => return Err(phase.as_str().to_owned()),
        }
        let broken =
            self.0.proxy.records.local.broken().filter(|_| records::uses_local(&self.0.proxy.state.load().config));
        broken.map_or(Ok(()), |cause| Err(format!("idempotency records cannot be written: {cause}")))
    }

    fn metrics(&self) -> String {
        let state = match self.0.proxy.lifecycle.phase() {
            Phase::Starting => DrainState::Starting,
            Phase::Ready => DrainState::Ready,
            Phase::Leaving => DrainState::Leaving,
            Phase::Draining | Phase::Closing => DrainState::Draining,
            Phase::Done => DrainState::Done,
        };
        self.0.proxy.metrics.process.set_drain_state(state);
        self.0.proxy.records.show(&self.0.proxy.metrics.keys);
        if let Some(leaving) = self.0.proxy.lifecycle.leaving_for() {
            self.0.proxy.metrics.process.set_shutdown_duration(leaving.as_secs_f64());
        }
        switches::show(&self.0.proxy.state.load());
        let cache = &self.0.proxy.cache;
        cache.metrics.show(cache.memory.bytes(), cache.memory.objects(), cache.memory.evictions());
        self.0.proxy.metrics.render()
    }

    fn config(&self) -> String {
        serde_yaml::to_string(&self.0.proxy.state.load().config.masked()).unwrap_or_default()
    }

    fn routes(&self) -> Value {
        let state = self.0.proxy.state.load();
        let routes = state.config.routes.iter().map(|r| {
            json!({
                "name": r.name,
                "match": r.matches,
                "upstream": r.upstream,
                "in_flight": self.0.proxy.metrics.route(&r.name).in_flight(),
            })
        });
        json!({ "config": state.hash, "routes": routes.collect::<Vec<_>>() })
    }

    fn requests(&self) -> Value {
        self.0.proxy.requests.show(SHOWN)
    }

    fn upstreams(&self) -> Value {
        let state = self.0.proxy.state.load();
        let upstreams = state.table.upstreams.values().map(|u| {
            let endpoints = u.endpoints();
            let endpoints = endpoints.iter().map(|e| {
                let (idle, shared) = e.waiting();
                json!({ "name": e.authority, "address": &*e.label, "in_flight": e.in_flight(), "idle": idle, "http2": shared,
                    "state": e.state().as_str(), "share": u.share(e) })
            });
            json!({ "name": u.name, "endpoints": endpoints.collect::<Vec<_>>() })
        });
        json!({ "upstreams": upstreams.collect::<Vec<_>>() })
    }

    fn breakers(&self) -> Value {
        switches::list_breakers(&self.0.proxy.state.load().table)
    }

    fn tell_breaker(&self, scope: &str, word: &str) -> Result<Value, Refused> {
        switches::tell_breaker(&self.0.proxy.state.load().table, scope, word)
    }

    fn policies(&self) -> Value {
        switches::list_policies(&self.0.proxy.state.load().table)
    }

    fn switch(&self, route: &str, policy: &str, word: &str, time: Option<Duration>) -> Result<Value, Refused> {
        switches::switch(&self.0.proxy.state.load().table, route, policy, word, time)
    }

    fn cache(&self) -> Value {
        let memory = &self.0.proxy.cache.memory;
        json!({
            "bytes": memory.bytes(),
            "capacity": memory.capacity(),
            "objects": memory.objects(),
            "evictions": memory.evictions(),
        })
    }

    fn purge(&self, order: &PurgeOrder) -> Result<Value, Refused> {
        let what = match order.what.clone() {
            Purge::Url(url) => Ended::Url(url),
            Purge::Prefix(prefix) => Ended::Prefix(prefix),
            Purge::Tag(tag) => Ended::Tag(tag),
            Purge::Route(route) => Ended::Route(route),
            Purge::All => Ended::All,
        };
        // The shape of the order was checked when it was read: what is left to be wrong is the name of a route.
        let refused = |detail| match order.what {
            Purge::Route(_) => Refused::Unknown(detail),
            _ => Refused::Impossible(detail),
        };
        self.0.proxy.purge(&what, order.soft).map_err(refused)?;
        Ok(order.done())
    }

    async fn idempotency(&self, query: Option<&str>) -> Result<Value, Refused> {
        unknowns::list(&self.0.proxy.records, query).await
    }

    async fn resolve(&self, hash: &str, order: &ResolveOrder) -> Result<Value, Refused> {
        let (shared, hash, order) = (self.0.clone(), hash.to_owned(), order.clone());
        // Whoever asked may leave: what was begun is ended.
        let resolved = tokio::spawn(async move { unknowns::resolve(&shared.proxy.records, &hash, &order).await });
        resolved.await.unwrap_or_else(|cause| Err(Refused::Impossible(cause.to_string())))
    }

    fn drain(&self, exit: bool) {
        let told = if exit { Told::Terminate } else { Told::Drain };
        // The receiver lives as long as the process.
        let _ = self.0.told.send(told);
    }

    fn drained(&self) -> watch::Receiver<bool> {
        self.0.drained.subscribe()
    }

    async fn reload(&self) -> Result<Value, Vec<String>> {
        // A failover may have changed what the Redis server is; that it is alone now is believed by this word alone.
        self.0.examine_redis.notify_one();
        self.0.reload()
    }

    fn set_level(&self, level: Level) {
        self.0.level.set(level);
    }
}
