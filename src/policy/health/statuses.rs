//! Statuses as a user lists them: `[200-399]`, `[200, 204, 300-308]`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// Final statuses and those before them, as RFC 9110 has them.
const FIRST: u16 = 100;
const LAST: u16 = 599;

const EXPECTED: &str = "a status from 100 to 599, or a range such as 200-399";
const EXPECTED_LIST: &str = "a list of statuses such as [200-399] or [200, 204]";

/// A range of statuses, both ends included; a single status is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

/// The statuses that pass a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Statuses(Vec<StatusRange>);

/// A text that is no range of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub struct NoStatus;

impl StatusRange {
    /// The range from `first` to `last`, both included; none where it is empty or no status at all.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (FIRST <= first && first <= last && last <= LAST).then_some(StatusRange { first, last })
    }
}

impl Statuses {
    /// Whether this status passes.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| (range.first..=range.last).contains(&status))
    }

    /// Whether no status passes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Statuses {
    /// Every answer that is neither an error of the client nor one of the server.
    fn default() -> Self {
        Statuses(vec![StatusRange { first: 200, last: 399 }])
    }
}

impl FromStr for StatusRange {
    type Err = NoStatus;

    fn from_str(s: &str) -> Result<Self, NoStatus> {
        let number = |s: &str| {
            // `+200` and ` 200` are numbers to Rust, and no statuses.
            let digits = s.len() == 3 && s.bytes().all(|b| b.is_ascii_digit());
            if digits { s.parse::<u16>().map_err(|_| NoStatus) } else { Err(NoStatus) }
        };
        let (first, last) = s.split_once('-').unwrap_or((s, s));
        StatusRange::new(number(first)?, number(last)?).ok_or(NoStatus)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first == self.last { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last { s.serialize_u16(self.first) } else { s.collect_str(self) }
    }
}

struct OneRange;

impl Visitor<'_> for OneRange {
    type Value = StatusRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<StatusRange, E> {
        let status = u16::try_from(n).ok().and_then(|n| StatusRange::new(n, n));
        status.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(n), &self))
    }

    fn visit_str<E: de::Error>(self, s: &str) -> Result<StatusRange, E> {
        s.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(s), &self))
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(OneRange)
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED_LIST)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Statuses, A::Error> {
        let mut ranges = Vec::new();
        while let Some(range) = seq.next_element()? {
            ranges.push(range);
        }
        Ok(Statuses(ranges))
    }

    // One alone needs no list.
    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Statuses, E> {
        OneRange.visit_u64(n).map(|range| Statuses(vec![range]))
    }

    fn visit_str<E: de::Error>(self, s: &str) -> Result<Statuses, E> {
        OneRange.visit_str(s).map(|range| Statuses(vec![range]))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(List)
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = one_status();
        let range = json_schema!({ "type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$" });
        json_schema!({
            "description": EXPECTED_LIST,
            "anyOf": [
                { "type": "array", "minItems": 1, "items": { "anyOf": [number.clone(), range.clone()] } },
                number,
                range,
            ],
        })
    }
}

fn one_status() -> Schema {
    json_schema!({ "type": "integer", "minimum": FIRST, "maximum": LAST })
}
