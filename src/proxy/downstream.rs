//! The client's side of an exchange: one type for HTTP/1 and HTTP/2 that never blocks.
//!
//! What is written is taken at once; `poll_room` says when there is room for more. That lets one task read a request while
//! its answer waits for a slow reader. HTTP/1 heads and chunks are written here, in as few system calls as can be.

use std::io::Write;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::SendStream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;

use super::hop;
use crate::io::Conn;
use crate::route::table::Changes;

/// This much may wait for a slow reader before its answer is no longer read from the application.
const ROOM: usize = 64 << 10;

/// Up to this much is gathered into one system call while more of the answer is at hand.
const GATHERED: usize = 16 << 10;

/// The client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// How the body of an answer is framed on HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

/// The client's side.
pub(super) struct Downstream<'a> {
    session: &'a mut ServerSession,
    framing: Framing,
    h2: Option<SendStream<Bytes>>,
    /// What HTTP/2 has no window for yet.
    waiting: Bytes,
    ended: bool,
    /// A final head was written.
    pub(super) head_written: bool,
    /// The HTTP/1 connection ends after this answer.
    pub(super) close: bool,
    /// Bytes of the answer's body that were taken.
    pub(super) body_bytes: u64,
}

impl<'a> Downstream<'a> {
    pub(super) fn new(session: &'a mut ServerSession) -> Self {
        Downstream {
            session,
            framing: Framing::None,
            h2: None,
            waiting: Bytes::new(),
            ended: false,
            head_written: false,
            close: false,
            body_bytes: 0,
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        self.session.is_http2()
    }

    /// The session, to read the request from.
    pub(super) fn session(&mut self) -> &mut ServerSession {
        self.session
    }

    /// The request's head as it was received.
    pub(super) fn request(&self) -> &RequestHeader {
        self.session.req_header()
    }

    fn keeps_alive(&self) -> bool {
        match &*self.session {
            ServerSession::H1(h1) => h1.will_keepalive(),
            _ => true,
        }
    }

    fn conn(&self) -> Option<&Conn> {
        self.session.stream().and_then(Conn::of)
    }

    /// Ready when the client is gone, or has ended its side.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(conn) = self.conn() {
            return conn.poll_gone(cx);
        }
        if let Some(stream) = &mut self.h2 {
            return stream.poll_reset(cx).map(|_| ());
        }
        match self.session.watch_h2_stream_close() {
            Some(mut closed) => std::future::Future::poll(std::pin::Pin::new(&mut closed), cx).map(|_| ()),
            None => Poll::Pending,
        }
    }

    /// Writes an informational head: 100 and 103. HTTP/2 clients are sent none (docs/limits.md).
    pub(super) fn inform(&mut self, status: StatusCode, headers: Option<&ResponseHeader>) {
        let http10 = self.session.req_header().version == Version::HTTP_10;
        let nominated = headers.map(|h| hop::nominated(&h.headers)).unwrap_or_default();
        if let (Some(conn), false, false) = (self.conn(), self.head_written, http10) {
            conn.send_with(|out| {
                status_line(out, status, None);
                if let Some(headers) = headers {
                    each(headers, |name, value| {
                        if !hop::is_hop_by_hop(name) && !is_one_of(&nominated, name) {
                            field(out, name, value.as_bytes());
                        }
                    });
                }
                out.extend_from_slice(b"\r\n");
            });
            // At once: the client waits for it, and nothing else may be written for long. What the socket does not take
            // now leaves with the answer; an error is met there too.
            let _ = conn.poll_send(&mut Context::from_waker(Waker::noop()), &[]);
        }
    }

    /// Writes the final head. `bodiless`: no body follows whatever the head says.
    pub(super) fn write_head(&mut self, head: &ResponseHeader, changes: &Changes, bodiless: bool) -> Result<(), Gone> {
        self.head_written = true;
        if self.session.is_http2() {
            return self.write_head2(head, changes, bodiless);
        }
        let request = self.session.req_header();
        let http10 = request.version == Version::HTTP_10;
        let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
        self.framing = match () {
            () if bodiless => Framing::None,
            () if has_length => Framing::Length,
            () if http10 => Framing::Close,
            () => Framing::Chunked,
        };
        // A client that asked for it, or did not ask HTTP/1.0 to stay, is told that the connection ends.
        self.close |= self.framing == Framing::Close || !self.keeps_alive();
        let (close, framing) = (self.close, self.framing);
        let nominated = hop::nominated(&head.headers);
        let upgrade = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let Some(conn) = self.conn() else { return Err(Gone) };
        conn.send_with(|out| {
            out.reserve(1024);
            status_line(out, head.status, head.get_reason_phrase());
            let no_length = head.status == StatusCode::NO_CONTENT || head.status.is_informational();
            each(head, |name, value| {
                let kept = upgrade && name.eq_ignore_ascii_case(b"upgrade");
                let dropped = hop::is_hop_by_hop(name) && !kept
                    || no_length && name.eq_ignore_ascii_case(b"content-length")
                    || is_one_of(&nominated, name)
                    || !changes.is_empty() && drops(changes, name);
                if !dropped {
                    field(out, name, value.as_bytes());
                }
            });
            for (name, value) in changes.set.iter().chain(&changes.add) {
                field(out, name.as_str().as_bytes(), value.as_bytes());
            }
            if !head.headers.contains_key(header::DATE) {
                field(out, b"Date", pingora::protocols::http::date::get_cached_date().as_bytes());
            }
            if framing == Framing::Chunked {
                field(out, b"Transfer-Encoding", b"chunked");
            }
            match (upgrade, close) {
                (true, _) => field(out, b"Connection", b"Upgrade"),
                (false, true) => field(out, b"Connection", b"close"),
                (false, false) if http10 => field(out, b"Connection", b"keep-alive"),
                (false, false) => {}
            }
            out.extend_from_slice(b"\r\n");
        });
        Ok(())
    }

    fn write_head2(&mut self, head: &ResponseHeader, changes: &Changes, bodiless: bool) -> Result<(), Gone> {
        let mut copy = head.clone();
        let ended = head.headers.keys().filter(|n| hop::is_hop_by_hop(n.as_str().as_bytes())).cloned();
        for name in ended.chain(hop::nominated(&head.headers)) {
            remove(&mut copy, &name);
        }
        for name in changes.remove.iter().chain(changes.set.iter().map(|(n, _)| n)) {
            remove(&mut copy, name);
        }
        for (name, value) in changes.set.iter().chain(&changes.add) {
            copy.append_header(name.clone(), value.clone()).map_err(|_| Gone)?;
        }
        if copy.status == StatusCode::NO_CONTENT {
            remove(&mut copy, &header::CONTENT_LENGTH);
        }
        let ServerSession::H2(session) = &mut *self.session else { return Err(Gone) };
        session.write_response_header(Box::new(copy), bodiless).map_err(|_| Gone)?;
        self.h2 = session.take_response_body_writer();
        self.ended = bodiless;
        Ok(())
    }

    /// Ready when there is room for more of the answer.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self.conn() {
            // Sent with what follows, or when nothing follows soon.
            Some(conn) if conn.pending() <= ROOM => Poll::Ready(Ok(())),
            Some(conn) => conn.poll_sent(cx, ROOM).map_err(|_| Gone),
            None => self.poll_window(cx),
        }
    }

    /// Hands what waits to the socket: nothing more of the answer comes at once.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        match self.conn() {
            Some(conn) => match conn.poll_sent(cx, usize::MAX) {
                Poll::Ready(Err(_)) => Err(Gone),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Gives HTTP/2 what waits as far as the client's window goes.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let Some(stream) = &mut self.h2 else { return Poll::Ready(Ok(())) };
        while !self.waiting.is_empty() {
            stream.reserve_capacity(self.waiting.len());
            let room = match ready!(stream.poll_capacity(cx)) {
                Some(Ok(n)) => n.min(self.waiting.len()),
                Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
            };
            let part = self.waiting.split_to(room);
            stream.send_data(part, false).map_err(|_| Gone)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a part of the answer's body. To be called when there was room.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Result<(), Gone> {
        // The session reads one where trailers follow. As a chunk it would be the end of the body, and the real end would
        // stand in front of the next message.
        if chunk.is_empty() {
            return Ok(());
        }
        self.body_bytes += chunk.len() as u64;
        if self.is_http2() {
            self.waiting = chunk;
            return match self.poll_window(cx) {
                Poll::Ready(Err(gone)) => Err(gone),
                _ => Ok(()),
            };
        }
        let framing = self.framing;
        let Some(conn) = self.conn() else { return Err(Gone) };
        match framing {
            Framing::None => Ok(()),
            Framing::Length | Framing::Close if conn.pending() + chunk.len() < GATHERED => {
                conn.send(&chunk);
                Ok(())
            }
            Framing::Length | Framing::Close => conn.poll_send(cx, &chunk).map_err(|_| Gone),
            Framing::Chunked => {
                conn.send_with(|out| {
                    let _ = write!(out, "{:X}\r\n", chunk.len());
                });
                if conn.pending() + chunk.len() < GATHERED {
                    conn.send(&chunk);
                    conn.send(b"\r\n");
                    return Ok(());
                }
                conn.poll_send(cx, &chunk).map_err(|_| Gone)?;
                conn.poll_send(cx, b"\r\n").map_err(|_| Gone)
            }
        }
    }

    /// Ready when the answer has ended and, on HTTP/1, every byte of it was handed to the socket.
    pub(super) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Option<HeaderMap>,
    ) -> Poll<Result<(), Gone>> {
        ready!(self.poll_window(cx))?;
        if !self.ended {
            self.ended = true;
            match &mut self.h2 {
                Some(stream) => {
                    let ended = match trailers.take() {
                        Some(trailers) => stream.send_trailers(trailers),
                        None => stream.send_data(Bytes::new(), true),
                    };
                    ended.map_err(|_| Gone)?;
                }
                None if self.framing == Framing::Chunked => {
                    if let Some(conn) = self.conn() {
                        conn.send(b"0\r\n\r\n");
                    }
                }
                None => {}
            }
        }
        match self.conn() {
            Some(conn) => conn.poll_sent(cx, 0).map_err(|_| Gone),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Bytes that the client has not taken yet.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len() + self.conn().map_or(0, Conn::pending)
    }

    /// Breaks the answer off so that the client can tell that it is not whole.
    pub(super) fn abort(&mut self) {
        self.close = true;
        if let Some(stream) = &mut self.h2 {
            stream.send_reset(h2::Reason::INTERNAL_ERROR);
        } else if self.is_http2() {
            self.session.shutdown_with_reason(h2::Reason::INTERNAL_ERROR);
        }
    }
}

/// Whether an answer to this method with this status has no body whatever its head says.
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn remove(head: &mut ResponseHeader, name: &http::HeaderName) {
    head.remove_header(name);
}

fn is_one_of(names: &[http::HeaderName], name: &[u8]) -> bool {
    names.iter().any(|n| name.eq_ignore_ascii_case(n.as_str().as_bytes()))
}

fn drops(changes: &Changes, name: &[u8]) -> bool {
    let mut dropped = changes.remove.iter().chain(changes.set.iter().map(|(n, _)| n));
    dropped.any(|n| name.eq_ignore_ascii_case(n.as_str().as_bytes()))
}

/// Visits the fields with their names as the application spelled them.
fn each(head: &ResponseHeader, mut visit: impl FnMut(&[u8], &HeaderValue)) {
    if head.has_case() {
        head.case_header_iter().for_each(|(name, value)| visit(name.as_slice(), value));
    } else {
        head.headers.iter().for_each(|(name, value)| visit(name.as_str().as_bytes(), value));
    }
}

fn status_line(out: &mut Vec<u8>, status: StatusCode, phrase: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(phrase.or(status.canonical_reason()).unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
