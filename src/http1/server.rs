//! A request that came on a connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use pingora::http::RequestHeader;

use super::body::{Body, Broken};
use super::head::Head;
use super::{Spelling, request};
use crate::io::Conn;

/// A request whose head was read; its body is still on the connection.
#[derive(Debug)]
pub struct ServerSession {
    conn: Box<Conn>,
    request: Box<RequestHeader>,
    spelling: Spelling,
    body: Body,
    /// What was read behind the head and not taken yet.
    ahead: BytesMut,
    keeps_alive: bool,
}

impl ServerSession {
    /// The request with this head, which passed the guard; `ahead` was read behind it.
    ///
    /// # Errors
    /// The connection, where the head is none after all.
    pub fn new(conn: Box<Conn>, head: Bytes, checked: &Head, ahead: BytesMut) -> Result<Self, Box<Conn>> {
        let Some(request) = request::read(&head, checked) else { return Err(conn) };
        let (body, keeps_alive) = (Body::new(checked.body), !checked.connection_close);
        Ok(ServerSession { conn, request, spelling: Spelling::of(head), body, ahead, keeps_alive })
    }

    /// The head.
    pub fn request(&self) -> &RequestHeader {
        &self.request
    }

    /// The head, to be changed.
    pub fn request_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    /// How the head's names are spelled; to be taken once.
    pub fn take_spelling(&mut self) -> Spelling {
        std::mem::take(&mut self.spelling)
    }

    /// The connection.
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// Whether the client may send another request on this connection.
    pub fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Whether the request has no body, or all of it was read.
    pub fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Reads a part of the body; none at its end.
    ///
    /// # Errors
    /// Where it does not go on.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        self.body.poll(cx, Pin::new(&mut *self.conn), &mut self.ahead)
    }

    /// The connection, and what was read behind the request.
    pub fn into_parts(self) -> (Box<Conn>, BytesMut) {
        (self.conn, self.ahead)
    }
}
