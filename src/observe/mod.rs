//! What an operator can see: metrics, log lines, trace context.

pub mod log;
pub mod metrics;
pub mod trace;
