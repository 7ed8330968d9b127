//! The section `outlier_detection`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Duration, Ratio};

/// Requests that fail take their endpoint out for a time. Never takes the last endpoint out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Attempts in a row that failed: no connection, no answer in time, a broken connection, 500, 502, 503 or 504.
    #[schemars(range(min = 1))]
    pub consecutive_failures: u32,
    /// How long it gets no requests; so many times longer as it was taken out in a row, at most ten times.
    pub eject_for: Duration,
    /// The share of the endpoints that may be out for this reason at once, rounded down; one may be where there are two.
    pub max_ejected: Ratio,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { consecutive_failures: 5, eject_for: Duration::from_secs(30), max_ejected: Ratio::percent(50.0) }
    }
}
