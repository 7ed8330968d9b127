//! outboard: a sidecar performance proxy for payment applications that nobody wants to change.

pub mod admin;
pub mod config;
pub mod observe;
pub mod policy;
pub mod refusal;
pub mod units;
