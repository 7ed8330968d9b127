//! Endpoints that are unwell: who gets no more requests, who comes back, and who never leaves.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "health/checks.rs"]
mod checks;
#[path = "health/outlier.rs"]
mod outlier;
#[path = "health/reload.rs"]
mod reload;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use common::*;

/// Checks that find out within a fifth of a second.
const CHECKS: &str =
    "health_check: { path: /healthz, interval: 100ms, timeout: 100ms, unhealthy_after: 2, healthy_after: 2 }";

/// A proxy before these endpoints, with these keys of the upstream and this more of the file.
fn before(endpoints: &[String], upstream: &str, more: &str) -> Proxy {
    Proxy::start(&config(endpoints, upstream, more))
}

fn config(endpoints: &[String], upstream: &str, more: &str) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: {endpoints:?}, load_balance: round_robin, {upstream} }} }}\n{more}\n"
    )
}

/// An application whose answers a test sets: `/healthz` and everything else have a status each, 0 is no answer at all.
struct App {
    origin: Option<Origin>,
    address: SocketAddr,
    told: Arc<Told>,
}

struct Told {
    health: AtomicU16,
    status: AtomicU16,
    dead: AtomicBool,
}

impl App {
    fn new() -> App {
        let told = Arc::new(Told { health: 200.into(), status: 200.into(), dead: false.into() });
        let origin = Origin::serve(story(told.clone()));
        App { address: origin.address(), origin: Some(origin), told }
    }

    fn health(&self, status: u16) {
        self.told.health.store(status, Ordering::SeqCst);
    }

    fn status(&self, status: u16) {
        self.told.status.store(status, Ordering::SeqCst);
    }

    /// Ends it: connections are refused, and those that are open end with the next request.
    fn kill(&mut self) {
        self.told.dead.store(true, Ordering::SeqCst);
        self.origin = None;
        eventually("it is gone", || std::net::TcpStream::connect(self.address).is_err());
    }

    /// Starts it again at its address; what it counted is forgotten.
    fn revive(&mut self) {
        self.told.dead.store(false, Ordering::SeqCst);
        self.origin = Some(Origin::serve_at(self.address, story(self.told.clone())));
    }

    /// Requests that were no checks.
    fn served(&self) -> usize {
        self.origin.as_ref().map_or(0, |o| o.count() - o.count_of("/healthz"))
    }

    fn checks(&self) -> usize {
        self.origin.as_ref().map_or(0, |o| o.count_of("/healthz"))
    }
}

fn story(told: Arc<Told>) -> impl Fn(&mut Conn) + Send + Sync + 'static {
    move |conn| {
        while let Some(head) = conn.read_head() {
            if told.dead.load(Ordering::SeqCst) {
                return;
            }
            conn.read_body(&head);
            let status = if head.target == "/healthz" { &told.health } else { &told.status };
            match status.load(Ordering::SeqCst) {
                0 => return conn.until_closed(),
                status => conn.write(format!("HTTP/1.1 {status} Told\r\nContent-Length: 2\r\n\r\nok")),
            };
        }
    }
}

fn apps(count: usize) -> (Vec<App>, Vec<String>) {
    let apps: Vec<App> = (0..count).map(|_| App::new()).collect();
    let addresses = apps.iter().map(|a| a.address.to_string()).collect();
    (apps, addresses)
}

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Sends so many GETs over one connection; their statuses.
fn get(proxy: &Proxy, count: usize) -> Vec<u16> {
    let mut client = Client::connect(proxy.addr("inbound"));
    (0..count).map(|_| client.get("/").status).collect()
}

fn out(proxy: &Proxy, cause: &str) -> f64 {
    proxy.metric(&format!("outboard_upstream_endpoints_out{{cause=\"{cause}\",upstream=\"app\"}}"))
}

fn ejections(proxy: &Proxy, cause: &str) -> f64 {
    proxy.metric(&format!("outboard_endpoint_ejections_total{{cause=\"{cause}\",upstream=\"app\"}}"))
}

fn attempts(proxy: &Proxy, outcome: &str) -> f64 {
    proxy.metric(&format!("outboard_attempts_total{{outcome=\"{outcome}\",upstream=\"app\"}}"))
}

/// The state and the share of an endpoint, as GET /upstreams has them.
fn standing(proxy: &Proxy, endpoint: impl ToString) -> (String, u64) {
    let upstreams = proxy.admin_get("/upstreams").json();
    let endpoints = upstreams["upstreams"][0]["endpoints"].as_array().unwrap();
    let found = endpoints.iter().find(|e| e["address"] == endpoint.to_string()).unwrap();
    (found["state"].as_str().unwrap().to_owned(), found["share"].as_u64().unwrap())
}

fn state(proxy: &Proxy, endpoint: impl ToString) -> String {
    standing(proxy, endpoint).0
}

/// The lines of the transitions, once there are so many: the log is written beside what is logged.
#[track_caller]
fn lines(proxy: &Proxy, count: usize) -> Vec<serde_json::Value> {
    eventually("the transitions are logged", || proxy.events("endpoint_health").len() >= count);
    proxy.events("endpoint_health")
}

/// What they say: old, new and why.
#[track_caller]
fn transitions(proxy: &Proxy, count: usize) -> Vec<[String; 3]> {
    let word = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or("").to_owned();
    lines(proxy, count).iter().map(|line| ["old", "new", "why"].map(|name| word(line, name))).collect()
}
