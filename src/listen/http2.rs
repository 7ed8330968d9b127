//! An HTTP/2 connection: streams side by side, each a request of its own.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use pingora::protocols::Digest;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, default_h2_options, handshake};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout};

use super::frames::{Frames, HalfHead};
use crate::config::Direction;
use crate::io::Conn;
use crate::lifecycle::Phase;
use crate::proxy::{Client, Proxy, Session};
use crate::refusal::Reason;
use crate::timer::Timer;

/// Malformed streams that one connection may send before it is closed.
const MALFORMED: u32 = 32;
/// Request bytes that one stream, and one connection, may have under way: the most they hold in memory.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How long the last answers may stand still once the process leaves and no stream is open.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// How long a client that never sent a request may take to end its connection once it was told to go.
const GOODBYE: Duration = Duration::from_millis(500);

/// Streams that are being served.
#[derive(Default)]
struct Open {
    count: AtomicUsize,
    fell: Notify,
}

struct OpenStream(Arc<Open>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.fell.notify_one();
    }
}

/// What happens on a connection besides its streams. Lives for one turn of the loop: no box is worth its allocation.
#[allow(clippy::large_enum_variant)]
enum Event {
    Accepted(pingora::Result<Option<H2Accept>>),
    /// It is told that it ends: GOAWAY.
    Leave,
    /// No stream for keepalive_timeout, or a client that says nothing.
    Idle,
    /// A request's head did not arrive in time.
    HalfHead,
    /// A stream ended.
    Fell,
}

/// Serves a connection to its end.
pub(super) async fn serve(mut conn: Conn, client: Client, proxy: &Arc<Proxy>) {
    let limits = proxy.state.load().limits;
    let mut options = default_h2_options();
    options.max_concurrent_streams(limits.max_streams);
    options.max_header_list_size(u32::try_from(limits.max_request_headers).unwrap_or(u32::MAX));
    options.initial_window_size(STREAM_WINDOW);
    options.initial_connection_window_size(CONNECTION_WINDOW);
    let written = conn.meter();
    let mut seen = 0;
    let half = HalfHead::default();
    let mut frames = Frames::new(half.clone());
    conn.watch(move |bytes| frames.feed(bytes));
    // The preface and the settings have as long as a head.
    let shaking = handshake(Box::new(conn), Some(options));
    let Ok(Ok(mut connection)) = timeout(limits.header_read_timeout, shaking).await else { return };

    let client = Arc::new(client);
    let digest = Arc::new(Digest::default());
    let inbound = client.listener.direction == Direction::Inbound;
    let open = Arc::new(Open::default());
    let mut phase = proxy.lifecycle.watch();
    let mut leave = pin!(async move {
        let wanted = if inbound { Phase::Leaving } else { Phase::Closing };
        let _ = phase.wait_for(|p| *p >= wanted).await;
    });
    // A connection that comes while the process leaves is served one stream, then told to go.
    let mut came_late = inbound && proxy.lifecycle.is_leaving();
    let (mut leaving, mut accepted, mut malformed) = (false, 0u32, 0u32);
    let mut timer = Timer::default();
    let mut idle_since = Instant::now();
    let mut never_began = false;
    // An answer that was handed over may wait in this connection for its client. While the process leaves, the connection
    // is in flight until it has ended, which is when its last byte left.
    let mut unsent = None;
    loop {
        if unsent.is_none() && accepted > 0 && leaving && proxy.lifecycle.ends(client.listener.direction) {
            unsent = Some(proxy.lifecycle.request(client.listener.direction));
            idle_since = Instant::now();
        }
        let event = {
            let next = HttpSession::from_h2_conn(&mut connection, digest.clone());
            let mut next = pin!(next);
            let mut fell = pin!(open.fell.notified());
            poll_fn(|cx| {
                if let Poll::Ready(next) = next.as_mut().poll(cx) {
                    return Poll::Ready(Event::Accepted(next));
                }
                if !leaving && !came_late && leave.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Event::Leave);
                }
                if fell.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Event::Fell);
                }
                let half = half.since().map(|since| since + limits.header_read_timeout);
                let idle = (open.count.load(Ordering::Acquire) == 0).then(|| {
                    let patience = match accepted {
                        0 if never_began => GOODBYE,
                        0 => limits.header_read_timeout,
                        _ if unsent.is_some() => LAST_BYTES,
                        _ => limits.keepalive_timeout,
                    };
                    idle_since + patience
                });
                let Some(deadline) = half.into_iter().chain(idle).min() else { return Poll::Pending };
                timer.set(deadline);
                timer.poll(cx).map(|()| if half == Some(deadline) { Event::HalfHead } else { Event::Idle })
            })
            .await
        };
        match event {
            Event::Accepted(Ok(Some(H2Accept::Session(session)))) => {
                accepted += 1;
                open.count.fetch_add(1, Ordering::AcqRel);
                let guard = OpenStream(open.clone());
                let (client, proxy) = (client.clone(), proxy.clone());
                tokio::spawn(async move {
                    let _guard = guard;
                    stream(session, &client, &proxy).await;
                });
                if came_late || accepted == limits.keepalive_requests {
                    came_late = false;
                    leaving = true;
                    connection.graceful_shutdown();
                }
            }
            // It was answered or reset where it was found out.
            Event::Accepted(Ok(Some(H2Accept::Rejected))) => {
                malformed += 1;
                proxy.refuse_head(&client, &Reason::BadRequest.into(), "HTTP/2");
                if malformed >= MALFORMED {
                    return;
                }
            }
            Event::Accepted(Ok(None)) => return,
            Event::Accepted(Err(e)) => {
                // What the library below cannot even decode ends the connection with a GOAWAY of its own.
                if e.root_cause().downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library) {
                    proxy.refuse_head(&client, &Reason::BadRequest.into(), "HTTP/2");
                }
                return;
            }
            Event::HalfHead => {
                proxy.refuse_head(&client, &Reason::RequestTimeout.into(), "HTTP/2");
                return;
            }
            Event::Leave => {
                leaving = true;
                connection.graceful_shutdown();
            }
            Event::Fell => idle_since = Instant::now(),
            Event::Idle if leaving => {
                let now = written.load(Ordering::Relaxed);
                if now == seen || never_began {
                    return;
                }
                // A slow client still takes the last answers.
                seen = now;
                idle_since = Instant::now();
            }
            Event::Idle => {
                leaving = true;
                never_began = accepted == 0;
                idle_since = Instant::now();
                connection.graceful_shutdown();
            }
        }
    }
}

async fn stream(session: HttpSession, client: &Client, proxy: &Arc<Proxy>) {
    let mut timer = Timer::default();
    proxy.handle(proxy.state.load_full(), client, &mut timer, Session::Http2(Box::new(session))).await;
}
