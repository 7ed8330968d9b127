//! The head of an answer, as applications send them.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Response, StatusCode, Version, header};
use httparse::ParserConfig;
use pingora::http::{ResponseHeader, header_value_from_raw};

use super::body::Broken;
use super::{AnswerHead, Spelling};

/// The most fields.
const FIELDS: usize = 256;

/// The longest head.
const LONGEST: usize = 256 << 10;

/// Takes a head off the front of `ahead`; none where it is not whole yet. `searched` is how many bytes an earlier call has
/// seen, and is kept for the next one.
///
/// # Errors
/// Where it is none, or is too long.
pub(super) fn take(ahead: &mut BytesMut, searched: &mut usize) -> Result<Option<Box<AnswerHead>>, Broken> {
    let end = find_end(ahead, *searched);
    if end.unwrap_or(ahead.len()) > LONGEST {
        return Err(Broken::Malformed);
    }
    let Some(end) = end else {
        *searched = ahead.len();
        return Ok(None);
    };
    *searched = 0;
    read(ahead.split_to(end).freeze()).map(Some).ok_or(Broken::Malformed)
}

/// Where a head ends: behind its empty line. Lines may end with a bare LF (RFC 9112 2.2).
fn find_end(buf: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(2);
    memchr::memchr_iter(b'\n', buf.get(from..)?).map(|at| from + at + 1).find_map(|next| match buf.get(next..)? {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

/// Reads a whole head; values are parts of it. A space before a colon is borne, and a folded line becomes one (RFC 9112 5.2).
fn read(head: Bytes) -> Option<Box<AnswerHead>> {
    let mut config = ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let whole = config.parse_response_with_uninit_headers(&mut parsed, &head, &mut fields);
    // Where they did not agree on its end, bytes of the body would be lost.
    if whole != Ok(httparse::Status::Complete(head.len())) {
        return None;
    }
    let mut parts = Response::new(()).into_parts().0;
    parts.status = StatusCode::from_u16(parsed.code?).ok()?;
    parts.version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    parts.headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let value = header_value_from_raw(head.slice_ref(field.value));
        parts.headers.try_append(HeaderName::from_bytes(field.name.as_bytes()).ok()?, value).ok()?;
    }
    // Chunks say where a body ends, whatever a length beside them says (RFC 9112 6.3).
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let mut fields = ResponseHeader::from(parts);
    fields.set_reason_phrase(parsed.reason).ok()?;
    Some(Box::new(AnswerHead::new(fields, Spelling::of(head))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(wire: &[u8]) -> (Result<Option<Box<AnswerHead>>, Broken>, usize) {
        let mut ahead = BytesMut::from(wire);
        let head = take(&mut ahead, &mut 0);
        (head, ahead.len())
    }

    fn fields(wire: &[u8]) -> Vec<(String, String)> {
        let (mut fields, text) = (Vec::new(), |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned());
        let head = took(wire).0.unwrap().unwrap();
        head.each(|_, name, value| fields.push((text(name), text(value.as_bytes()))));
        fields
    }

    #[test]
    fn a_head_is_taken_and_the_body_stays() {
        let (head, left) = took(b"HTTP/1.1 201 Made it\r\nX-Odd:  a b \r\nx-odd: c\r\n\r\nbody");
        let head = head.unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.version, left), (201, Version::HTTP_11, 4));
        assert_eq!(head.get_reason_phrase(), Some("Made it"));
        let mut names = Vec::new();
        head.each(|_, name, _| names.push(name.to_vec()));
        assert_eq!(names, [b"X-Odd".to_vec(), b"x-odd".to_vec()]);
        assert_eq!(took(b"HTTP/1.0 200\r\n\r\n").0.unwrap().unwrap().version, Version::HTTP_10);
    }

    #[test]
    fn what_applications_get_away_with_is_borne() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(fields(b"HTTP/1.1 200 OK\nA: b\n\n"), [pair("A", "b")]);
        assert_eq!(fields(b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n"), [pair("A", "b")]);
        assert_eq!(fields(b"HTTP/1.1 200 OK\r\nA: b\r\n  c\r\nD: e\r\n\r\n"), [pair("A", "b c"), pair("D", "e")]);
        let both = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(fields(both), [pair("Transfer-Encoding", "chunked")]);
    }

    #[test]
    fn what_is_no_head_is_an_error() {
        for wire in
            [&b"HTTP/2 200\r\n\r\n"[..], b"hello\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"]
        {
            assert_eq!(took(wire).0.unwrap_err(), Broken::Malformed, "{}", wire.escape_ascii());
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS + 1));
        assert_eq!(took(many.as_bytes()).0.unwrap_err(), Broken::Malformed);
        for end in ["", "\r\n\r\n"] {
            let long = format!("HTTP/1.1 200 OK\r\nA: {}{end}", "x".repeat(LONGEST));
            assert_eq!(took(long.as_bytes()).0.unwrap_err(), Broken::Malformed);
        }
    }

    #[test]
    fn however_it_comes_a_head_is_the_same() {
        let wire = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody";
        for cut in 0..wire.len() - 4 {
            let (mut ahead, mut searched) = (BytesMut::from(&wire[..cut]), 0);
            assert_eq!(take(&mut ahead, &mut searched).unwrap().is_some(), cut >= wire.len() - 4, "{cut}");
            ahead.extend_from_slice(&wire[cut..]);
            let head = take(&mut ahead, &mut searched).unwrap().unwrap();
            assert_eq!((head.headers.len(), &ahead[..], searched), (1, &b"body"[..], 0), "{cut}");
        }
    }
}
