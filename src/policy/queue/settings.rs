//! The section `upstreams.*.queue`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::policy::adaptive;
use crate::policy::mode::Mode;
use crate::units::Duration;

/// How many requests an upstream is given at once, and who waits for how long.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Requests that run at once: a number, or `{ adaptive: { initial: 32, min: 8, max: 512 } }`.
    pub max_concurrent: MaxConcurrent,
    /// Requests that wait at once; above it the one that has most company is refused (queue_full).
    #[serde(default = "default_max_queued")]
    pub max_queued: u32,
    /// The longest wait.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// CoDel: when the least wait over `interval` stays above it, who has waited for twice this time is refused and the
    /// newest go first.
    #[serde(default = "default_target_delay")]
    pub target_delay: Duration,
    /// How long the wait is watched before it is called too long. A priority that got nothing for this time gets a place.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// Within a priority those who differ in this take turns: client_ip | header:N | query:N | cookie:N | jwt:CLAIM | constant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fair_by: Vec<String>,
    /// Whether it holds requests back.
    #[serde(default)]
    pub mode: Mode,
}

fn default_max_queued() -> u32 {
    1000
}

fn default_timeout() -> Duration {
    Duration::from_secs(1)
}

fn default_target_delay() -> Duration {
    Duration::from_millis(50)
}

fn default_interval() -> Duration {
    Duration::from_millis(500)
}

impl Settings {
    /// A queue with this limit and the defaults.
    pub fn with_limit(max_concurrent: MaxConcurrent) -> Settings {
        Settings {
            max_concurrent,
            max_queued: default_max_queued(),
            timeout: default_timeout(),
            target_delay: default_target_delay(),
            interval: default_interval(),
            fair_by: Vec::new(),
            mode: Mode::default(),
        }
    }
}

/// Requests that run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxConcurrent {
    /// This many, at least 1.
    Fixed(u32),
    /// As many as the application answers best with.
    Adaptive(adaptive::Settings),
}

const EXPECTED: &str = "a number from 1 up, or a section with `adaptive`";

impl Serialize for MaxConcurrent {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            MaxConcurrent::Fixed(number) => number.serialize(s),
            MaxConcurrent::Adaptive(settings) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("adaptive", settings)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for MaxConcurrent {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            adaptive: adaptive::Settings,
        }
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = MaxConcurrent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<MaxConcurrent, E> {
                match u32::try_from(number) {
                    Ok(limit) if limit > 0 => Ok(MaxConcurrent::Fixed(limit)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MaxConcurrent, A::Error> {
                let keys = Keys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(MaxConcurrent::Adaptive(keys.adaptive))
            }
        }
        d.deserialize_any(V)
    }
}

impl JsonSchema for MaxConcurrent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MaxConcurrent".into()
    }

    fn json_schema(g: &mut SchemaGenerator) -> Schema {
        let adaptive = g.subschema_for::<adaptive::Settings>();
        json_schema!({
            "description": EXPECTED,
            "oneOf": [
                { "type": "integer", "minimum": 1, "maximum": u32::MAX },
                { "type": "object", "properties": { "adaptive": adaptive }, "required": ["adaptive"], "additionalProperties": false }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Settings, String> {
        serde_yaml::from_str(yaml).map_err(|e| e.to_string())
    }

    #[test]
    fn a_limit_is_all_that_must_be_given() {
        let settings = read("{ max_concurrent: 64 }").unwrap();
        assert_eq!(settings, Settings::with_limit(MaxConcurrent::Fixed(64)));
        assert_eq!(settings.max_queued, 1000);
        assert_eq!(settings.timeout, Duration::from_secs(1));
        assert_eq!((settings.target_delay, settings.interval), (Duration::from_millis(50), Duration::from_millis(500)));
        assert_eq!(settings.mode, Mode::Enforce);
        assert!(read("{ max_queued: 5 }").unwrap_err().contains("missing field `max_concurrent`"));
        assert!(read("{ max_concurrent: 1, max_qeued: 5 }").unwrap_err().contains("unknown field `max_qeued`"));
    }

    #[test]
    fn the_limit_is_a_number_from_one_up_or_adaptive() {
        let limit = |yaml: &str| read(&format!("max_concurrent: {yaml}")).map(|s| s.max_concurrent);
        let adaptive = adaptive::Settings { initial: 20, min: 8, max: 512 };
        assert_eq!(limit("{ adaptive: { initial: 20 } }"), Ok(MaxConcurrent::Adaptive(adaptive)));
        assert_eq!(limit("{ adaptive: {} }"), Ok(MaxConcurrent::Adaptive(adaptive::Settings::default())));
        for wrong in ["0", "-3", "1.5", "many", "[64]", "5000000000"] {
            let error = limit(wrong).unwrap_err();
            assert!(error.contains(EXPECTED), "{wrong}: {error}");
        }
        assert!(limit("{ adaptive: { most: 3 } }").unwrap_err().contains("unknown field `most`"));
        assert!(limit("{ gradient: {} }").unwrap_err().contains("unknown field `gradient`"));
    }

    #[test]
    fn what_was_read_is_written_the_same() {
        for yaml in
            ["max_concurrent: 64", "{ max_concurrent: { adaptive: { max: 64 } }, fair_by: [client_ip], mode: observe }"]
        {
            let settings = read(yaml).unwrap();
            assert_eq!(read(&serde_yaml::to_string(&settings).unwrap()), Ok(settings));
        }
    }
}
