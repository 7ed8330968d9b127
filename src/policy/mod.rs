//! The policies: each a folder or file with its settings, its pure core and its tests.
//!
//! Nothing here reads a clock, draws a random number, logs or does I/O: `now` and seeds come in, decisions go out.

pub mod adaptive;
pub mod balance;
pub mod breaker;
pub mod cache;
pub mod compression;
pub mod failure;
pub mod fault;
pub mod health;
pub mod idempotency;
pub mod mode;
pub mod outlier;
pub mod parts;
pub mod priority;
pub mod queue;
pub mod rate_limit;
pub mod redact;
pub mod retry;
pub mod rotation;
pub mod switch;
pub mod timeout;
