//! Entity tags of encoded bodies.
//!
//! A strong tag stands for bytes (RFC 9110, 8.8.3), so each coding of a body needs its own: `"abc"` is sent as `"abc~gzip"`.
//! What a client sends back is turned into the application's own tag again, one mark off the end. So that this is always
//! the right thing, a tag that ends in a mark by itself gets one more when it is passed on: no two tags of the application
//! are ever taken for each other. Weak tags stand for all codings at once and stay as they are.

use std::borrow::Cow;

use super::Coding;

/// What stands before the name of a mark; rare in tags, and in no base64.
const TILDE: u8 = b'~';

/// What was done to the body that a tag goes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Nothing: these are the application's bytes.
    AsItIs,
    /// We encoded it.
    Encoded(Coding),
    /// We took the application's coding off.
    Decoded,
}

impl Served {
    const ALL: [Served; 5] = [
        Served::AsItIs,
        Served::Decoded,
        Served::Encoded(Coding::Zstd),
        Served::Encoded(Coding::Br),
        Served::Encoded(Coding::Gzip),
    ];

    const fn mark(self) -> &'static [u8] {
        match self {
            Served::AsItIs => b"~as-is",
            Served::Decoded => b"~identity",
            Served::Encoded(Coding::Zstd) => b"~zstd",
            Served::Encoded(Coding::Br) => b"~br",
            Served::Encoded(Coding::Gzip) => b"~gzip",
        }
    }
}

/// The mark at the end of what stands between a tag's quotes.
fn marked(opaque: &[u8]) -> Option<Served> {
    let at = memchr::memrchr(TILDE, opaque)?;
    Served::ALL.into_iter().find(|served| served.mark() == &opaque[at..])
}

/// What stands between the quotes of a strong tag.
fn opaque(tag: &[u8]) -> Option<&[u8]> {
    match tag {
        [b'"', opaque @ .., b'"'] if !opaque.contains(&b'"') => Some(opaque),
        _ => None,
    }
}

/// The tag that a client gets for the application's one, the value of `ETag`.
pub fn sent(tag: &[u8], served: Served) -> Cow<'_, [u8]> {
    let Some(opaque) = opaque(tag) else { return Cow::Borrowed(tag) };
    if served == Served::AsItIs && marked(opaque).is_none() {
        return Cow::Borrowed(tag);
    }
    Cow::Owned([b"\"", opaque, served.mark(), b"\""].concat())
}

/// `If-None-Match` or `If-Match` as the application is asked it: its own tags again.
///
/// A client that has one coding of the body and would now get another is told that nothing has changed, which is true of what
/// it has; [`as_sent`] finds the tag to tell it.
pub fn received(list: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(TILDE, list).is_none() {
        return Cow::Borrowed(list);
    }
    let mut own = Vec::new();
    let mut copied = 0;
    for tag in tags(list) {
        if let Some(mark) = tag.mark() {
            own.extend_from_slice(&list[copied..tag.end - 1 - mark.mark().len()]);
            copied = tag.end - 1;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(list);
    }
    own.extend_from_slice(&list[copied..]);
    Cow::Owned(own)
}

/// `If-Range` as the application is asked it. None: the client has a part of a body that the application does not know, so
/// `Range` and `If-Range` both have to go, and it gets the whole. Putting bytes of two codings together would give neither.
pub fn if_range(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let trimmed = value.trim_ascii();
    match opaque(trimmed).and_then(marked) {
        None => Some(Cow::Borrowed(value)),
        Some(Served::AsItIs) => Some(received(trimmed)),
        Some(Served::Encoded(_) | Served::Decoded) => None,
    }
}

/// The tag for a 304 to a request with this `If-None-Match`, the application having named `tag`: the client's own, when it
/// named that one, else the application's as it is passed on.
pub fn as_sent<'a>(list: &'a [u8], tag: &'a [u8]) -> Cow<'a, [u8]> {
    let Some(wanted) = opaque(tag) else { return Cow::Borrowed(tag) };
    let named = tags(list).find(|named| {
        let own = &named.opaque[..named.opaque.len() - named.mark().map_or(0, |mark| mark.mark().len())];
        !named.weak && own == wanted
    });
    named.map_or_else(|| sent(tag, Served::AsItIs), |named| Cow::Borrowed(&list[named.start..named.end]))
}

/// A tag in a list.
struct Tag<'a> {
    opaque: &'a [u8],
    weak: bool,
    /// From its first quote to behind its second.
    start: usize,
    end: usize,
}

impl Tag<'_> {
    /// The mark to take off.
    fn mark(&self) -> Option<Served> {
        if self.weak { None } else { marked(self.opaque) }
    }
}

/// The tags of a list. A quote cannot stand within a tag, but a comma can.
fn tags(list: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + memchr::memchr(b'"', &list[from..])?;
        let len = memchr::memchr(b'"', &list[start + 1..])?;
        let end = start + len + 2;
        let weak = list[from..start].ends_with(b"W/");
        from = end;
        Some(Tag { opaque: &list[start + 1..end - 1], weak, start, end })
    })
}

#[cfg(test)]
mod tests;
