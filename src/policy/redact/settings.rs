//! The section `redaction`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is taken out of every log line whoever writes it, of traces, and of administration answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Luhn-valid runs of 12 to 19 digits keep their first six and last four.
    pub card_numbers: bool,
    /// Headers whose values are never shown.
    pub headers: Vec<String>,
    /// Query parameters whose values are never shown.
    pub query: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        Settings {
            card_numbers: true,
            headers: list(&[
                "authorization",
                "cookie",
                "set-cookie",
                "proxy-authorization",
                "idempotency-key",
                "x-api-key",
            ]),
            query: list(&["token", "api_key", "card", "pan", "cvv", "cvc", "password", "secret"]),
        }
    }
}
