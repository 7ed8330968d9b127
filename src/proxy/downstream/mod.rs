//! Who gets an answer: a client over HTTP/1 or HTTP/2, a fetch of the cache, or the task of a keyed request. One type for all, that never blocks.
//!
//! What is written is taken at once; `poll_room` says when there is room for more. That lets one task read a request while
//! its answer waits for a slow reader. HTTP/1 heads and chunks are written here, in as few system calls as can be. Between
//! an answer and its client may stand a [`Coder`].

mod coder;
mod end;
mod head;
mod task;

use std::io::Write;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::SendStream;
use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;

use super::caching::fill::Fill;
use super::hop;
use super::keyed::taking::Taking;
use super::session::Session;
use crate::http1::AnswerHead;
use crate::io::Conn;
use crate::refusal::Refusal;
use coder::Broke;
pub(super) use coder::{Coder, Decode, Encode, Gather, encode};
use head::{field, status_line};
use task::Task;

/// This much may wait for a slow reader before its answer is no longer read from the application.
const ROOM: usize = 64 << 10;

/// Up to this much is gathered into one system call while more of the answer is at hand.
const GATHERED: usize = 16 << 10;

/// A part this long is sent from where it is, with what was gathered before it, rather than copied.
const LONG: usize = 8 << 10;

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

/// Where an answer goes.
enum To<'a> {
    Client(&'a mut Session),
    Task(Task),
}

/// Who asked, and gets the answer.
pub(super) struct Downstream<'a> {
    to: To<'a>,
    /// What stands between the answer and its client.
    coder: Option<Coder>,
    /// Why that cannot go on.
    broke: Option<Broke>,
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
    /// A client.
    pub(super) fn new(session: &'a mut Session) -> Self {
        Self::to(To::Client(session))
    }

    /// A fetch of the cache.
    pub(super) fn fill(fill: Box<Fill>) -> Self {
        Self::to(To::Task(Task::Fill(fill)))
    }

    /// The task of a keyed request.
    pub(super) fn taking(taking: Box<Taking>) -> Self {
        Self::to(To::Task(Task::Taking(taking)))
    }

    fn to(to: To<'a>) -> Self {
        Downstream {
            to,
            coder: None,
            broke: None,
            framing: Framing::None,
            h2: None,
            waiting: Bytes::new(),
            ended: false,
            head_written: false,
            close: false,
            body_bytes: 0,
        }
    }

    /// The fetch, where it is one.
    pub(super) fn into_fill(self) -> Option<Box<Fill>> {
        match self.to {
            To::Task(Task::Fill(fill)) => Some(fill),
            _ => None,
        }
    }

    /// The fetch, where it is one.
    pub(super) fn as_fill(&self) -> Option<&Fill> {
        match &self.to {
            To::Task(Task::Fill(fill)) => Some(fill),
            _ => None,
        }
    }

    /// The task of a keyed request, where it is one.
    pub(super) fn into_taking(self) -> Option<Box<Taking>> {
        match self.to {
            To::Task(Task::Taking(taking)) => Some(taking),
            _ => None,
        }
    }

    /// The task of a keyed request, where it is one.
    pub(super) fn as_taking(&mut self) -> Option<&mut Taking> {
        match &mut self.to {
            To::Task(Task::Taking(taking)) => Some(taking),
            _ => None,
        }
    }

    /// Whether it is a client, who gets the answer while it comes.
    pub(super) fn is_client(&self) -> bool {
        matches!(self.to, To::Client(_))
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(&self.to, To::Client(session) if session.is_http2())
    }

    /// The request's head as it was received.
    pub(super) fn request(&self) -> &RequestHeader {
        match &self.to {
            To::Client(session) => session.request(),
            To::Task(task) => task.request(),
        }
    }

    /// Whether the request has no body, or all of it was read.
    pub(super) fn is_body_done(&mut self) -> bool {
        match &mut self.to {
            To::Client(session) => session.is_body_done(),
            To::Task(_) => true,
        }
    }

    /// Reads a part of the request's body; none at its end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Refusal>> {
        match &mut self.to {
            To::Client(session) => session.poll_body(cx),
            To::Task(_) => Poll::Ready(Ok(None)),
        }
    }

    fn keeps_alive(&self) -> bool {
        match &self.to {
            To::Client(session) => session.keeps_alive(),
            To::Task(_) => true,
        }
    }

    fn conn(&self) -> Option<&Conn> {
        match &self.to {
            To::Client(session) => session.conn(),
            To::Task(_) => None,
        }
    }

    /// Ready when the client is gone, or has ended its side. A fetch goes on without its client.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stream) = &mut self.h2 {
            return stream.poll_reset(cx).map(|_| ());
        }
        match &mut self.to {
            To::Client(session) => session.poll_gone(cx),
            To::Task(_) => Poll::Pending,
        }
    }

    /// Writes an informational head. HTTP/2 clients are sent none (docs/limits.md).
    pub(super) fn inform(&mut self, status: StatusCode, headers: Option<&AnswerHead>) {
        if let (To::Task(task), Some(head)) = (&self.to, headers) {
            return task.inform(head);
        }
        let http10 = self.request().version == Version::HTTP_10;
        let nominated = headers.map(|h| hop::nominated(&h.headers)).unwrap_or_default();
        if let (Some(conn), false, false) = (self.conn(), self.head_written, http10) {
            // A client that takes nothing is not to fill the memory.
            if conn.pending() > ROOM {
                return;
            }
            conn.send_with(|out| {
                status_line(out, status, None);
                if let Some(headers) = headers {
                    headers.each(|name, spelled, value| {
                        if !hop::is_hop_by_hop(spelled) && !nominated.contains(name) {
                            field(out, spelled, value.as_bytes());
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

    /// Ready when there is room for more of the answer.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if let To::Task(task) = &mut self.to {
            return task.poll_room(cx);
        }
        match self.conn() {
            // Sent with what follows, or when nothing follows soon.
            Some(conn) if conn.pending() <= ROOM => Poll::Ready(Ok(())),
            Some(conn) => conn.poll_sent(cx, ROOM).map_err(|_| Gone),
            None => self.poll_window(cx),
        }
    }

    /// Hands what waits to the socket: nothing more of the answer comes at once.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        if let Some(coded) = self.coder.as_mut().and_then(Coder::flush) {
            let coded = self.checked(coded)?;
            self.write_plain(cx, coded)?;
        }
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
        // An HTTP/2 session reads one where trailers follow. As a chunk it would be the end of the body, and the real end would
        // stand in front of the next message.
        if chunk.is_empty() {
            return Ok(());
        }
        let chunk = match &mut self.coder {
            Some(coder) => {
                let taken = coder.take(chunk);
                self.checked(taken)?
            }
            None => chunk,
        };
        self.write_plain(cx, chunk)
    }

    /// Writes more of what it took already; false where there is no more of that. To be called when there was room.
    pub(super) fn write_more(&mut self, cx: &mut Context<'_>) -> Result<bool, Gone> {
        let Some(more) = self.coder.as_mut().and_then(Coder::more) else { return Ok(false) };
        let more = self.checked(more)?;
        self.write_plain(cx, more).map(|()| true)
    }

    /// Why the answer cannot go on although its client is there.
    pub(super) fn broken(&self) -> Option<Refusal> {
        self.broke.map(Broke::into_refusal)
    }

    fn checked<T>(&mut self, coded: Result<T, Broke>) -> Result<T, Gone> {
        coded.map_err(|broke| {
            self.broke = Some(broke);
            Gone
        })
    }

    fn write_plain(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Result<(), Gone> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.body_bytes += chunk.len() as u64;
        if let To::Task(task) = &mut self.to {
            return task.write(chunk);
        }
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
            Framing::Length | Framing::Close if chunk.len() < LONG && conn.pending() + chunk.len() < GATHERED => {
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

    /// Bytes that the client has not taken yet.
    pub(super) fn pending(&self) -> usize {
        if let To::Task(task) = &self.to {
            return task.pending();
        }
        self.waiting.len() + self.conn().map_or(0, Conn::pending)
    }

    /// Breaks the answer off so that the client can tell that it is not whole.
    pub(super) fn abort(&mut self) {
        self.close = true;
        if let Some(stream) = &mut self.h2 {
            stream.send_reset(h2::Reason::INTERNAL_ERROR);
        } else if let To::Client(session) = &mut self.to {
            session.reset();
        }
    }
}

/// Whether an answer to this method with this status has no body whatever its head says.
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
