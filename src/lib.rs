//! outboard: a sidecar performance proxy for payment applications that nobody wants to change.

pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod policy;
pub mod refusal;
pub mod units;
