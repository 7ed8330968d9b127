//! What the two sides ask of a cache: `Cache-Control`, in answers and in requests, and `Pragma`.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

use super::{delta_seconds, targeted};

/// The directives of an answer.
///
/// All lines count as one list. A directive that comes twice holds at its more careful value; a time that is none
/// counts as zero, which is stale.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// Fresh for so many seconds.
    pub max_age: Option<u32>,
    /// The same, for shared caches.
    pub s_maxage: Option<u32>,
    /// May be served for so many seconds longer while it is validated.
    pub stale_while_revalidate: Option<u32>,
    /// May be served for so many seconds longer in place of an error.
    pub stale_if_error: Option<u32>,
    /// Not to be stored.
    pub no_store: bool,
    /// Not to be reused before the origin said that it still holds.
    pub no_cache: bool,
    /// Meant for one user.
    pub private: bool,
    /// Meant for everybody.
    pub public: bool,
    /// Not to be reused once stale.
    pub must_revalidate: bool,
    /// The same, for shared caches.
    pub proxy_revalidate: bool,
    /// Only to be stored by who knows what its status means; `no_store` is then for those who do not.
    pub must_understand: bool,
    /// Does not change while it is fresh.
    pub immutable: bool,
    /// Its content is not to be changed on the way.
    pub no_transform: bool,
    /// Fields that are not kept: those that `no-cache="…"` and `private="…"` name.
    pub fields: Vec<HeaderName>,
    /// Whether `CDN-Cache-Control` said this: `Cache-Control` and `Expires` are then void.
    pub targeted: bool,
}

impl Control {
    /// Reads an answer's head.
    pub fn of(headers: &HeaderMap) -> Control {
        targeted::control(headers).unwrap_or_else(|| Control::standard(headers))
    }

    /// What `Cache-Control` says, whatever else is there.
    pub fn standard(headers: &HeaderMap) -> Control {
        let mut control = Control::default();
        for line in headers.get_all(CACHE_CONTROL) {
            each(line.as_bytes(), |name, argument| control.take(name, &argument));
        }
        control
    }

    /// Whether the origin forbids to serve this stale in so many words.
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache
    }

    /// Takes in one directive.
    pub(super) fn take(&mut self, name: &[u8], argument: &Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            self.max_age = earlier(self.max_age, argument);
        } else if is("s-maxage") {
            self.s_maxage = earlier(self.s_maxage, argument);
        } else if is("stale-while-revalidate") {
            self.stale_while_revalidate = earlier(self.stale_while_revalidate, argument);
        } else if is("stale-if-error") {
            self.stale_if_error = earlier(self.stale_if_error, argument);
        } else if is("no-cache") {
            self.no_cache |= !self.names(argument);
        } else if is("private") {
            self.private |= !self.names(argument);
        } else if is("no-store") {
            self.no_store = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("immutable") {
            self.immutable = true;
        } else if is("no-transform") {
            self.no_transform = true;
        }
    }

    /// Notes the fields that a directive names. False where it does not name fields in the form that it should: it then
    /// speaks of the whole answer.
    fn names(&mut self, argument: &Argument<'_>) -> bool {
        let Argument::Quoted(list) = argument else { return false };
        let names = list.split(|b| *b == b',').map(|n| n.trim_ascii()).filter(|n| !n.is_empty());
        let names: Result<Vec<_>, _> = names.map(HeaderName::from_bytes).collect();
        let Ok(names) = names else { return false };
        let some = !names.is_empty();
        self.fields.extend(names);
        some
    }
}

/// The directives of a request. Without any: all unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestControl {
    /// Not to be answered from what is stored unless the origin says that it still holds.
    pub no_cache: bool,
    /// Neither to be answered from a store nor to be stored.
    pub no_store: bool,
    /// Not to be sent on: what is not stored is answered with 504.
    pub only_if_cached: bool,
    /// Nothing older than so many seconds.
    pub max_age: Option<u32>,
    /// Nothing that is not fresh for so many seconds to come.
    pub min_fresh: Option<u32>,
    /// What is stale for at most so many seconds will do.
    pub max_stale: Option<u32>,
}

impl RequestControl {
    /// Reads a request's head.
    pub fn of(headers: &HeaderMap) -> RequestControl {
        let mut control = RequestControl::default();
        let mut said = false;
        for line in headers.get_all(CACHE_CONTROL) {
            said = true;
            each(line.as_bytes(), |name, argument| control.take(name, &argument));
        }
        if !said {
            for line in headers.get_all(PRAGMA) {
                each(line.as_bytes(), |name, _| control.no_cache |= name.eq_ignore_ascii_case(b"no-cache"));
            }
        }
        control
    }

    fn take(&mut self, name: &[u8], argument: &Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            self.max_age = earlier(self.max_age, argument);
        } else if is("min-fresh") {
            let time = argument.seconds().unwrap_or(super::FOREVER);
            self.min_fresh = Some(self.min_fresh.map_or(time, |other| other.max(time)));
        } else if is("max-stale") {
            let time = if matches!(argument, Argument::None) { Some(super::FOREVER) } else { argument.seconds() };
            self.max_stale = Some(self.max_stale.unwrap_or(super::FOREVER).min(time.unwrap_or(0)));
        }
    }
}

/// What stands behind a directive's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    /// Nothing.
    None,
    /// A token.
    Token(&'a [u8]),
    /// What stands between quotation marks.
    Quoted(&'a [u8]),
    /// A number of seconds.
    Seconds(u32),
    /// Something else.
    Malformed,
}

impl Argument<'_> {
    fn seconds(&self) -> Option<u32> {
        match self {
            Argument::Token(text) | Argument::Quoted(text) => delta_seconds(text),
            Argument::Seconds(time) => Some(*time),
            Argument::None | Argument::Malformed => None,
        }
    }
}

fn earlier(before: Option<u32>, argument: &Argument<'_>) -> Option<u32> {
    let time = argument.seconds().unwrap_or(0);
    Some(before.map_or(time, |before| before.min(time)))
}

/// Calls for each directive of a line.
///
/// A quotation mark that is never closed hides nothing: the line is cut at its commas all the same, and as it is not known
/// what of it was meant, a `max-age` of zero is added.
fn each(line: &[u8], mut take: impl FnMut(&[u8], Argument<'_>)) {
    let mut rest = line;
    while !rest.is_empty() {
        let (directive, next, closed) = cut(rest);
        if !closed {
            take(b"max-age", Argument::Malformed);
        }
        let (name, argument) = split(directive.trim_ascii());
        if !name.is_empty() {
            take(name, argument);
        }
        rest = next;
    }
}

/// Cuts at the first comma that stands in no quotation. False where a quotation is not closed.
fn cut(line: &[u8]) -> (&[u8], &[u8], bool) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&line[..at], &line[at + 1..], true),
            _ => {}
        }
    }
    if !quoted {
        return (line, &[], true);
    }
    match line.iter().position(|b| *b == b',') {
        Some(at) => (&line[..at], &line[at + 1..], false),
        None => (line, &[], false),
    }
}

fn split(directive: &[u8]) -> (&[u8], Argument<'_>) {
    let Some(at) = directive.iter().position(|b| *b == b'=') else {
        return (directive, Argument::None);
    };
    let (name, value) = (&directive[..at], &directive[at + 1..]);
    let argument = match value {
        _ if name.ends_with(b" ") || name.ends_with(b"\t") => Argument::Malformed,
        [b'"', inner @ .., b'"'] if !inner.contains(&b'"') => Argument::Quoted(inner),
        _ if value.contains(&b'"') => Argument::Malformed,
        _ => Argument::Token(value),
    };
    (name.trim_ascii(), argument)
}

#[cfg(test)]
mod tests;
