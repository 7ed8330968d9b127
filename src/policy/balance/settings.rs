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

/// stub
pub struct EndpointView { /// stub
pub usable: bool, /// stub
pub in_flight: u32 }
/// stub
pub struct Balancer;
impl Balancer {
    /// stub
    pub fn new(_: LoadBalance, _: &[&str]) -> Self { Balancer }
    /// stub
    pub fn choose(&self, view: &dyn Fn(usize) -> EndpointView, _: u64, _: Option<u64>, _: std::time::Duration) -> Option<usize> { view(0).usable.then_some(0) }
    /// stub
    pub fn observe(&self, _: usize, _: std::time::Duration, _: std::time::Duration) {}
}
