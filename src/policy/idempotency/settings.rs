//! The section `idempotency` of a route.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::units::{Duration, Size};

/// Keys by which a request that is tried again is known: it is carried out once, and every try gets the same answer. Off by
/// default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Idempotency")]
pub struct Settings {
    /// The field that the key stands in.
    #[serde(default = "header")]
    pub header: String,
    /// Whether a request without a key is refused, with 400, or sent on as if this section were not there.
    #[serde(default)]
    pub required: bool,
    /// Whose keys these are: client_ip | header:N | query:N | cookie:N | path:PARAM | jwt:CLAIM | constant. Must not change
    /// when a token is renewed: a try of another owner is another request.
    pub owner: Vec<String>,
    /// What becomes of a keyed request that lacks a part of the owner.
    #[serde(default)]
    pub missing_owner: MissingOwner,
    /// Who gets the answer that is kept.
    #[serde(default)]
    pub replay_to: ReplayTo,
    /// How long a key is known.
    #[serde(default = "ttl")]
    pub ttl: Duration,
    /// How long a try may wait to be sent before another may take its place. One that was sent is never taken over.
    #[serde(default = "lease")]
    pub lease: Duration,
    /// What a try does while another of its key is at work.
    #[serde(default)]
    pub in_flight: InFlight,
    /// What a try is told where nobody knows whether the request was carried out: refuse (409 until ttl or until it is
    /// resolved) | { ask: ... } | forward.
    #[serde(default)]
    pub unknown_outcome: UnknownOutcome,
    /// What statuses of the application say of the request; every other whole answer is kept.
    #[serde(default)]
    pub outcomes: Outcomes,
    /// The longest body of a keyed request; above it 413.
    #[serde(default = "max_request")]
    pub max_request: Size,
    /// The longest body of an answer that is kept.
    #[serde(default = "max_response")]
    pub max_response: Size,
    /// Where the records are kept.
    #[serde(default)]
    pub store: Store,
}

/// How long things of a record may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a try may wait to be sent.
    pub lease: std::time::Duration,
    /// How long a key is known, from when it was sent.
    pub ttl: std::time::Duration,
    /// By when a request that was sent has ended.
    pub within: std::time::Duration,
}

/// What a request may take beyond its deadline before its outcome is unknown.
const GRACE: std::time::Duration = std::time::Duration::from_secs(5);

impl Settings {
    /// How long things may last on a route whose requests have `total`.
    pub fn terms(&self, total: std::time::Duration) -> Terms {
        Terms { lease: self.lease.get(), ttl: self.ttl.get(), within: total + GRACE }
    }
}

fn header() -> String {
    "Idempotency-Key".to_owned()
}

fn ttl() -> Duration {
    Duration::from_secs(24 * 3600)
}

fn lease() -> Duration {
    Duration::from_secs(30)
}

fn max_request() -> Size {
    Size::from_bytes(256 << 10)
}

fn max_response() -> Size {
    Size::from_bytes(1 << 20)
}

/// What becomes of a keyed request that lacks a part of the owner.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum MissingOwner {
    /// It is refused, with 400.
    #[default]
    Refuse,
    /// Its credential is the owner. One without a credential is refused.
    Credential,
}

/// Who gets the answer that is kept.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ReplayTo {
    /// Who brings the credential of the first try; others of the same owner are refused, and never sent on.
    #[default]
    SameCredential,
    /// Every try of the owner. Only where the owner is proven to outboard: by a verified token, or by who may connect.
    Owner,
}

/// What a try does while another of its key is at work.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "IdempotencyInFlight")]
pub struct InFlight {
    /// How long it waits for that one's answer before it gets 409.
    pub wait: Duration,
    /// How many may wait for one key; the next gets 409 at once.
    pub max_waiters: u32,
}

impl Default for InFlight {
    fn default() -> Self {
        InFlight { wait: Duration::from_secs(5), max_waiters: 32 }
    }
}

/// What statuses of the application say of the request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "IdempotencyOutcomes")]
pub struct Outcomes {
    /// It was not carried out: the next try is a first one.
    pub released: Vec<u16>,
    /// Nobody knows.
    pub unknown: Vec<u16>,
}

impl Default for Outcomes {
    fn default() -> Self {
        Outcomes { released: vec![401, 403, 409, 425, 429], unknown: vec![408, 502, 503, 504] }
    }
}

/// Where the records are kept.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// By this process: in stores.data_dir, or in memory where there is none.
    #[default]
    Local,
    /// In stores.redis, for all replicas.
    Redis,
}

/// What a try is told where nobody knows whether the request was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UnknownOutcome {
    /// It is refused, with 409.
    #[default]
    Refuse,
    /// The application is asked whether it was.
    Ask(Ask),
    /// It is sent again, whatever that does.
    Forward,
}

/// How the application is asked whether it carried a request out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IdempotencyAsk")]
pub struct Ask {
    /// What is got, in which `{key}` stands for the key: `/v1/payments?idempotency_key={key}`.
    pub path: String,
    /// The status that says that it was carried out.
    #[serde(default = "found")]
    pub found: u16,
    /// The status that says that it was not, and will not be any more.
    #[serde(default = "not_found")]
    pub not_found: u16,
}

fn found() -> u16 {
    200
}

fn not_found() -> u16 {
    404
}

const EXPECTED: &str = "refuse, forward or a section with `ask`";

impl Serialize for UnknownOutcome {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            UnknownOutcome::Refuse => s.serialize_str("refuse"),
            UnknownOutcome::Forward => s.serialize_str("forward"),
            UnknownOutcome::Ask(ask) => Section { ask: ask.clone() }.serialize(s),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IdempotencyUnknown")]
struct Section {
    ask: Ask,
}

impl<'de> Deserialize<'de> for UnknownOutcome {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = UnknownOutcome;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<UnknownOutcome, E> {
                match word {
                    "refuse" => Ok(UnknownOutcome::Refuse),
                    "forward" => Ok(UnknownOutcome::Forward),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UnknownOutcome, A::Error> {
                Section::deserialize(MapAccessDeserializer::new(map)).map(|section| UnknownOutcome::Ask(section.ask))
            }
        }
        d.deserialize_any(V)
    }
}

impl JsonSchema for UnknownOutcome {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IdempotencyUnknownOutcome".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let section = generator.subschema_for::<Section>();
        json_schema!({ "description": EXPECTED, "anyOf": [{ "enum": ["refuse", "forward"] }, section] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let settings: Settings = serde_yaml::from_str("{ owner: ['header:x-merchant-id'] }").unwrap();
        assert_eq!((settings.header.as_str(), settings.required), ("Idempotency-Key", false));
        assert_eq!((settings.missing_owner, settings.replay_to), (MissingOwner::Refuse, ReplayTo::SameCredential));
        assert_eq!((settings.ttl.get().as_secs(), settings.lease.get().as_secs()), (86_400, 30));
        assert_eq!((settings.in_flight.wait.get().as_secs(), settings.in_flight.max_waiters), (5, 32));
        assert_eq!(settings.unknown_outcome, UnknownOutcome::Refuse);
        assert_eq!((settings.max_request.bytes(), settings.max_response.bytes()), (256 << 10, 1 << 20));
        assert_eq!(settings.store, Store::Local);
        assert!(serde_yaml::from_str::<Settings>("{ required: true }").is_err(), "the owner must be named");
    }

    #[test]
    fn an_unknown_outcome_is_a_word_or_a_section() {
        let read = |text: &str| serde_yaml::from_str::<UnknownOutcome>(text);
        assert_eq!(read("refuse").unwrap(), UnknownOutcome::Refuse);
        assert_eq!(read("forward").unwrap(), UnknownOutcome::Forward);
        let asked = read("{ ask: { path: '/p?k={key}' } }").unwrap();
        assert_eq!(asked, UnknownOutcome::Ask(Ask { path: "/p?k={key}".into(), found: 200, not_found: 404 }));
        assert_eq!(read(&serde_yaml::to_string(&asked).unwrap()).unwrap(), asked);
        let error = read("later").unwrap_err().to_string();
        assert!(error.contains("refuse, forward or a section with `ask`"), "{error}");
        assert!(read("{ ask: { path: /p, fund: 1 } }").is_err());
    }
}
