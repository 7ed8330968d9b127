//! An HTTP/1 connection: one request after the other. Each head is read here, bounded in bytes and in time.

use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Duration, Instant};
use tokio_util::io::poll_read_buf;

use super::{http2, linger};
use crate::config::Direction;
use crate::http1::chunked::ChunkGuard;
use crate::http1::{self, head};
use crate::io::Conn;
use crate::lifecycle::Phase;
use crate::proxy::state::Limits;
use crate::proxy::{Client, Next, Proxy, Session};
use crate::refusal::{Reason, Refusal};
use crate::timer::Timer;

/// The first read of a head: nearly all fit.
const FIRST_READ: usize = 4 << 10;

/// How long a connection that carried no request yet may stay silent once its listener closes.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// What HTTP/2 by prior knowledge begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How reading a head ended.
enum Head {
    /// A head that passed the guard stands at the front of the buffer, so long.
    Whole(usize, head::Head),
    /// The connection began with the preface of HTTP/2.
    Http2,
    /// No request came: the client left, or time is up.
    Closed,
    /// It is refused; the method as far as it can be told.
    Refused(Refusal),
}

/// Serves a connection on which HTTP/2 may be spoken as well.
pub(super) async fn serve_or_http2(mut conn: Conn, client: Client, proxy: &Arc<Proxy>) {
    let mut timer = Timer::default();
    let mut buf = BytesMut::new();
    let limits = proxy.state.load().limits;
    match read_head(&mut conn, &mut buf, &mut timer, &limits, limits.header_read_timeout, true).await {
        Head::Http2 => {
            conn.unread(&buf);
            Box::pin(http2::serve(conn, client, proxy)).await;
        }
        Head::Closed => {}
        first => run(Box::new(conn), buf, client, proxy, timer, Some(first)).await,
    }
}

/// Serves a connection; `buf` was read from it.
pub(super) async fn serve(conn: Conn, buf: BytesMut, client: Client, proxy: &Arc<Proxy>) {
    run(Box::new(conn), buf, client, proxy, Timer::default(), None).await;
}

async fn run(
    mut conn: Box<Conn>,
    mut buf: BytesMut,
    mut client: Client,
    proxy: &Arc<Proxy>,
    mut timer: Timer,
    mut first: Option<Head>,
) {
    let direction = client.listener.direction;
    // One for the whole connection: the place in the queue of those who are told is kept from one request to the next.
    let mut told = pin!(told_to_end(proxy, direction, true));
    let mut listens = false;
    let mut limits = proxy.state.load().limits;
    let mut served = 0u32;
    loop {
        let patience = if served == 0 { limits.header_read_timeout } else { limits.keepalive_timeout };
        let read = match first.take() {
            Some(first) => first,
            None => {
                let read = {
                    let mut reading = pin!(read_head(&mut conn, &mut buf, &mut timer, &limits, patience, false));
                    poll_fn(|cx| {
                        if let Poll::Ready(head) = reading.as_mut().poll(cx) {
                            return Poll::Ready(Some(head));
                        }
                        // Once polled it wakes this task when the phase changes; before that there is nothing to hear.
                        if listens && !proxy.lifecycle.ends(direction) {
                            return Poll::Pending;
                        }
                        listens = true;
                        told.as_mut().poll(cx).map(|()| None)
                    })
                    .await
                };
                match read {
                    Some(head) => head,
                    None if buf.is_empty() => Head::Closed,
                    // A request that has begun is no idle connection.
                    None => {
                        told.set(told_to_end(proxy, direction, false));
                        read_head(&mut conn, &mut buf, &mut timer, &limits, patience, false).await
                    }
                }
            }
        };
        let read = match read {
            // What came of a body with the head is not to be found broken once the application has the head.
            Head::Whole(end, head) if head.body == head::Body::Chunked => {
                ChunkGuard::new().feed(&buf[end..]).map(|_| (end, head))
            }
            Head::Whole(end, head) => Ok((end, head)),
            Head::Closed | Head::Http2 => return,
            Head::Refused(refusal) => Err(refusal),
        };
        let (end, head) = match read {
            Ok(read) => read,
            Err(refusal) => {
                refuse(&conn, &client, proxy, &refusal);
                return linger::close(&conn, &mut timer, limits.header_read_timeout).await;
            }
        };
        if served == 0 {
            // Who has asked once is told without the moment that a new client is given.
            told.set(told_to_end(proxy, direction, false));
            listens = false;
        }
        served += 1;
        let state = proxy.state.load_full();
        limits = state.limits;
        client.last = served >= limits.keepalive_requests || proxy.lifecycle.ends(direction);
        // Where nothing came behind it, the buffer need not be made one that is shared.
        let rest = if end == buf.len() { BytesMut::new() } else { buf.split_off(end) };
        let session = match http1::ServerSession::new(conn, std::mem::take(&mut buf).freeze(), &head, rest) {
            Ok(session) => session,
            Err(conn) => {
                refuse(&conn, &client, proxy, &Reason::BadRequest.into());
                return linger::close(&conn, &mut timer, limits.header_read_timeout).await;
            }
        };
        // Boxed: a connection that waits for its next request does not hold the space that one takes.
        match boxed(|| proxy.handle(state, &client, &mut timer, Session::Http1(session))).await {
            Next::Request(same, rest) => {
                (conn, buf) = (same, rest);
                if !buf.is_empty() {
                    // Requests that came at once are not to keep other connections waiting.
                    tokio::task::consume_budget().await;
                }
            }
            Next::Close(conn) => {
                let patience = Duration::from_secs(conn.pending() as u64 / limits.min_send_rate + 2);
                return linger::close(&conn, &mut timer, patience).await;
            }
            Next::Ended => return,
        }
    }
}

/// A future on the heap, made where it is to stand: it is several kilobytes, most of which mean nothing yet and would be
/// copied by `Box::pin`.
fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// Ready when an idle connection has to end: its listener is closed. Inbound ones end one by one over the last quarter of
/// the delay, so that their clients do not all come back at once. Who connected in time has a moment to ask.
async fn told_to_end(proxy: &Proxy, direction: Direction, fresh: bool) {
    let mut phase = proxy.lifecycle.watch();
    if direction == Direction::Outbound {
        let _ = phase.wait_for(|p| *p >= Phase::Closing).await;
        return;
    }
    let _ = phase.wait_for(|p| *p >= Phase::Leaving).await;
    if let Some(until) = proxy.lifecycle.accept_until() {
        let left = until.saturating_duration_since(Instant::now());
        let moment = if fresh { FIRST_REQUEST } else { Duration::ZERO };
        tokio::time::sleep(left.mul_f64(0.75 + 0.25 * fastrand::f64()) + moment).await;
    }
}

/// Reads and checks a head. Bounded in bytes, and in time from its first byte to its last; `patience` bounds the wait for
/// the first.
async fn read_head(
    conn: &mut Conn,
    buf: &mut BytesMut,
    timer: &mut Timer,
    limits: &Limits,
    patience: Duration,
    or_http2: bool,
) -> Head {
    let mut begun = !buf.is_empty();
    let mut until = None;
    let mut searched = 0;
    loop {
        if or_http2 && !buf.is_empty() && PREFACE.starts_with(&buf[..buf.len().min(PREFACE.len())]) {
            if buf.len() >= PREFACE.len() {
                return Head::Http2;
            }
        } else {
            let empty = head::skip_empty_line(buf);
            if empty > 0 && searched == 0 {
                buf.advance(empty);
            }
            if let Some(end) = head::find_end(buf, searched) {
                return check(&buf[..end], limits);
            }
            // The end may straddle two reads.
            searched = buf.len().saturating_sub(3);
            if buf.len() >= limits.max_request_headers {
                return Head::Refused(too_large(buf));
            }
        }
        if buf.is_empty() {
            *buf = BytesMut::new();
            conn.release_buffers();
        }
        let most = if begun { limits.header_read_timeout } else { patience };
        let deadline = *until.get_or_insert_with(|| Instant::now() + most);
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = poll_read(conn, buf, cx) {
                return Poll::Ready(Some(read));
            }
            timer.set(deadline);
            timer.poll(cx).map(|()| None)
        });
        match read.await {
            Some(Ok(n)) if n > 0 => {
                if !begun {
                    begun = true;
                    // Counted from here, where the head is not whole already.
                    until = None;
                }
            }
            // Half a head is a client that left.
            Some(_) => return Head::Closed,
            None if begun => {
                return Head::Refused(Refusal::new(Reason::RequestTimeout, "the head did not arrive in time"));
            }
            None => return Head::Closed,
        }
    }
}

/// Reads more of a head. The first bytes come by way of the stack, so that a connection that waits holds no buffer.
fn poll_read(conn: &mut Conn, buf: &mut BytesMut, cx: &mut std::task::Context<'_>) -> Poll<std::io::Result<usize>> {
    if buf.is_empty() {
        let mut scratch = [MaybeUninit::uninit(); FIRST_READ];
        let mut read = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(conn).poll_read(cx, &mut read))?;
        let read = read.filled();
        if !read.is_empty() {
            buf.reserve(FIRST_READ);
            buf.extend_from_slice(read);
        }
        return Poll::Ready(Ok(read.len()));
    }
    if buf.capacity() - buf.len() < 512 {
        buf.reserve(FIRST_READ.max(buf.len()));
    }
    poll_read_buf(Pin::new(conn), cx, buf)
}

fn check(bytes: &[u8], limits: &Limits) -> Head {
    if bytes.len() > limits.max_request_headers {
        return Head::Refused(too_large(bytes));
    }
    match head::check(bytes, &head::Limits::default()) {
        Ok(head) => Head::Whole(bytes.len(), head),
        Err(refusal) => Head::Refused(refusal),
    }
}

/// A head that is too large without a line's end is all target.
fn too_large(buf: &[u8]) -> Refusal {
    match memchr::memchr(b'\n', buf) {
        Some(_) => Reason::HeaderTooLarge.into(),
        None => Reason::UriTooLong.into(),
    }
}

/// Answers a head that never became a request, counts it and logs it.
fn refuse(conn: &Conn, client: &Client, proxy: &Proxy, refusal: &Refusal) {
    let (id, body) = proxy.refuse_head(client, refusal, "HTTP/1.1");
    conn.send_with(|out| {
        use std::io::Write;
        let status = refusal.reason.status();
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             x-outboard-reason: {}\r\nx-request-id: {id}\r\nConnection: close\r\n\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or(""),
            body.len(),
            refusal.reason.as_str(),
        );
        out.extend_from_slice(&body);
    });
}
