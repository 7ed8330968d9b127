//! The key `load_balance`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an endpoint is chosen among several.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalance {
    /// One after the other.
    RoundRobin,
    /// Of two drawn at random, the one with fewer attempts in flight.
    #[default]
    LeastRequest,
    /// Of two drawn at random, the one with the lower expected latency.
    PeakEwma,
    /// The same key goes to the same endpoint.
    ConsistentHash,
}
