//! Parts of a stored body (RFC 9110, 14).

use std::ops::Range;

/// The most parts in one answer. Who asks for more gets the whole.
pub const MOST_PARTS: usize = 8;

/// What a `Range` field asks of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The whole: it is malformed, of another unit, or asks for more pieces, or for more, than the whole is.
    Whole,
    /// One part: 206 with [`content_range`].
    One(Range<u64>),
    /// Several: 206 with [`multipart`].
    Several(Vec<Range<u64>>),
    /// Nothing that is there: 416 with [`unsatisfied`].
    Unsatisfiable,
}

/// Reads a `Range` field for a body of `length` bytes. Two lines are malformed: pass them as none.
pub fn wanted(field: &[u8], length: u64) -> Wanted {
    let Some((unit, set)) = split_once(field.trim_ascii(), b'=') else { return Wanted::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Wanted::Whole;
    }
    let mut parts: Vec<Range<u64>> = Vec::new();
    let mut seen = 0;
    for spec in set.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        seen += 1;
        let Some(part) = part(spec, length) else { return Wanted::Whole };
        if seen > MOST_PARTS || parts.iter().any(|other| other.start < part.end && part.start < other.end) {
            return Wanted::Whole;
        }
        if !part.is_empty() {
            parts.push(part);
        }
    }
    match parts.len() {
        0 if seen == 0 => Wanted::Whole,
        0 => Wanted::Unsatisfiable,
        1 => Wanted::One(parts.swap_remove(0)),
        _ => Wanted::Several(parts),
    }
}

/// `bytes 0-9/100`.
pub fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1))
}

/// `bytes */100`, for 416.
pub fn unsatisfied(length: u64) -> String {
    format!("bytes */{length}")
}

/// The type of an answer with several parts.
pub fn multipart_type(boundary: &str) -> String {
    format!("multipart/byteranges; boundary={boundary}")
}

/// The body of an answer with several parts. The boundary must not stand in the body; who draws it long enough at random
/// may rely on that.
pub fn multipart(body: &[u8], parts: &[Range<u64>], content_type: Option<&[u8]>, boundary: &str) -> Vec<u8> {
    let length = body.len() as u64;
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(b"\r\n--");
        out.extend_from_slice(boundary.as_bytes());
        if let Some(content_type) = content_type {
            out.extend_from_slice(b"\r\ncontent-type: ");
            out.extend_from_slice(content_type);
        }
        out.extend_from_slice(b"\r\ncontent-range: ");
        out.extend_from_slice(content_range(part, length).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(slice(body, part));
    }
    out.extend_from_slice(b"\r\n--");
    out.extend_from_slice(boundary.as_bytes());
    out.extend_from_slice(b"--\r\n");
    out
}

/// The bytes of a part.
pub fn slice<'b>(body: &'b [u8], part: &Range<u64>) -> &'b [u8] {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(body.len());
    body.get(at(part.start)..at(part.end)).unwrap_or_default()
}

/// One `first-last`, `first-` or `-suffix`; empty where the body does not reach it, none where it is malformed.
fn part(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let (first, last) = split_once(spec, b'-')?;
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(length.saturating_sub(suffix)..length);
    }
    let first = number(first)?;
    let end = if last.is_empty() { length } else { number(last)?.saturating_add(1) };
    if !last.is_empty() && end <= first {
        return None;
    }
    Some(if first < length { first..end.min(length) } else { length..length })
}

/// `1*DIGIT`, what is too large being as good as the largest.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    })
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|b| *b == at)?;
    Some((&text[..position], &text[position + 1..]))
}

#[cfg(test)]
mod tests;
