//! The bodies and paths of writes: what is ordered, read strictly.

use std::time::Duration;

use serde::Deserialize;

use crate::config::Level;
use crate::units::Duration as Span;

/// The body of POST /drain.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DrainOrder {
    /// Answer when nothing is in flight any more.
    pub(super) wait: bool,
    /// End the process then.
    pub(super) exit: bool,
}

/// The body of POST /log-level.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LevelOrder {
    pub(super) level: Level,
}

/// The body of POST /policies/{route}/{policy}/{word}.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SwitchOrder {
    /// For how long; left out: until it is thrown back, or the process ends.
    #[serde(rename = "for")]
    pub(super) time: Option<Span>,
}

/// The body of POST /idempotency/{hash}/resolve.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveOrder {
    /// How it was.
    #[serde(rename = "as")]
    pub outcome: Resolved,
    /// Who says so.
    pub operator: String,
    /// Of what was carried out: the status that later tries get.
    #[serde(default)]
    pub status: Option<u16>,
    /// And the body; without one they are told that it was carried out.
    #[serde(default)]
    pub body: Option<String>,
    /// What the first asking was answered with.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// How a request of unknown outcome was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolved {
    /// The application carried it out.
    Done,
    /// It did not, and will not any more: the next try is a first one.
    NotCharged,
}

impl Resolved {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Resolved::Done => "done",
            Resolved::NotCharged => "not_charged",
        }
    }
}

impl ResolveOrder {
    /// Refuses what says nothing, or two things.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let named = self.operator.trim();
        if named.is_empty() || named.len() > 100 || named.chars().any(char::is_control) {
            return Err("operator: expected the name of who says so, of at most 100 characters");
        }
        match (self.outcome, self.status, &self.body) {
            (Resolved::NotCharged, None, None) => Ok(()),
            (Resolved::NotCharged, ..) => Err("as: not_charged has no status and no body: there was no answer"),
            (Resolved::Done, None, _) => Err("status: expected the status that later tries get"),
            (Resolved::Done, Some(200..=599), _) => Ok(()),
            (Resolved::Done, Some(_), _) => Err("status: expected 200 to 599"),
        }
    }
}

/// The words behind the first of a path: `/breakers/route:pay/open` has two.
pub(super) fn words<const N: usize>(path: &str) -> Option<[&str; N]> {
    let mut words = path.split('/').skip(2);
    let found = std::array::from_fn(|_| words.next().unwrap_or_default());
    (words.next().is_none() && found.iter().all(|w: &&str| !w.is_empty())).then_some(found)
}

/// An order that names what there is not, or that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nothing has this name; the text says what is known.
    Unknown(String),
    /// It cannot be done; the text says why.
    Impossible(String),
}

impl SwitchOrder {
    pub(super) fn time(&self) -> Option<Duration> {
        self.time.map(Span::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_as_many_words_as_it_should() {
        assert_eq!(words("/breakers/route:pay/open"), Some(["route:pay", "open"]));
        assert_eq!(words("/policies/pay/retry/off"), Some(["pay", "retry", "off"]));
        for path in ["/breakers", "/breakers/", "/breakers/a", "/breakers/a/", "/breakers/a/open/", "/breakers//open"] {
            assert_eq!(words::<2>(path), None, "{path}");
        }
    }
}
