//! What a stored answer is found by: its route, scheme, host, path, query, what the route adds, and whose credential it was.
//!
//! Two requests have the same key only if all of these are the same. Each part is written with its length before it, so
//! that no part can look like the end of one and the beginning of the next.

use std::cmp::Ordering;
use std::ops::Range;

use percent_encoding::percent_decode;

/// The most pairs of a query that are sorted in place; longer queries are sorted on the heap.
const FEW: usize = 24;

/// What of a request makes its key.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The name of the route: two routes may answer to one URL, told apart by a header.
    pub route: &'a str,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// The host and, where there is one, the port.
    pub host: &'a str,
    /// The path as it came.
    pub path: &'a str,
    /// The query as it came, without its question mark.
    pub query: Option<&'a str>,
    /// What the route's `vary_by` names, in its order; none where the request does not have it.
    pub vary_by: &'a [Option<&'a [u8]>],
    /// A keyed hash of the request's credentials, where it has any and the route parts by them.
    pub credential: Option<&'a [u8; 16]>,
}

/// How a route reads queries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Names of parameters that change nothing. A star at the end stands for any rest.
    ignored: Box<[Ignored]>,
    /// Whether the order of parameters with different names means nothing.
    sorted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Ignored {
    name: Box<[u8]>,
    prefix: bool,
}

impl Query {
    /// How a route reads queries that has these settings.
    pub fn new<S: AsRef<str>>(ignore: &[S], sort: bool) -> Query {
        let ignored = ignore.iter().map(|pattern| {
            let pattern = pattern.as_ref().as_bytes();
            let (name, prefix) = pattern.strip_suffix(b"*").map_or((pattern, false), |name| (name, true));
            Ignored { name: name.into(), prefix }
        });
        Query { ignored: ignored.collect(), sorted: sort }
    }

    fn ignores(&self, name: &str) -> bool {
        let plain = !name.bytes().any(|b| matches!(b, b'%' | b'+'));
        self.ignored.iter().any(|ignored| {
            if plain {
                let name = name.as_bytes();
                return if ignored.prefix { name.starts_with(&ignored.name) } else { *name == *ignored.name };
            }
            let mut rest = decoded(name);
            ignored.name.iter().all(|byte| rest.next() == Some(*byte)) && (ignored.prefix || rest.next().is_none())
        })
    }

    /// Writes a query as it counts.
    ///
    /// An application that takes semicolons for separators reads other parameters than we do: such a query stays as it is.
    fn write(&self, query: &str, out: &mut Vec<u8>) -> bool {
        if query.bytes().any(|b| b == b';') || (self.ignored.is_empty() && !self.sorted) {
            out.extend_from_slice(query.as_bytes());
            return true;
        }
        let pairs = || query.split('&').filter(|pair| !self.ignores(name(pair)));
        let mut few = [""; FEW];
        let mut many;
        let mut count = 0;
        for pair in pairs() {
            if let Some(place) = few.get_mut(count) {
                *place = pair;
            }
            count += 1;
        }
        let pairs = if count <= FEW {
            &mut few[..count]
        } else {
            many = pairs().collect::<Vec<_>>();
            &mut many[..]
        };
        if self.sorted {
            pairs.sort_by(|a, b| compare(name(a), name(b)));
        }
        for (number, pair) in pairs.iter().enumerate() {
            if number > 0 {
                out.push(b'&');
            }
            out.extend_from_slice(pair.as_bytes());
        }
        count > 0
    }
}

/// Where the parts of a key stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The path.
    pub place: Range<usize>,
    /// What all answers to the URL have in common, whoever asked: its name.
    pub url: Range<usize>,
}

/// Appends the key of a request.
pub fn write(parts: &Parts<'_>, query: &Query, out: &mut Vec<u8>) -> Written {
    part(out, |out| out.extend_from_slice(parts.route.as_bytes()));
    let url = out.len();
    out.push(u8::from(parts.secure));
    let host = without_default_port(parts.host, parts.secure);
    for length in [host.len(), parts.path.len()] {
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend(host.bytes().map(|b| b.to_ascii_lowercase()));
    let place = out.len();
    out.extend_from_slice(parts.path.as_bytes());
    let place = place..out.len();
    let before = out.len();
    out.push(1);
    let mut some = false;
    part(out, |out| some = parts.query.is_some_and(|text| query.write(text, out)));
    if !some {
        out.truncate(before);
        out.push(0);
    }
    let url = url..out.len();
    for value in parts.vary_by {
        out.push(u8::from(value.is_some()));
        if let Some(value) = value {
            part(out, |out| out.extend_from_slice(value));
        }
    }
    out.push(u8::from(parts.credential.is_some()));
    if let Some(hash) = parts.credential {
        out.extend_from_slice(hash);
    }
    Written { place, url }
}

/// Writes a part, and its length before it.
fn part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// A host without the port that its scheme has anyway.
pub(super) fn without_default_port(host: &str, secure: bool) -> &str {
    host.strip_suffix(if secure { ":443" } else { ":80" }).or_else(|| host.strip_suffix(':')).unwrap_or(host)
}

fn name(pair: &str) -> &str {
    pair.bytes().position(|b| b == b'=').map_or(pair, |at| &pair[..at])
}

fn decoded(text: &str) -> impl Iterator<Item = u8> {
    // A plus sign is a space only where it is not escaped; told apart before the escapes are undone.
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, after) = match rest {
            [b'+', after @ ..] => (b' ', after),
            [b'%', _, _, after @ ..] => {
                let mut undone = percent_decode(rest.get(..3)?);
                let byte = undone.next()?;
                if undone.next().is_some() { (b'%', rest.get(1..)?) } else { (byte, after) }
            }
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

/// The order of names. Those that an application may take for one name are equal here, so that their pairs keep the order
/// in which they came: of two values, the first counts to one application and the last to another. Known are names
/// without case, and those that PHP makes the same.
fn compare(a: &str, b: &str) -> Ordering {
    if is_plain(a) && is_plain(b) {
        return a.cmp(b);
    }
    root(a).cmp(root(b))
}

/// Whether a name is its own root.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn root(name: &str) -> impl Iterator<Item = u8> {
    let bytes = decoded(name).skip_while(|b| *b == b' ').take_while(|b| !matches!(b, b'[' | 0));
    bytes.map(|b| if matches!(b, b'.' | b' ') { b'_' } else { b.to_ascii_lowercase() })
}

#[cfg(test)]
mod tests;
