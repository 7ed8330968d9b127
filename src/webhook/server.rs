//! The webhook's two listeners: HTTPS for API servers, and in clear what the kubelet and a scraper ask.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use super::cluster::Cluster;
use super::metrics::Metrics;
use super::review::{NoReview, Result as Outcome, Review};
use crate::kube::inject::Injector;

/// Connections at once: each API server holds a few.
const CONNECTIONS: usize = 512;
/// For a handshake, and for a head.
const PATIENCE: Duration = Duration::from_secs(5);
/// For a body, once its head is there.
const BODY: Duration = Duration::from_secs(5);
/// The longest review: API servers take objects of 3 MiB at most, and a review may hold one twice.
pub(super) const LARGEST: usize = 8 << 20;
/// What bodies may take together: a review is several times its body while it is looked at.
const BODIES: usize = 24 << 20;
/// The longest life of a connection; API servers open another.
const LIFE: Duration = Duration::from_secs(600);
/// A connection on which nothing is heard for so long has nobody at its other end.
const SILENCE: Duration = Duration::from_secs(30);

/// What the listeners share.
pub(super) struct Webhook {
    pub(super) injector: Injector,
    pub(super) cluster: Option<Cluster>,
    pub(super) metrics: Metrics,
    /// The certificate that is served with; none yet.
    pub(super) tls: ArcSwapOption<ServerConfig>,
    /// It is told to end.
    pub(super) leaving: AtomicBool,
    /// Bytes of bodies that are being looked at.
    pub(super) bodies: Semaphore,
}

/// Room for bodies.
pub(super) fn bodies() -> Semaphore {
    Semaphore::new(BODIES)
}

type Answer = Response<Full<Bytes>>;

/// Serves API servers until it is told to end, and then what has begun.
pub(super) async fn serve(listener: TcpListener, webhook: Arc<Webhook>, mut ends: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = ends.wait_for(|ends| *ends) => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let (webhook, ends) = (webhook.clone(), ends.clone());
        connections.spawn(async move {
            connection(stream, webhook, ends).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(e) => {
            tracing::warn!(event = "webhook_accept", cause = %e);
            // Out of descriptors: trying again at once would only burn the CPU.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, webhook: Arc<Webhook>, ends: watch::Receiver<bool>) {
    let Some(tls) = webhook.tls.load_full() else { return };
    let Ok(Ok(stream)) = timeout(PATIENCE, TlsAcceptor::from(tls).accept(stream)).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let webhook = webhook.clone();
        async move { Ok::<_, Infallible>(webhook.answer(request).await) }
    });
    let stream = TokioIo::new(stream);
    if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(100);
        builder.keep_alive_interval(SILENCE).keep_alive_timeout(PATIENCE);
        let connection = pin!(builder.serve_connection(stream, service));
        until_told(connection, |connection| connection.graceful_shutdown(), ends).await;
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(SILENCE);
        let connection = pin!(builder.serve_connection(stream, service));
        until_told(connection, |connection| connection.graceful_shutdown(), ends).await;
    }
}

/// Serves a connection until it ends; when the process ends, or the connection is old, until what has begun is answered.
async fn until_told<C: Future>(
    mut connection: Pin<&mut C>,
    end: impl FnOnce(Pin<&mut C>),
    mut ends: watch::Receiver<bool>,
) {
    tokio::select! {
        // An error is a client that left or broke the protocol.
        _ = connection.as_mut() => return,
        told = ends.wait_for(|ends| *ends) => drop(told),
        () = tokio::time::sleep(LIFE) => {}
    }
    end(connection.as_mut());
    let _ = timeout(SILENCE, connection).await;
}

impl Webhook {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/inject") => {}
            (_, "/inject") => return self.bad(StatusCode::METHOD_NOT_ALLOWED, "method", "expected POST"),
            _ => return self.bad(StatusCode::NOT_FOUND, "path", "expected /inject"),
        }
        let length = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > LARGEST) {
            return self.bad(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a review is at most 8 MiB");
        }
        // Without a length it may be the longest.
        let room = u32::try_from(length.unwrap_or(LARGEST)).unwrap_or(u32::MAX);
        let Ok(Ok(_room)) = timeout(BODY, self.bodies.acquire_many(room)).await else {
            return self.bad(StatusCode::SERVICE_UNAVAILABLE, "busy", "other reviews take all room");
        };
        let body = match timeout(BODY, Limited::new(request.into_body(), LARGEST).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(e)) if e.is::<LengthLimitError>() => {
                return self.bad(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a review is at most 8 MiB");
            }
            Ok(Err(_)) => return self.bad(StatusCode::BAD_REQUEST, "body", "the body broke off"),
            Err(_) => return self.bad(StatusCode::REQUEST_TIMEOUT, "late", "the body did not arrive in time"),
        };
        let started = Instant::now();
        let review = match Review::read(&body) {
            Ok(review) => review,
            Err(e) => {
                let cause = match e {
                    NoReview::Malformed(_) => "malformed",
                    NoReview::Version(_) => "version",
                    NoReview::Empty => "empty",
                };
                return self.bad(StatusCode::BAD_REQUEST, cause, &e.to_string());
            }
        };
        let namespace = match (&self.cluster, review.namespace()) {
            (Some(cluster), Some(name)) => Some(cluster.namespace(name).await),
            _ => None,
        };
        let reviewed = review.answer(&self.injector, namespace.as_ref());
        self.metrics.reviewed(reviewed.result, started.elapsed());
        let (result, reason) = reviewed.result.words();
        if !matches!(reviewed.result, Outcome::Skipped | Outcome::Left(_)) {
            let told = reviewed.messages.join("; ");
            tracing::info!(event = "reviewed", pod = reviewed.pod, result, reason, told);
        }
        answer(StatusCode::OK, "application/json", reviewed.body)
    }

    fn bad(&self, status: StatusCode, cause: &str, detail: &str) -> Answer {
        self.metrics.bad(cause);
        answer(status, "text/plain; charset=utf-8", format!("{detail}\n"))
    }

    /// Whether API servers can be answered.
    fn is_ready(&self) -> bool {
        self.tls.load().is_some() && !self.leaving.load(Ordering::Relaxed)
    }

    fn probe(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "expected GET\n");
        }
        match request.uri().path() {
            "/livez" => answer(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            "/readyz" if self.is_ready() => answer(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            "/readyz" => answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "not ready\n"),
            "/metrics" => answer(StatusCode::OK, "text/plain; version=0.0.4", self.metrics.render()),
            _ => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "expected /livez /readyz /metrics\n"),
        }
    }
}

/// Answers the kubelet and a scraper.
pub(super) async fn serve_probes(listener: TcpListener, webhook: Arc<Webhook>) {
    let places = Arc::new(Semaphore::new(64));
    loop {
        let Some((stream, place)) = accept(&listener, &places).await else { continue };
        let webhook = webhook.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = webhook.probe(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            let _ = timeout(Duration::from_secs(300), connection).await;
            drop(place);
        });
    }
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
