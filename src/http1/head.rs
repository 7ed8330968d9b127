//! The HTTP/1 head guard: a request's head is checked on the wire bytes, before any parser sees it.
//!
//! Many parsers repair what they cannot parse: they percent-encode a broken target, or take a bare LF for the end of a
//! line. A proxy and an application that read the same bytes in two ways is how a request is smuggled, so what could be
//! read in two ways is refused here and never repaired.
//!
//! One pass over the bytes, nothing is allocated. [`find_end`] says where a head ends, [`check`] whether it may pass.

use crate::refusal::{Reason, Refusal};

mod fields;
mod host;

use fields::Fields;

/// What a head may hold. The bytes of a whole head are bounded by the caller, while they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the target; above it 414.
    pub max_target: usize,
    /// Header fields; above it 431.
    pub max_headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_target: 8 * 1024, max_headers: 100 }
    }
}

/// How the body that follows a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// No body follows.
    None,
    /// So many bytes follow; may be 0.
    Length(u64),
    /// Chunks follow.
    Chunked,
}

/// How the target is written (RFC 9112 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`, and the authority is the one in Host.
    Absolute,
    /// `*`, of OPTIONS alone.
    Asterisk,
}

/// What a head that passed says about its connection and its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// GET, HEAD, OPTIONS or TRACE: asking twice does no harm.
    pub safe: bool,
    /// HTTP/1.1; else HTTP/1.0.
    pub version_11: bool,
    /// How the target is written.
    pub form: Form,
    /// How the body is framed.
    pub body: Body,
    /// The client waits for a 100 before it sends its body. Never of HTTP/1.0.
    pub expect_continue: bool,
    /// The client asks for another protocol: `Upgrade`, named in `Connection`, of HTTP/1.1.
    pub upgrade: bool,
    /// The client closes after this answer: `Connection: close`, or HTTP/1.0 without `keep-alive`.
    pub connection_close: bool,
    /// Header fields.
    pub headers: usize,
}

/// The longest method there is.
const MAX_METHOD: usize = 32;

/// Where the head in `buf` ends: the index just past its final CRLFCRLF. `from` is what an earlier call has already seen.
///
/// A head must end its lines with CRLF. At the first bare LF this answers the index past it, so that the caller need not
/// wait for an end that may not come: [`check`] refuses such a head.
pub fn find_end(buf: &[u8], from: usize) -> Option<usize> {
    // The CRLF of the line before may be all that was there.
    let start = from.saturating_sub(3).min(buf.len());
    for lf in memchr::memchr_iter(b'\n', &buf[start..]).map(|i| start + i) {
        if lf == 0 || buf[lf - 1] != b'\r' {
            return Some(lf + 1);
        }
        if buf[lf + 1..].starts_with(b"\r\n") {
            return Some(lf + 3);
        }
    }
    None
}

/// How many bytes of an empty line stand before the request: 2 or 0. RFC 9112 2.2 lets a client send one; two are refused
/// by [`check`].
pub fn skip_empty_line(buf: &[u8]) -> usize {
    if buf.starts_with(b"\r\n") { 2 } else { 0 }
}

/// Checks a whole head, its final CRLFCRLF included.
pub fn check(head: &[u8], limits: &Limits) -> Result<Head, Refusal> {
    let (line, rest) = request_line(head, limits)?;
    let fields = Fields::read(rest, limits)?;

    if line.method == b"CONNECT" {
        return Err(Refusal::new(Reason::NotImplemented, "CONNECT is not supported"));
    }
    let form = form(&line, fields.host)?;
    if line.version_11 && fields.host.is_none() {
        return Err(bad("Host is missing"));
    }
    let body = match (fields.chunked, fields.length) {
        (true, Some(_)) => return Err(bad("Content-Length beside Transfer-Encoding")),
        (true, None) if !line.version_11 => return Err(bad("Transfer-Encoding in HTTP/1.0")),
        (true, None) => Body::Chunked,
        (false, Some(length)) => Body::Length(length),
        (false, None) => Body::None,
    };
    Ok(Head {
        safe: matches!(line.method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE"),
        version_11: line.version_11,
        form,
        body,
        expect_continue: fields.expect_continue && line.version_11,
        upgrade: fields.upgrade && fields.connection_upgrade && line.version_11,
        connection_close: fields.connection_close || (!line.version_11 && !fields.connection_keep_alive),
        headers: fields.count,
    })
}

/// The first line of a head.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version_11: bool,
}

/// Exactly `METHOD SP TARGET SP VERSION CRLF`, and what follows it.
fn request_line<'a>(head: &'a [u8], limits: &Limits) -> Result<(RequestLine<'a>, &'a [u8]), Refusal> {
    let method_end = span(head, TOKEN);
    if method_end == 0 || head.get(method_end) != Some(&b' ') {
        return Err(bad("the method is not a token followed by one space"));
    }
    if method_end > MAX_METHOD {
        return Err(bad("the method is longer than 32 bytes"));
    }
    let rest = &head[method_end + 1..];
    let target_end = span(rest, TARGET);
    if target_end > limits.max_target {
        return Err(Refusal::new(Reason::UriTooLong, "the target is too long"));
    }
    if target_end == 0 || rest.get(target_end) != Some(&b' ') {
        return Err(bad("the target is empty or holds a character that must be percent-encoded"));
    }
    let (target, version) = (&rest[..target_end], &rest[target_end + 1..]);
    let (version_11, rest) = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b'\r', b'\n', after @ ..] => {
            (*minor == b'1', after)
        }
        _ if looks_like_version(version) => {
            return Err(Refusal::new(Reason::VersionNotSupported, "HTTP/1.0 and HTTP/1.1 are spoken here"));
        }
        _ => return Err(bad("the request line is not METHOD TARGET VERSION with one space between")),
    };
    Ok((RequestLine { method: &head[..method_end], target, version_11 }, rest))
}

fn looks_like_version(rest: &[u8]) -> bool {
    match rest {
        [h, t1, t2, p, b'/', major, b'.', minor, b'\r', b'\n', ..] => {
            [*h, *t1, *t2, *p].eq_ignore_ascii_case(b"HTTP") && major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}

/// The form of the target, which has to agree with the method and with Host.
fn form(line: &RequestLine<'_>, host: Option<&[u8]>) -> Result<Form, Refusal> {
    match line.target {
        [b'/', ..] => Ok(Form::Origin),
        b"*" if line.method == b"OPTIONS" => Ok(Form::Asterisk),
        b"*" => Err(bad("the target * is for OPTIONS alone")),
        target => {
            let authority = authority(target).ok_or_else(|| bad("the target is neither a path nor an http URI"))?;
            host::check(authority)?;
            match host {
                Some(host) if !host.eq_ignore_ascii_case(authority) => {
                    Err(bad("Host differs from the target's authority"))
                }
                _ => Ok(Form::Absolute),
            }
        }
    }
}

/// The authority of an absolute-form target.
fn authority(target: &[u8]) -> Option<&[u8]> {
    let after = ["http://", "https://"].iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })?;
    Some(&after[..after.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(after.len())])
}

fn bad(detail: &'static str) -> Refusal {
    Refusal::new(Reason::BadRequest, detail)
}

/// May stand in a method or a header's name.
const TOKEN: u8 = 1;
/// May stand in a target: what RFC 3986 allows, and what browsers leave as it is; no `#`, quote, `<`, `>` or backtick.
const TARGET: u8 = 2;
/// May stand in a header's value.
const VALUE: u8 = 4;

/// What each byte may be.
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            class |= TOKEN;
        }
        if byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`') {
            class |= TARGET;
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            class |= VALUE;
        }
        table[byte as usize] = class;
        if byte == 255 {
            break;
        }
        byte += 1;
    }
    table
};

/// How many bytes at the front are of this class.
#[inline]
fn span(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|b| CLASS[usize::from(*b)] & class == 0).unwrap_or(bytes.len())
}

/// Whether `bytes` are one or more token characters.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && span(bytes, TOKEN) == bytes.len()
}

/// `bytes` without the spaces and tabs around them.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !blank(b)).map_or(start, |i| i + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests;
