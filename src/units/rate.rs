//! A number of requests in a span of time.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use super::{Duration, UnitError};

/// A number of requests in a span of time: `100/1m`; neither is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Duration,
}

const RATE: &str = "a number of requests (1 to 1000000000) in a time of at least 1ms, such as 100/1m";

/// The largest count: a nanosecond each when they come in a second.
const MOST: u32 = 1_000_000_000;

/// The shortest span. A shorter one could not be told from the time that a request takes to be counted.
const SHORTEST: Duration = Duration::from_millis(1);

impl Rate {
    /// So many in each span; None when the count or the span is out of range.
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        ((1..=MOST).contains(&count) && per >= SHORTEST).then_some(Rate { count, per })
    }

    /// How many, 1 to 1,000,000,000.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// In which span, at least 1 ms.
    pub const fn per(self) -> Duration {
        self.per
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(s: &str) -> Result<Self, UnitError> {
        let (count, per) = s.split_once('/').ok_or(UnitError(RATE))?;
        if !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(UnitError(RATE));
        }
        let count = count.parse().map_err(|_| UnitError(RATE))?;
        let per = per.parse().map_err(|_| UnitError(RATE))?;
        Rate::new(count, per).ok_or(UnitError(RATE))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per)
    }
}

yaml_unit!(Rate, RATE, "Rate", r"^[0-9]+/[0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)$", numbers: false);
