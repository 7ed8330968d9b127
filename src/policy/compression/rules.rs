//! Whether an answer is one to encode.

use http::header::{CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, COOKIE, HeaderName, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use super::Settings;
use super::head::{Encoded, encoded};

/// RFC 9421: a signature may cover fields that change with the coding.
const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// The settings of a route, compiled.
#[derive(Debug, Clone)]
pub struct Rules {
    min_size: u64,
    /// Whole media types, and kinds of them without `/*`.
    types: Vec<Box<str>>,
    kinds: Vec<Box<str>>,
    /// Paths, and patterns of paths.
    paths: Vec<Box<str>>,
    patterns: Vec<Box<str>>,
    breach_guard: bool,
}

/// A request and the head of its answer.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Its path without the query, as it was received.
    pub path: &'a str,
    /// Its header fields.
    pub request: &'a HeaderMap,
    /// The answer's status.
    pub status: StatusCode,
    /// Its header fields.
    pub response: &'a HeaderMap,
    /// The length of its body, where that is known before it has come.
    pub length: Option<u64>,
}

/// Why an answer is sent as the application gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Its status has no body: 1xx, 204, 205.
    NoBody,
    /// Its path is in `exclude_paths`.
    Path,
    /// `Cache-Control: no-transform`, by either side.
    NoTransform,
    /// It has a coding already.
    Encoded,
    /// It is a part: 206, or it has Content-Range.
    Partial,
    /// It is signed (RFC 9421), and the signature may cover what would change.
    Signed,
    /// `breach_guard`: it sets a cookie, or the request had one.
    Cookie,
    /// It has no Content-Type.
    NoType,
    /// Its type is not in `types`.
    Type,
    /// It is shorter than `min_size`.
    Small,
    /// It is a 304, which has no body.
    NotModified,
    /// It answers HEAD, and so has no body.
    Head,
}

impl Skip {
    /// A word for metrics and logs; it stays as it is.
    pub const fn as_str(self) -> &'static str {
        match self {
            Skip::NoBody => "no_body",
            Skip::Path => "path",
            Skip::NoTransform => "no_transform",
            Skip::Encoded => "encoded",
            Skip::Partial => "partial",
            Skip::Signed => "signed",
            Skip::Cookie => "cookie",
            Skip::NoType => "no_type",
            Skip::Type => "type",
            Skip::Small => "small",
            Skip::NotModified => "not_modified",
            Skip::Head => "head",
        }
    }

    /// Whether the answer gets `Vary: Accept-Encoding` all the same: another answer for the same resource would be encoded
    /// for some clients, and this one speaks for it.
    pub const fn varies(self) -> bool {
        matches!(self, Skip::NotModified | Skip::Head)
    }
}

impl Rules {
    /// Compiles a route's settings.
    pub fn new(settings: &Settings) -> Rules {
        let (kinds, types): (Vec<&str>, Vec<&str>) =
            settings.types.iter().map(String::as_str).partition(|t| t.ends_with("/*"));
        let (patterns, paths): (Vec<&str>, Vec<&str>) =
            settings.exclude_paths.iter().map(String::as_str).partition(|p| p.contains('{'));
        let boxed = |texts: Vec<&str>, cut: usize| texts.iter().map(|t| Box::from(&t[..t.len() - cut])).collect();
        Rules {
            min_size: settings.min_size.bytes(),
            types: boxed(types, 0),
            kinds: boxed(kinds, 2),
            paths: boxed(paths, 0),
            patterns: boxed(patterns, 0),
            breach_guard: settings.breach_guard,
        }
    }

    /// Why this answer is not to be encoded; none if it is, for a client that takes a coding.
    ///
    /// What holds for every answer of the resource is asked first, and [`Skip::Head`] last: only an answer to HEAD that
    /// would be encoded if it answered GET says so. An answer of unknown length is encoded whatever it turns out to be.
    pub fn skip(&self, x: &Exchange<'_>) -> Option<Skip> {
        let status = x.status.as_u16();
        if status < 200 || matches!(status, 204 | 205) {
            return Some(Skip::NoBody);
        }
        if self.excludes(x.path) {
            return Some(Skip::Path);
        }
        if no_transform(x.response) || no_transform(x.request) {
            return Some(Skip::NoTransform);
        }
        if encoded(x.response) != Encoded::Not {
            return Some(Skip::Encoded);
        }
        if status == 206 || x.response.contains_key(CONTENT_RANGE) {
            return Some(Skip::Partial);
        }
        if x.response.contains_key(SIGNATURE) {
            return Some(Skip::Signed);
        }
        if self.breach_guard && (x.request.contains_key(COOKIE) || x.response.contains_key(SET_COOKIE)) {
            return Some(Skip::Cookie);
        }
        // A 304 need not say what type its representation has.
        let not_modified = status == 304;
        match x.response.get(CONTENT_TYPE) {
            None if not_modified => return Some(Skip::NotModified),
            None => return Some(Skip::NoType),
            Some(value) if !self.lists(value.as_bytes()) => return Some(Skip::Type),
            Some(_) if not_modified => return Some(Skip::NotModified),
            Some(_) => {}
        }
        if x.length.is_some_and(|length| length < self.min_size) {
            return Some(Skip::Small);
        }
        (x.method == Method::HEAD).then_some(Skip::Head)
    }

    /// Whether this request gets no encoded body, whatever the answer is.
    pub fn skips_request(&self, request: &HeaderMap) -> bool {
        self.breach_guard && request.contains_key(COOKIE) || no_transform(request)
    }

    fn excludes(&self, path: &str) -> bool {
        self.paths.iter().any(|p| **p == *path) || self.patterns.iter().any(|p| takes(p, path))
    }

    /// Whether `types` has this value of Content-Type; its parameters do not count.
    fn lists(&self, value: &[u8]) -> bool {
        let essence = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if self.types.iter().any(|t| t.as_bytes().eq_ignore_ascii_case(essence)) {
            return true;
        }
        let Some(slash) = essence.iter().position(|b| *b == b'/') else { return false };
        self.kinds.iter().any(|k| k.as_bytes().eq_ignore_ascii_case(&essence[..slash]))
    }
}

/// Whether a pattern, spelled as in `match.path`, takes a path: `{param}` one segment that is not empty, `{*rest}` all that
/// follows.
fn takes(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    for segment in pattern.split('/') {
        match parts.next() {
            None => return false,
            Some(_) if segment.starts_with("{*") => return true,
            Some(part) if segment.starts_with('{') && !part.is_empty() => {}
            Some(part) if segment == part => {}
            Some(_) => return false,
        }
    }
    parts.next().is_none()
}

/// Whether `Cache-Control` has `no-transform` on any of its lines.
fn no_transform(headers: &HeaderMap) -> bool {
    headers
        .get_all(CACHE_CONTROL)
        .iter()
        .any(|line| line.as_bytes().split(|b| *b == b',').any(|d| d.trim_ascii().eq_ignore_ascii_case(b"no-transform")))
}

#[cfg(test)]
mod tests;
