//! outboard: a sidecar performance proxy for payment applications that nobody wants to change.

pub mod cli;
pub mod config;
pub mod policy;
pub mod refusal;
pub mod units;
