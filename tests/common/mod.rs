//! What the tests of the running proxy share: the proxy itself as a child process, applications behind it that do what a
//! test tells them, clients before it that send any bytes, and patience.
//!
//! A test reads like a story: an origin, a configuration, a client, what each side saw, and what /metrics says of it.
//! Nothing here uses a fixed port, and nothing waits for a time where it can wait for a condition: see [`eventually`].

#![allow(dead_code, unused_imports, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

pub mod client;
pub mod http2;
pub mod http2_origin;
pub mod http2_raw;
pub mod jwt;
pub mod load;
pub mod origin;
pub mod proxy;
pub mod redis;
pub mod tls;
pub mod wire;

use std::time::{Duration, Instant};

pub use client::{Client, Response};
pub use http2_origin::H2Origin;
pub use origin::{Conn, Head, Origin, Received};
pub use proxy::{Proxy, Signal};
pub use tls::Tls;
pub use wire::Wire;

/// How long a test waits for something that should come: 5 s, or `OUTBOARD_TEST_PATIENCE` seconds.
pub fn patience() -> Duration {
    let seconds = std::env::var("OUTBOARD_TEST_PATIENCE").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

/// Whether `condition` holds within the time given.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` holds; panics with `what` when patience ends.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(within(patience(), condition), "not within {:?}: {what}", patience());
}

/// A listener `inbound` that speaks HTTP/1 and h2c, before one upstream `app`; `more` is appended as it stands.
pub fn yaml(app: impl std::fmt::Display, more: &str) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{app}\"] }} }}\n{more}\n"
    )
}
