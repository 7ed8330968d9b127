//! The administration: its own listeners, away from traffic.
//!
//! The full one answers everything; /livez /readyz /metrics to anybody, the rest to who has the token. The probes' one
//! answers only those three, and may be reachable from outside the pod. Both are cheap to abuse by nobody: few
//! connections, bounded heads and bodies, deadlines.

mod answer;
pub mod client;
mod control;
mod endpoints;
mod guard;
mod orders;
mod purge;
pub mod token;

#[cfg(test)]
mod tests;

pub use control::Control;
pub use orders::{Refused, ResolveOrder, Resolved};
pub use purge::{Purge, PurgeOrder};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once; more wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// From a connection's start, or its last answer, to the end of a head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest life of a connection: who reads no answer does not hold it for ever. `POST /drain` may wait as long.
const CONNECTION_LIFE: Duration = Duration::from_secs(3600);
/// The largest head.
const MAX_HEAD: usize = 16 << 10;

/// What a listener answers.
#[derive(Debug, Clone)]
pub enum Surface {
    /// Everything.
    Full {
        /// The address as configured: a Host that is allowed.
        address: String,
        /// What most requests have to bring.
        token: token::Token,
    },
    /// GET /livez /readyz /metrics.
    Probes,
}

/// Serves one listener until it is dropped, and its connections with it.
pub async fn serve(listener: TcpListener, surface: Surface, control: Arc<dyn Control>) {
    serve_with(listener, surface, control, HEAD_TIMEOUT).await;
}

async fn serve_with(listener: TcpListener, surface: Surface, control: Arc<dyn Control>, head_timeout: Duration) {
    let surface = Arc::new(surface);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, surface.clone(), control.clone(), head_timeout);
                connections.spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_LIFE, connection).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(event = "admin_accept", error = &error as &(dyn std::error::Error + 'static));
                // Out of descriptors: trying again at once would only burn the CPU.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    surface: Arc<Surface>,
    control: Arc<dyn Control>,
    head_timeout: Duration,
) {
    let Ok(local) = stream.local_addr() else { return };
    let service = service_fn(move |request| {
        let (surface, control) = (surface.clone(), control.clone());
        async move {
            let caller = endpoints::Caller { surface: &surface, control: &*control, peer, local };
            Ok::<_, Infallible>(caller.answer(request).await)
        }
    });
    // An error is a client that left or broke the protocol: hyper has answered what can be answered.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The statuses with which a write was not done.
fn result_word(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "refused",
        status if status.is_success() => "ok",
        _ => "failed",
    }
}
