//! The section `cache` of a route.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use crate::policy::mode::Mode;
use crate::units::{Duration, Size, some_or_off};

/// Which answers are kept, for whom and for how long. Off by default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Cache")]
pub struct Settings {
    /// Who says how long an answer is fresh.
    pub freshness: Freshness,
    /// With `standard`: how long an answer is fresh of which the origin says nothing and for which no credential came;
    /// left out: 0s. With `override`, which requires it: how long every answer is fresh that may be stored.
    #[serde(serialize_with = "some_or_off")]
    pub ttl: Option<Duration>,
    /// Longer bodies are not stored.
    pub max_object: Size,
    /// Parts of the key, beside what `Vary` says: client_ip | header:N | query:N | cookie:N | path:PARAM | jwt:CLAIM | constant.
    pub vary_by: Vec<String>,
    /// Parameters of the query that are no part of the key; `utm_*` stands for every name that begins so.
    pub ignore_query: Vec<String>,
    /// Whether the order of the query's parameters makes no difference.
    pub sort_query: bool,
    /// What an answer to a request with a credential (`credentials`) may be used for.
    pub partition: Partition,
    /// How long an answer is still served while a newer one is fetched. Left out: as long as the origin says.
    #[serde(serialize_with = "some_or_off")]
    pub stale_while_revalidate: Option<Duration>,
    /// How long an answer is still served where the application gives none. With a credential at most 1m. Left out: as long
    /// as the origin says.
    #[serde(serialize_with = "some_or_off")]
    pub stale_if_error: Option<Duration>,
    /// Requests for the same thing wait for one fetch.
    pub coalesce: Coalesce,
    /// How long error answers are kept of which the origin says nothing, by status: `{ 404: 5s }`.
    pub negative_ttl: BTreeMap<ErrorStatus, Duration>,
    /// Names under which answers are filed, so that a change of what they show can end them.
    pub tags: Tags,
    /// Paths that are fetched at start, without a credential.
    pub warm: Vec<String>,
    /// Whether stored answers are served, or only compared with what the application answers.
    pub mode: Mode,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            freshness: Freshness::Standard,
            ttl: None,
            max_object: Size::from_bytes(1 << 20),
            vary_by: Vec::new(),
            ignore_query: Vec::new(),
            sort_query: true,
            partition: Partition::PerCredential,
            stale_while_revalidate: None,
            stale_if_error: None,
            coalesce: Coalesce::default(),
            negative_ttl: BTreeMap::new(),
            tags: Tags::default(),
            warm: Vec::new(),
            mode: Mode::Enforce,
        }
    }
}

/// Who says how long an answer is fresh.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CacheFreshness")]
pub enum Freshness {
    /// The origin, by RFC 9111.
    #[default]
    Standard,
    /// `ttl` instead of what the origin says of freshness, and of nothing else: what may not be stored is not stored.
    Override,
}

/// What an answer to a request with a credential may be used for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CachePartition")]
pub enum Partition {
    /// For requests with the same credentials only.
    #[default]
    PerCredential,
    /// For nothing: it is not stored.
    NeverStore,
    /// For everybody, where the origin allows it by RFC 9111, 3.5.
    Standard,
}

/// Requests for the same thing wait for one fetch.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Coalesce {
    /// The longest wait for another request's fetch; then a stale answer, or 503 coalesce_timeout.
    pub wait: Duration,
}

impl Default for Coalesce {
    fn default() -> Self {
        Coalesce { wait: Duration::from_secs(2) }
    }
}

/// Names under which answers are filed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CacheTags")]
pub struct Tags {
    /// The header of an answer that lists its tags, with spaces or commas between them.
    #[serde(serialize_with = "some_or_off")]
    pub header: Option<String>,
    /// Tags of every answer: texts in which `{header:x-merchant-id}` stands for a part of the request.
    pub add: Vec<String>,
}

/// A status of an error, 400 to 599.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorStatus(u16);

const ERROR_STATUS: &str = "a status between 400 and 599";

impl ErrorStatus {
    /// The status; none where it is no error.
    pub fn new(status: u16) -> Option<ErrorStatus> {
        (400..=599).contains(&status).then_some(ErrorStatus(status))
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for ErrorStatus {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = ErrorStatus;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ERROR_STATUS)
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<ErrorStatus, E> {
                let status = u16::try_from(n).ok().and_then(ErrorStatus::new);
                status.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(n), &self))
            }

            // The key of a mapping is a text.
            fn visit_str<E: de::Error>(self, s: &str) -> Result<ErrorStatus, E> {
                let status = if s.len() == 3 { s.parse().ok().and_then(ErrorStatus::new) } else { None };
                status.ok_or_else(|| E::invalid_value(Unexpected::Str(s), &self))
            }
        }
        d.deserialize_any(V)
    }
}

impl JsonSchema for ErrorStatus {
    fn schema_name() -> Cow<'static, str> {
        "ErrorStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": ERROR_STATUS, "type": "string", "pattern": "^[45][0-9]{2}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_keys_in_every_format() {
        let text = "{ negative_ttl: { 404: 5s, '410': 1m }, stale_if_error: 1m }";
        let settings: Settings = serde_yaml::from_str(text).unwrap();
        let keys: Vec<u16> = settings.negative_ttl.keys().map(|status| status.get()).collect();
        assert_eq!(keys, [404, 410]);
        let json = serde_json::to_value(&settings).unwrap();
        assert_eq!(json["negative_ttl"], serde_json::json!({ "404": "5s", "410": "1m" }));
        // What is left out is written so that it is not taken from `defaults` when it is read again.
        assert_eq!((&json["stale_while_revalidate"], &json["stale_if_error"]), (&"off".into(), &"1m".into()));
        for wrong in ["200", "399", "600", "'+40'", "'0404'", "4o4"] {
            assert!(
                serde_yaml::from_str::<Settings>(&format!("{{ negative_ttl: {{ {wrong}: 5s }} }}")).is_err(),
                "{wrong}"
            );
        }
    }
}
