//! The header fields of a head: each line's form, and the few that say how the message is framed.

use super::{CLASS, Limits, TOKEN, VALUE, bad, host, is_token, span, trim};
use crate::refusal::{Reason, Refusal};

/// What the fields say.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) count: usize,
    pub(super) host: Option<&'a [u8]>,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) expect_continue: bool,
    pub(super) upgrade: bool,
    pub(super) connection_upgrade: bool,
    pub(super) connection_close: bool,
    pub(super) connection_keep_alive: bool,
}

impl<'a> Fields<'a> {
    /// Reads every field up to the empty line, which has to be the end of the head.
    pub(super) fn read(mut rest: &'a [u8], limits: &Limits) -> Result<Self, Refusal> {
        let mut fields = Fields::default();
        loop {
            if rest == b"\r\n" {
                return Ok(fields);
            }
            let name_end = span(rest, TOKEN);
            if name_end == 0 || rest.get(name_end) != Some(&b':') {
                return Err(not_a_name(rest));
            }
            let after = &rest[name_end + 1..];
            let value_end = span(after, VALUE);
            if !after[value_end..].starts_with(b"\r\n") {
                return Err(bad("a header's value holds a control character, or its line does not end with CRLF"));
            }
            fields.count += 1;
            if fields.count > limits.max_headers {
                return Err(Refusal::new(Reason::HeaderTooLarge, "too many header fields"));
            }
            fields.field(&rest[..name_end], &after[..value_end])?;
            rest = &after[value_end + 2..];
        }
    }

    /// Takes what matters of one field. Most are none of these, and the length of the name says so.
    fn field(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(trim(value)),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if !trim(value).eq_ignore_ascii_case(b"100-continue") {
                    return Err(bad("Expect is known as 100-continue alone"));
                }
                self.expect_continue = true;
                Ok(())
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection(value);
                Ok(())
            }
            14 if is_spelled(name, b"content-length")? => self.length(trim(value)),
            17 if is_spelled(name, b"transfer-encoding")? => self.coding(trim(value)),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(bad("Host is doubled"));
        }
        host::check(value)?;
        self.host = Some(value);
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|b| *b == b',').map(trim) {
            self.connection_close |= option.eq_ignore_ascii_case(b"close");
            self.connection_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// Digits as everyone writes them. A zero in front is refused too: some read it as octal.
    fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(bad("Content-Length is doubled"));
        }
        let canonical = matches!(value, b"0" | [b'1'..=b'9', ..]) && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| canonical).and_then(|digits| digits.parse().ok());
        self.length = Some(length.ok_or_else(|| bad("Content-Length is malformed"))?);
        Ok(())
    }

    /// One `chunked` and nothing else: any other coding is not ours to undo, and a list is read differently by many.
    fn coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(bad("Transfer-Encoding is doubled"));
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let codings = || value.split(|b| *b == b',').map(trim);
        let framing = |c: &[u8]| c.eq_ignore_ascii_case(b"chunked") || c.eq_ignore_ascii_case(b"identity");
        if !codings().all(is_token) || (codings().count() > 1 && codings().all(framing)) {
            return Err(bad("Transfer-Encoding is malformed"));
        }
        Err(Refusal::new(Reason::NotImplemented, "Transfer-Encoding is known as chunked alone"))
    }
}

/// Whether this is the name. Underscores for its dashes are refused: behind CGI and WSGI both names are one.
fn is_spelled(name: &[u8], known: &[u8]) -> Result<bool, Refusal> {
    if name.eq_ignore_ascii_case(known) {
        return Ok(true);
    }
    let disguised = name.iter().zip(known).all(|(n, k)| n.eq_ignore_ascii_case(k) || (*n == b'_' && *k == b'-'));
    if disguised {
        return Err(bad("a framing header's name is spelled with an underscore"));
    }
    Ok(false)
}

/// Why a line does not begin with a name and a colon.
#[cold]
fn not_a_name(rest: &[u8]) -> Refusal {
    match rest.first() {
        Some(b' ' | b'\t') => bad("a header's line is folded"),
        Some(b':') => bad("a header's name is empty"),
        Some(b'\r' | b'\n') => bad("a line does not end with CRLF, or the head goes on behind its end"),
        _ => match rest.get(span(rest, TOKEN)) {
            Some(b' ' | b'\t') => bad("a space stands in a header's name or before its colon"),
            Some(b) if CLASS[usize::from(*b)] & VALUE == 0 => {
                bad("a header's line has no colon, or holds a control character")
            }
            _ => bad("a header's name is not a token"),
        },
    }
}
