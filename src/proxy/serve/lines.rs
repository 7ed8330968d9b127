//! The field lines of an answer from memory.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;

use super::How;
use super::shape::Shape;
use crate::http1::{AnswerHead, Spelling};
use crate::policy::cache::status;
use crate::policy::compression::etag::{self, Served};
use crate::proxy::caching::{DIGESTS, RETAGGED, Stored, VARIES};
use crate::refusal::{Reason, Refusal};

impl Shape {
    /// With the tag for a body that was served so.
    pub(super) fn tagged(mut self, object: &Stored, served: Served) -> Self {
        if served == Served::AsItIs && object.flags() & RETAGGED == 0 {
            return self;
        }
        if let Some(Cow::Owned(tag)) = object.etag().map(|tag| etag::sent(tag, served)) {
            self.tag = Some(tag);
        }
        self
    }

    /// Writes the field lines of the head.
    pub(super) fn write(&self, object: &Stored, how: &How, now: u64, out: &mut Vec<u8>) {
        let is_304 = self.status == StatusCode::NOT_MODIFIED;
        let as_it_is = self.coding.is_none() && !self.decoded && !is_304 && self.range.is_none();
        let is_simple = self.coding.is_some() && !is_304 && self.is_simple(object);
        let head = object.head();
        match (as_it_is || is_simple, &self.tag, object.etag()) {
            (true, None, _) => out.extend_from_slice(head),
            // The usual head, with another tag in it.
            (true, Some(sent), Some(tag)) => {
                let at = tag.as_ptr().addr() - head.as_ptr().addr();
                out.extend_from_slice(&head[..at]);
                out.extend_from_slice(sent);
                out.extend_from_slice(&head[at + tag.len()..]);
            }
            _ => self.write_changed(object, out),
        }
        if let Some(coding) = self.coding.filter(|_| !is_304) {
            field(out, b"Content-Encoding", coding.as_str().as_bytes());
        }
        // Of several lines of Vary all hold.
        if self.varies && !names_accept_encoding(object) {
            out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        if let Some((range, kind)) = &self.range {
            if let Some(range) = range {
                field(out, b"Content-Range", range.as_bytes());
            }
            if let Some(kind) = kind {
                field(out, b"Content-Type", kind.as_bytes());
            }
        }
        let bodiless = is_304 || self.status == StatusCode::NO_CONTENT;
        if !bodiless && !self.streams {
            field(out, b"Content-Length", itoa::Buffer::new().format(self.body(object).len()).as_bytes());
        }
        how.write_age(object, now, out);
        out.extend_from_slice(b"Cache-Status: ");
        let (handled, detail) = how.handled();
        status::write(&handled, detail, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Whether nothing of the head speaks of the bytes of the body but its tag.
    fn is_simple(&self, object: &Stored) -> bool {
        object.flags() & DIGESTS == 0
    }

    fn write_changed(&self, object: &Stored, out: &mut Vec<u8>) {
        let is_304 = self.status == StatusCode::NOT_MODIFIED;
        let changed = self.coding.is_some() || self.decoded;
        let several = matches!(&self.range, Some((_, Some(_)))) || self.status == StatusCode::RANGE_NOT_SATISFIABLE;
        for line in object.head().split_inclusive(|b| *b == b'\n') {
            let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            let (name, is) = (&line[..colon], |other: &[u8]| line[..colon].eq_ignore_ascii_case(other));
            // A 304 has no body that these could speak of (RFC 9110, 15.4.5).
            let of_body = is(b"content-type") || is(b"content-encoding") || is(b"content-language");
            let of_bytes = is_digest(name) || is(b"accept-ranges");
            if is_304 && of_body || several && is(b"content-type") || self.decoded && is(b"content-encoding") {
                continue;
            }
            if changed && of_bytes {
                continue;
            }
            match &self.tag {
                Some(tag) if is(b"etag") => field(out, b"ETag", tag),
                _ => out.extend_from_slice(line),
            }
        }
    }
}

/// Whether a field speaks of the bytes of a body.
pub(in crate::proxy) fn is_digest(name: &[u8]) -> bool {
    let names = [&b"content-md5"[..], b"digest", b"content-digest", b"repr-digest"];
    names.iter().any(|digest| name.eq_ignore_ascii_case(digest))
}

fn names_accept_encoding(object: &Stored) -> bool {
    object.flags() & VARIES != 0
}

pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A head of field lines, for those who need it as fields.
pub(in crate::proxy) fn head_of(status: StatusCode, lines: Bytes) -> Result<Box<AnswerHead>, Refusal> {
    let failed = || Refusal::from(Reason::Internal);
    let mut head = ResponseHeader::build_no_case(status, Some(16)).map_err(|_| failed())?;
    for line in lines.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (&line[..colon], line.get(colon + 2..).unwrap_or_default());
        if let Ok(name) = HeaderName::from_bytes(name) {
            let value = HeaderValue::from_maybe_shared(lines.slice_ref(value)).map_err(|_| failed())?;
            head.append_header(name, value).map_err(|_| failed())?;
        }
    }
    Ok(Box::new(AnswerHead::new(head, Spelling::of(lines))))
}
