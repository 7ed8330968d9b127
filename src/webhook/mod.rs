//! The mutating admission webhook: HTTPS around `kube::inject`.
//!
//! ```text
//!  API server ── HTTPS ── server ── review ── kube::inject     the pod, and its patch
//!                           │          └───── cluster ── api   its namespace's policy, the Services that select it
//!                           └── tls ── keeper ── api           its certificate: a Secret, and the CA that is believed
//!  kubelet, scraper ─────── server (in clear): /livez /readyz /metrics
//! ```

mod api;
mod certificate;
mod cluster;
mod keeper;
mod metrics;
mod review;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Logging;
use crate::kube::inject::Injector;
use crate::kube::version::Version;
use crate::observe::{self, log};
use crate::policy::redact::{self, Redactor};
use crate::timer;
use api::Api;
use cluster::Cluster;
use keeper::{Keeper, PERIOD, Place};
use metrics::Metrics;
use server::Webhook;

/// Where the webhook's certificate comes from.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// It makes its own, and keeps it in a Secret.
    Own {
        /// Where the Secret and the Service are.
        namespace: String,
        /// The Secret.
        secret: String,
        /// The MutatingWebhookConfiguration that is told of the CA.
        webhook: String,
        /// The Service.
        service: String,
    },
    /// Files, as cert-manager writes them; they are watched.
    Files {
        /// The certificate chain, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

/// How it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where API servers reach it.
    pub listen: SocketAddr,
    /// Where the kubelet and a scraper do.
    pub probes: SocketAddr,
    /// The sidecar's image.
    pub image: String,
    /// The version of Kubernetes; none: the API server is asked.
    pub kubernetes: Option<Version>,
    /// Pods that say nothing get the sidecar as well.
    pub all: bool,
    /// Its certificate.
    pub certificate: Certificate,
    /// It asks no API server: it knows nothing of Services, namespaces and ConfigMaps.
    pub alone: bool,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// An address cannot be listened at, or a signal not be caught.
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// The cluster does not give what it needs.
    #[error("the API server: {0}")]
    Api(String),
    /// Its metrics cannot be made.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// It cannot log.
    #[error("logging: {0}")]
    Log(#[from] log::LogError),
}

/// How often files and the Secret are looked at before the first certificate is there.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// After SIGTERM API servers still come, until they have heard that the pod leaves.
const DELAY: Duration = Duration::from_secs(5);

/// Runs until SIGTERM, and then until what has begun is answered.
///
/// # Errors
/// Where it cannot begin. A certificate that is not there yet is no such case: it is not ready until then.
pub async fn run(settings: Settings) -> Result<(), WebhookError> {
    let redactor = Redactor::new(&redact::Settings::default());
    let redact = Arc::new(move |line: &[u8], out: &mut Vec<u8>| redactor.redact_line(line, out));
    let _log = log::init(&Logging::default(), redact, &observe::metrics::Metrics::new()?)?;
    let needs_api =
        !settings.alone || settings.kubernetes.is_none() || matches!(settings.certificate, Certificate::Own { .. });
    let api =
        if needs_api { Some(Arc::new(Api::of_pod().map_err(|e| WebhookError::Api(e.to_string()))?)) } else { None };
    let kubernetes = match (settings.kubernetes, &api) {
        (Some(version), _) => version,
        (None, Some(api)) => version(api).await?,
        (None, None) => Version::NATIVE_PORTS,
    };
    let bind = |address: SocketAddr| async move {
        TcpListener::bind(address).await.map_err(|e| WebhookError::Io(format!("cannot listen at {address}"), e))
    };
    let (listener, probes) = (bind(settings.listen).await?, bind(settings.probes).await?);
    let webhook = Arc::new(Webhook {
        injector: Injector { image: settings.image.clone(), kubernetes, all: settings.all },
        cluster: api.clone().filter(|_| !settings.alone).map(Cluster::new),
        metrics: Metrics::new()?,
        tls: ArcSwapOption::empty(),
        leaving: AtomicBool::new(false),
        bodies: server::bodies(),
    });
    let addresses = (listener.local_addr(), probes.local_addr());
    if let (Ok(listen), Ok(probes)) = addresses {
        tracing::info!(event = "webhook_started", %listen, %probes, kubernetes = %kubernetes, image = settings.image);
    }
    let (end, ends) = watch::channel(false);
    tokio::spawn(certificates(settings.certificate.clone(), api, webhook.clone()));
    tokio::spawn(server::serve_probes(probes, webhook.clone()));
    let serving = tokio::spawn(server::serve(listener, webhook.clone(), ends));
    let caught = |kind| signal(kind).map_err(|e| WebhookError::Io("cannot catch signals".into(), e));
    let (mut terminate, mut interrupt) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {
            webhook.leaving.store(true, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(DELAY) => {}
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ = interrupt.recv() => {}
    }
    let _ = end.send(true);
    let _ = serving.await;
    Ok(())
}

/// The version of the API server.
async fn version(api: &Api) -> Result<Version, WebhookError> {
    let failed = |e: String| WebhookError::Api(format!("{e}; --kubernetes says the version without asking"));
    let answer = api.get("/version").await.map_err(|e| failed(e.to_string()))?;
    let part = |key: &str| answer.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    format!("{}.{}", part("major"), part("minor"))
        .parse()
        .map_err(|e: crate::kube::version::NoVersion| failed(e.to_string()))
}

/// Keeps the certificate that is served with.
async fn certificates(from: Certificate, api: Option<Arc<Api>>, webhook: Arc<Webhook>) {
    let keeper = match (&from, api) {
        (Certificate::Own { namespace, secret, webhook, service }, Some(api)) => Some(Keeper::new(
            api,
            Place {
                namespace: namespace.clone(),
                secret: secret.clone(),
                webhook: webhook.clone(),
                service: service.clone(),
            },
        )),
        _ => None,
    };
    let mut served = (Vec::new(), Vec::new());
    loop {
        let found = match (&from, &keeper) {
            (Certificate::Files { certificate, key }, _) => files(certificate, key).await,
            (_, Some(keeper)) => match keeper.keep(timer::unix_now()).await {
                Ok(issued) => {
                    webhook.metrics.certificate(issued.until);
                    Ok((issued.certificate.into_bytes(), issued.key.into_bytes()))
                }
                Err(e) => Err(e.to_string()),
            },
            _ => return,
        };
        let done = found.and_then(|found| {
            if found != served {
                let config = certificate::server(&found.0, &found.1).map_err(|e| e.to_string())?;
                webhook.tls.store(Some(Arc::new(config)));
                tracing::info!(event = "certificate_loaded");
                served = found;
            }
            Ok(())
        });
        // What is served with goes on being served with.
        if let Err(cause) = done {
            tracing::error!(event = "certificate_refused", cause);
        }
        let has_one = webhook.tls.load().is_some();
        let files = matches!(from, Certificate::Files { .. });
        tokio::time::sleep(if has_one && !files { PERIOD } else { IMPATIENCE }).await;
    }
}

async fn files(certificate: &PathBuf, key: &PathBuf) -> Result<(Vec<u8>, Vec<u8>), String> {
    let read = |path: &PathBuf| {
        let path = path.clone();
        async move { tokio::fs::read(&path).await.map_err(|e| format!("{}: {e}", path.display())) }
    };
    Ok((read(certificate).await?, read(key).await?))
}
