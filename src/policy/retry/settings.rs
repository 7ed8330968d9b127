//! The sections `retry` of a route and `retry_budget` of an upstream.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use crate::policy::failure::{Failure, SERVER_ERRORS};
use crate::units::{Duration, Ratio, Size};

/// Which attempts are repeated, and how often. A request that the application may have seen is repeated only where that
/// cannot do its work twice.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Retry")]
pub struct Settings {
    /// How many attempts in all, the first included.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// What is repeated: connect, reset, timeout, 429 and statuses between 500 and 599.
    pub retry_on: Vec<Cause>,
    /// Which methods may be repeated when the application may have seen the request.
    pub methods: Methods,
    /// When a request of any other method may be repeated.
    pub non_idempotent: NonIdempotent,
    /// How long to wait before the next attempt.
    pub backoff: Backoff,
    /// Bounds an attempt that may still be repeated: never the last one, and never one whose request must not be sent
    /// twice once it was written.
    pub per_attempt: Option<Duration>,
    /// Requests with a longer body are repeated only if nothing of them was sent.
    pub max_body: Size,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            attempts: 2,
            retry_on: vec![Cause(Failure::Connect), Cause(Failure::Reset)],
            methods: Methods::Safe,
            non_idempotent: NonIdempotent::Unsent,
            backoff: Backoff::default(),
            per_attempt: None,
            max_body: Size::from_bytes(64 * 1024),
        }
    }
}

/// Which methods may be repeated when the application may have seen the request.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Methods {
    /// GET, HEAD, OPTIONS and TRACE.
    #[default]
    Safe,
    /// PUT and DELETE too. A repeated DELETE may answer 404 to a client that succeeded.
    Idempotent,
}

/// When a request whose method does not allow it by itself may be repeated.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum NonIdempotent {
    /// Never.
    Never,
    /// When nothing of it was written.
    #[default]
    Unsent,
    /// Also when it carries an idempotency key and the upstream says `honours_idempotency_keys`.
    UpstreamDeduplicates,
}

/// Full jitter: a wait drawn between nothing and `base`, doubled with each attempt, up to `max`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// The longest wait before the second attempt.
    pub base: Duration,
    /// The longest wait before any.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { base: Duration::from_millis(25), max: Duration::from_secs(1) }
    }
}

/// A failure that may be repeated: those of a breaker, and 429.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
pub struct Cause(Failure);

const TOO_MANY_REQUESTS: u16 = 429;
const EXPECTED: &str = "connect, reset, timeout, 429 or a status between 500 and 599";

impl Cause {
    /// The failure; none for a status that is never repeated.
    pub fn new(failure: Failure) -> Option<Cause> {
        let fits = match failure {
            Failure::Status(status) => status == TOO_MANY_REQUESTS || SERVER_ERRORS.contains(&status),
            _ => true,
        };
        fits.then_some(Cause(failure))
    }

    /// What it is.
    pub const fn get(self) -> Failure {
        self.0
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Failure::read(d, Some(TOO_MANY_REQUESTS), EXPECTED).map(Cause)
    }
}

impl JsonSchema for Cause {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RetryCause".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Failure::schema(&[TOO_MANY_REQUESTS..=TOO_MANY_REQUESTS, SERVER_ERRORS], "^(429|5[0-9]{2})$", EXPECTED)
    }
}

/// How much load retries may add to an upstream, over all routes that lead to it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RetryBudget")]
pub struct BudgetSettings {
    /// Retries for each request of the last ten seconds.
    pub ratio: Ratio,
    /// Retries a second that are allowed besides: with few requests a ratio alone would allow none.
    pub min_per_second: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        BudgetSettings { ratio: Ratio::percent(20.0), min_per_second: 3 }
    }
}
