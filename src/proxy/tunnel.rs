//! What follows a 101: bytes both ways, until both sides have ended or one is silent for too long.

use std::future::poll_fn;
use std::task::{Context as Poller, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::ReadBuf;
use tokio::time::{Duration, Instant};

use super::context::Context;
use super::downstream::Downstream;
use super::origin::Origin;
use super::{Next, Proxy, Session, finish, refuse};
use crate::http1::AnswerHead;
use crate::io::Conn;
use crate::refusal::{Reason, Refusal};
use crate::timer::Timer;

const ROOM: usize = 64 << 10;

/// Bytes that went through: from the client, and to it.
#[derive(Debug, Default, Clone, Copy)]
struct Through {
    up: u64,
    down: u64,
}

struct Tunnel<'t> {
    client: &'t Conn,
    origin: &'t mut Origin,
    /// What the client sent behind its request, before the protocol was switched.
    early: Bytes,
    client_ended: bool,
    origin_ended: bool,
    through: Through,
    moved: Instant,
    scratch: BytesMut,
}

impl Proxy {
    /// After a 101: tells the client, and carries bytes until the end.
    pub(super) async fn tunnel(
        &self,
        cx: &mut Context,
        timer: &mut Timer,
        mut session: Session,
        mut origin: Box<Origin>,
        head: Box<AnswerHead>,
    ) -> Next {
        let Some(route) = cx.route.clone() else { return Next::Ended };
        let Ok(_open) = self.event_streams.enter(cx.state.limits.max_event_streams) else {
            let mut down = Downstream::new(&mut session);
            let refusal = Refusal::new(Reason::Overloaded, "too many event streams");
            refuse::refuse(cx, &mut down, timer, None, &refusal).await;
            return finish(session, true);
        };
        cx.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        if Downstream::new(&mut session).write_head(head, &route.response_headers, true).is_err() {
            return Next::Ended;
        }
        let Session::Http1(http1) = session else { return Next::Ended };
        // What came behind the request belongs to the tunnel.
        let (conn, early) = http1.into_parts();
        let mut until = Instant::now() + route.timeouts.stream_max;
        if let Some(end) = self.lifecycle.deadline() {
            until = until.min(end);
        }
        let through = run(&conn, &mut origin, early.freeze(), timer, route.timeouts.idle, until).await;
        cx.upstream_sent = through.up;
        cx.upstream_received = through.down;
        (cx.request_bytes, cx.response_bytes) = (through.up, through.down);
        Next::Close(conn)
    }
}

/// Carries bytes until both sides have ended, `idle` passed without any, or `until` has come.
async fn run(
    client: &Conn,
    origin: &mut Origin,
    early: Bytes,
    timer: &mut Timer,
    idle: Duration,
    until: Instant,
) -> Through {
    let mut tunnel = Tunnel {
        client,
        origin,
        early,
        client_ended: false,
        origin_ended: false,
        through: Through::default(),
        moved: Instant::now(),
        scratch: BytesMut::zeroed(16 << 10),
    };
    poll_fn(|cx| {
        if tunnel.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        timer.set((tunnel.moved + idle).min(until));
        timer.poll(cx)
    })
    .await;
    tunnel.through
}

impl Tunnel<'_> {
    /// Ready when both directions have ended, or one broke.
    fn poll(&mut self, cx: &mut Poller<'_>) -> Poll<()> {
        let up = self.poll_up(cx);
        let down = self.poll_down(cx);
        match (up, down) {
            (Poll::Ready(Err(())), _) | (_, Poll::Ready(Err(()))) => Poll::Ready(()),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn poll_up(&mut self, cx: &mut Poller<'_>) -> Poll<Result<(), ()>> {
        let origin = self.origin.conn().ok_or(())?;
        loop {
            if self.client_ended {
                return origin.poll_half_close(cx).map_err(|_| ());
            }
            ready!(origin.poll_sent(cx, ROOM)).map_err(|_| ())?;
            if !self.early.is_empty() {
                let early = std::mem::take(&mut self.early);
                self.through.up += early.len() as u64;
                origin.poll_send(cx, &early).map_err(|_| ())?;
                continue;
            }
            let mut buf = ReadBuf::new(&mut self.scratch);
            ready!(self.client.poll_read_shared(cx, &mut buf)).map_err(|_| ())?;
            self.moved = Instant::now();
            let read = buf.filled();
            if read.is_empty() {
                self.client_ended = true;
            } else {
                self.through.up += read.len() as u64;
                origin.poll_send(cx, read).map_err(|_| ())?;
            }
        }
    }

    fn poll_down(&mut self, cx: &mut Poller<'_>) -> Poll<Result<(), ()>> {
        loop {
            if self.origin_ended {
                return self.client.poll_half_close(cx).map_err(|_| ());
            }
            ready!(self.client.poll_sent(cx, ROOM)).map_err(|_| ())?;
            match ready!(self.origin.poll_body(cx)).map_err(|_| ())? {
                Some(chunk) => {
                    self.moved = Instant::now();
                    self.through.down += chunk.len() as u64;
                    self.client.poll_send(cx, &chunk).map_err(|_| ())?;
                }
                None => self.origin_ended = true,
            }
        }
    }
}
