//! outboard: a sidecar performance proxy for payment applications that nobody wants to change.

pub mod admin;
pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod io;
pub mod lifecycle;
pub mod listen;
pub mod observe;
pub mod policy;
pub mod proxy;
pub mod refusal;
pub mod route;
pub mod server;
pub mod timer;
pub mod units;
pub mod upstream;
