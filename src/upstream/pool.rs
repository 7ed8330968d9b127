//! Connections that are used again, and the lease of one for one attempt.
//!
//! Ours instead of pingora's, for money: the connection used last goes first, so that the others grow old and are closed by
//! us and not by the application under a request; a request that must not be sent twice takes only a connection that was
//! used a moment ago; what the server's Keep-Alive header says counts (docs/decisions/0003).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pingora::connectors::http::v2::{H2HandshakeSettings, handshake};
use pingora::protocols::http::v2::client::Http2Session;
use tokio::time::Instant;

use super::connect::{Opened, open};
use super::endpoint::{Attempt, Counted, Endpoint, Idle, Quiet, Shared, Stream, Use};
use super::{PoolOptions, Session, Upstream};
use crate::config::UpstreamProtocol;
use crate::http1::ClientSession;

/// A connection for one attempt. Dropped, it is closed; [`Lease::release`] gives it back.
pub struct Lease {
    /// The session on it.
    pub session: Session,
    /// Whether it carried requests before.
    pub reused: bool,
    /// Counts the attempt.
    pub attempt: Attempt,
    use_: Use,
    _stream: Option<Stream>,
}

impl Upstream {
    /// Takes a connection that waits, or opens one. `repeatable` is false for a request that may not be sent twice.
    ///
    /// # Errors
    /// When no connection can be had; nothing was sent then. Time is bounded by the caller.
    pub async fn connect(&self, attempt: Attempt, repeatable: bool, fresh: bool) -> io::Result<Lease> {
        let endpoint = attempt.endpoint.clone();
        let shares = match self.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::H2c | UpstreamProtocol::H2 => true,
            UpstreamProtocol::Auto => endpoint.agreed.load(Ordering::Relaxed) != 1,
        };
        if shares {
            return self.connect_shared(endpoint, attempt, repeatable).await;
        }
        if !fresh && let Some((conn, use_)) = take(&endpoint, &self.pool, repeatable) {
            self.metrics.sent(true);
            return Ok(self.lease_http1(conn, use_, true, attempt));
        }
        let opened = self.open(&endpoint).await?;
        self.metrics.sent(false);
        self.begin(opened, attempt).await
    }

    async fn open(&self, endpoint: &Endpoint) -> io::Result<Opened> {
        let opened = open(endpoint, self.tls.as_ref()).await?;
        self.metrics.connections_opened.inc();
        Ok(opened)
    }

    /// The session on a connection that was just opened, in the protocol that was agreed on.
    async fn begin(&self, opened: Opened, attempt: Attempt) -> io::Result<Lease> {
        let use_ = Use { opened: Instant::now(), requests: 1 };
        let shares = opened.is_http2(self.protocol)?;
        if self.protocol == UpstreamProtocol::Auto {
            attempt.endpoint.agreed.store(if shares { 2 } else { 1 }, Ordering::Relaxed);
        }
        if !shares {
            return Ok(self.lease_http1(Box::new(opened.conn), use_, false, attempt));
        }
        let mut settings = H2HandshakeSettings::new();
        settings.max_streams = self.pool.max_streams as usize;
        settings.stream_window_size = Some(H2_STREAM_WINDOW);
        settings.connection_window_size = Some(H2_CONNECTION_WINDOW);
        settings.ping_interval = Some(H2_PING);
        let conn = handshake(Box::new(opened.conn), settings).await.map_err(io::Error::other)?;
        let session = conn.spawn_stream().await.map_err(io::Error::other)?;
        let session = session.ok_or_else(|| io::Error::other("a new HTTP/2 connection takes no stream"))?;
        let counted = Arc::new(Counted::new(&self.metrics.connections_idle));
        let quiet = Quiet::new(use_.opened);
        let stream = Stream(quiet.clone());
        attempt.endpoint.shared.lock().push(Shared { conn, use_, quiet, _counted: counted });
        Ok(lease_http2(session, use_, stream, false, attempt))
    }

    fn lease_http1(&self, conn: Box<crate::io::Conn>, use_: Use, reused: bool, attempt: Attempt) -> Lease {
        Lease { session: Session::Http1(ClientSession::new(conn)), reused, attempt, use_, _stream: None }
    }

    async fn connect_shared(&self, endpoint: Arc<Endpoint>, attempt: Attempt, repeatable: bool) -> io::Result<Lease> {
        if let Some((session, use_, stream)) = share(&endpoint, &self.pool, repeatable).await {
            self.metrics.sent(true);
            return Ok(lease_http2(session, use_, stream, true, attempt));
        }
        let opening = endpoint.opening.lock().await;
        // Another request may have opened one meanwhile.
        if let Some((session, use_, stream)) = share(&endpoint, &self.pool, repeatable).await {
            self.metrics.sent(true);
            return Ok(lease_http2(session, use_, stream, true, attempt));
        }
        if self.protocol == UpstreamProtocol::Auto
            && endpoint.agreed.load(Ordering::Relaxed) == 1
            && let Some((conn, use_)) = take(&endpoint, &self.pool, false)
        {
            drop(opening);
            self.metrics.sent(true);
            return Ok(self.lease_http1(conn, use_, true, attempt));
        }
        let opened = self.open(&endpoint).await?;
        self.metrics.sent(false);
        self.begin(opened, attempt).await
    }
}

/// Windows of HTTP/2 connections to an upstream: the most that one answer, and all answers, can hold in memory before
/// their clients take them.
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;
/// A dead peer is found out within twice this time.
const H2_PING: Duration = Duration::from_secs(10);

fn lease_http2(session: Http2Session, use_: Use, stream: Stream, reused: bool, attempt: Attempt) -> Lease {
    Lease { session: Session::Http2(Box::new(session)), reused, attempt, use_, _stream: Some(stream) }
}

/// The HTTP/1 connection that was used last, if it can carry this request.
fn take(endpoint: &Endpoint, pool: &PoolOptions, repeatable: bool) -> Option<(Box<crate::io::Conn>, Use)> {
    let now = Instant::now();
    loop {
        let idle = {
            let mut waiting = endpoint.idle.lock();
            // What lies below was used even earlier, so it is too old as well.
            if !repeatable && now.duration_since(waiting.last()?.since) > pool.reuse_for_unsafe {
                return None;
            }
            waiting.pop()?
        };
        if idle.until > now && idle.conn.is_quiet() {
            let use_ = Use { opened: idle.use_.opened, requests: idle.use_.requests + 1 };
            return Some((idle.conn, use_));
        }
    }
}

/// A stream on an HTTP/2 connection that has room. One that was quiet for long may just be closing, as HTTP/1 ones.
async fn share(endpoint: &Endpoint, pool: &PoolOptions, repeatable: bool) -> Option<(Http2Session, Use, Stream)> {
    let fit = |s: &Shared| s.conn.free_stream_slots() > 0 && (repeatable || !s.is_quiet_for(pool.reuse_for_unsafe));
    loop {
        let (conn, use_, stream, _counted) = {
            let mut shared = endpoint.shared.lock();
            shared.retain(|s| !s.conn.is_closed() && !s.conn.is_shutting_down() && !s.use_.is_over(pool));
            shared.retain(|s| !s.is_quiet_for(pool.idle_timeout));
            let with_room = shared.iter_mut().rev().find(|s| fit(s))?;
            with_room.use_.requests = with_room.use_.requests.saturating_add(1);
            let stream = Stream(with_room.quiet.clone());
            (with_room.conn.clone(), with_room.use_, stream, with_room._counted.clone())
        };
        match conn.spawn_stream().await {
            Ok(Some(session)) => return Some((session, use_, stream)),
            // Full meanwhile, going away, or broken: the next look finds another or none.
            Ok(None) if !conn.is_shutting_down() && conn.free_stream_slots() > 0 => {}
            Ok(None) | Err(_) => {
                let id = conn.id();
                endpoint
                    .shared
                    .lock()
                    .retain(|s| s.conn.id() != id || s.conn.free_stream_slots() > 0 && !s.conn.is_closed());
                if endpoint.shared.lock().iter().any(|s| s.conn.id() == id) {
                    return None;
                }
            }
        }
    }
}

impl Use {
    fn is_over(&self, pool: &PoolOptions) -> bool {
        (pool.max_requests > 0 && self.requests >= pool.max_requests) || self.opened.elapsed() >= pool.max_lifetime
    }
}

impl Lease {
    /// Gives the connection back after a whole answer. It waits for its next request where both sides allow it.
    pub fn release(self, upstream: &Upstream) {
        let Lease { session, attempt, use_, .. } = self;
        // An HTTP/2 stream ends with its session; the connection waits in `shared`.
        let Session::Http1(http1) = session else { return };
        let keep_alive = http1.keep_alive();
        let Some(mut conn) = http1.reuse() else { return };
        let pool = &upstream.pool;
        if use_.is_over(pool) {
            return;
        }
        let keep = keep_alive.map_or(pool.idle_timeout, |k| k.min(pool.idle_timeout));
        if keep.is_zero() || pool.max_idle == 0 {
            return;
        }
        if !conn.is_quiet() {
            return;
        }
        conn.release_buffers();
        let now = Instant::now();
        let until = (now + keep).min(use_.opened + pool.max_lifetime);
        let counted = Counted::new(&upstream.metrics.connections_idle);
        let idle = Idle { conn, use_, since: now, until, _counted: counted };
        let endpoint = attempt.endpoint.clone();
        drop(attempt);
        let surplus = {
            let mut waiting = endpoint.idle.lock();
            waiting.push(idle);
            (waiting.len() > pool.max_idle as usize).then(|| waiting.remove(0))
        };
        drop(surplus);
    }
}
