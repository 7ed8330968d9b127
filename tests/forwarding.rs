//! What is sent on, and how: bodies of every framing in both directions, streams, header fields, targets.

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
