//! Conditional requests, answered from what is stored (RFC 9110, 13; RFC 9111, 4.3.2).

use http::header::{HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};

use super::date;

/// What of a stored answer conditions are held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// Its status.
    pub status: u16,
    /// Its `ETag`, as it came.
    pub etag: Option<&'a [u8]>,
    /// Its `Last-Modified`, as it came.
    pub last_modified: Option<&'a [u8]>,
    /// Its `Date`, or when it came, in seconds since 1970.
    pub date: u64,
}

/// What a request with conditions is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What is stored; a range of it where the request wants one and [`range_applies`].
    Full,
    /// 304.
    NotModified,
    /// The origin's answer: `If-Match` and `If-Unmodified-Since` are for it to judge, a store may not.
    Forward,
}

/// Whether a request has conditions, or wants a part. One pass over the few names that came is cheaper than a look-up of each.
pub fn has_any(request: &HeaderMap) -> bool {
    request.keys().any(|name| name.as_str().starts_with("if-") || name == RANGE)
}

/// Judges a request's conditions. Fast where it has none.
pub fn evaluate(request: &HeaderMap, stored: &Validators<'_>) -> Outcome {
    if !has_any(request) {
        return Outcome::Full;
    }
    if request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE) {
        return Outcome::Forward;
    }
    // Conditions count where the answer without them would be a success (RFC 9110, 13.2.1).
    if !(200..300).contains(&stored.status) {
        return Outcome::Full;
    }
    if request.contains_key(IF_NONE_MATCH) {
        let mut lines = request.get_all(IF_NONE_MATCH).iter();
        let matched = lines.any(|line| names(line.as_bytes(), stored.etag));
        return if matched { Outcome::NotModified } else { Outcome::Full };
    }
    let Some(since) = date::field(request.get_all(IF_MODIFIED_SINCE)) else { return Outcome::Full };
    let changed = stored.last_modified.and_then(date::parse).unwrap_or(stored.date);
    if changed <= since { Outcome::NotModified } else { Outcome::Full }
}

/// Whether a request's `Range` counts: it has one, and no `If-Range` that speaks of another state of the answer.
pub fn range_applies(request: &HeaderMap, stored: &Validators<'_>) -> bool {
    if !request.contains_key(RANGE) {
        return false;
    }
    let mut lines = request.get_all(IF_RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return !request.contains_key(IF_RANGE) };
    let line = line.as_bytes().trim_ascii();
    if line.contains(&b'"') {
        return stored.etag.is_some_and(|tag| strong_match(line, tag));
    }
    let (Some(wanted), Some(changed)) = (date::parse(line), stored.last_modified.and_then(date::parse)) else {
        return false;
    };
    // A date is as good as a strong tag only if nothing could change again within its second (RFC 9110, 8.8.2.2).
    wanted == changed && changed < stored.date
}

/// Whether a list of tags names this one, weakly compared, or is the star that names every one.
fn names(list: &[u8], tag: Option<&[u8]>) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let Some(tag) = tag else { return false };
    members(list).any(|member| weak_match(member, tag))
}

/// The members of a list of tags: commas between quotation marks belong to a tag. Tags know no escapes.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let split = list.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    split.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Whether two tags are the same state of an answer, small changes aside (RFC 9110, 8.8.3.2). Tags that lack their quotation
/// marks, which some applications send, are taken for what stands between them elsewhere.
pub(super) fn weak_match(a: &[u8], b: &[u8]) -> bool {
    !a.is_empty() && (a == b || opaque(a) == opaque(b))
}

/// Whether two tags are the same bytes: both strong and equal.
fn strong_match(a: &[u8], b: &[u8]) -> bool {
    is_strong(a) && a == b
}

fn is_strong(tag: &[u8]) -> bool {
    matches!(tag, [b'"', inner @ .., b'"'] if !inner.contains(&b'"'))
}

fn opaque(tag: &[u8]) -> &[u8] {
    let tag = tag.strip_prefix(b"W/").or_else(|| tag.strip_prefix(b"w/")).unwrap_or(tag);
    match tag {
        [b'"', inner @ .., b'"'] => inner,
        _ => tag,
    }
}

#[cfg(test)]
mod tests;
