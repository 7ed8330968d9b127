//! The section `circuit_breaker`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::policy::failure::Failure;
use crate::units::{Duration, Ratio, some_or_off};

/// Stops calling an application that fails or hangs, and asks it from time to time whether it is back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CircuitBreaker")]
pub struct Settings {
    /// What is judged: the calls of this time, or `{ calls: 100 }`, the last so many.
    pub window: Window,
    /// Fewer calls than this in the window are not judged. As many in a row that all failed, or were all slow, open it
    /// whatever else the window holds.
    #[schemars(range(min = 1))]
    pub min_requests: u32,
    /// It opens when this share of the calls failed.
    pub failure_rate: Ratio,
    /// It opens when this share of the calls was slow; `off`: slowness does not matter. A call counts as slow when its
    /// age passes `over`, not when it ends, so that an application that hangs is seen at once.
    #[serde(serialize_with = "some_or_off")]
    pub slow_call: Option<SlowCall>,
    /// How long it refuses before it lets probes through.
    pub open_for: Duration,
    /// How many calls are let through then to find out whether the application is back.
    #[schemars(range(min = 1, max = 1000))]
    pub half_open_probes: u32,
    /// What counts as a failure: connect, timeout, reset and statuses between 500 and 599. Everything else is a success.
    pub failures: Vec<Failure>,
    /// Whether it refuses, or only says in metrics and log when it would.
    pub mode: Mode,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            window: Window::default(),
            min_requests: 20,
            failure_rate: Ratio::percent(50.0),
            slow_call: Some(SlowCall::default()),
            open_for: Duration::from_secs(30),
            half_open_probes: 5,
            failures: [Failure::Connect, Failure::Timeout, Failure::Reset]
                .into_iter()
                .chain([500, 502, 503, 504].map(Failure::Status))
                .collect(),
            mode: Mode::Enforce,
        }
    }
}

/// When a call is slow, and how many slow ones are too many.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct SlowCall {
    /// A call that is older than this is slow. Time that the client takes to send or to read does not count.
    pub over: Duration,
    /// The share of slow calls at which the breaker opens. 100% never trips while one cheap request still answers.
    pub rate: Ratio,
}

impl Default for SlowCall {
    fn default() -> Self {
        SlowCall { over: Duration::from_secs(2), rate: Ratio::percent(80.0) }
    }
}

/// What a breaker does with its verdict.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Refuses while it is open.
    #[default]
    Enforce,
    /// Never refuses; metrics and log say what it would have done.
    Observe,
    /// Refuses everything.
    ForceOpen,
}

/// Which calls are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Those of the last so long.
    Time(Duration),
    /// The last so many.
    Calls(u32),
}

/// The most calls that a window may remember: a byte each.
pub const MOST_CALLS: u32 = 100_000;

const EXPECTED: &str = "a time such as 10s or { calls: 100 }";
const CALLS: &str = "a number of calls between 1 and 100000";

impl Default for Window {
    fn default() -> Self {
        Window::Time(Duration::from_secs(10))
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Window::Time(time) => time.serialize(s),
            Window::Calls(calls) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("calls", calls)?;
                map.end()
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    #[serde(deserialize_with = "calls")]
    calls: u32,
}

fn calls<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    match u32::deserialize(d)? {
        calls @ 1..=MOST_CALLS => Ok(calls),
        other => Err(de::Error::invalid_value(de::Unexpected::Unsigned(u64::from(other)), &CALLS)),
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Window;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, s: &str) -> Result<Window, E> {
                let time = s.parse::<Duration>().ok().filter(|time| !time.get().is_zero());
                time.map(Window::Time).ok_or_else(|| E::invalid_value(de::Unexpected::Str(s), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Window, A::Error> {
                Last::deserialize(de::value::MapAccessDeserializer::new(map)).map(|last| Window::Calls(last.calls))
            }
        }
        d.deserialize_any(V)
    }
}

impl JsonSchema for Window {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BreakerWindow".into()
    }

    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let time = g.subschema_for::<Duration>();
        let last = json_schema!({
            "type": "object",
            "properties": { "calls": { "description": CALLS, "type": "integer", "minimum": 1, "maximum": MOST_CALLS } },
            "required": ["calls"],
            "additionalProperties": false
        });
        json_schema!({ "description": EXPECTED, "oneOf": [time, last] })
    }
}
