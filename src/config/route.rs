//! The sections `defaults` and `routes`: which request goes where, and under which policies.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{breaker, cache, compression, fault, idempotency, priority, rate_limit, retry, timeout};
use crate::units::{Size, some_or_off};

/// What every route starts from.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// The upstream of routes that name none.
    pub upstream: Option<String>,
    /// How long each part of a request may take.
    pub timeouts: timeout::Settings,
    /// Headers that are set, added and removed.
    pub headers: Headers,
    /// Bytes of a request's body; above it 413. Left out: limits.max_request_body.
    pub max_request_body: Option<Size>,
    /// Let %2f and %5c through in a path.
    pub allow_encoded_slash: bool,
    /// Answers may go on for ever.
    pub stream: bool,
    /// How the path that the upstream sees differs from the one received.
    pub rewrite: Option<Rewrite>,
    /// How urgent its requests are to the queue: critical | high | normal | low, or what a header says.
    pub priority: priority::Setting,
    /// Requests of this route that are in work at once: a cap inside the upstream's queue.
    #[schemars(range(min = 1))]
    pub max_concurrent: Option<u32>,
    /// Who is believed to be who, for keys with `jwt:CLAIM`.
    pub jwt: Option<Jwt>,
    /// How many requests a key may make in a time; all of them must allow a request.
    pub rate_limits: Vec<rate_limit::Settings>,
    /// Which attempts are tried again.
    #[serde(serialize_with = "some_or_off")]
    pub retry: Option<retry::Settings>,
    /// A breaker of this route alone, beside the upstream's.
    pub circuit_breaker: Option<breaker::Settings>,
    /// Faults on purpose.
    pub fault: Option<fault::Settings>,
    /// Which answers are encoded, into what and how hard.
    #[serde(serialize_with = "some_or_off")]
    pub compression: Option<compression::Settings>,
    /// Which answers are kept, for whom and for how long.
    pub cache: Option<cache::Settings>,
    /// Which stored answers end when a request changes something.
    pub invalidates: Option<cache::InvalidateSettings>,
    /// Keys by which a request that is tried again is known: it is carried out once.
    pub idempotency: Option<idempotency::Settings>,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            upstream: None,
            timeouts: timeout::Settings::default(),
            headers: Headers::default(),
            max_request_body: None,
            allow_encoded_slash: false,
            stream: false,
            rewrite: None,
            priority: priority::Setting::default(),
            max_concurrent: None,
            jwt: None,
            rate_limits: Vec::new(),
            retry: default_retry(),
            circuit_breaker: None,
            fault: None,
            compression: default_compression(),
            cache: None,
            invalidates: None,
            idempotency: None,
        }
    }
}

fn default_retry() -> Option<retry::Settings> {
    Some(retry::Settings::default())
}

fn default_compression() -> Option<compression::Settings> {
    Some(compression::Settings::default())
}

/// One route.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Unique: the label in metrics.
    pub name: String,
    /// Which requests it takes; left out: all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Where they go; may be left out where there is one upstream.
    #[serde(default)]
    pub upstream: Option<String>,
    /// How the path that the upstream sees differs from the one received.
    #[serde(default, serialize_with = "some_or_off")]
    pub rewrite: Option<Rewrite>,
    /// Let %2f and %5c through in a path.
    #[serde(default)]
    pub allow_encoded_slash: bool,
    /// How long each part of a request may take.
    #[serde(default)]
    pub timeouts: timeout::Settings,
    /// The answer may go on for ever (text/event-stream and 101 are seen by themselves).
    #[serde(default)]
    pub stream: bool,
    /// Headers that are set, added and removed.
    #[serde(default)]
    pub headers: Headers,
    /// Bytes of a request's body; above it 413. Left out: limits.max_request_body.
    #[serde(default)]
    pub max_request_body: Option<Size>,
    /// How urgent its requests are to the queue: critical | high | normal | low, or what a header says.
    #[serde(default)]
    pub priority: priority::Setting,
    /// Requests of this route that are in work at once: a cap inside the upstream's queue.
    #[schemars(range(min = 1))]
    #[serde(default)]
    pub max_concurrent: Option<u32>,
    /// Who is believed to be who, for keys with `jwt:CLAIM`.
    #[serde(default, serialize_with = "some_or_off")]
    pub jwt: Option<Jwt>,
    /// How many requests a key may make in a time; all of them must allow a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<rate_limit::Settings>,
    /// Which attempts are tried again.
    #[serde(default = "default_retry", serialize_with = "some_or_off")]
    pub retry: Option<retry::Settings>,
    /// A breaker of this route alone, beside the upstream's.
    #[serde(default, serialize_with = "some_or_off")]
    pub circuit_breaker: Option<breaker::Settings>,
    /// Faults on purpose.
    #[serde(default, serialize_with = "some_or_off")]
    pub fault: Option<fault::Settings>,
    /// Which answers are encoded, into what and how hard.
    #[serde(default = "default_compression", serialize_with = "some_or_off")]
    pub compression: Option<compression::Settings>,
    /// Which answers are kept, for whom and for how long.
    #[serde(default, serialize_with = "some_or_off")]
    pub cache: Option<cache::Settings>,
    /// Which stored answers end when a request changes something.
    #[serde(default, serialize_with = "some_or_off")]
    pub invalidates: Option<cache::InvalidateSettings>,
    /// Keys by which a request that is tried again is known: it is carried out once, and every try gets the same answer.
    #[serde(default, serialize_with = "some_or_off")]
    pub idempotency: Option<idempotency::Settings>,
}

/// The tokens of requests, verified: their claims can be keys. A request without a good token is not refused by this; it
/// has no claims.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The keys that sign tokens, a JSON Web Key Set (RFC 7517). The file is watched.
    pub jwks_file: PathBuf,
    /// What the claim `iss` must be. Left out: any.
    #[serde(default)]
    pub issuer: Option<String>,
    /// What the claim `aud` must hold. Left out: any.
    #[serde(default)]
    pub audience: Option<String>,
}

/// Which requests a route takes. The order of precedence: listener, host, path by segment
/// (literal > {param} > {*rest} > none), methods, number of headers, number of query parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// A listener's name, or `any`. Required where there are several listeners.
    pub listener: Option<String>,
    /// Exact, or `*.example.com`.
    pub host: Option<String>,
    /// `/exact`, `/with/{param}`, `/{*rest}` for any tail; left out: every path.
    pub path: Option<String>,
    /// Left out: every method. GET includes HEAD.
    pub methods: Vec<String>,
    /// Name and value; `*`: present.
    pub headers: BTreeMap<String, String>,
    /// Name and value; `*`: present.
    pub query: BTreeMap<String, String>,
}

/// How the path that the upstream sees differs from the one received. Applied in the order: path, or strip_prefix then add_prefix.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Rewrite {
    /// Removed from the front of the path, at a segment's border.
    pub strip_prefix: Option<String>,
    /// Put in front of the path.
    pub add_prefix: String,
    /// The whole path, instead of the one received; the query is kept.
    pub path: Option<String>,
}

/// Headers that are set, added and removed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// On the way to the upstream.
    pub request: HeaderChanges,
    /// On the way to the client.
    pub response: HeaderChanges,
}

/// Changes of one head: removed first, then set, then added.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderChanges {
    /// Replaced, or put there.
    pub set: BTreeMap<String, String>,
    /// Put beside what is there.
    pub add: BTreeMap<String, String>,
    /// Taken away.
    pub remove: Vec<String>,
}
