//! The head of an answer, as its client gets it.

use std::task::Context;

use http::{StatusCode, Version, header};
use pingora::http::ResponseHeader;

use super::{Coder, Downstream, Framing, Gone, To};
use crate::http1::AnswerHead;
use crate::proxy::hop;
use crate::proxy::session::Session;
use crate::route::table::Changes;

impl Downstream<'_> {
    /// Writes the final head of an answer whose body goes through a coder.
    pub(in crate::proxy) fn write_coded(
        &mut self,
        head: Box<AnswerHead>,
        changes: &Changes,
        coder: Coder,
    ) -> Result<(), Gone> {
        self.write_head(head, changes, false)?;
        self.coder = Some(coder);
        Ok(())
    }

    /// Holds the final head back until the whole body is there.
    pub(in crate::proxy) fn gather(&mut self, coder: Coder) {
        self.coder = Some(coder);
    }

    /// Writes the head of a stored answer and the first part of its body, over HTTP/1: its lines are written as they are
    /// stored, and the part is sent from where it lies. No part: no body follows whatever the head says.
    pub(in crate::proxy) fn write_stored(
        &mut self,
        cx: &mut Context<'_>,
        status: StatusCode,
        lines: impl FnOnce(&mut Vec<u8>),
        part: Option<&[u8]>,
    ) -> Result<(), Gone> {
        self.coder = None;
        self.head_written = true;
        self.framing = if part.is_some() { Framing::Length } else { Framing::None };
        self.close |= !self.keeps_alive();
        let (close, part) = (self.close, part.unwrap_or_default());
        self.body_bytes += part.len() as u64;
        let Some(conn) = self.conn() else { return Err(Gone) };
        let head = |out: &mut Vec<u8>| {
            out.reserve(1024);
            status_line(out, status, None);
            lines(out);
            if close {
                field(out, b"Connection", b"close");
            }
            out.extend_from_slice(b"\r\n");
        };
        conn.poll_send_with(cx, head, part).map_err(|_| Gone)
    }

    /// Whether it is a client over HTTP/1.1.
    pub(in crate::proxy) fn is_plain_http1(&self) -> bool {
        matches!(&self.to, To::Client(Session::Http1(_))) && self.request().version == Version::HTTP_11
    }

    /// Forgets a head that was held back: its answer is not sent.
    pub(in crate::proxy) fn forget(&mut self) {
        self.coder = None;
    }

    /// Writes the final head. `bodiless`: no body follows whatever the head says.
    pub(in crate::proxy) fn write_head(
        &mut self,
        head: Box<AnswerHead>,
        changes: &Changes,
        bodiless: bool,
    ) -> Result<(), Gone> {
        // What an attempt before this one gathered is no part of this answer.
        self.coder = None;
        if let To::Task(task) = &mut self.to {
            self.head_written = task.write_head(head);
            return Ok(());
        }
        self.head_written = true;
        if self.is_http2() {
            return self.write_head2(*head, changes, bodiless);
        }
        let http10 = self.request().version == Version::HTTP_10;
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
            head.each(|name, spelled, value| {
                let kept = upgrade && *name == header::UPGRADE;
                let dropped = hop::is_hop_by_hop(spelled) && !kept
                    || no_length && *name == header::CONTENT_LENGTH
                    || nominated.contains(name)
                    || changes.drops(name);
                if !dropped {
                    field(out, spelled, value.as_bytes());
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

    fn write_head2(&mut self, head: AnswerHead, changes: &Changes, bodiless: bool) -> Result<(), Gone> {
        let mut copy = head.into_fields();
        let mut ended = hop::nominated(&copy.headers);
        ended.extend(copy.headers.keys().filter(|n| hop::is_hop_by_hop(n.as_str().as_bytes())).cloned());
        for name in ended {
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
        let To::Client(Session::Http2(session)) = &mut self.to else { return Err(Gone) };
        session.write_response_header(Box::new(copy), bodiless).map_err(|_| Gone)?;
        self.h2 = session.take_response_body_writer();
        self.ended = bodiless;
        Ok(())
    }
}

fn remove(head: &mut ResponseHeader, name: &http::HeaderName) {
    head.remove_header(name);
}

pub(super) fn status_line(out: &mut Vec<u8>, status: StatusCode, phrase: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(phrase.or(status.canonical_reason()).unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
