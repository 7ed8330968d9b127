//! The section `health_check`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Statuses, Thresholds};
use crate::units::Duration;

/// Checks that ask each endpoint whether it is well. Never takes the last endpoint out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is asked for with GET, in the upstream's own protocol, over a connection of its own.
    pub path: String,
    /// The time between two checks of an endpoint; the first one comes at a random moment within it.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// From the connection's first packet to the head of the answer; at most `interval`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
    /// Failed checks in a row until an endpoint gets no more requests.
    #[serde(default = "default_unhealthy_after")]
    #[schemars(range(min = 1))]
    pub unhealthy_after: u32,
    /// Passed checks in a row until it gets requests again.
    #[serde(default = "default_healthy_after")]
    #[schemars(range(min = 1))]
    pub healthy_after: u32,
    /// The statuses that pass: numbers and ranges.
    #[serde(default)]
    pub expect_status: Statuses,
}

impl Settings {
    /// How many results in a row change the verdict.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds { unhealthy_after: self.unhealthy_after, healthy_after: self.healthy_after }
    }
}

fn default_interval() -> Duration {
    Duration::from_secs(5)
}

fn default_timeout() -> Duration {
    Duration::from_secs(1)
}

fn default_unhealthy_after() -> u32 {
    3
}

fn default_healthy_after() -> u32 {
    2
}
