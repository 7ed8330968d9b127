//! Connections to applications: how long they live, how many there are, which endpoint they lead to.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "pools/balance.rs"]
mod balance;
#[path = "pools/lives.rs"]
mod lives;
#[path = "pools/names.rs"]
mod names;
#[path = "pools/posts.rs"]
mod posts;
#[path = "pools/unsent.rs"]
mod unsent;

use common::*;

/// A proxy before these endpoints, with these keys of the upstream and this more of the file.
fn before(endpoints: &[String], upstream: &str, more: &str) -> Proxy {
    Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: {endpoints:?}{upstream} }} }}\n{more}\n"
    ))
}

fn opened(proxy: &Proxy) -> f64 {
    proxy.metric("outboard_upstream_connections_opened_total{upstream=\"app\"}")
}

/// Sends `count` requests from each of `clients` clients at once; each must be answered 200.
fn load(proxy: &Proxy, clients: usize, count: usize, body: &[u8]) {
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(proxy.addr("inbound"));
                for _ in 0..count {
                    let answer = if body.is_empty() { client.get("/") } else { client.post("/", body) };
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
    });
}
