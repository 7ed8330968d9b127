//! The section `max_concurrent: { adaptive: … }` of a queue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Between which bounds the number of requests that run at once follows the application.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where it begins.
    #[schemars(range(min = 1))]
    pub initial: u32,
    /// It never goes below.
    #[schemars(range(min = 1))]
    pub min: u32,
    /// It never goes above.
    #[schemars(range(min = 1))]
    pub max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { initial: 32, min: 8, max: 512 }
    }
}
