//! What is sent on, and how: bodies of every framing in both directions, streams, header fields, targets.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "forwarding/bodies.rs"]
mod bodies;
#[path = "forwarding/expect.rs"]
mod expect;
#[path = "forwarding/headers.rs"]
mod headers;
#[path = "forwarding/streams.rs"]
mod streams;
#[path = "forwarding/targets.rs"]
mod targets;
