//! What no client should send, sent raw: each is refused with its reason, counted, logged, the connection closed, and the
//! application has seen nothing of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "hostile/bodies.rs"]
mod bodies;
#[path = "hostile/heads.rs"]
mod heads;
#[path = "hostile/http2.rs"]
mod http2;
#[path = "hostile/pipelining.rs"]
mod pipelining;
#[path = "hostile/refused.rs"]
mod refused;
#[path = "hostile/slow.rs"]
mod slow;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Client, Origin, Proxy, Response, eventually, yaml};

/// How soon a refused client's connection is closed.
const SOON: Duration = Duration::from_secs(3);

/// An application that echoes, and the proxy before it.
struct Pair {
    origin: Origin,
    proxy: Proxy,
}

impl Pair {
    fn new(more: &str) -> Pair {
        let origin = Origin::echo();
        let proxy = Proxy::start(&yaml(&origin, more));
        Pair { origin, proxy }
    }

    fn client(&self) -> Client {
        Client::connect(self.proxy.addr("inbound"))
    }

    /// What is counted as refused before a route, by reason.
    fn refused(&self, reason: &str) -> f64 {
        self.proxy.metric(&format!("outboard_refusals_total{{reason=\"{reason}\",route=\"-\"}}"))
    }

    /// Waits until as many refusals are counted and logged as happened.
    fn told(&self, happened: &BTreeMap<&str, usize>) {
        for (reason, times) in happened {
            let mut counted = 0.0;
            let met = common::within(common::patience(), || {
                counted = self.refused(reason);
                counted == *times as f64
            });
            assert!(met, "{reason}: {counted} counted, {times} happened");
            eventually(&format!("{times} access lines with the reason {reason}"), || {
                self.proxy.access_lines().iter().filter(|line| line["reason"] == *reason).count() == *times
            });
        }
    }
}

/// Whether this is our refusal, whole and honest about the connection.
#[track_caller]
fn is_refusal(name: &str, response: &Response, status: u16, reason: &str) {
    assert_eq!((response.status, response.reason()), (status, reason), "{name}: {}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{name}");
    assert_eq!(response.header("connection"), Some("close"), "{name}");
    assert_eq!(response.json()["reason"], reason, "{name}");
}
