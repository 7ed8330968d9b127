//! The circuit breaker: what opens it and what must not, how it tries again, and what its clients see.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "breaker/hang.rs"]
mod hang;
#[path = "breaker/operating.rs"]
mod operating;
#[path = "breaker/outcomes.rs"]
mod outcomes;
#[path = "breaker/probes.rs"]
mod probes;
#[path = "breaker/uploads.rs"]
mod uploads;

use common::*;

const CLOSED: f64 = 0.0;
const HALF_OPEN: f64 = 1.0;
const OPEN: f64 = 2.0;

fn file(app: impl std::fmt::Display, upstream: &str, route: &str) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{app}\"], {upstream} }} }}\n\
         routes: [{{ name: all, match: {{ listener: inbound }}, {route} }}]\n"
    )
}

fn before(app: impl std::fmt::Display, upstream: &str, route: &str) -> Proxy {
    Proxy::start(&file(app, upstream, route))
}

fn state(proxy: &Proxy) -> f64 {
    proxy.metric("outboard_breaker_state{scope=\"upstream:app\"}")
}

fn await_state(proxy: &Proxy, state: f64) {
    proxy.await_metric("outboard_breaker_state{scope=\"upstream:app\"}", state);
}

fn transitions(proxy: &Proxy, to: &str) -> f64 {
    proxy.metric(&format!("outboard_breaker_transitions_total{{scope=\"upstream:app\",to=\"{to}\"}}"))
}

/// Every transition as the log has it: old, new, why.
fn told(proxy: &Proxy) -> Vec<[String; 3]> {
    let word = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let lines = proxy.events("breaker");
    lines.iter().map(|line| ["old", "new", "why"].map(|name| word(line, name))).collect()
}

fn at_rest(proxy: &Proxy) {
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    proxy.await_metric("outboard_upstream_connections{state=\"active\",upstream=\"app\"}", 0.0);
}

fn get(proxy: &Proxy) -> Response {
    Client::connect(proxy.addr("inbound")).get("/")
}

/// An answer with this status and this body.
fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
