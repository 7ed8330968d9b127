//! What the proxy adds to a request, where nothing else hides it: one client, no database, direct and through it in turn.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use tokio::time::{Instant, timeout};

use super::client::{Answered, Client};

/// Pairs of requests that only warm the connections up.
const WARM_UP: usize = 20;
const MOST_PAIRS: usize = 5_000;
/// Until a pair is given up, and the measurement with it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Microseconds of each request, in the order they were sent: the n-th of both is one pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overhead {
    /// To the application itself.
    pub direct: Vec<u32>,
    /// Through the proxy.
    pub proxied: Vec<u32>,
}

/// Sends pairs of GET /healthz for so long. Pairs without two good answers are left out.
pub(super) async fn measure(direct: SocketAddr, proxy: SocketAddr, duration: Duration) -> Overhead {
    let (mut straight, mut around) = (Client::new(direct, Arc::default()), Client::new(proxy, Arc::default()));
    let mut found = Overhead::default();
    let end = Instant::now() + duration;
    for pair in 0..MOST_PAIRS {
        if Instant::now() >= end {
            break;
        }
        let both = async { (get(&mut straight, direct).await, get(&mut around, proxy).await) };
        // A pair that is begun is ended: a request given up is one that its client left.
        match timeout(PATIENCE, both).await {
            Ok((Some(a), Some(b))) if pair >= WARM_UP => {
                found.direct.push(a);
                found.proxied.push(b);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found
}

async fn get(client: &mut Client, target: SocketAddr) -> Option<u32> {
    let request: Request<Full<Bytes>> =
        Request::get("/healthz").header(header::HOST, target.to_string()).body(Full::default()).ok()?;
    let Answered { status, took, .. } = client.send(&request).await.ok()?;
    status.is_success().then(|| u32::try_from(took.as_micros()).unwrap_or(u32::MAX))
}
