//! One address of an application: what is in flight to it and which connections wait.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::connectors::http::v2::ConnectionRef;
use prometheus::IntGauge;
use tokio::time::Instant;

use super::standing::Standing;
use crate::io::Conn;
use crate::policy::rotation::State;

/// Where an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An address that a name was resolved to, or that was given.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One address of an application. It outlives a look-up that answers the same, with its connections.
pub struct Endpoint {
    /// As it is written in `endpoints`: the Host where `host: endpoint`.
    pub authority: String,
    /// The host of it, for TLS.
    pub host: String,
    /// Where it is reached.
    pub address: Address,
    /// The address as text, for log lines.
    pub label: Arc<str>,
    in_flight: AtomicU32,
    /// HTTP/1 connections that wait, the last used one on top.
    pub(super) idle: Mutex<Vec<Idle>>,
    /// HTTP/2 connections, which many requests share.
    pub(super) shared: Mutex<Vec<Shared>>,
    /// Held while an HTTP/2 connection is opened, so that many requests at once open one.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// What ALPN agreed on last: 0 unknown, 1 HTTP/1.1, 2 HTTP/2.
    pub(super) agreed: AtomicU8,
    active: IntGauge,
    /// Whether it gets requests.
    pub(super) standing: Standing,
}

/// An HTTP/1 connection that waits for its next request.
pub(super) struct Idle {
    pub(super) conn: Box<Conn>,
    pub(super) use_: Use,
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) _counted: Counted,
}

/// An HTTP/2 connection.
pub(super) struct Shared {
    pub(super) conn: ConnectionRef,
    pub(super) use_: Use,
    pub(super) quiet: Quiet,
    pub(super) _counted: Arc<Counted>,
}

/// How much a connection was used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    pub(super) opened: Instant,
    pub(super) requests: u32,
}

/// When a stream of an HTTP/2 connection ended last: held by each stream, and set when it is dropped.
#[derive(Debug, Clone)]
pub(super) struct Quiet {
    since: Arc<AtomicU64>,
    opened: Instant,
}

impl Quiet {
    pub(super) fn new(opened: Instant) -> Self {
        Quiet { since: Arc::default(), opened }
    }

    fn moved(&self) {
        self.since.store(self.opened.elapsed().as_micros() as u64, Ordering::Release);
    }
}

/// A stream that keeps its connection from being quiet.
pub(super) struct Stream(pub(super) Quiet);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.moved();
    }
}

impl Shared {
    /// Whether no stream is open, and none was for so long.
    pub(super) fn is_quiet_for(&self, time: Duration) -> bool {
        let since = Duration::from_micros(self.quiet.since.load(Ordering::Acquire));
        self.conn.is_idle() && self.quiet.opened.elapsed().saturating_sub(since) > time
    }
}

impl Endpoint {
    pub(super) fn new(authority: String, host: String, address: Address, active: IntGauge) -> Self {
        Endpoint {
            label: address.to_string().into(),
            authority,
            host,
            address,
            in_flight: AtomicU32::new(0),
            idle: Mutex::default(),
            shared: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            agreed: AtomicU8::new(0),
            active,
            standing: Standing::new(),
        }
    }

    /// Whether it gets requests, and why not.
    pub fn state(&self) -> State {
        self.standing.state()
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections that wait: HTTP/1 ones, and HTTP/2 ones.
    pub fn waiting(&self) -> (usize, usize) {
        (self.idle.lock().len(), self.shared.lock().len())
    }

    /// Counts an attempt until the guard is dropped; none where `most` are in flight.
    pub fn attempt(self: &Arc<Self>, most: u32) -> Option<Attempt> {
        let counted = self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < most).then_some(n + 1));
        counted.ok()?;
        self.active.inc();
        Some(Attempt { endpoint: self.clone() })
    }

    /// Closes what waits and will not be used again.
    pub(super) fn sweep(&self, now: Instant, idle_timeout: Duration) {
        // Closed outside the lock: closing is a system call.
        let mut closed = Vec::new();
        let mut idle = self.idle.lock();
        let mut at = 0;
        while at < idle.len() {
            if idle[at].until <= now || !idle[at].conn.is_quiet() {
                closed.push(idle.remove(at));
            } else {
                at += 1;
            }
        }
        drop(idle);
        let mut shared = self.shared.lock();
        shared.retain(|s| !s.conn.is_closed() && !s.conn.is_shutting_down() && !s.is_quiet_for(idle_timeout));
    }

    /// Closes everything that waits: the endpoint is gone.
    pub(super) fn clear(&self) {
        self.standing.forget();
        let idle = std::mem::take(&mut *self.idle.lock());
        let shared = std::mem::take(&mut *self.shared.lock());
        drop((idle, shared));
    }
}

/// An attempt that is counted.
pub struct Attempt {
    /// Where it goes.
    pub endpoint: Arc<Endpoint>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.endpoint.active.dec();
    }
}

/// A connection that stands in a gauge while it waits.
pub(super) struct Counted(pub(super) IntGauge);

impl Counted {
    pub(super) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
