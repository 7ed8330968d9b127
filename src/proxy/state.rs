//! What a request needs of the configuration: compiled once, swapped whole by a reload.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use crate::config::{Access, Config, Direction};
use crate::observe::metrics::{ListenerMetrics, Metrics};
use crate::route::table::{CompileError, Table};

/// A compiled configuration.
pub struct State {
    /// What it was compiled from.
    pub config: Arc<Config>,
    /// A short name of this configuration, in log lines.
    pub hash: String,
    /// The routes and upstreams.
    pub table: Table,
    /// The listeners, by their number.
    pub listeners: Vec<Arc<ListenerPolicy>>,
    /// Limits, in the types of the hot path.
    pub limits: Limits,
    /// Which requests are logged.
    pub access: Access,
    /// Request headers that stand in the access log.
    pub logged_headers: Vec<HeaderName>,
}

/// What a listener's name and section mean to a request.
pub struct ListenerPolicy {
    /// Its number, for the matcher.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Whose requests it takes.
    pub direction: Direction,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Who is believed.
    pub trusted: Vec<IpNet>,
    /// What only trusted ones may send.
    pub strip: Vec<HeaderName>,
    /// What it counts into.
    pub metrics: Arc<ListenerMetrics>,
}

/// The section `limits`, resolved.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Limits {
    pub max_connections: usize,
    pub max_buffered: usize,
    pub max_request_headers: usize,
    pub header_read_timeout: Duration,
    pub body_read_timeout: Duration,
    pub min_send_rate: u64,
    pub keepalive_timeout: Duration,
    pub keepalive_requests: u32,
    pub max_streams: u32,
    pub max_event_streams: usize,
}

/// A quarter of this is what `auto` allows where no cgroup limits memory.
const UNLIMITED_MEMORY: u64 = 8 << 30;

impl Limits {
    /// Resolves `auto` by the cgroup's memory.
    pub fn new(config: &Config, cgroup_memory: Option<u64>) -> Self {
        let l = &config.limits;
        let quarter = cgroup_memory.unwrap_or(UNLIMITED_MEMORY) / 4;
        Limits {
            max_connections: l.max_connections.unwrap_or_else(|| (quarter / (32 << 10)).min(10_000) as u32).max(1)
                as usize,
            max_buffered: l.max_buffered.unwrap_or_else(|| crate::units::Size::from_bytes(quarter)).as_usize(),
            max_request_headers: l.max_request_headers.as_usize(),
            header_read_timeout: l.header_read_timeout.get(),
            body_read_timeout: l.body_read_timeout.get(),
            min_send_rate: l.min_send_rate.per_second(),
            keepalive_timeout: l.keepalive_timeout.get(),
            keepalive_requests: l.keepalive_requests,
            max_streams: l.max_streams,
            max_event_streams: l.max_event_streams as usize,
        }
    }
}

impl State {
    /// Compiles a configuration that passed its checks.
    ///
    /// # Errors
    /// When a file that it names cannot be read.
    pub fn compile(
        config: Arc<Config>,
        metrics: &Metrics,
        cgroup_memory: Option<u64>,
        before: Option<&State>,
    ) -> Result<Self, CompileError> {
        let table = Table::compile(&config, metrics, before.map(|s| &s.table))?;
        let listeners = config.listeners.iter().enumerate();
        let listeners = listeners
            .map(|(index, l)| {
                Arc::new(ListenerPolicy {
                    index,
                    name: l.name.clone(),
                    direction: l.direction(),
                    tls: l.tls.is_some(),
                    trusted: l.trusted_proxies.clone(),
                    strip: l.strip_from_untrusted.iter().filter_map(|n| n.parse().ok()).collect(),
                    metrics: metrics.listener(&l.name),
                })
            })
            .collect();
        Ok(State {
            hash: hash(&config),
            table,
            listeners,
            limits: Limits::new(&config, cgroup_memory),
            access: config.logging.access.clone(),
            logged_headers: config.logging.access.request_headers.iter().filter_map(|n| n.parse().ok()).collect(),
            config,
        })
    }

    /// A listener's policy by its name.
    pub fn listener(&self, name: &str) -> Option<&Arc<ListenerPolicy>> {
        self.listeners.iter().find(|l| l.name == name)
    }
}

/// Eight hex digits that differ between configurations that differ.
fn hash(config: &Config) -> String {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(&serde_json::to_vec(config).unwrap_or_default());
    format!("{:08x}", hasher.finish() as u32)
}
