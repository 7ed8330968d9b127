//! One log line: a JSON object, or `name=value` for a person. Written by hand, since every request writes one.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use crate::config::{Level, LogFormat};

/// A line being written.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: LogFormat,
}

impl<'a> Line<'a> {
    /// Begins a line with what every line has.
    pub(super) fn start(out: &'a mut Vec<u8>, format: LogFormat, level: Level, event: &str) -> Self {
        match format {
            LogFormat::Json => {
                out.extend_from_slice(b"{\"ts\":\"");
                timestamp(out);
                out.extend_from_slice(b"\",\"level\":\"");
                out.extend_from_slice(level_word(level).as_bytes());
                out.extend_from_slice(b"\",\"event\":\"");
                escape(out, event);
                out.push(b'"');
            }
            LogFormat::Text => {
                timestamp(out);
                out.push(b' ');
                let word = level_word(level);
                out.extend(word.bytes().map(|b| b.to_ascii_uppercase()));
                out.extend(std::iter::repeat_n(b' ', 6 - word.len()));
                escape(out, event);
            }
        }
        Line { out, format }
    }

    fn name(&mut self, name: &str) {
        match self.format {
            LogFormat::Json => {
                self.out.extend_from_slice(b",\"");
                escape(self.out, name);
                self.out.extend_from_slice(b"\":");
            }
            LogFormat::Text => {
                self.out.push(b' ');
                escape(self.out, name);
                self.out.push(b'=');
            }
        }
    }

    pub(super) fn str(&mut self, name: &str, value: &str) {
        self.name(name);
        let bare = self.format == LogFormat::Text
            && !value.is_empty()
            && value.bytes().all(|b| b > b' ' && b != b'"' && b != b'\\' && b != b'=' && b != 0x7f);
        if bare {
            self.out.extend_from_slice(value.as_bytes());
        } else {
            quoted(self.out, value);
        }
    }

    /// Text that need not be UTF-8: what a client sent.
    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) {
        self.str(name, &String::from_utf8_lossy(value));
    }

    pub(super) fn opt_str(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.str(name, value);
        }
    }

    pub(super) fn u64(&mut self, name: &str, value: u64) {
        self.name(name);
        decimal(self.out, value);
    }

    pub(super) fn bool(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A number or a word that needs no escaping, as it writes itself.
    pub(super) fn plain(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(Utf8(self.out), "{value}");
    }

    /// Text that writes itself.
    pub(super) fn text(&mut self, name: &str, value: impl fmt::Display) {
        self.str(name, &value.to_string());
    }

    /// A span in milliseconds with its microseconds.
    pub(super) fn millis(&mut self, name: &str, value: std::time::Duration) {
        self.name(name);
        let us = value.as_micros() as u64;
        decimal(self.out, us / 1000);
        self.out.push(b'.');
        digits(self.out, us % 1000, 3);
    }

    /// A 128-bit id, 32 hex digits.
    pub(super) fn hex(&mut self, name: &str, value: u128) {
        self.name(name);
        let mut hex = [0u8; 34];
        hex[0] = b'"';
        hex[33] = b'"';
        for (i, digit) in hex[1..33].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(value >> (124 - 4 * i)) as usize & 15];
        }
        self.out.extend_from_slice(match self.format {
            LogFormat::Json => &hex,
            LogFormat::Text => &hex[1..33],
        });
    }

    /// An IPv4 address; four numbers are quicker written than formatted.
    pub(super) fn ipv4(&mut self, name: &str, ip: std::net::Ipv4Addr) {
        self.name(name);
        let quote = self.format == LogFormat::Json;
        for (i, octet) in ip.octets().into_iter().enumerate() {
            match i {
                0 if quote => self.out.push(b'"'),
                0 => {}
                _ => self.out.push(b'.'),
            }
            decimal(self.out, u64::from(octet));
        }
        if quote {
            self.out.push(b'"');
        }
    }

    /// An object of text by name; nothing at all where it would be empty.
    pub(super) fn object(&mut self, name: &str, fields: &[(&str, &[u8])]) {
        let mut before: &[u8] = b"{\"";
        for (field, value) in fields {
            match self.format {
                LogFormat::Json => {
                    if before == b"{\"" {
                        self.name(name);
                    }
                    self.out.extend_from_slice(before);
                    escape(self.out, field);
                    self.out.extend_from_slice(b"\":");
                    quoted(self.out, &String::from_utf8_lossy(value));
                    before = b",\"";
                }
                LogFormat::Text => self.bytes(&format!("{name}.{field}"), value),
            }
        }
        if before == b",\"" {
            self.out.push(b'}');
        }
    }

    /// Fields that were written elsewhere in the same format.
    pub(super) fn append(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    /// A line that only collects fields, for [`Line::append`].
    pub(super) fn fields(out: &'a mut Vec<u8>, format: LogFormat) -> Self {
        Line { out, format }
    }

    pub(super) fn end(self) {
        if self.format == LogFormat::Json {
            self.out.push(b'}');
        }
    }
}

/// What is written to it is UTF-8, since it comes as `str`.
struct Utf8<'a>(&'a mut Vec<u8>);

impl fmt::Write for Utf8<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.extend_from_slice(s.as_bytes());
        Ok(())
    }
}

const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Off => "off",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

const fn special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\' || byte == 0x7f
}

/// The inside of a JSON string. Sixteen bytes are looked at together, as most text has nothing to escape.
fn escape(out: &mut Vec<u8>, text: &str) {
    for piece in text.as_bytes().chunks(16) {
        if !piece.iter().fold(false, |found, &b| found | special(b)) {
            out.extend_from_slice(piece);
            continue;
        }
        for &byte in piece {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                byte if special(byte) => {
                    let _ = write!(Utf8(out), "\\u{byte:04x}");
                }
                byte => out.push(byte),
            }
        }
    }
}

fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0u8; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// A number with leading zeros; at most 9 digits.
fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut text = [b'0'; 9];
    for digit in text[..width].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[..width]);
}

/// The time now, RFC 3339 in UTC with microseconds.
#[allow(clippy::disallowed_methods, reason = "a log line says when it was written")]
fn timestamp(out: &mut Vec<u8>) {
    thread_local! {
        /// The second that was written last and how it reads: most lines share theirs with the one before.
        static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = SECOND.get();
    if second != now.as_secs() {
        second = now.as_secs();
        text = date_time(second);
        SECOND.set((second, text));
    }
    out.extend_from_slice(&text);
    out.push(b'.');
    digits(out, u64::from(now.subsec_micros()), 6);
    out.push(b'Z');
}

/// Seconds since 1970 as `2026-11-20T18:50:10`. The date is Howard Hinnant's `civil_from_days`.
fn date_time(seconds: u64) -> [u8; 19] {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Eras of 400 years that begin on the first of March, so that a leap day is a year's last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = (year_of_era + era * 400 + u64::from(month <= 2)).min(9999);
    let mut out = Vec::with_capacity(19);
    for (value, width, after) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b' '),
    ] {
        digits(&mut out, value, width);
        out.push(after);
    }
    let mut text = [b'0'; 19];
    text.copy_from_slice(&out[..19]);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_795_200_610, "2026-11-20T18:50:10"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59"),
        ] {
            assert_eq!(std::str::from_utf8(&date_time(seconds)).unwrap(), text);
        }
    }

    #[test]
    fn a_text_line_quotes_what_could_mislead() {
        let mut out = Vec::new();
        let mut line = Line::start(&mut out, LogFormat::Text, Level::Warn, "drain");
        line.str("from", "ready");
        line.str("why", "a=\"b\"\nfaked line");
        line.str("none", "");
        line.object("request_headers", &[("x-a", b"1 2")]);
        line.hex("trace_id", 255);
        line.end();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Z WARN  drain from=ready why=\"a=\\\"b\\\"\\nfaked line\" none=\"\""), "{text}");
        assert!(text.ends_with("request_headers.x-a=\"1 2\" trace_id=000000000000000000000000000000ff"), "{text}");
    }

    proptest! {
        #[test]
        fn any_text_and_any_bytes_make_a_json_object_that_says_the_same(
            event in ".*", name in "[a-z]{1,9}", text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..64),
            number: u64, us in 0u64..u64::MAX / 2, id: u128,
        ) {
            let mut out = Vec::new();
            let mut line = Line::start(&mut out, LogFormat::Json, Level::Info, &event);
            line.str(&format!("t_{name}"), &text);
            line.bytes("bytes", &bytes);
            line.u64("number", number);
            line.millis("ms", std::time::Duration::from_micros(us));
            line.hex("id", id);
            line.object("none", &[]);
            line.object("some", &[("a", &bytes), ("b", text.as_bytes())]);
            line.bool("yes", true);
            line.plain("signed", -5);
            line.end();
            prop_assert!(!out.iter().any(|b| *b < b' ' || *b == 0x7f));
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&json["event"], &event);
            prop_assert_eq!(&json[format!("t_{name}")], &text);
            prop_assert_eq!(&json["bytes"], &*String::from_utf8_lossy(&bytes));
            prop_assert_eq!(&json["number"], number);
            prop_assert_eq!(&json["id"], &format!("{id:032x}"));
            prop_assert_eq!(&json["some"]["b"], &text);
            prop_assert!(json.get("none").is_none());
            prop_assert_eq!(json["ts"].as_str().unwrap().len(), 27);
        }

        #[test]
        fn millis_are_exact(us in 0u64..10_000_000_000) {
            let mut out = Vec::new();
            Line::fields(&mut out, LogFormat::Text).millis("d", std::time::Duration::from_micros(us));
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!(" d={}.{:03}", us / 1000, us % 1000));
        }
    }
}
