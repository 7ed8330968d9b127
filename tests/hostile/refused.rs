//! A refusal that comes while a large body is being sent: its answer is read, each time.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;

use super::Pair;
use crate::common::{Client, http2};

const TIMES: usize = 1000;
const THREADS: usize = 4;
const BODY: usize = 1 << 20;

/// 413 by the limit, and 404 because no route takes it.
const ROUTES: &str = "routes:\n  - { name: large, match: { path: /large }, max_request_body: 64KiB }\n";

fn each(times: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= times {
                        return;
                    }
                    work(i);
                }
            });
        }
    });
}

/// `far`: little is under way at once, as on a real network, so that the body is still being written when the answer
/// comes. On loopback the kernel takes a whole MiB.
fn refused_over_http1(path: &str, status: u16, reason: &str, times: usize, far: bool) {
    let pair = Pair::new(ROUTES);
    let body = vec![b'x'; BODY];
    let (read, cut) = (AtomicUsize::new(0), AtomicUsize::new(0));
    each(times, |_| {
        let mut client: Client = pair.client();
        if far {
            socket2::SockRef::from(client.wire.tcp()).set_send_buffer_size(8 << 10).unwrap();
        }
        // First all of the body, as a plain client does; only then the answer is looked at.
        let head = format!("POST {path} HTTP/1.1\r\nHost: test.example\r\nContent-Length: {BODY}\r\n\r\n");
        client.send(head);
        if client.wire.write_all(&body).is_err() {
            cut.fetch_add(1, Ordering::Relaxed);
        }
        match client.try_read_response("POST") {
            Ok(answer) if answer.status == status && answer.reason() == reason && !answer.body.is_empty() => {
                read.fetch_add(1, Ordering::Relaxed);
            }
            other => eprintln!("{other:?}"),
        }
    });
    assert_eq!(read.into_inner(), times, "answers read");
    assert_eq!(cut.into_inner(), 0, "clients whose write failed before they could read");
    assert_eq!(pair.origin.raw(), b"");
}

fn refused_over_http2(path: &str, status: u16, reason: &str) {
    let pair = Pair::new(ROUTES);
    let body = Bytes::from(vec![b'x'; BODY]);
    let read = AtomicUsize::new(0);
    let addr = pair.proxy.addr("inbound");
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let client = http2::Client::connect(addr);
                while next.fetch_add(1, Ordering::Relaxed) < TIMES {
                    match client.post(path, body.clone()) {
                        Ok(answer) if answer.status == status && answer.reason() == reason => {
                            read.fetch_add(1, Ordering::Relaxed);
                        }
                        other => eprintln!("{other:?}"),
                    }
                }
                // The connection is as good as before.
                assert_eq!(client.post("/large", "small").unwrap().status, 200);
            });
        }
    });
    assert_eq!(read.into_inner(), TIMES, "answers read");
    assert_eq!(pair.origin.count(), THREADS);
}

#[test]
fn too_large_over_http1() {
    refused_over_http1("/large", 413, "body_too_large", TIMES, false);
}

#[test]
fn no_route_over_http1() {
    refused_over_http1("/nowhere", 404, "no_route", TIMES, false);
}

#[test]
fn from_far_away() {
    refused_over_http1("/large", 413, "body_too_large", 100, true);
}

#[test]
fn too_large_over_http2() {
    refused_over_http2("/large", 413, "body_too_large");
}

#[test]
fn no_route_over_http2() {
    refused_over_http2("/nowhere", 404, "no_route");
}
