//! The policies: each a folder or file with its settings, its pure core and its tests.
//!
//! Nothing here reads a clock, draws a random number, logs or does I/O: `now` and seeds come in, decisions go out.

pub mod adaptive;
pub mod balance;
pub mod mode;
pub mod priority;
pub mod queue;
pub mod redact;
pub mod timeout;
