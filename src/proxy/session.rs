//! A client's request as it stands on its connection, over either version of HTTP.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use pingora::ErrorType;
use pingora::http::RequestHeader;
use pingora::protocols::http::v2::server::HttpSession as Http2;

use crate::http1::{self, Broken, Spelling};
use crate::io::Conn;
use crate::refusal::{Reason, Refusal};

/// A request whose head was read.
pub enum Session {
    /// A message on a connection of its own.
    Http1(http1::ServerSession),
    /// A stream among others.
    Http2(Box<Http2>),
}

impl Session {
    pub(super) fn request(&self) -> &RequestHeader {
        match self {
            Session::Http1(http1) => http1.request(),
            Session::Http2(http2) => http2.req_header(),
        }
    }

    pub(super) fn request_mut(&mut self) -> &mut RequestHeader {
        match self {
            Session::Http1(http1) => http1.request_mut(),
            Session::Http2(http2) => http2.req_header_mut(),
        }
    }

    /// How the names of the head are spelled; to be taken once.
    pub(super) fn take_spelling(&mut self) -> Spelling {
        match self {
            Session::Http1(http1) => http1.take_spelling(),
            Session::Http2(_) => Spelling::default(),
        }
    }

    /// The connection, where the request has it to itself.
    pub(super) fn conn(&self) -> Option<&Conn> {
        match self {
            Session::Http1(http1) => Some(http1.conn()),
            Session::Http2(_) => None,
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Session::Http2(_))
    }

    /// Whether the client may send another request behind this one.
    pub(super) fn keeps_alive(&self) -> bool {
        match self {
            Session::Http1(http1) => http1.keeps_alive(),
            Session::Http2(_) => true,
        }
    }

    /// Whether the request has no body, or all of it was read.
    pub(super) fn is_body_done(&mut self) -> bool {
        match self {
            Session::Http1(http1) => http1.is_body_done(),
            Session::Http2(http2) => http2.is_body_done(),
        }
    }

    /// Reads a part of the body; none at its end. A read that was given up goes on where it stopped.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Refusal>> {
        let malformed = || Refusal::new(Reason::BadRequest, "the body is malformed");
        match self {
            Session::Http1(http1) => http1.poll_body(cx).map_err(|broken| match broken {
                Broken::Closed => Reason::ClientLeft.into(),
                Broken::Malformed => malformed(),
            }),
            Session::Http2(http2) => pin!(http2.read_body_bytes()).poll(cx).map_err(|e| match e.etype() {
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error => Reason::ClientLeft.into(),
                _ => malformed(),
            }),
        }
    }

    /// Ready when the client is gone, before an answer to it has begun.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Session::Http1(http1) => http1.conn().poll_gone(cx),
            Session::Http2(http2) => Pin::new(&mut http2.idle()).poll(cx).map(|_| ()),
        }
    }

    /// Resets a stream.
    pub(super) fn reset(&mut self) {
        if let Session::Http2(http2) = self {
            http2.shutdown_with_reason(h2::Reason::INTERNAL_ERROR);
        }
    }
}
