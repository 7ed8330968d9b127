//! Rate limits on the way of a request: who is counted, what is refused, and what the client is told.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "rate_limits/jwt.rs"]
mod jwt;
#[path = "rate_limits/keys.rs"]
mod keys;
#[path = "rate_limits/load.rs"]
mod load;
#[path = "rate_limits/told.rs"]
mod told;

use common::{Client, Origin, Proxy, Response, yaml};

/// One route `r` with these limits, one a line.
fn limits(app: &Origin, limits: &[&str]) -> String {
    route(app, "", limits)
}

/// The same with something else in the route.
fn route(app: &Origin, inside: &str, limits: &[&str]) -> String {
    let limits: String = limits.iter().map(|limit| format!("      - {{ {limit} }}\n")).collect();
    yaml(app, &format!("routes:\n  - name: r\n{inside}    rate_limits:\n{limits}"))
}

/// Starts the proxy and connects a client.
fn before(yaml: &str) -> (Proxy, Client) {
    let proxy = Proxy::start(yaml);
    let client = Client::connect(proxy.addr("inbound"));
    (proxy, client)
}

/// GET with these fields, on a connection that stays.
#[track_caller]
fn get(client: &mut Client, target: &str, headers: &[(&str, &str)]) -> Response {
    client.request("GET", target, headers, b"");
    let answer = client.read_response();
    assert_eq!(answer.header("connection"), None, "the connection is kept");
    answer
}

/// How many of so many requests are let through; the others are refused as this limit does.
#[track_caller]
fn let_through(client: &mut Client, requests: usize, target: &str, headers: &[(&str, &str)]) -> usize {
    let mut through = 0;
    for _ in 0..requests {
        match get(client, target, headers) {
            answer if answer.status == 200 => through += 1,
            answer => assert_eq!((answer.status, answer.reason()), (429, "rate_limited"), "{}", answer.text()),
        }
    }
    through
}

/// What a limit of the route decided so often.
fn decided(proxy: &Proxy, limit: &str, decision: &str) -> f64 {
    proxy.metric(&format!(
        "outboard_rate_limit_decisions_total{{decision=\"{decision}\",limit=\"{limit}\",route=\"r\"}}"
    ))
}
