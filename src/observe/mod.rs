//! What an operator can see: metrics, log lines, trace context.

pub mod metrics;
