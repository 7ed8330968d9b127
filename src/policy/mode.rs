//! Whether a policy does what it decides, or only tells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a policy does what it decides.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It refuses what it decides to refuse.
    #[default]
    Enforce,
    /// It refuses nothing: what it would have done is counted and logged.
    Observe,
}
