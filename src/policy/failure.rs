//! In which ways an attempt fails, as a breaker counts them and a retry names them.

use std::fmt;
use std::ops::RangeInclusive;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// How an attempt failed: `connect`, `timeout`, `reset`, or the status that the application answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection: refused, unreachable, not in time, or TLS failed.
    Connect,
    /// Connected, and no answer in time.
    Timeout,
    /// The connection ended before the answer did.
    Reset,
    /// A whole answer with this status.
    Status(u16),
}

/// The statuses that say the application failed. Everything below is the client's doing and counts nowhere.
pub const SERVER_ERRORS: RangeInclusive<u16> = 500..=599;

impl Failure {
    /// The word as it stands in the configuration; none for a status.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Failure::Connect => Some("connect"),
            Failure::Timeout => Some("timeout"),
            Failure::Reset => Some("reset"),
            Failure::Status(_) => None,
        }
    }

    /// Reads a word or a status; `also` is a status outside of 5xx that may be named as well.
    fn parse(text: &str, also: Option<u16>) -> Option<Failure> {
        match text {
            "connect" => Some(Failure::Connect),
            "timeout" => Some(Failure::Timeout),
            "reset" => Some(Failure::Reset),
            _ => text.parse().ok().and_then(|status| Failure::status(status, also)),
        }
    }

    fn status(status: u64, also: Option<u16>) -> Option<Failure> {
        let status = u16::try_from(status).ok()?;
        (SERVER_ERRORS.contains(&status) || also == Some(status)).then_some(Failure::Status(status))
    }

    /// Reads a failure from text or a number.
    pub(super) fn read<'de, D: Deserializer<'de>>(
        d: D,
        also: Option<u16>,
        expected: &'static str,
    ) -> Result<Failure, D::Error> {
        struct V(Option<u16>, &'static str);
        impl Visitor<'_> for V {
            type Value = Failure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.1)
            }

            fn visit_str<E: de::Error>(self, s: &str) -> Result<Failure, E> {
                Failure::parse(s, self.0).ok_or_else(|| E::invalid_value(de::Unexpected::Str(s), &self))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Failure, E> {
                Failure::status(n, self.0).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(n), &self))
            }
        }
        d.deserialize_any(V(also, expected))
    }

    /// The schema of one failure whose statuses match a pattern.
    pub(super) fn schema(statuses: &[RangeInclusive<u16>], pattern: &str, description: &str) -> Schema {
        let numbers =
            statuses.iter().map(|r| json_schema!({ "type": "integer", "minimum": r.start(), "maximum": r.end() }));
        let mut choices = vec![
            json_schema!({ "enum": ["connect", "timeout", "reset"] }),
            json_schema!({ "type": "string", "pattern": pattern }),
        ];
        choices.extend(numbers);
        json_schema!({ "description": description, "oneOf": choices })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status) => write!(f, "{status}"),
            _ => f.write_str(self.word().unwrap_or_default()),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Failure::Status(status) => s.serialize_u16(*status),
            _ => s.collect_str(self),
        }
    }
}

const EXPECTED: &str = "connect, timeout, reset or a status between 500 and 599";

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Failure::read(d, None, EXPECTED)
    }
}

impl JsonSchema for Failure {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Failure".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Failure::schema(&[SERVER_ERRORS], "^5[0-9]{2}$", EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_statuses_are_read_and_written_alike() {
        for (yaml, expected) in [
            ("connect", Failure::Connect),
            ("timeout", Failure::Timeout),
            ("reset", Failure::Reset),
            ("500", Failure::Status(500)),
            ("599", Failure::Status(599)),
        ] {
            assert_eq!(serde_yaml::from_str::<Failure>(yaml).unwrap(), expected, "{yaml}");
            assert_eq!(serde_yaml::to_string(&expected).unwrap().trim(), yaml);
            assert_eq!(expected.to_string(), yaml);
        }
        assert_eq!(serde_yaml::from_str::<Failure>("\"503\"").unwrap(), Failure::Status(503), "in quotes");
    }

    #[test]
    fn what_is_the_clients_doing_is_no_failure() {
        for yaml in ["200", "404", "429", "499", "600", "-500", "500.5", "70036", "5xx", "Connect", "[500]", "{}"] {
            assert!(serde_yaml::from_str::<Failure>(yaml).is_err(), "{yaml}");
        }
    }
}
