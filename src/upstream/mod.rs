//! The applications behind: their endpoints, the choice among them, and connections to them.

pub mod breaker;
pub mod connect;
pub mod endpoint;
pub mod health;
mod places;
pub mod pool;
pub mod resolver;
pub mod session;
pub mod standing;
pub mod tls;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::config;
use crate::config::HostHeader;
use crate::observe::metrics::{Metrics, QueueMetrics, UpstreamMetrics};
use crate::policy::balance::{Balancer, EndpointView, LoadBalance, slow_start};
use crate::policy::priority::Priority;
use crate::policy::queue;
use crate::policy::retry::Budget;
use crate::timer;

use breaker::Breaker;
use endpoint::{Attempt, Endpoint};
pub use pool::Lease;
pub use session::Session;
use standing::Watched;

/// One application.
pub struct Upstream {
    /// The name in the configuration and in metrics.
    pub name: String,
    /// What the configuration says, to see whether a reload changed it.
    pub settings: config::Upstream,
    /// The Host it is sent.
    pub host: HostHeader,
    /// What it counts into.
    pub metrics: Arc<UpstreamMetrics>,
    /// When it is left alone.
    pub breaker: Option<Arc<Breaker>>,
    /// How many retries it may still get.
    pub retry_budget: Budget,
    /// Who waits for it, and whose turn it is.
    pub queue: queue::Shared,
    /// What its queue counts into, where it has one.
    pub queue_metrics: Option<Arc<QueueMetrics>>,
    configured: Vec<config::Endpoint>,
    protocol: config::UpstreamProtocol,
    load_balance: LoadBalance,
    pool: PoolOptions,
    tls: Option<connect::Tls>,
    set: ArcSwap<Set>,
    /// Who of the set gets requests; none where nobody is ever taken out.
    watched: Option<Watched>,
    /// A configuration without it holds now; requests in flight may hold it for long.
    retired: AtomicBool,
    /// The clock of the policies starts here.
    epoch: Instant,
}

/// The pool's settings, in the types of the hot path.
#[derive(Debug, Clone, Copy)]
struct PoolOptions {
    max_connections: u32,
    max_idle: u32,
    idle_timeout: Duration,
    reuse_for_unsafe: Duration,
    max_lifetime: Duration,
    max_requests: u32,
    max_streams: u32,
}

/// The endpoints as they are resolved now.
struct Set {
    endpoints: Vec<Arc<Endpoint>>,
    balancer: Balancer,
}

impl Set {
    fn new(endpoints: Vec<Arc<Endpoint>>, load_balance: LoadBalance) -> Self {
        let labels: Vec<&str> = endpoints.iter().map(|e| &*e.label).collect();
        Set { balancer: Balancer::new(load_balance, &labels), endpoints }
    }
}

/// Why no endpoint was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEndpoint {
    /// None is known: a name was never resolved.
    Unresolved,
    /// All have pool.max_connections attempts in flight, or were tried.
    Busy,
}

impl Upstream {
    /// Compiles a section `upstreams.NAME`. What it knows of the application is taken from `before`, where the section
    /// that it stands in did not change.
    ///
    /// # Errors
    /// When a certificate or key cannot be read.
    pub fn new(
        name: &str,
        settings: &config::Upstream,
        metrics: &Metrics,
        before: Option<&Upstream>,
    ) -> Result<Self, UpstreamError> {
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| UpstreamError { name: name.to_owned(), cause };
        let configured = settings.endpoints.iter().map(|e| e.parse()).collect::<Result<Vec<config::Endpoint>, _>>();
        let tls = match &settings.tls {
            Some(tls) => Some(connect::Tls {
                config: tls::client_config(tls, settings.protocol).map_err(|e| failed(e.into()))?,
                server_name: tls.server_name.clone(),
            }),
            None => None,
        };
        let scope = || metrics.breaker(&format!("upstream:{name}"));
        let breaker = settings.circuit_breaker.as_ref();
        // What waits and runs goes on through a reload.
        let queue = before.map(|b| b.queue.clone());
        let queue = queue.unwrap_or_else(|| queue::Shared::new(None, Arc::new(timer::uptime)));
        let breaker = Breaker::compile(breaker, before.and_then(|b| b.breaker.as_ref()), scope, Some(&queue));
        let queue_metrics = settings.queue.as_ref().map(|_| metrics.queue(name, &Priority::ALL.map(Priority::as_str)));
        let metrics = metrics.upstream(name);
        metrics.set_tls_unverified(settings.tls.as_ref().is_some_and(|t| t.insecure_skip_verify));
        let p = &settings.pool;
        let upstream = Upstream {
            name: name.to_owned(),
            settings: settings.clone(),
            host: settings.host_header(),
            metrics,
            breaker,
            queue,
            queue_metrics,
            retry_budget: Budget::new(&settings.retry_budget, timer::uptime()),
            configured: configured.map_err(|e| failed(e.into()))?,
            protocol: settings.protocol,
            load_balance: settings.load_balance,
            pool: PoolOptions {
                max_connections: p.max_connections,
                max_idle: p.max_idle,
                idle_timeout: p.idle_timeout.get(),
                reuse_for_unsafe: p.reuse_for_unsafe.get(),
                max_lifetime: p.max_lifetime.get(),
                max_requests: p.max_requests,
                max_streams: p.max_streams,
            },
            tls,
            watched: Watched::new(settings),
            retired: AtomicBool::new(false),
            set: ArcSwap::from_pointee(Set::new(Vec::new(), settings.load_balance)),
            epoch: Instant::now(),
        };
        upstream.take_known(before);
        Ok(upstream)
    }

    /// Chooses an endpoint that was not tried yet and has room, and counts an attempt to it. Those that are out of rotation
    /// are the last resort of a request that has tried all others.
    pub fn choose(&self, key: Option<u64>, tried: &[Arc<Endpoint>]) -> Result<Attempt, NoEndpoint> {
        let set = self.set.load();
        if set.endpoints.is_empty() {
            return Err(NoEndpoint::Unresolved);
        }
        let most = self.pool.max_connections;
        let now = self.epoch.elapsed();
        let untried = |endpoint: &Arc<Endpoint>| !tried.iter().any(|t| Arc::ptr_eq(t, endpoint));
        let watched = self.watched.is_some();
        let in_rotation = |endpoint: &Endpoint| !watched || endpoint.state().is_in();
        let none_left = watched && !set.endpoints.iter().any(|e| in_rotation(e) && untried(e));
        let view = |i: usize| {
            let endpoint = &set.endpoints[i];
            let in_flight = endpoint.in_flight();
            let usable = in_flight < most && untried(endpoint) && (in_rotation(endpoint) || none_left);
            let share = if watched { endpoint.standing.share(now) } else { slow_start::WHOLE };
            EndpointView { usable, in_flight, share }
        };
        // Another request may take the last place between the look and the attempt: then the look is repeated.
        for _ in 0..4 {
            let chosen = set.balancer.choose(&view, fastrand::u64(..), key, now);
            let Some(endpoint) = chosen.and_then(|i| set.endpoints.get(i)) else { break };
            if let Some(attempt) = endpoint.attempt(most) {
                return Ok(attempt);
            }
        }
        Err(NoEndpoint::Busy)
    }

    /// Tells the balancer how long an endpoint took to answer.
    pub fn answered(&self, endpoint: &Arc<Endpoint>, after: Duration) {
        if self.load_balance != LoadBalance::PeakEwma {
            return;
        }
        let set = self.set.load();
        if let Some(i) = set.endpoints.iter().position(|e| Arc::ptr_eq(e, endpoint)) {
            set.balancer.observe(i, after, self.epoch.elapsed());
        }
    }

    /// The share of the requests that an endpoint gets while it is in rotation, in percent.
    pub fn share(&self, endpoint: &Endpoint) -> u8 {
        endpoint.standing.share(self.epoch.elapsed())
    }

    /// The endpoints that are known now.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.set.load().endpoints.clone()
    }

    /// Closes connections that waited too long, or that the application closed.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.set.load().endpoints.iter().for_each(|e| e.sweep(now, self.pool.idle_timeout));
    }

    /// Whether its endpoints are spoken to under TLS.
    pub fn is_over_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// An upstream that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("upstreams.{name}: {cause}")]
pub struct UpstreamError {
    name: String,
    cause: Box<dyn std::error::Error + Send + Sync>,
}
