//! A request that was sent to an application, and its answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};
use tokio_util::io::poll_read_buf;

use super::body::{Body, Broken};
use super::{AnswerHead, head, response};
use crate::io::Conn;

/// Room for a head, and in most cases for the whole answer.
const READ: usize = 16 << 10;

/// A connection to an application with a request on it.
#[derive(Debug)]
pub struct ClientSession {
    conn: Box<Conn>,
    /// It was asked by HEAD: no body follows.
    bodiless: bool,
    /// The head that came last.
    head: Option<Box<AnswerHead>>,
    /// It says that the connection may carry another request behind it.
    stays: bool,
    /// How long it may wait for that, where the head says so.
    keep_alive: Option<Duration>,
    /// The body behind a final head.
    body: Option<Body>,
    /// The body ends with the connection.
    until_end: bool,
    /// What was read and not taken yet.
    ahead: BytesMut,
    /// How far a head was looked for in it.
    searched: usize,
}

impl ClientSession {
    /// A connection whose request is still to be written.
    pub fn new(conn: Box<Conn>) -> Self {
        let ahead = BytesMut::new();
        ClientSession {
            conn,
            bodiless: false,
            head: None,
            stays: false,
            keep_alive: None,
            body: None,
            until_end: false,
            ahead,
            searched: 0,
        }
    }

    /// Says that the answer has no body whatever its head says: it is one to HEAD.
    pub fn expect_no_body(&mut self) {
        self.bodiless = true;
    }

    /// The connection.
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Takes the head that was read last.
    pub fn take_head(&mut self) -> Option<Box<AnswerHead>> {
        self.head.take()
    }

    /// Reads a head, informational ones too. A read that was given up goes on where it stopped.
    ///
    /// # Errors
    /// Where none comes, or what comes is none.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if !self.ahead.is_empty()
                && let Some(mut head) = response::take(&mut self.ahead, &mut self.searched)?
            {
                self.body = self.framed(&mut head)?;
                self.stays = stays(&head);
                self.keep_alive = head.headers.get("keep-alive").and_then(|value| server_keeps(value.as_bytes()));
                self.head = Some(head);
                return Poll::Ready(Ok(()));
            }
            self.ahead.reserve(READ);
            if !matches!(ready!(poll_read_buf(Pin::new(&mut *self.conn), cx, &mut self.ahead)), Ok(1..)) {
                return Poll::Ready(Err(Broken::Closed));
            }
        }
    }

    /// Reads a part of the body; none at its end.
    ///
    /// # Errors
    /// Where it does not go on.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        match &mut self.body {
            Some(body) => body.poll(cx, Pin::new(&mut *self.conn), &mut self.ahead),
            None => Poll::Ready(Ok(None)),
        }
    }

    /// How the body is framed (RFC 9112 6.3); none behind an informational head.
    fn framed(&mut self, head: &mut AnswerHead) -> Result<Option<Body>, Broken> {
        let none = Body::new(head::Body::None);
        let length = content_length(&head.headers)?;
        if let Some((length, 2..)) = length {
            // Others may not read it as we do.
            head.insert_header(header::CONTENT_LENGTH, length).map_err(|_| Broken::Malformed)?;
        }
        Ok(Some(match head.status {
            StatusCode::SWITCHING_PROTOCOLS => self.until_end(),
            status if status.is_informational() => return Ok(None),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => none,
            _ if self.bodiless => none,
            _ if is_chunked(&head.headers) => Body::chunked_answer(),
            _ => length.map_or_else(|| self.until_end(), |(length, _)| Body::new(head::Body::Length(length))),
        }))
    }

    fn until_end(&mut self) -> Body {
        self.until_end = true;
        Body::until_end()
    }

    /// How long the connection may wait for another request, where the application says so.
    pub fn keep_alive(&self) -> Option<Duration> {
        self.keep_alive
    }

    /// The connection, where it may carry another request: the answer was read whole, nothing came behind it, and the
    /// application does not end it.
    pub fn reuse(self) -> Option<Box<Conn>> {
        let whole = self.body.is_some_and(|body| body.is_done()) && self.ahead.is_empty();
        (whole && self.stays && !self.until_end).then_some(self.conn)
    }
}

/// Whether the connection may carry another request behind the answer with this head.
fn stays(head: &AnswerHead) -> bool {
    let http11 = head.version == Version::HTTP_11;
    // Chunks in HTTP/1.0 are none that could be relied on (RFC 9112 6.1).
    let framed = http11 || !head.headers.contains_key(header::TRANSFER_ENCODING);
    framed && keeps_alive(&head.headers, http11)
}

/// What `Connection` says; without a word of it, HTTP/1.1 stays and HTTP/1.0 ends.
fn keeps_alive(headers: &HeaderMap, http11: bool) -> bool {
    let says = |word: &[u8]| {
        let mut options = headers.get_all(header::CONNECTION).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(word))
    };
    !says(b"close") && (http11 || says(b"keep-alive"))
}

/// `Keep-Alive: timeout=5`: how long the server keeps it, less the second in which it may already be closing.
fn server_keeps(value: &[u8]) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?;
    value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        let seconds: u64 = name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse().ok())??;
        Some(Duration::from_secs(seconds.saturating_sub(1)))
    })
}

/// Whether the end of a body is told by its last chunk: the last of all codings is `chunked`. Behind another the body ends
/// with the connection.
pub fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
    let last = last.and_then(|value| value.as_bytes().rsplit(|b| *b == b',').next());
    last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The length that is told, and how often: more than once it may be with one value (RFC 9110 8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<(u64, usize)>, Broken> {
    let mut told = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for length in value.as_bytes().split(|b| *b == b',') {
            let length = length.trim_ascii();
            let digits = std::str::from_utf8(length).ok().filter(|_| length.iter().all(u8::is_ascii_digit));
            let length: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(Broken::Malformed)?;
            told = match told {
                None => Some((length, 1)),
                Some((before, times)) if before == length => Some((length, times + 1)),
                Some(_) => return Err(Broken::Malformed),
            };
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests;
