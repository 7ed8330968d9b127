//! The loop that accepts connections, until its direction is closed.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::bind::{Accepted, Bound};
use super::connection;
use super::tls::TlsSource;
use crate::config::{Direction, Protocol, ProxyProtocol};
use crate::io::Socket;
use crate::observe::metrics::ConnectionRefused;
use crate::proxy::Proxy;
use crate::refusal::Reason;

/// What a listening socket needs to know: what a reload cannot change.
pub struct Gate {
    /// The listener's name.
    pub name: String,
    /// When it is closed.
    pub direction: Direction,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// What is spoken.
    pub protocols: Vec<Protocol>,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<TlsSource>>,
}

/// Accepts until the drain, or another process, closes this direction. What then waits in the kernel is still accepted: nobody who connected
/// in time is turned away.
pub async fn run(bound: Arc<Bound>, gate: Arc<Gate>, proxy: Arc<Proxy>) {
    let mut closed = pin!(proxy.lifecycle.until_closed(gate.direction));
    loop {
        tokio::select! {
            biased;
            () = &mut closed => break,
            accepted = bound.accept() => match accepted {
                Ok(accepted) => take(accepted, &gate, &proxy),
                Err(e) => backed_off(&gate, &e).await,
            },
        }
    }
    while let Ok(Ok(accepted)) = tokio::time::timeout(Duration::from_millis(1), bound.accept()).await {
        take(accepted, &gate, &proxy);
    }
}

/// Out of descriptors: to try again at once would only burn the processor that could free some.
async fn backed_off(gate: &Gate, e: &std::io::Error) {
    let gone = matches!(e.kind(), std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::Interrupted);
    if !gone {
        tracing::warn!(event = "accept_failed", listener = %gate.name, cause = %e);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn take(accepted: Accepted, gate: &Arc<Gate>, proxy: &Arc<Proxy>) {
    let state = proxy.state.load();
    let Some(listener) = state.listener(&gate.name).cloned() else { return };
    let Some(counted) = proxy.lifecycle.connection(state.limits.max_connections) else {
        listener.metrics.refused(ConnectionRefused::Limit);
        if gate.tls.is_none() {
            turn_away(&accepted);
        }
        return;
    };
    let (socket, peer) = match accepted {
        Accepted::Tcp(stream, peer) => {
            // Without it small answers wait for acknowledgements. A socket that is gone says so when it is read.
            let _ = stream.set_nodelay(true);
            (Socket::from(stream), Some(peer.ip().to_canonical()))
        }
        Accepted::Unix(stream) => (Socket::from(stream), None),
    };
    let (gate, proxy) = (gate.clone(), proxy.clone());
    tokio::spawn(async move {
        let _counted = counted;
        let _open = listener.metrics.accepted();
        connection::serve(socket, peer, listener, &gate, &proxy).await;
    });
}

/// A client over the limit is told so, if it can be told without waiting.
fn turn_away(accepted: &Accepted) {
    let body = crate::refusal::Refusal::new(Reason::Overloaded, "too many connections").problem("");
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         x-outboard-reason: overloaded\r\nRetry-After: 1\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    let _ = match accepted {
        Accepted::Tcp(stream, _) => stream.try_write(&answer),
        Accepted::Unix(stream) => stream.try_write(&answer),
    };
}
