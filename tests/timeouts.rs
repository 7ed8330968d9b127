//! Each timeout, measured: never early, and late by no more than 20 ms, for clients of HTTP/1 and of HTTP/2. Whose fault it
//! was stands in the status, in /metrics and in the access line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "timeouts/client.rs"]
mod client;
#[path = "timeouts/stream.rs"]
mod stream;
#[path = "timeouts/upstream.rs"]
mod upstream;

use std::time::{Duration, Instant};

use common::{Client, Conn, Origin, Proxy, http2, patience, yaml};

/// How late a timeout may come.
const LATE: Duration = Duration::from_millis(20);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a measurement three times. None may be early; the machine may be busy, so the best has to be exact.
#[track_caller]
fn exact(what: &str, expected: Duration, mut measure: impl FnMut() -> Duration) {
    let measured: Vec<Duration> = (0..3).map(|_| measure()).collect();
    let best = measured.iter().min().unwrap();
    assert!(*best >= expected, "{what}: early, {measured:?} for {expected:?}");
    assert!(*best <= expected + LATE, "{what}: late, {measured:?} for {expected:?}");
    println!("{what}: {measured:?} for {expected:?}");
}

/// The proxy before this application, with these timeouts.
fn proxy(origin: &Origin, timeouts: &str) -> Proxy {
    Proxy::start(&yaml(origin, &format!("defaults: {{ timeouts: {{ {timeouts} }} }}")))
}

/// An application that reads every request and never answers.
fn silent() -> Origin {
    Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
        }
    })
}

/// Which HTTP the client speaks.
#[derive(Debug, Clone, Copy)]
enum Speaks {
    Http1,
    Http2,
}

const BOTH: [Speaks; 2] = [Speaks::Http1, Speaks::Http2];

/// GET: the status, the reason, and how long it took.
fn get(proxy: &Proxy, speaks: Speaks, path: &str) -> (u16, String, Duration) {
    match speaks {
        Speaks::Http1 => {
            let mut client = Client::connect(proxy.addr("inbound"));
            let since = Instant::now();
            let answer = client.get(path);
            (answer.status, answer.reason().to_owned(), since.elapsed())
        }
        Speaks::Http2 => {
            let client = http2::Client::connect(proxy.addr("inbound"));
            let since = Instant::now();
            let answer = client.get(path).unwrap();
            (answer.status, answer.reason().to_owned(), since.elapsed())
        }
    }
}

/// GET whose answer breaks off: how long it took, and the body until then. Times count from the request.
fn get_cut(proxy: &Proxy, speaks: Speaks, path: &str) -> (Duration, Vec<u8>) {
    let since;
    let mut body = Vec::new();
    match speaks {
        Speaks::Http1 => {
            let mut client = Client::connect(proxy.addr("inbound"));
            since = Instant::now();
            client.request("GET", path, &[], b"");
            assert_eq!(client.read_head().unwrap().status, 200);
            loop {
                match client.read_chunk() {
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Ok(None) => panic!("the answer looks whole"),
                    Err(_) => break,
                }
            }
        }
        Speaks::Http2 => {
            let client = http2::Client::connect(proxy.addr("inbound"));
            since = Instant::now();
            let mut stream = client.stream(http2::Client::build("GET", path), true).unwrap();
            assert_eq!(stream.head().unwrap().0, 200);
            loop {
                match stream.chunk() {
                    Some(Ok(chunk)) => body.extend_from_slice(&chunk),
                    Some(Err(_)) => break,
                    None => panic!("the answer looks whole"),
                }
            }
        }
    }
    (since.elapsed(), body)
}

/// How many attempts ended so.
fn attempts(proxy: &Proxy, outcome: &str) -> f64 {
    proxy.metric(&format!("outboard_attempts_total{{outcome=\"{outcome}\",upstream=\"app\"}}"))
}

/// Begins a chunked answer of this type.
fn begin(conn: &mut Conn, content_type: &str) {
    conn.write(format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

/// Writes `tick` in chunks, one each 50 ms, until the proxy leaves or so many were written.
fn drip(conn: &mut Conn, most: usize) -> usize {
    for i in 0..most {
        if !conn.write("4\r\ntick\r\n") {
            return i;
        }
        // The pace of an application: there is nothing to wait for.
        std::thread::sleep(ms(50));
    }
    most
}

/// Waits until so many attempts ended so.
#[track_caller]
fn attempts_are(proxy: &Proxy, outcome: &str, expected: f64) {
    let met = common::within(patience(), || attempts(proxy, outcome) == expected);
    assert!(met, "{} attempts were {outcome}, expected {expected}", attempts(proxy, outcome));
}
