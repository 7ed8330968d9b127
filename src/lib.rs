//! outboard: a sidecar performance proxy for payment applications that nobody wants to change.

pub mod cli;
pub mod config;
pub mod io;
pub mod lifecycle;
pub mod listen;
pub mod observe;
pub mod policy;
pub mod refusal;
pub mod timer;
pub mod route;
pub mod units;
