//! Which answers are encoded, into what, what that does to their heads and how it streams; with real sockets on both sides.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "compression/shared.rs"]
mod shared;

#[path = "compression/bodies.rs"]
mod bodies;
#[path = "compression/decoding.rs"]
mod decoding;
#[path = "compression/heads.rs"]
mod heads;
#[path = "compression/hits.rs"]
mod hits;
#[path = "compression/negotiation.rs"]
mod negotiation;
#[path = "compression/which.rs"]
mod which;
