//! A request on a connection to an application, over either version of HTTP.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::{Error, ErrorType};

use crate::http1::{self, AnswerHead, Broken};
use crate::io::Conn;

/// What a request is written to, and its answer read from.
pub enum Session {
    /// A connection of its own.
    Http1(http1::ClientSession),
    /// A stream among others.
    Http2(Box<Http2Session>),
}

impl Session {
    /// The connection, where the request has it to itself.
    pub fn conn(&self) -> Option<&Conn> {
        match self {
            Session::Http1(http1) => Some(http1.conn()),
            Session::Http2(_) => None,
        }
    }

    /// Takes the head that was read last.
    pub fn take_head(&mut self) -> Option<Box<AnswerHead>> {
        match self {
            Session::Http1(http1) => http1.take_head(),
            // The session needs its own.
            Session::Http2(http2) => http2.response_header().map(|head| Box::new(head.clone().into())),
        }
    }

    /// Reads a head, informational ones too. A read that was given up goes on where it stopped.
    ///
    /// # Errors
    /// Where none comes, or what comes is none.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<pingora::Result<()>> {
        match self {
            Session::Http1(http1) => http1.poll_head(cx).map_err(|broken| error(broken, "while reading the head")),
            Session::Http2(http2) => pin!(http2.read_response_header()).poll(cx),
        }
    }

    /// Reads a part of the body; none at its end.
    ///
    /// # Errors
    /// Where it does not go on.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<pingora::Result<Option<Bytes>>> {
        match self {
            Session::Http1(http1) => http1.poll_body(cx).map_err(|broken| error(broken, "while reading the body")),
            Session::Http2(http2) => pin!(http2.read_response_body()).poll(cx),
        }
    }
}

fn error(broken: Broken, when: &'static str) -> Box<Error> {
    match broken {
        Broken::Closed => Error::explain(ErrorType::ConnectionClosed, when),
        Broken::Malformed => Error::explain(ErrorType::InvalidHTTPHeader, when),
    }
}
