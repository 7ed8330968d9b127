//! What is counted for each listener.

use std::sync::{Arc, OnceLock};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::build;

pub(super) struct Families {
    open: IntGaugeVec,
    accepted: IntCounterVec,
    refused: IntCounterVec,
}

impl Families {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Families {
            open: build::gauges(
                r,
                "client_connections",
                &["listener"],
                "Client connections open now; limits.max_connections bounds their sum.",
            )?,
            accepted: build::counters(
                r,
                "client_connections_total",
                &["listener"],
                "Client connections accepted. Near the rate of requests: clients do not keep connections.",
            )?,
            refused: build::counters(
                r,
                "connections_refused_total",
                &["listener", "cause"],
                "Client connections closed before they could carry a request: limit (max_connections), tls (failed \
                 handshake), proxy_protocol (missing or wrong header), timeout (silent), draining.",
            )?,
        })
    }
}

/// Why a client connection was closed before it could carry a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectionRefused {
    /// limits.max_connections are open.
    Limit,
    /// The TLS handshake failed.
    Tls,
    /// The PROXY protocol's header is missing, wrong, or from one who is not trusted.
    ProxyProtocol,
    /// The client said nothing in time.
    Timeout,
    /// The listener is leaving.
    Draining,
}

impl ConnectionRefused {
    const COUNT: usize = 5;

    /// The word in metrics and log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            ConnectionRefused::Limit => "limit",
            ConnectionRefused::Tls => "tls",
            ConnectionRefused::ProxyProtocol => "proxy_protocol",
            ConnectionRefused::Timeout => "timeout",
            ConnectionRefused::Draining => "draining",
        }
    }
}

/// What the connections of one listener count into.
pub struct ListenerMetrics {
    name: String,
    open: IntGauge,
    accepted: IntCounter,
    refused_family: IntCounterVec,
    refused: [OnceLock<IntCounter>; ConnectionRefused::COUNT],
}

impl ListenerMetrics {
    pub(super) fn new(families: &Families, name: &str) -> Self {
        ListenerMetrics {
            name: name.to_owned(),
            open: families.open.with_label_values(&[name]),
            accepted: families.accepted.with_label_values(&[name]),
            refused_family: families.refused.clone(),
            refused: Default::default(),
        }
    }

    /// Counts a connection as accepted, and as open until the guard is dropped.
    pub fn accepted(self: &Arc<Self>) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection(self.clone())
    }

    /// Counts a connection that was closed before it could carry a request.
    pub fn refused(&self, cause: ConnectionRefused) {
        self.refused[cause as usize]
            .get_or_init(|| self.refused_family.with_label_values(&[self.name.as_str(), cause.as_str()]))
            .inc();
    }

    /// Connections open now.
    pub fn open(&self) -> i64 {
        self.open.get()
    }
}

/// One open client connection; dropping it ends that.
pub struct OpenConnection(Arc<ListenerMetrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}
