//! What never stands in a log line: card numbers, credentials, secrets in a query.
//!
//! A line is redacted as bytes, whoever wrote it and whatever it is: JSON, plain text, a raw head, a Debug rendering of one.
//! Nothing is parsed, so nothing malformed slips through; where the end of a secret is in doubt, more is taken, not less.
//! What is taken is written in `secrets` and `cards`. A second pass changes nothing, but in a line whose quotes do not pair,
//! where it may take more.

use std::borrow::Cow;

mod cards;
mod secrets;
mod settings;

pub use settings::Settings;

/// What stands where a secret stood.
const REDACTED: &[u8] = b"[redacted]";

/// Redacts lines, by one [`Settings`].
#[derive(Debug, Clone)]
pub struct Redactor {
    card_numbers: bool,
    names: secrets::Names,
}

impl Redactor {
    /// A redactor for these settings.
    pub fn new(settings: &Settings) -> Self {
        Redactor { card_numbers: settings.card_numbers, names: secrets::Names::new(settings) }
    }

    /// Appends `line` to `out` without its secrets. A line may hold line breaks.
    pub fn redact_line(&self, line: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        secrets::redact(&self.names, line, out);
        if self.card_numbers {
            cards::mask(&mut out[start..]);
        }
    }

    /// A query (what stands behind the `?`) without its secrets.
    pub fn redact_query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        let mut out = Vec::with_capacity(query.len());
        self.redact_line(query.as_bytes(), &mut out);
        if out == query.as_bytes() {
            return Cow::Borrowed(query);
        }
        // Only ASCII was cut at and put in, so this is still UTF-8.
        Cow::Owned(String::from_utf8(out).unwrap_or_else(|_| String::from("[redacted]")))
    }

    /// Whether the value of this header is never shown.
    pub fn is_secret_header(&self, name: &str) -> bool {
        self.names.find(name.as_bytes()).is_some_and(|kind| kind.header)
    }
}

/// Whether a card number stands in a text that is to be kept: 12 to 19 digits with the right sum, in groups or not.
pub fn has_card_number(text: &[u8]) -> bool {
    cards::is_in(text)
}

#[cfg(test)]
mod tests;
