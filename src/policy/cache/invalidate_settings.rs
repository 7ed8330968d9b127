//! The section `invalidates` of a route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stored answers end when a request of this route changes something: each that fits one of these. Whatever the
/// section says, an unsafe request also ends what is stored under its own URL.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Invalidates")]
pub struct Settings {
    /// Those filed under one of these tags: texts in which `{header:x-merchant-id}` stands for a part of the request.
    pub tags: Vec<String>,
    /// Those whose path fits one of these: `/v1/payments`, `/v1/payments/{*rest}`, and with a part of the request
    /// `/v1/merchants/{path:merchant}/config`.
    pub paths: Vec<String>,
    /// All of these routes.
    pub routes: Vec<String>,
}
