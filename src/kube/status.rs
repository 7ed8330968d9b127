//! What was done to a pod, as its annotation `outboard.dev/status` keeps it: enough to take it back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The annotation.
pub(super) const STATUS: &str = "outboard.dev/status";

/// What was done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    /// The form: `native` or `classic`.
    pub(super) mode: String,
    /// The application's container.
    pub(super) container: String,
    /// The port that was taken over.
    pub(super) port: u16,
    /// The name that it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// What referred to the name in the container, as paths in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) references: Vec<String>,
    /// The containers that were told to sleep,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sleeps: Vec<String>,
    /// for so many seconds.
    pub(super) sleep: u64,
    /// `terminationGracePeriodSeconds` was raised to this,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grace_raised_to: Option<u64>,
    /// from this; none: it was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grace: Option<Value>,
    /// Annotations that were added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) annotations: Vec<String>,
}
