//! The section `stores`: where things are kept that outlive a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Size;

/// Where things are kept that outlive a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Stores {
    /// Bytes of memory for stored answers of all routes: their keys, heads, bodies and encoded forms. What has been of the
    /// least use goes when it is full.
    pub memory: Size,
}

impl Default for Stores {
    fn default() -> Self {
        Stores { memory: Size::from_bytes(64 << 20) }
    }
}
