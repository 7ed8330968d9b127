//! The header fields by which a client learns of a limit: `RateLimit-Policy` and `RateLimit`, as in
//! draft-ietf-httpapi-ratelimit-headers-11. Both are lists of strings with parameters (RFC 9651).

use std::fmt::Write;
use std::time::Duration;

use crate::units::Rate;

/// One limit's members of the two lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The limit's name as a string of structured fields, quotes included.
    name: String,
    policy: String,
}

impl Fields {
    /// The fields of a limit of this name.
    pub fn new(name: &str, rate: Rate) -> Self {
        let name = quoted(name);
        let mut policy = format!("{name};q={}", rate.count());
        // A window is told in whole seconds; one that is none is left out, which the draft allows, rather than told wrong.
        let span = rate.per().get();
        if span.subsec_nanos() == 0 {
            // Writing to a String cannot fail.
            let _ = write!(policy, ";w={}", span.as_secs());
        }
        Fields { name, policy }
    }

    /// The member of `RateLimit-Policy`: `"per-merchant";q=100;w=60`.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The member of `RateLimit`: `"per-merchant";r=0;t=30`. So many requests are left, and more become available after
    /// this time, which is told in seconds and rounded up.
    pub fn state(&self, remaining: u32, more_after: Duration) -> String {
        format!("{};r={remaining};t={}", self.name, seconds(more_after))
    }
}

/// Whole seconds, rounded up: who waits that long has waited long enough.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// A string of structured fields: printable ASCII in quotes. What is none becomes a question mark.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &str, rate: &str) -> Fields {
        Fields::new(name, rate.parse().unwrap())
    }

    #[test]
    fn the_fields_of_the_draft() {
        let fields = fields("per-merchant", "100/1m");
        assert_eq!(fields.policy(), r#""per-merchant";q=100;w=60"#);
        assert_eq!(fields.state(0, Duration::from_secs(30)), r#""per-merchant";r=0;t=30"#);
    }

    #[test]
    fn part_of_a_second_is_a_second_to_wait() {
        let fields = fields("a", "1/1s");
        assert_eq!(fields.state(0, Duration::from_nanos(1)), r#""a";r=0;t=1"#);
        assert_eq!(fields.state(3, Duration::ZERO), r#""a";r=3;t=0"#);
        assert_eq!(fields.state(0, Duration::new(59, 1)), r#""a";r=0;t=60"#);
    }

    #[test]
    fn a_window_that_is_no_whole_second_is_not_told() {
        assert_eq!(fields("a", "5/250ms").policy(), r#""a";q=5"#);
        assert_eq!(fields("a", "5/1500ms").policy(), r#""a";q=5"#);
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(fields(r#"a"b\c"#, "1/1s").policy(), r#""a\"b\\c";q=1;w=1"#);
        assert_eq!(fields("zähl\r\nX: 1\t", "1/1s").policy(), r#""z?hl??X: 1?";q=1;w=1"#);
    }
}
