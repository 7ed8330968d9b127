//! outboard: a sidecar performance proxy for payment applications that nobody wants to change.

pub mod config;
pub mod listen;
pub mod policy;
pub mod refusal;
pub mod route;
pub mod units;
