//! Run, follow what is told, end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::control::Administration;
use super::start::{Opened, Source, StartError, Traffic, start};
use super::{cpu, records, upgrade};
use crate::admin::{self, Surface};
use crate::lifecycle::Phase;
use crate::lifecycle::phase::Leave;
use crate::listen::accept;
use crate::listen::tls::TlsSource;
use crate::observe::log::{self, LevelHandle};
use crate::observe::metrics::Metrics;
use crate::policy::compression::Governor;
use crate::policy::redact::Redactor;
use crate::proxy::Proxy;
use crate::timer;
use crate::upstream::Upstream;

/// What the process is told from outside its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Drain and stay.
    Drain,
    /// Drain and end.
    Terminate,
}

/// What everything outside the traffic shares.
pub(super) struct Shared {
    pub(super) proxy: Arc<Proxy>,
    pub(super) source: Source,
    /// No policy acts.
    pub(super) bypass: bool,
    pub(super) cgroup_memory: Option<u64>,
    pub(super) redactor: Arc<ArcSwap<Redactor>>,
    pub(super) level: LevelHandle,
    pub(super) told: mpsc::UnboundedSender<Told>,
    pub(super) drained: watch::Sender<bool>,
    /// Held by a reload: the file as the last one, or the start, found it.
    pub(super) seen: Mutex<Option<Vec<u8>>>,
    /// Told when the Redis server is to be asked anew what it is.
    pub(super) examine_redis: Arc<Notify>,
}

/// A process that runs.
pub struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) traffic: Traffic,
    /// Decides how hard bodies are encoded.
    pub(super) governor: Governor,
    /// How many threads carry traffic.
    pub(super) threads: usize,
    pub(super) log: log::Guard,
    pub(super) told: mpsc::UnboundedReceiver<Told>,
    pub(super) admin: Vec<(TcpListener, Surface)>,
    pub(super) listeners: Vec<Opened>,
    pub(super) inherited: Option<upgrade::Inherited>,
    /// Where the administration listens.
    pub admin_address: SocketAddr,
    /// Where clients connect, by listener.
    pub addresses: Vec<(String, String)>,
}

/// Starts and runs until the end. Blocks; the exit code is 0 however the drain ended.
///
/// # Errors
/// When it cannot start.
pub fn run(source: Source, take_over: bool) -> Result<(), StartError> {
    let control = Builder::new_current_thread().enable_all().build()?;
    let running = control.block_on(start(source, take_over))?;
    control.block_on(running.until_end());
    Ok(())
}

/// Seconds since 1970, for a metric.
#[allow(clippy::disallowed_methods)] // The shell reads the wall clock; nothing is decided by it.
pub(super) fn unix_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Does what an upstream needs beside its traffic, for as long as it is used: looks its names up, checks its endpoints, and
/// brings those back whose time is over. Within the control runtime.
pub(super) fn look_after(upstream: &Arc<Upstream>) {
    keep_resolved(upstream);
    tokio::spawn(crate::upstream::health::keep_checking(upstream.clone()));
    tokio::spawn(crate::upstream::standing::keep_returning(upstream.clone()));
}

/// Looks an upstream's names up now and again and again.
fn keep_resolved(upstream: &Arc<Upstream>) {
    if !upstream.has_names() {
        return;
    }
    let every = upstream.settings.dns_refresh.get().max(Duration::from_millis(100));
    let weak = Arc::downgrade(upstream);
    tokio::spawn(async move {
        if let Some(upstream) = weak.upgrade() {
            upstream.resolve().await;
        }
        crate::upstream::resolver::keep_resolving(weak, every).await;
    });
}

/// How long the first look-up may hold the start: a name that does not resolve must not.
const FIRST_LOOK_UP: Duration = Duration::from_secs(2);
/// How often idle connections, certificates, the keys of tokens and the configuration file are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Every so many looks what rate limits no longer need is forgotten.
const SWEEP: u32 = 5;

/// Ends a process that runs in another thread.
pub struct Ender(mpsc::UnboundedSender<Told>);

impl Ender {
    /// Tells it to drain and end.
    pub fn end(&self) {
        let _ = self.0.send(Told::Terminate);
    }
}

/// The signals that are heeded.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

impl Running {
    /// What ends it.
    pub fn ender(&self) -> Ender {
        Ender(self.shared.told.clone())
    }

    /// What it counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.shared.proxy.metrics.clone()
    }

    /// Runs it on this thread until it has ended.
    pub fn block_until_end(self) {
        match Builder::new_current_thread().enable_all().build() {
            Ok(control) => control.block_on(self.until_end()),
            Err(e) => tracing::error!(event = "cannot_run", cause = %e),
        }
    }

    /// Accepts traffic and does what the process is told, until it has ended.
    pub async fn until_end(mut self) {
        let shared = self.shared.clone();
        let lifecycle = shared.proxy.lifecycle.clone();
        // Before anybody can know that we run: a signal must find who heeds it.
        let signals = Signals::new();
        let mut administration = Vec::new();
        let probes = self.admin.iter().find(|(_, surface)| matches!(surface, Surface::Probes));
        let probes = probes.and_then(|(listener, _)| listener.local_addr().ok());
        for (listener, surface) in self.admin.drain(..) {
            let control = Arc::new(Administration(shared.clone()));
            administration.push(tokio::spawn(admin::serve(listener, surface, control)).abort_handle());
        }
        let upstreams: Vec<_> = shared.proxy.state.load().table.upstreams.values().cloned().collect();
        let named = upstreams.iter().filter(|u| u.has_names());
        let first = futures_join(named.map(|u| u.resolve()).collect());
        let _ = tokio::time::timeout(FIRST_LOOK_UP, first).await;
        upstreams.iter().for_each(look_after);
        // Held no longer: what a reload replaces has to go, with its connections.
        drop(upstreams);

        for (bound, gate) in &self.listeners {
            self.traffic.handle.spawn(accept::run(bound.clone(), gate.clone(), shared.proxy.clone()));
        }
        lifecycle.enter(Phase::Ready);
        for (name, address) in &self.addresses {
            tracing::info!(event = "listening", listener = name, address);
        }
        tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"), config = shared.proxy.state.load().hash, admin = %self.admin_address, probes = probes.map(tracing::field::display));
        self.offer_upgrade(administration);
        tokio::spawn(cpu::keep_watching(std::mem::take(&mut self.governor), self.threads));
        self.traffic.handle.spawn(shared.proxy.clone().keep_warm());
        if let Some(redis) = shared.proxy.records.shared.clone() {
            self.traffic.handle.spawn(records::keep_counting(redis, shared.examine_redis.clone()));
        }
        let records = shared.proxy.records.local.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(cause) = records.learn() {
                tracing::error!(event = "idempotency_store", step = "learn", cause = %cause);
            }
        });
        tokio::spawn(look_around(shared.clone(), self.listeners.iter().filter_map(|(_, g)| g.tls.clone()).collect()));
        self.listeners.clear();
        match signals {
            Ok(signals) => self.until_told(signals).await,
            Err(e) => tracing::error!(event = "signals_unavailable", cause = %e),
        }
        if let Some(leaving) = lifecycle.leaving_for() {
            tracing::info!(event = "ended", after_seconds = leaving.as_secs_f64());
        }
        // The last answers of the administration, and the last lines of the log.
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(self.traffic);
        shared.proxy.records.close();
        self.log.flush(Duration::from_secs(2));
    }

    /// Waits for signals and orders, and follows them to the end.
    async fn until_told(&mut self, mut signals: Signals) {
        let shared = self.shared.clone();
        let mut done = shared.proxy.lifecycle.watch();
        let mut signalled = false;
        loop {
            let (told, signal) = tokio::select! {
                _ = signals.terminate.recv() => (Told::Terminate, true),
                _ = signals.interrupt.recv() => (Told::Terminate, true),
                _ = signals.hang_up.recv() => {
                    let shared = shared.clone();
                    tokio::task::spawn_blocking(move || shared.reload());
                    continue;
                }
                Some(told) = self.told.recv() => (told, false),
                _ = done.wait_for(|p| *p == Phase::Done) => return,
            };
            // A second signal is impatience. A signal behind `outboard drain --exit` is how a pod ends.
            if signal && signalled {
                tracing::warn!(event = "ended_at_once", cause = "a second signal");
                return;
            }
            signalled |= signal;
            tokio::spawn(leave(shared.clone(), told));
        }
    }

    /// Waits for a successor on the upgrade socket. It answers the administration's address alone from then on.
    fn offer_upgrade(&mut self, administration: Vec<AbortHandle>) {
        let Some(path) = self.shared.proxy.state.load().config.runtime.upgrade_socket.clone() else { return };
        let inherited = self.inherited.take();
        let shared = self.shared.clone();
        // Weak: a listener that the drain closed must be closed.
        let listeners: Vec<_> = self.listeners.iter().map(|(b, _)| Arc::downgrade(b)).collect();
        let configured: Vec<String> =
            self.shared.proxy.state.load().config.listeners.iter().map(|l| l.address.clone()).collect();
        let handle = tokio::runtime::Handle::current();
        // A thread of its own: the hand-over blocks, and happens once in a process' life.
        let waiting = std::thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            if let Some(inherited) = inherited
                && let Err(e) = inherited.ready()
            {
                tracing::warn!(event = "upgrade", result = "the old process is gone", cause = %e);
            }
            let listener = match upgrade::offer(&path) {
                Ok(listener) => listener,
                Err(e) => return tracing::error!(event = "upgrade_unavailable", cause = %e),
            };
            for successor in listener.incoming().filter_map(Result::ok) {
                let Some(open) = listeners.iter().map(Weak::upgrade).collect::<Option<Vec<_>>>() else { return };
                let fds: Vec<_> = open.iter().map(|b| b.fd()).collect();
                match upgrade::hand_over(&successor, &configured, &fds) {
                    Ok(()) => {
                        tracing::info!(event = "upgrade", result = "handed over");
                        administration.iter().for_each(AbortHandle::abort);
                        upgrade::left(&successor, &path);
                        let state = shared.proxy.state.load_full();
                        let (delay, timeout) = (state.config.drain.delay.get(), state.config.drain_timeout());
                        handle.spawn(async move {
                            shared.proxy.lifecycle.hand_over(delay, timeout).await;
                            shared.drained.send_replace(true);
                        });
                        return;
                    }
                    Err(e) => tracing::warn!(event = "upgrade", result = "the successor gave up", cause = %e),
                }
            }
        });
        if let Err(e) = waiting {
            tracing::error!(event = "upgrade_unavailable", cause = %e);
        }
    }
}

async fn futures_join(looks: Vec<impl Future<Output = ()>>) {
    for look in looks {
        look.await;
    }
}

/// Follows an order to leave.
async fn leave(shared: Arc<Shared>, told: Told) {
    let config = shared.proxy.state.load().config.clone();
    let how =
        Leave { delay: config.drain.delay.get(), timeout: config.drain_timeout(), terminate: told == Told::Terminate };
    shared.proxy.lifecycle.leave(how).await;
    shared.drained.send_replace(true);
}

/// What has to be looked at from time to time.
async fn look_around(shared: Arc<Shared>, tls: Vec<Arc<TlsSource>>) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 0u32.. {
        every.tick().await;
        let state = shared.proxy.state.load_full();
        state.table.upstreams.values().for_each(|u| u.sweep());
        tls.iter().for_each(|t| t.refresh());
        state.table.verifiers.iter().for_each(|v| v.refresh());
        shared.proxy.records.sweep();
        if look.is_multiple_of(SWEEP) {
            state.table.counts.sweep(timer::uptime());
        }
        let Some(file) = shared.source.file() else { continue };
        // The content, not a time stamp: a ConfigMap is swapped by a link, and an editor may keep the time.
        let now = std::fs::read(file).ok();
        if now.is_some() && now != *shared.seen.lock() {
            let shared = shared.clone();
            let _ = tokio::task::spawn_blocking(move || shared.reload()).await;
        }
    }
}
