//! The application's side of an exchange: a session of either protocol whose writing never blocks its reading.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http::{HeaderMap, Method};

use super::request::{self, Framing, Outgoing};
use crate::http1::AnswerHead;
use crate::io::Conn;
use crate::observe::log::UpstreamSent;
use crate::refusal::Refusal;
use crate::upstream::{Lease, Session, Upstream};

/// This much of a request may wait for a slow application before it is no longer read from the client.
const ROOM: usize = 64 << 10;

/// The application broke off. Whether it can have seen the request is in [`Origin::sent`].
#[derive(Debug)]
pub(super) struct Broken(pub(super) Box<pingora::Error>);

/// Why a head was not written.
pub(super) enum Failed {
    /// The connection broke.
    Broken,
    /// The request cannot be put into the application's protocol.
    Refused(Refusal),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Refused(refusal)
    }
}

impl Broken {
    fn because(cause: &'static str) -> Self {
        Broken(pingora::Error::explain(pingora::ErrorType::ConnectionClosed, cause))
    }

    /// Whether the connection ended, and not one stream of it or the answer's syntax.
    pub(super) fn is_of_connection(&self) -> bool {
        let of_stream = self.0.root_cause().downcast_ref::<h2::Error>().is_some_and(h2::Error::is_reset);
        let ended = matches!(
            self.0.etype(),
            pingora::ErrorType::ConnectionClosed | pingora::ErrorType::ReadError | pingora::ErrorType::H2Error
        );
        ended && !of_stream
    }

    /// Whether the application says that it did not begin with the request (RFC 9113 8.7): it may be sent again, whatever
    /// it does.
    pub(super) fn is_unsent(&self) -> bool {
        let Some(e) = self.0.root_cause().downcast_ref::<h2::Error>() else { return false };
        let refused = e.is_reset() && e.reason() == Some(h2::Reason::REFUSED_STREAM);
        let left_out = e.is_go_away() && e.reason() == Some(h2::Reason::NO_ERROR);
        e.is_remote() && (refused || left_out)
    }
}

/// The application's side.
pub(super) struct Origin {
    lease: Lease,
    h2: Option<SendStream<Bytes>>,
    waiting: Bytes,
    chunked: bool,
    /// Bytes that the connection had read before this request, and those that its socket had taken.
    before: (u64, u64),
    /// How much of the request it can have seen.
    pub(super) sent: UpstreamSent,
    /// Bytes of the request's body that were taken.
    pub(super) body_sent: u64,
    /// Bytes of the answer's body.
    pub(super) body_received: u64,
}

impl Origin {
    pub(super) fn new(lease: Lease) -> Self {
        let before = lease.session.conn().map_or((0, 0), |conn| (conn.bytes().0, conn.on_wire()));
        Origin {
            lease,
            before,
            h2: None,
            waiting: Bytes::new(),
            chunked: false,
            sent: UpstreamSent::None,
            body_sent: 0,
            body_received: 0,
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.lease.session, Session::Http2(_))
    }

    pub(super) fn reused(&self) -> bool {
        self.lease.reused
    }

    pub(super) fn conn(&self) -> Option<&Conn> {
        self.lease.session.conn()
    }

    /// Writes the head; `end`: no body follows.
    pub(super) async fn write_head(&mut self, outgoing: &Outgoing<'_>, end: bool) -> Result<(), Failed> {
        match &mut self.lease.session {
            Session::Http1(http1) => {
                if outgoing.cx.method == Method::HEAD {
                    http1.expect_no_body();
                }
                http1.conn().send_with(|out| request::http1(outgoing, out));
                self.chunked = outgoing.framing == Framing::Chunked;
            }
            Session::Http2(h2) => {
                h2.write_request_header(request::http2(outgoing)?, end).map_err(|_| Failed::Broken)?;
                self.h2 = h2.take_request_body_writer();
            }
        }
        self.sent = if end { UpstreamSent::All } else { UpstreamSent::Head };
        if end && self.poll_now().await.is_err() {
            return Err(Failed::Broken);
        }
        Ok(())
    }

    /// Whether not one byte of the request reached the socket, so that nobody can have seen it: the connection was closed
    /// while it waited.
    pub(super) fn nothing_left(&mut self) -> bool {
        // Of the socket, below TLS: a record of which a part left is more than nothing.
        let nothing = self.conn().is_some_and(|conn| conn.on_wire() == self.before.1);
        if nothing {
            self.sent = UpstreamSent::None;
        }
        nothing
    }

    /// Whether not one byte came since the request began; on HTTP/2 that is not known.
    pub(super) fn nothing_came(&self) -> bool {
        self.conn().is_none_or(|conn| conn.bytes().0 == self.before.0)
    }

    /// Hands what waits to the socket, without waiting for it.
    async fn poll_now(&mut self) -> std::io::Result<()> {
        poll_fn(|cx| {
            let sent = self.conn().map_or(Ok(()), |conn| conn.poll_send(cx, b""));
            Poll::Ready(sent)
        })
        .await
    }

    /// Ready when there is room for more of the request.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let Some(conn) = self.conn() {
            return conn.poll_sent(cx, ROOM).map_err(|_| Broken::because("while sending the request"));
        }
        let Some(stream) = &mut self.h2 else { return Poll::Ready(Ok(())) };
        while !self.waiting.is_empty() {
            stream.reserve_capacity(self.waiting.len());
            let room = match ready!(stream.poll_capacity(cx)) {
                Some(Ok(n)) => n.min(self.waiting.len()),
                Some(Err(_)) | None => return Poll::Ready(Err(Broken::because("while sending the request"))),
            };
            let part = self.waiting.split_to(room);
            stream.send_data(part, false).map_err(|_| Broken::because("while sending the request"))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a part of the request's body. To be called when there was room.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Result<(), Broken> {
        // An HTTP/2 session reads one where trailers follow. As a chunk it would be the end of the body, and the real end would
        // stand in front of the next message.
        if chunk.is_empty() {
            return Ok(());
        }
        self.body_sent += chunk.len() as u64;
        self.sent = self.sent.max(UpstreamSent::Body);
        if self.is_http2() {
            self.waiting = chunk;
            return match self.poll_room(cx) {
                Poll::Ready(Err(broken)) => Err(broken),
                _ => Ok(()),
            };
        }
        let chunked = self.chunked;
        let Some(conn) = self.conn() else { return Err(Broken::because("no connection")) };
        let lost = |_| Broken::because("while sending the request");
        if !chunked {
            return conn.poll_send(cx, &chunk).map_err(lost);
        }
        conn.send_with(|out| {
            use std::io::Write;
            let _ = write!(out, "{:X}\r\n", chunk.len());
        });
        conn.poll_send(cx, &chunk).map_err(lost)?;
        conn.poll_send(cx, b"\r\n").map_err(lost)
    }

    /// Ready when the whole request was handed over.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.poll_room(cx))?;
        if self.sent < UpstreamSent::All {
            self.sent = UpstreamSent::All;
            if let Some(stream) = &mut self.h2 {
                stream.send_data(Bytes::new(), true).map_err(|_| Broken::because("while ending the request"))?;
            } else if self.chunked
                && let Some(conn) = self.conn()
            {
                conn.send(b"0\r\n\r\n");
            }
        }
        match self.conn() {
            Some(conn) => conn.poll_sent(cx, 0).map_err(|_| Broken::because("while sending the request")),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Reads a head, informational ones too. A read that was given up goes on where it stopped.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.lease.session.poll_head(cx).map_err(Broken)
    }

    /// Takes the head that was read last.
    pub(super) fn take_head(&mut self) -> Option<Box<AnswerHead>> {
        self.lease.session.take_head()
    }

    /// Reads a part of the body; none at its end.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let read = ready!(self.lease.session.poll_body(cx));
        if let Ok(Some(chunk)) = &read {
            self.body_received += chunk.len() as u64;
        }
        Poll::Ready(read.map_err(Broken))
    }

    /// Reads the trailers behind the body of an HTTP/2 answer.
    pub(super) fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Broken>> {
        match &mut self.lease.session {
            Session::Http2(h2) => {
                let mut read = pin!(h2.read_trailers());
                read.as_mut().poll(cx).map_err(Broken)
            }
            _ => Poll::Ready(Ok(None)),
        }
    }

    /// Gives the connection back: the whole request was sent and the whole answer read.
    pub(super) fn release(self, upstream: &Upstream) {
        self.lease.release(upstream);
    }

    /// Breaks the exchange off, so that the application can stop working on it.
    pub(super) fn abort(mut self) {
        if let Some(stream) = &mut self.h2 {
            stream.send_reset(h2::Reason::CANCEL);
        }
    }
}
