//! What the cache does, seen from both sides: what clients get, what the application is asked, what is counted.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "caching/basics.rs"]
mod basics;
#[path = "caching/bodies.rs"]
mod bodies;
#[path = "caching/coalescing.rs"]
mod coalescing;
#[path = "caching/safety.rs"]
mod safety;
#[path = "caching/stale.rs"]
mod stale;
#[path = "caching/switches.rs"]
mod switches;
#[path = "caching/variants.rs"]
mod variants;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use common::*;

/// A route `all` that caches by these keys, before one application.
fn caching(app: impl std::fmt::Display, cache: &str) -> String {
    yaml(app, &format!("routes: [{{ name: all, cache: {{ {cache} }} }}]"))
}

fn start(app: impl std::fmt::Display, cache: &str) -> Proxy {
    Proxy::start(&caching(app, cache))
}

/// An answer with this status, these more fields and this body.
fn answer(status: u16, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

/// What may be stored for a minute.
fn minute(body: &str) -> String {
    answer(200, "Cache-Control: max-age=60\r\n", body)
}

/// An application that is told by the request and its number, from 0, what to write; nothing ends the connection.
fn scripted(story: impl Fn(&Head, usize) -> Option<String> + Send + Sync + 'static) -> Origin {
    let number = AtomicUsize::new(0);
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            match story(&head, number.fetch_add(1, Ordering::SeqCst)) {
                Some(bytes) if conn.write(&bytes) => {}
                _ => return,
            }
        }
    })
}

/// Every answer has its number in its body, and these fields.
fn numbered(fields: &'static str) -> Origin {
    scripted(move |_, number| Some(answer(200, fields, &number.to_string())))
}

fn ask(proxy: &Proxy, target: &str, headers: &[(&str, &str)]) -> Response {
    ask_by(proxy, "GET", target, headers)
}

fn ask_by(proxy: &Proxy, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request(method, target, headers, b"");
    client.try_read_response(method).unwrap()
}

/// How many requests were a `hit`, a `miss` and so on.
fn results(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric(&series("requests", result))
}

/// Waits until so many answers were `stored`, or not, for this reason.
#[track_caller]
fn await_stores(proxy: &Proxy, result: &str, count: f64) {
    proxy.await_metric(&series("stores", result), count);
}

fn series(family: &str, result: &str) -> String {
    format!("outboard_cache_{family}_total{{result=\"{result}\",route=\"all\"}}")
}

#[track_caller]
fn purge(proxy: &Proxy, json: &str) {
    let answer = proxy.admin_post("/cache/purge", json);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// All that is stored is stale from now on.
#[track_caller]
fn expire(proxy: &Proxy) {
    purge(proxy, "{\"all\": true, \"soft\": true}");
}

/// The field that says what the cache did.
fn status(answer: &Response) -> &str {
    answer.header("cache-status").unwrap_or("")
}

/// Holds the application back until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn wait(&self) {
        let (open, changed) = &*self.0;
        let limit = patience() * 4;
        drop(changed.wait_timeout_while(open.lock().unwrap(), limit, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}
