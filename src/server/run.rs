//! Start, run, end.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::control::Administration;
use super::{cgroup, upgrade};
use crate::admin::{self, Surface, token};
use crate::config::{Config, Endpoint, Errors, check_files, load_file};
use crate::lifecycle::phase::Leave;
use crate::lifecycle::{Lifecycle, Phase};
use crate::listen::accept::{self, Gate};
use crate::listen::bind::Bound;
use crate::listen::tls::TlsSource;
use crate::observe::log::{self, LevelHandle};
use crate::observe::metrics::Metrics;
use crate::policy::redact::Redactor;
use crate::proxy::requests::Requests;
use crate::proxy::state::State;
use crate::proxy::{Buffered, EventStreams, Proxy};
use crate::upstream::Upstream;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, which is watched.
    File(PathBuf),
    /// It was made up: `run --listen A --upstream B`, the demonstration.
    Given(Box<Config>),
}

impl Source {
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Source::File(path) => Some(path),
            Source::Given(_) => None,
        }
    }
}

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Errors),
    /// A file that it names cannot be used.
    #[error("{0}")]
    Compile(#[from] crate::route::table::CompileError),
    /// A listener's certificate cannot be used.
    #[error("listeners.{name}.tls: {cause}")]
    Tls {
        /// Whose.
        name: String,
        /// Why.
        cause: crate::upstream::tls::TlsError,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// No process hands its sockets over.
    #[error("cannot take over from the running process at {path}: {cause}")]
    Upgrade {
        /// The socket that was asked.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The token cannot be used.
    #[error("admin.token_file: {0}")]
    Token(#[from] token::TokenError),
    /// The log cannot be written.
    #[error("logging: {0}")]
    Log(#[from] log::LogError),
    /// Metrics clash.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No threads, no descriptors.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

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
    pub(super) cgroup_memory: Option<u64>,
    pub(super) redactor: Arc<ArcSwap<Redactor>>,
    pub(super) level: LevelHandle,
    pub(super) told: mpsc::UnboundedSender<Told>,
    pub(super) drained: watch::Sender<bool>,
    pub(super) reloading: Mutex<()>,
}

/// A listening socket, and what its accept loop needs to know.
type Opened = (Arc<Bound>, Arc<Gate>);

/// A process that runs.
pub struct Running {
    pub(super) shared: Arc<Shared>,
    traffic: Traffic,
    log: log::Guard,
    told: mpsc::UnboundedReceiver<Told>,
    admin: Vec<(TcpListener, Surface)>,
    listeners: Vec<Opened>,
    inherited: Option<upgrade::Inherited>,
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

/// Opens everything; nothing is accepted yet.
///
/// # Errors
/// When the configuration is wrong, or something cannot be opened.
pub async fn start(source: Source, take_over: bool) -> Result<Running, StartError> {
    let (config, warnings) = match &source {
        Source::File(path) => {
            let loaded = load_file(path).map_err(StartError::Config)?;
            let missing = check_files(&loaded.config, &path.display().to_string());
            if !missing.0.is_empty() {
                return Err(StartError::Config(missing));
            }
            (loaded.config, loaded.warnings)
        }
        Source::Given(config) => ((**config).clone(), Vec::new()),
    };
    let metrics = Arc::new(Metrics::new()?);
    let redactor = Arc::new(ArcSwap::from_pointee(Redactor::new(&config.redaction)));
    let redact = redactor.clone();
    let log = log::init(&config.logging, Arc::new(move |line, out| redact.load().redact_line(line, out)), &metrics)?;
    for warning in &warnings {
        tracing::warn!(event = "config_warning", warning = %warning);
    }
    let cgroup_memory = cgroup::memory();
    let config = Arc::new(config);
    let state = State::compile(config.clone(), &metrics, cgroup_memory, None)?;
    let threads = usize::from(config.runtime.threads.unwrap_or_else(|| cgroup::threads() as u16)).max(1);
    let traffic = Traffic::new(threads)?;

    let mut inherited = match (&config.runtime.upgrade_socket, take_over) {
        (Some(path), true) => {
            let failed = |cause| StartError::Upgrade { path: path.display().to_string(), cause };
            Some(upgrade::ask(path).map_err(failed)?)
        }
        (None, true) => {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "runtime.upgrade_socket is not set");
            return Err(StartError::Upgrade { path: "-".to_owned(), cause });
        }
        (_, false) => None,
    };
    let listeners = open_listeners(&config, &traffic, inherited.as_mut())?;
    let addresses = listeners.iter().map(|(b, g)| (g.name.clone(), b.address())).collect();
    let (admin, admin_address) = open_admin(&config, config.runtime.upgrade_socket.is_some()).await?;

    let (told_sender, told) = mpsc::unbounded_channel();
    let process = &metrics.process;
    process.loaded(unix_now());
    let proxy = Arc::new(Proxy {
        state: ArcSwap::from_pointee(state),
        lifecycle: Arc::new(Lifecycle::default()),
        unrouted: metrics.unrouted(),
        access_log: log.access_log(),
        buffered: Buffered::new(process.buffered_bytes.clone()),
        event_streams: EventStreams::new(process.event_streams.clone()),
        requests: Requests::default(),
        metrics,
    });
    let level = log.level();
    let shared = Arc::new(Shared {
        proxy,
        source,
        cgroup_memory,
        redactor,
        level,
        told: told_sender,
        drained: watch::Sender::new(false),
        reloading: Mutex::new(()),
    });
    Ok(Running { shared, traffic, log, told, admin, listeners, inherited, admin_address, addresses })
}

/// The runtime that carries traffic, on threads of its own.
struct Traffic {
    handle: Handle,
    /// Dropped, the runtime ends.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Traffic {
    fn new(threads: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        // With one thread no other is ever woken or asked for work.
        let runtime = if threads == 1 {
            Builder::new_current_thread().enable_all().build()?
        } else {
            Builder::new_multi_thread().worker_threads(threads).thread_name("outboard").enable_all().build()?
        };
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("outboard".to_owned()).spawn(move || {
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Traffic { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open_listeners(
    config: &Config,
    traffic: &Traffic,
    mut inherited: Option<&mut upgrade::Inherited>,
) -> Result<Vec<Opened>, StartError> {
    let _within = traffic.handle.enter();
    let mut opened = Vec::new();
    for listener in &config.listeners {
        let failed = |cause| StartError::Listen { address: listener.address.clone(), cause };
        let address: Endpoint =
            listener.address.parse().map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
        let taken = inherited.as_mut().and_then(|i| i.take(&listener.address));
        let bound = match taken {
            Some(fd) => Bound::adopt(&address, fd),
            None => Bound::open(&address),
        };
        let protocols = listener.protocols();
        let tls = match &listener.tls {
            Some(tls) => {
                let source = TlsSource::new(tls, &protocols);
                let source = source.map_err(|cause| StartError::Tls { name: listener.name.clone(), cause })?;
                Some(Arc::new(source))
            }
            None => None,
        };
        let gate = Gate {
            name: listener.name.clone(),
            direction: listener.direction(),
            proxy_protocol: listener.proxy_protocol,
            protocols,
            tls,
        };
        opened.push((Arc::new(bound.map_err(failed)?), Arc::new(gate)));
    }
    Ok(opened)
}

/// A process that takes over opens the administration beside the old one's, for the moment in which both run.
async fn open_admin(config: &Config, beside: bool) -> Result<(Vec<(TcpListener, Surface)>, SocketAddr), StartError> {
    let listener = listen(&config.admin.address, beside).await?;
    let address = listener.local_addr()?;
    let token = token::own_token(address.port(), config.admin.token_file.as_deref(), &token::RuntimeDirs::from_env())?;
    if let Some(cause) = &token.unwritten {
        tracing::warn!(event = "admin_token_unwritten", cause = %cause);
    }
    if config.admin.token_file.is_none() {
        eprintln!("outboard: dashboard at http://{address}/dashboard#token={}", token.as_str());
    }
    let mut surfaces = Vec::new();
    if let Some(probes) = &config.admin.probes {
        surfaces.push((listen(probes, beside).await?, Surface::Probes));
    }
    surfaces.push((listener, Surface::Full { address: address.to_string(), token }));
    Ok((surfaces, address))
}

async fn listen(address: &str, beside: bool) -> Result<TcpListener, StartError> {
    let failed = |cause| StartError::Listen { address: address.to_owned(), cause };
    let addr = tokio::net::lookup_host(address).await.map_err(failed)?.next();
    let addr = addr.ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "no such address")))?;
    let socket = if addr.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.set_reuseport(beside).map_err(failed)?;
    socket.bind(addr).map_err(failed)?;
    socket.listen(64).map_err(failed)
}

/// Seconds since 1970, for a metric.
#[allow(clippy::disallowed_methods)] // The shell reads the wall clock; nothing is decided by it.
pub(super) fn unix_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Looks an upstream's names up now and again and again. Within the control runtime.
pub(super) fn keep_resolved(upstream: &Arc<Upstream>) {
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
/// How often idle connections, certificates and the configuration file are looked at.
const LOOK: Duration = Duration::from_secs(1);

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
        upstreams.iter().for_each(keep_resolved);

        for (bound, gate) in &self.listeners {
            self.traffic.handle.spawn(accept::run(bound.clone(), gate.clone(), shared.proxy.clone()));
        }
        lifecycle.enter(Phase::Ready);
        for (name, address) in &self.addresses {
            tracing::info!(event = "listening", listener = name, address);
        }
        tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"), config = shared.proxy.state.load().hash, admin = %self.admin_address, probes = probes.map(tracing::field::display));
        self.offer_upgrade(administration);
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
                        let timeout = state.config.drain_timeout();
                        let lifecycle = shared.proxy.lifecycle.clone();
                        handle.spawn(async move { lifecycle.hand_over(timeout).await });
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
    let mut seen = shared.source.file().and_then(|f| std::fs::read(f).ok());
    loop {
        every.tick().await;
        let state = shared.proxy.state.load_full();
        state.table.upstreams.values().for_each(|u| u.sweep());
        tls.iter().for_each(|t| t.refresh());
        let Some(file) = shared.source.file() else { continue };
        // The content, not a time stamp: a ConfigMap is swapped by a link, and an editor may keep the time.
        let now = std::fs::read(file).ok();
        if now.is_some() && now != seen {
            seen = now;
            let shared = shared.clone();
            let _ = tokio::task::spawn_blocking(move || shared.reload()).await;
        }
    }
}
