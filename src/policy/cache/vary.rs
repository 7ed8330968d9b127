//! Which of several answers to one URL a request gets (RFC 9111, 4.1).

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue, VARY};

/// The most fields that an answer may vary by: what varies by more is hardly asked for twice.
pub const MOST_NAMES: usize = 8;

/// The most members of a list that are put in order; longer ones stay as they came.
const MOST_MEMBERS: usize = 16;

/// The fields of a request that an answer depends on, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Names(Box<[HeaderName]>);

/// Why an answer matches no other request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// It depends on more than the request's header, or on something that is no field.
    Star,
    /// It depends on too many fields.
    TooMany,
}

impl Names {
    /// Reads all `Vary` lines of an answer.
    ///
    /// # Errors
    /// Where no other request could ever be answered with it.
    pub fn of(headers: &HeaderMap) -> Result<Names, Unmatched> {
        let mut names = Vec::new();
        let lines = headers.get_all(VARY).iter();
        let members = lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(|m| m.trim_ascii());
        for member in members.filter(|m| !m.is_empty()) {
            let name = HeaderName::from_bytes(member).map_err(|_| Unmatched::Star)?;
            if member == b"*" {
                return Err(Unmatched::Star);
            }
            names.push(name);
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if names.len() > MOST_NAMES {
            return Err(Unmatched::TooMany);
        }
        Ok(Names(names.into()))
    }

    /// The names as bytes, to be kept with an answer.
    pub fn joined(&self) -> Vec<u8> {
        self.0.iter().map(|name| name.as_str().as_bytes()).collect::<Vec<_>>().join(&b',')
    }

    /// The names that [`Names::joined`] made these bytes of.
    pub fn of_joined(joined: &[u8]) -> Names {
        let names = joined.split(|b| *b == b',').filter(|name| !name.is_empty());
        Names(names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect())
    }

    /// Without one of them.
    pub fn without(self, name: &HeaderName) -> Names {
        Names(self.0.into_iter().filter(|other| other != name).collect())
    }

    /// Whether it depends on nothing but the URL.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter()
    }

    /// What a request says in these fields, such that requests which say the same give the same bytes.
    pub fn selecting(&self, request: &HeaderMap) -> Box<[u8]> {
        let mut bytes = Vec::new();
        self.write(request, &mut |byte| {
            bytes.push(byte);
            true
        });
        bytes.into()
    }

    /// Whether a request says what [`Names::selecting`] gave for another one. Allocates nothing.
    pub fn matches(&self, selecting: &[u8], request: &HeaderMap) -> bool {
        let mut rest = selecting.iter();
        self.write(request, &mut |byte| rest.next() == Some(&byte)) && rest.next().is_none()
    }

    /// Hands over the bytes one by one, until one is not taken.
    fn write(&self, request: &HeaderMap, take: &mut impl FnMut(u8) -> bool) -> bool {
        self.0.iter().all(|name| field(name, request, take))
    }
}

/// A field: a zero where it is missing, else a one, its value and a zero. No value of a field has a zero in it.
fn field(name: &HeaderName, request: &HeaderMap, take: &mut impl FnMut(u8) -> bool) -> bool {
    let lines = || request.get_all(name).iter().map(HeaderValue::as_bytes);
    if lines().next().is_none() {
        return take(0);
    }
    let mut space = [&[][..]; MOST_MEMBERS];
    let members = if is_set(name) { members(lines(), &mut space) } else { None };
    let taken = take(1)
        && match members {
            Some(members) => in_order(members, take),
            None => as_it_came(lines(), take),
        };
    taken && take(0)
}

/// Whether the order of a field's members and their case mean nothing: preferences stand in their weights.
fn is_set(name: &HeaderName) -> bool {
    *name == ACCEPT_LANGUAGE || *name == ACCEPT_ENCODING
}

/// The members of a list, sorted; none where they are too many.
fn members<'l, 's>(
    lines: impl Iterator<Item = &'l [u8]>,
    space: &'s mut [&'l [u8]; MOST_MEMBERS],
) -> Option<&'s [&'l [u8]]> {
    let mut count = 0;
    for member in lines.flat_map(|line| line.split(|b| *b == b',')) {
        if significant(member).next().is_some() {
            *space.get_mut(count)? = member;
            count += 1;
        }
    }
    let members = &mut space[..count];
    members.sort_unstable_by(|a, b| significant(a).cmp(significant(b)));
    Some(members)
}

/// What of a member counts.
fn significant(member: &[u8]) -> impl Iterator<Item = u8> {
    member.iter().filter(|b| !matches!(b, b' ' | b'\t')).map(u8::to_ascii_lowercase)
}

fn in_order(members: &[&[u8]], take: &mut impl FnMut(u8) -> bool) -> bool {
    members.iter().all(|member| significant(member).all(&mut *take) && take(b','))
}

/// Lines joined by commas, without white space around commas. What stands between quotation marks is left alone.
fn as_it_came<'l>(lines: impl Iterator<Item = &'l [u8]>, take: &mut impl FnMut(u8) -> bool) -> bool {
    for (number, line) in lines.enumerate() {
        if number > 0 && !take(b',') {
            return false;
        }
        if !joined(line.trim_ascii(), take) {
            return false;
        }
    }
    true
}

fn joined(line: &[u8], take: &mut impl FnMut(u8) -> bool) -> bool {
    let (mut quoted, mut escaped, mut begins) = (false, false, false);
    for (at, byte) in line.iter().enumerate() {
        let blank = matches!(byte, b' ' | b'\t');
        if blank && !quoted && (begins || comma_follows(&line[at..])) {
            continue;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        begins = *byte == b',' && !quoted;
        if !take(*byte) {
            return false;
        }
    }
    true
}

/// Whether there is nothing but white space before the next comma.
fn comma_follows(rest: &[u8]) -> bool {
    rest.iter().find(|b| !matches!(b, b' ' | b'\t')) == Some(&b',')
}

#[cfg(test)]
mod tests;
