//! What is tried again, how often, and above all what never is.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "retries/bounds.rs"]
mod bounds;
#[path = "retries/chaos.rs"]
mod chaos;
#[path = "retries/coded.rs"]
mod coded;
#[path = "retries/keys.rs"]
mod keys;
#[path = "retries/money.rs"]
mod money;
#[path = "retries/rows.rs"]
mod rows;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;

/// A proxy before these endpoints, with these keys of the upstream and of the only route.
fn before(endpoints: &[String], upstream: &str, route: &str) -> Proxy {
    Proxy::start(&file(endpoints, upstream, route))
}

fn file(endpoints: &[String], upstream: &str, route: &str) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: {endpoints:?}, {upstream} }} }}\n\
         routes: [{{ name: all, match: {{ listener: inbound }}, {route} }}]\n"
    )
}

/// An application whose answer to a request is told by the request's number, from 0; `false` ends the connection.
fn scripted(answer: impl Fn(&mut Conn, &Head, usize) -> bool + Send + Sync + 'static) -> Origin {
    let number = AtomicUsize::new(0);
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if !answer(conn, &head, number.fetch_add(1, Ordering::SeqCst)) {
                return;
            }
        }
    })
}

/// An answer with this status, these more fields and this body.
fn answer(status: u16, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

/// How many retries ended so. They are counted behind the answer, so the request has to have ended.
fn retries(proxy: &Proxy, outcome: &str) -> f64 {
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    proxy.metric(&format!("outboard_retries_total{{outcome=\"{outcome}\",route=\"all\"}}"))
}
