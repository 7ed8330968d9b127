//! How long each part of a request may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Duration;

/// The section `timeouts`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request's last byte to the answer's head.
    pub first_byte: Duration,
    /// Silence of the upstream inside an answer.
    pub idle: Duration,
    /// From the request's head to the answer's last byte. Streams know only idle and stream_max.
    pub total: Duration,
    /// The longest a stream (text/event-stream, 101, `stream: true`) may last.
    pub stream_max: Duration,
    /// What happens to an attempt whose client left.
    pub on_client_close: OnClientClose,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(10),
            idle: Duration::from_secs(10),
            total: Duration::from_secs(15),
            stream_max: Duration::from_secs(3600),
            on_client_close: OnClientClose::Auto,
        }
    }
}

/// What happens to an attempt whose client left.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum OnClientClose {
    /// Safe methods (GET, HEAD, OPTIONS, TRACE) are cancelled, others run to their end.
    #[default]
    Auto,
    /// Cancelled.
    Cancel,
    /// Runs to its end.
    Continue,
}

impl OnClientClose {
    /// Whether an attempt with this method ends when its client leaves.
    pub fn cancels(self, method: &http::Method) -> bool {
        match self {
            OnClientClose::Auto => method.is_safe(),
            OnClientClose::Cancel => true,
            OnClientClose::Continue => false,
        }
    }
}
