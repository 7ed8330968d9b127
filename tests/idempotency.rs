//! Exactly one charge: what becomes of requests that carry an idempotency key, told by both sides of the proxy.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "idempotency/bodies.rs"]
mod bodies;
#[path = "idempotency/outcomes.rs"]
mod outcomes;
#[path = "idempotency/protocol.rs"]
mod protocol;
#[path = "idempotency/redis.rs"]
mod redis;
#[path = "idempotency/restart.rs"]
mod restart;
#[path = "idempotency/unknown.rs"]
mod unknown;
#[path = "idempotency/waiting.rs"]
mod waiting;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use common::*;

/// The only route, with these keys of its section beside the owner, and this besides on the route.
fn yaml_with(origin: &Origin, section: &str, route: &str) -> String {
    format!(
        "{}routes: [{{ name: pay, idempotency: {{ owner: [header:x-merchant-id], {section} }}, {route} }}]\n",
        yaml(origin, "")
    )
}

fn start(origin: &Origin, section: &str) -> Proxy {
    Proxy::start(&yaml_with(origin, section, ""))
}

/// An application that numbers its charges: `{"charge":1}`.
fn charges() -> Origin {
    counted(|conn, number| conn.write(created(&format!("{{\"charge\":{number}}}"))))
}

/// The same, which holds its first charge until it is told to go on.
fn held() -> (Origin, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let origin = counted(move |conn, number| {
        if number == 1 {
            let _ = gate.lock().unwrap().recv();
        }
        conn.write(created(&format!("{{\"charge\":{number}}}")))
    });
    (origin, open)
}

/// An application that does this with each POST, which is told its number, from 1.
fn counted(answer: impl Fn(&mut Conn, usize) -> bool + Send + Sync + 'static) -> Origin {
    let number = AtomicUsize::new(0);
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            let number = if head.method == "GET" { 0 } else { number.fetch_add(1, Ordering::SeqCst) + 1 };
            if !answer(conn, number) {
                return;
            }
        }
    })
}

fn created(json: &str) -> String {
    format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Charge: yes\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    )
}

const BODY: &[u8] = b"{\"amount\":1000}";

/// A charge with this key, of one merchant and one credential.
fn pay(proxy: &Proxy, key: &str) -> Response {
    pay_with(proxy, &[("Idempotency-Key", key)], BODY)
}

/// A charge with these headers besides.
fn pay_with(proxy: &Proxy, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut all =
        vec![("X-Merchant-Id", "mer_1"), ("Authorization", "Bearer one"), ("Content-Type", "application/json")];
    for (name, value) in headers {
        all.retain(|(n, _)| n != name);
        all.push((name, value));
    }
    let all: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/v1/payments", &all, body);
    client.read_response()
}

/// A client that sends a charge with this key, and has not read its answer yet.
fn begin(proxy: &Proxy, key: &str) -> Client {
    let mut client = Client::connect(proxy.addr("inbound"));
    let headers = [
        ("X-Merchant-Id", "mer_1"),
        ("Authorization", "Bearer one"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", key),
    ];
    client.request("POST", "/v1/payments", &headers, BODY);
    client
}

fn is_replayed(response: &Response) -> bool {
    response.header("idempotent-replayed") == Some("true")
}

fn result(name: &str) -> String {
    format!("outboard_idempotency_requests_total{{result=\"{name}\",route=\"pay\"}}")
}

fn outcome(name: &str) -> String {
    format!("outboard_idempotency_outcomes_total{{outcome=\"{name}\",route=\"pay\"}}")
}

/// What a test waits at most for something that takes its time on purpose.
const LONG: Duration = Duration::from_secs(10);
