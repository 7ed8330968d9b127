//! Start: everything is opened before anything is accepted.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};

use super::run::{Running, Shared, unix_now};
use super::{cgroup, records, upgrade};
use crate::admin::{Surface, token};
use crate::config::{Config, Endpoint, Errors, check_files, load_file};
use crate::lifecycle::Lifecycle;
use crate::listen::accept::Gate;
use crate::listen::bind::Bound;
use crate::listen::tls::TlsSource;
use crate::observe::log;
use crate::observe::metrics::Metrics;
use crate::policy::compression::Governor;
use crate::policy::redact::Redactor;
use crate::proxy::caching::Cache;
use crate::proxy::coding::Codings;
use crate::proxy::requests::Requests;
use crate::proxy::state::State;
use crate::proxy::{Buffered, EventStreams, Proxy};

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
    /// Idempotency records cannot be kept.
    #[error(transparent)]
    Records(#[from] super::records::RecordsError),
    /// No threads, no descriptors.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// A listening socket, and what its accept loop needs to know.
pub(super) type Opened = (Arc<Bound>, Arc<Gate>);

/// Opens everything; nothing is accepted yet.
///
/// # Errors
/// When the configuration is wrong, or something cannot be opened.
pub async fn start(source: Source, take_over: bool) -> Result<Running, StartError> {
    // Read before it is loaded: what changes in between is noticed later.
    let seen = source.file().and_then(|f| std::fs::read(f).ok());
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
    let bypass = bypass();
    let mut config = config;
    if bypass {
        config.bypass();
    }
    let metrics = Arc::new(Metrics::new()?);
    let redactor = Arc::new(ArcSwap::from_pointee(Redactor::new(&config.redaction)));
    let redact = redactor.clone();
    let log = log::init(&config.logging, Arc::new(move |line, out| redact.load().redact_line(line, out)), &metrics)?;
    for warning in &warnings {
        tracing::warn!(event = "config_warning", warning = %warning);
    }
    if bypass {
        tracing::warn!(event = "bypass", cause = "OUTBOARD_BYPASS=1", effect = "a plain proxy: no policy acts");
    }
    metrics.process.bypass.set(i64::from(bypass));
    let cgroup_memory = cgroup::memory();
    let config = Arc::new(config);
    let state = State::compile(config.clone(), &metrics, cgroup_memory, None)?;
    state.table.apply();
    let threads = usize::from(config.runtime.threads.unwrap_or_else(|| cgroup::threads() as u16)).max(1);
    let traffic = Traffic::new(threads)?;

    if take_over && records::uses_local(&config) {
        let cause = "refused while a route has idempotency.store: local: only one process may have the records";
        let path = config.runtime.upgrade_socket.as_ref().map_or("-".to_owned(), |path| path.display().to_string());
        return Err(StartError::Upgrade { path, cause: io::Error::new(io::ErrorKind::Unsupported, cause) });
    }
    // Before anything is opened: without what they know nothing may be accepted.
    let records = records::open(&config)?;
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
    let governor = Governor::new();
    let proxy = Arc::new(Proxy {
        cache: Cache::new(config.stores.memory.bytes(), metrics.cache.clone()).map_err(io::Error::from)?,
        records,
        codings: Codings::new(&metrics, governor.effort()),
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
        bypass,
        cgroup_memory,
        redactor,
        level,
        told: told_sender,
        drained: watch::Sender::new(false),
        seen: Mutex::new(seen),
        examine_redis: Arc::default(),
    });
    Ok(Running { shared, traffic, governor, threads, log, told, admin, listeners, inherited, admin_address, addresses })
}

/// Whether the process is to be a plain proxy: `OUTBOARD_BYPASS=1`.
fn bypass() -> bool {
    std::env::var("OUTBOARD_BYPASS").is_ok_and(|v| matches!(v.as_str(), "1" | "true" | "on"))
}

/// The runtime that carries traffic, on threads of its own.
pub(super) struct Traffic {
    pub(super) handle: Handle,
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
