//! Card numbers: digits are masked, all but the first six and the last four.
//!
//! Masked are, until none is left:
//! - 12 to 19 digits whose Luhn sum is right and that stand between bytes that are no digits. They may be written in
//!   groups, with one space, dash or plus (or `%20`, `%2D`, `%2B`) between two groups; where a longer row of groups holds
//!   several such numbers, each is masked;
//! - 20 digits and more in one run, whatever their sum: any card number could be in them.
//!
//! Not looked for is a card number inside a run of up to 19 digits that is not one as a whole. `%XX`, `\xXX` and `\uXXXX`
//! are read both ways: as one character, and as the digits they are written with. Trace ids and UUIDs, told by their shape
//! and by a letter in them, are left alone. A time in milliseconds is a run of 13 digits, and one in ten has the right sum:
//! print times as RFC 3339.

/// Digits of a card number.
const SHORTEST: usize = 12;
const LONGEST: usize = 19;

/// Masks every card number in `line`.
pub(super) fn mask(line: &mut [u8]) {
    if !suspicious(line) {
        return;
    }
    // What is left of one number may be part of another, so once is not enough. Each round masks a digit or is the last.
    loop {
        let mut marks: Vec<usize> = Vec::new();
        for escapes in [true, false] {
            collect(line, escapes, |number| marks.extend(&number[6..number.len() - 4]));
        }
        if marks.is_empty() {
            return;
        }
        for at in marks {
            line[at] = b'*';
        }
    }
}

/// Whether there may be a row of groups that is long enough. The only step that an ordinary line goes through, so it does
/// not look at every byte: a row of twelve digits is at least twelve bytes long, and one of them is probed.
fn suspicious(line: &[u8]) -> bool {
    let mut at = SHORTEST - 1;
    while let Some(byte) = line.get(at) {
        if in_row(byte) {
            let start = line[..at].iter().rposition(|b| !in_row(b)).map_or(0, |i| i + 1);
            at += line[at..].iter().position(|b| !in_row(b)).unwrap_or(line.len() - at);
            if line[start..at].iter().filter(|b| b.is_ascii_digit()).count() >= SHORTEST {
                return true;
            }
        }
        at += SHORTEST;
    }
    false
}

/// Every byte that may be in a row of groups, those of `%2D` and `%2B` included.
fn in_row(byte: &u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'+' | b'%' | b'd' | b'D' | b'b' | b'B')
}

/// Whether a card number stands in `text`. Other than in a line of a log, a false alarm costs something here, so what no
/// issuer gives out is left: runs of 20 digits and more, and the times that begin with 1 (in milliseconds, microseconds and
/// nanoseconds since 1970).
pub(super) fn is_in(text: &[u8]) -> bool {
    if !suspicious(text) {
        return false;
    }
    let mut found = false;
    for escapes in [true, false] {
        collect(text, escapes, |number| {
            let is_time = matches!(number.len(), 13 | 16 | 19) && text[number[0]] == b'1';
            found |= number.len() <= LONGEST && !is_time;
        });
    }
    found
}

/// Tells the positions of the digits of each number that has to be masked.
fn collect(line: &[u8], escapes: bool, mut found: impl FnMut(&[usize])) {
    let mut at = 0;
    while let Some(start) = next_digit(line, at, escapes) {
        let mut positions = Vec::new();
        let mut groups = Vec::new();
        row(line, start, escapes, |from, to| {
            groups.push((positions.len(), positions.len() + to - from));
            positions.extend(from..to);
            at = to;
        });
        for (i, (first, end)) in groups.iter().enumerate() {
            if end - first > LONGEST {
                if !is_identifier(line, positions[*first], positions[end - 1] + 1) {
                    found(&positions[*first..*end]);
                }
                continue;
            }
            // The Luhn sum grows digit by digit: with the last digit as it is, and with the last digit doubled.
            let (mut plain, mut doubled) = (0, 0);
            for (_, end) in groups[i..].iter().take_while(|(_, end)| end - first <= LONGEST) {
                let begun = groups[i..].iter().take_while(|(_, e)| e < end).last().map_or(*first, |(_, e)| *e);
                for position in &positions[begun..*end] {
                    let digit = u32::from(line[*position] - b'0');
                    (plain, doubled) = (doubled + digit, plain + digit / 5 + digit * 2 % 10);
                }
                if end - first >= SHORTEST
                    && plain % 10 == 0
                    && !is_identifier(line, positions[*first], positions[end - 1] + 1)
                {
                    found(&positions[*first..*end]);
                }
            }
        }
    }
}

/// Tells the groups of one row of digits, each as its first byte and the byte behind it.
#[inline]
fn row(line: &[u8], start: usize, escapes: bool, mut group: impl FnMut(usize, usize)) {
    let mut at = start;
    loop {
        let end = line[at..].iter().position(|b| !b.is_ascii_digit()).map_or(line.len(), |i| at + i);
        group(at, end);
        let separator = match &line[end..] {
            [b' ' | b'-' | b'+', ..] => 1,
            [b'%', b'2', b'0' | b'd' | b'D' | b'b' | b'B', ..] if escapes => 3,
            _ => return,
        };
        if !line.get(end + separator).is_some_and(u8::is_ascii_digit) {
            return;
        }
        at = end + separator;
    }
}

/// The next digit that, where escapes are read as such, is not part of one.
#[inline]
fn next_digit(line: &[u8], mut at: usize, escapes: bool) -> Option<usize> {
    loop {
        at += line.get(at..)?.iter().position(|b| b.is_ascii_digit() || (escapes && matches!(b, b'%' | b'\\')))?;
        let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        match &line[at..] {
            [b'%', a, b, ..] if hex(&[*a, *b]) => at += 3,
            [b'\\', b'x', a, b, ..] if hex(&[*a, *b]) => at += 4,
            [b'\\', b'u', a, b, c, d, ..] if hex(&[*a, *b, *c, *d]) => at += 6,
            [b'%' | b'\\', ..] => at += 1,
            _ => return Some(at),
        }
    }
}

/// Whether the bytes are part of a trace id, a traceparent or a UUID: hexadecimal, of a known shape, with a letter.
fn is_identifier(line: &[u8], start: usize, end: usize) -> bool {
    let inside = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    let first = line[..start].iter().rposition(|b| !inside(b)).map_or(0, |i| i + 1);
    let last = line[end..].iter().position(|b| !inside(b)).map_or(line.len(), |i| end + i);
    let token = &line[first..last];
    let dashes: &[usize] = match token.len() {
        32 => &[],
        36 => &[8, 13, 18, 23],
        55 => &[2, 35, 52],
        _ => return false,
    };
    let shaped =
        token.iter().enumerate().all(|(i, b)| if dashes.contains(&i) { *b == b'-' } else { b.is_ascii_hexdigit() });
    shaped && token.iter().any(u8::is_ascii_alphabetic)
}
