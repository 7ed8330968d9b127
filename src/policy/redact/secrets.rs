//! Secrets that are told by their name, and credentials that are told by their scheme.
//!
//! Taken are:
//! - the value of a listed header: `Name: value`, `"name":"value"`, `name=value`, in any case, with `_` for `-`. It ends
//!   with its quote, or with the line: a line break, one written as `\r\n`, or the end of the string around it;
//! - the value of a listed query parameter: `name=value`, `name%3Dvalue`, escapes in the name undone. It ends with `&`,
//!   `#`, a quote or a space;
//! - what follows `Bearer` or `Basic`.

use super::{REDACTED, Settings};

/// The names whose values are secret.
#[derive(Debug, Clone)]
pub(super) struct Names {
    names: Vec<(Vec<u8>, Kind)>,
    /// A bit for each length there is, so that nearly every other name is told apart by its length.
    lengths: u64,
    /// A bit for the last two bytes of each, so that most names need not be looked for at all.
    tails: u64,
}

/// What a name is of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    pub(super) header: bool,
    pub(super) query: bool,
}

/// No name is longer.
const MAX_NAME: usize = 63;

impl Names {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut names: Vec<(Vec<u8>, Kind)> = Vec::new();
        let headers = settings.headers.iter().map(|n| (n, Kind { header: true, query: false }));
        let query = settings.query.iter().map(|n| (n, Kind { header: false, query: true }));
        for (name, kind) in headers.chain(query) {
            let name: Vec<u8> = name.bytes().map(fold).take(MAX_NAME).collect();
            match names.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => {
                    known.header |= kind.header;
                    known.query |= kind.query;
                }
                None => names.push((name, kind)),
            }
        }
        let lengths = names.iter().fold(0, |bits, (name, _)| bits | 1 << name.len());
        let tails = names.iter().fold(0, |bits, (name, _)| bits | tail_bit(name));
        Names { names, lengths, tails }
    }

    /// Whether a name that ends so may be listed. One with an escape in its last two characters has to be looked at.
    fn may_end(&self, text: &[u8]) -> bool {
        self.tails & tail_bit(text) != 0 || matches!(text, [.., b'%', _, _] | [.., b'%', _, _, _])
    }

    /// What this name is of, if it is secret.
    pub(super) fn find(&self, name: &[u8]) -> Option<Kind> {
        // A longer name is cut, as the listed ones are.
        let name = &name[..name.len().min(MAX_NAME)];
        if self.lengths & 1 << name.len() == 0 {
            return None;
        }
        let same = |known: &[u8]| known.len() == name.len() && known.iter().zip(name).all(|(k, n)| *k == fold(*n));
        self.names.iter().find(|(known, _)| same(known)).map(|(_, kind)| *kind)
    }
}

/// The bit of the last two bytes; every bit for less than two.
fn tail_bit(text: &[u8]) -> u64 {
    match text {
        [.., a, b] => 1 << ((u32::from(fold(*a)) * 7 + u32::from(fold(*b))) % 64),
        _ => u64::MAX,
    }
}

/// Names are compared in lower case, with a dash for an underscore.
fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// Bytes behind which a secret may begin.
static DELIMITER: [bool; 256] = {
    let mut table = [false; 256];
    table[b':' as usize] = true;
    table[b'=' as usize] = true;
    table[b'%' as usize] = true;
    table[b' ' as usize] = true;
    table[b'+' as usize] = true;
    table
};

/// Appends `line` to `out` without its secrets.
pub(super) fn redact(names: &Names, line: &[u8], out: &mut Vec<u8>) {
    let (mut written, mut at) = (0, 0);
    while let Some(found) = line[at..].iter().position(|b| DELIMITER[usize::from(*b)]) {
        let delimiter = at + found;
        at = delimiter + 1;
        if let Some((start, end)) = secret_behind(names, line, written, delimiter) {
            if start < end {
                out.extend_from_slice(&line[written..start]);
                out.extend_from_slice(REDACTED);
                written = end;
            }
            at = at.max(end);
        }
    }
    out.extend_from_slice(&line[written..]);
}

/// The value that begins behind a delimiter, if it is secret. `from` is where the text not yet written begins.
#[inline]
fn secret_behind(names: &Names, line: &[u8], from: usize, delimiter: usize) -> Option<(usize, usize)> {
    let (length, encoded) = match &line[delimiter..] {
        [b'%', b'2', b'0', ..] => return credential(line, delimiter, delimiter + 3),
        [b' ' | b'+', ..] => return credential(line, delimiter, delimiter + 1),
        [b'%', b'3', b'd' | b'D' | b'a' | b'A', ..] => (3, true),
        [b'%', ..] => return None,
        _ => (1, false),
    };
    let (name, quoted) = name_before(names, line, from, delimiter)?;
    let mut buffer = [0; MAX_NAME];
    let kind = names.find(decode(name, &mut buffer))?;
    let colon = line[delimiter] == b':' || matches!(line[delimiter..], [b'%', _, b'a' | b'A', ..]);
    let behind = delimiter + length;
    let start = behind + line[behind..].iter().take_while(|b| **b == b' ').count();
    // Behind `Name: ` a quote is part of the value, which goes on behind its pair.
    if let Some(value) = quoted_value(line, start).filter(|_| quoted || !colon) {
        return (kind.header || !colon).then_some(value);
    }
    if kind.header {
        // A JSON key with no string behind it: a number, null or a list.
        let end = if quoted && colon { json_end(line, start) } else { line_end(line, start) };
        return Some((start, end));
    }
    // A parameter's value begins at once, and `name:` is none.
    (!colon).then(|| (behind, query_end(line, behind, encoded)))
}

/// The name that ends at `end`, perhaps in quotes, and whether it was. None: it is none of the listed.
#[inline]
fn name_before<'a>(names: &Names, line: &'a [u8], from: usize, end: usize) -> Option<(&'a [u8], bool)> {
    let text = &line[from..end];
    let spaces = text.iter().rev().take_while(|b| **b == b' ').count();
    let text = &text[..text.len() - spaces];
    let quotes = text.iter().rev().take_while(|b| matches!(b, b'"' | b'\\')).count();
    let text = &text[..text.len() - quotes];
    if !names.may_end(text) {
        return None;
    }
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'%');
    let start = text.iter().rposition(|b| !in_name(b)).map_or(0, |i| i + 1);
    // A line break written as \r or \n before the name gives it a letter that is not its own.
    let name = match (&text[..start], &text[start..]) {
        ([.., b'\\'], [b'r' | b'n' | b't', name @ ..]) => name,
        (_, name) => name,
    };
    Some((name, quotes > 0))
}

/// The name with its escapes undone, from behind the last character that is in no name: `%26card` is `card`.
fn decode<'a>(name: &'a [u8], buffer: &'a mut [u8; MAX_NAME]) -> &'a [u8] {
    if !name.contains(&b'%') {
        return name;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (mut rest, mut length) = (name, 0);
    while let [byte, after @ ..] = rest {
        rest = after;
        let mut decoded = *byte;
        if let ([a, b, behind @ ..], b'%') = (after, byte)
            && let (Some(high), Some(low)) = (digit(*a), digit(*b))
        {
            decoded = high << 4 | low;
            rest = behind;
        }
        if !(decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'_' | b'.')) {
            length = 0;
        } else if let Some(place) = buffer.get_mut(length) {
            *place = decoded;
            length += 1;
        }
    }
    &buffer[..length]
}

/// The inside of a string that begins at `start`, in quotes that may themselves be escaped, as JSON in JSON is.
fn quoted_value(line: &[u8], start: usize) -> Option<(usize, usize)> {
    let slashes = line[start..].iter().take_while(|b| **b == b'\\').count();
    line.get(start + slashes).filter(|b| **b == b'"')?;
    let inside = start + slashes + 1;
    Some((inside, quote_end(line, inside, slashes)))
}

/// Where a string ends whose quotes have so many backslashes before them: at its quote's first backslash, or with the line.
fn quote_end(line: &[u8], inside: usize, slashes: usize) -> usize {
    for found in memchr::memchr3_iter(b'"', b'\r', b'\n', &line[inside..]).map(|i| inside + i) {
        if line[found] != b'"' {
            return found;
        }
        let before = line[inside..found].iter().rev().take_while(|b| **b == b'\\').count();
        // In a string that is not escaped itself, backslashes before its end come in pairs: each pair is one backslash.
        if slashes == 0 && before.is_multiple_of(2) {
            return found;
        }
        if slashes > 0 && before <= slashes {
            return found - before;
        }
    }
    line.len()
}

/// The end of a JSON value that is no string.
fn json_end(line: &[u8], start: usize) -> usize {
    let list = line.get(start) == Some(&b'[');
    let mut at = start;
    while let Some(byte) = line.get(at) {
        match byte {
            b'\r' | b'\n' => return at,
            b']' if list => return at + 1,
            b',' | b'}' | b']' | b' ' | b'"' if !list => return at,
            b'"' => {
                at = quote_end(line, at + 1, 0);
                // A line break in a string is looked at again: the list ends there.
                at += usize::from(line.get(at) == Some(&b'"'));
            }
            _ => at += 1,
        }
    }
    line.len()
}

/// The end of a header's value that is not in quotes. Inside a string `\r` and `\n` are line breaks; elsewhere a value may
/// hold them as they are, and only both together are one.
fn line_end(line: &[u8], start: usize) -> usize {
    let line_start = memchr::memrchr2(b'\r', b'\n', &line[..start]).map_or(0, |i| i + 1);
    let mut in_string = false;
    let mut slashes = 0;
    for byte in &line[line_start..start] {
        in_string ^= *byte == b'"' && slashes % 2 == 0;
        slashes = if *byte == b'\\' { slashes + 1 } else { 0 };
    }
    slashes = 0;
    for (i, byte) in line[start..].iter().enumerate() {
        let escaped = slashes % 2 == 1;
        match byte {
            b'\r' | b'\n' => return start + i,
            b'r' | b'n' if escaped && in_string => return start + i - 1,
            b'r' if escaped && line[start + i..].starts_with(b"r\\n") => return start + i - 1,
            b'"' if in_string && !escaped => return start + i,
            _ => {}
        }
        slashes = if *byte == b'\\' { slashes + 1 } else { 0 };
    }
    line.len()
}

/// The end of a parameter's value. Where its `=` was escaped, an escaped `&` ends it.
fn query_end(line: &[u8], start: usize, encoded: bool) -> usize {
    let rest = &line[start..];
    let ends = |i: usize| {
        matches!(rest[i], b'&' | b'#' | b'"' | b'<' | b'>')
            || rest[i].is_ascii_whitespace()
            || (encoded && rest[i..].starts_with(b"%26"))
    };
    let end = (0..rest.len()).find(|i| ends(*i)).unwrap_or(rest.len());
    // The backslashes of an escaped quote are not the value's.
    let quoted = rest.get(end) == Some(&b'"');
    let slashes = if quoted { rest[..end].iter().rev().take_while(|b| **b == b'\\').count() } else { 0 };
    start + end - slashes
}

/// What follows `Bearer` or `Basic`, which end where the space begins.
#[inline]
fn credential(line: &[u8], space: usize, behind: usize) -> Option<(usize, usize)> {
    let before = &line[..space];
    let scheme = |name: &[u8]| {
        let start = before.len().checked_sub(name.len())?;
        let word_begins = start == 0 || !before[start - 1].is_ascii_alphabetic() || escapes_letter(&before[..start]);
        (before[start..].eq_ignore_ascii_case(name) && word_begins).then_some(())
    };
    // The last letter tells nearly every word apart.
    match before.last()? {
        b'r' | b'R' => scheme(b"bearer")?,
        b'c' | b'C' => scheme(b"basic")?,
        _ => return None,
    }
    let start = behind + line[behind..].iter().take_while(|b| **b == b' ').count();
    let in_token =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'%' | b':');
    Some((start, start + line[start..].iter().take_while(|b| in_token(b)).count()))
}

/// Whether the last letter belongs to an escape such as `\n`.
fn escapes_letter(text: &[u8]) -> bool {
    matches!(text, [.., b'\\', _])
}
