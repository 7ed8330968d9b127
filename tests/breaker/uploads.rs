//! Clients that send slowly: the application is not blamed for them, and nobody waits for their places.

use std::time::{Duration, Instant};

use super::*;
use common::load::{Sample, open_loop, percentile};

const UPSTREAM: &str = "queue: { max_concurrent: 8, timeout: 1s }, \
                        circuit_breaker: { min_requests: 5, failure_rate: 10%, slow_call: { over: 500ms, rate: 10% } }";

/// Reads requests whole and answers them at once.
fn application() -> Origin {
    Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            let body = conn.read_body(&head);
            if body.is_empty() && head.method == "POST" {
                return;
            }
            conn.ok("fine");
        }
    })
}

/// Sends a beginning of a body, and then a byte a second until the time is over or nobody listens any more.
fn trickle(mut client: Client, chunked: bool, beginning: usize, time: Duration) {
    let until = Instant::now() + time;
    let framing = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 300000" };
    let mut out = format!("POST /upload HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").into_bytes();
    if beginning > 0 {
        if chunked {
            out.extend_from_slice(format!("{beginning:X}\r\n").as_bytes());
        }
        out.resize(out.len() + beginning, b'x');
        if chunked {
            out.extend_from_slice(b"\r\n");
        }
    }
    client.send(out);
    while Instant::now() < until && client.try_send(if chunked { &b"1\r\nx\r\n"[..] } else { b"x" }).is_ok() {
        within(Duration::from_secs(1).min(until.saturating_duration_since(Instant::now())), || false);
    }
}

/// 100 requests a second, beside 20 clients that begin their upload with so many bytes.
fn beside(proxy: &Proxy, beginning: usize) -> Vec<Sample> {
    let addr = proxy.addr("inbound");
    std::thread::scope(|scope| {
        for n in 0..20 {
            scope.spawn(move || trickle(Client::connect(addr), n % 2 == 0, beginning, Duration::from_secs(7)));
        }
        proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 20.0);
        open_loop(addr, 100, Duration::from_secs(5), |n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
    })
}

fn are_served(proxy: &Proxy, samples: &[Sample], from: Duration) {
    let others: Vec<_> = samples.iter().filter(|s| s.at >= from && s.status != 200).collect();
    assert!(others.is_empty(), "{} of {} were not served: {:?}", others.len(), samples.len(), others.first());
    let mut times: Vec<Duration> = samples.iter().filter(|s| s.at >= from).map(|s| s.took).collect();
    let (median, late) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    println!("{} beside 20 uploads: median {median:.2?}, p99 {late:.2?}", samples.len());
    assert!(median < Duration::from_millis(20) && late < Duration::from_millis(200), "{median:?} {late:?}");
    at_rest(proxy);
    assert_eq!((state(proxy), told(proxy)), (CLOSED, vec![]));
    proxy.await_metric("outboard_concurrency_used{upstream=\"app\"}", 0.0);
}

#[test]
fn clients_that_upload_a_byte_a_second_open_no_breaker_and_starve_nobody() {
    let origin = application();
    let proxy = before(&origin, UPSTREAM, "");
    let samples = beside(&proxy, 0);
    are_served(&proxy, &samples, Duration::ZERO);
}

/// What was sent fast at first is no right to a place for the rest.
#[test]
fn clients_that_begin_fast_and_then_trickle_starve_nobody_either() {
    let origin = application();
    let proxy = before(&origin, UPSTREAM, "");
    let samples = beside(&proxy, 128 << 10);
    // A second's worth is theirs.
    are_served(&proxy, &samples, Duration::from_millis(1800));
}

#[test]
fn an_upload_that_was_slow_and_an_answer_that_was_quick_are_good() {
    let origin = application();
    let upstream = "circuit_breaker: { min_requests: 5, slow_call: { over: 300ms, rate: 1% } }";
    let proxy = before(&origin, upstream, "");
    let addr = proxy.addr("inbound");
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
                for _ in 0..8 {
                    client.send("1\r\nx\r\n");
                    std::thread::sleep(Duration::from_millis(100));
                }
                client.send("0\r\n\r\n");
                assert_eq!(client.read_response().status, 200);
            });
        }
    });
    at_rest(&proxy);
    assert_eq!((state(&proxy), told(&proxy)), (CLOSED, vec![]));
    let shown = proxy.admin_get("/breakers").json()["breakers"][0].clone();
    assert_eq!((shown["calls"].as_u64(), shown["slow"].as_u64()), (Some(10), Some(0)), "they count as good: {shown}");
}

/// Who uses up the request's time leaves the application none: what ends then is not its failure.
#[test]
fn clients_that_use_up_the_time_of_their_request_open_nothing() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            std::thread::sleep(Duration::from_millis(400));
            conn.ok("fine");
        }
    });
    let upstream = "circuit_breaker: { min_requests: 5, failure_rate: 1%, slow_call: { over: 900ms, rate: 1% } }";
    let proxy =
        before(&origin, upstream, "timeouts: { connect: 100ms, first_byte: 1s, idle: 1s, total: 1200ms }, retry: off");
    let addr = proxy.addr("inbound");
    std::thread::scope(|scope| {
        for n in 0..12 {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                // Half of them are read whole before the application is asked.
                client.send(match n % 2 {
                    0 => "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
                    _ => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
                });
                std::thread::sleep(Duration::from_millis(1000));
                client.send(if n % 2 == 0 { "x\r\n0\r\n\r\n" } else { "x" });
                assert_eq!(client.read_response().reason(), "upstream_timeout");
            });
        }
    });
    at_rest(&proxy);
    assert_eq!(proxy.metric("outboard_attempts_total{outcome=\"timeout\",upstream=\"app\"}"), 12.0);
    assert_eq!((state(&proxy), told(&proxy)), (CLOSED, vec![]));
}

/// An application that gives up a client that is slow has not failed.
#[test]
fn an_application_that_gives_slow_uploads_up_has_not_failed() {
    let origin = Origin::serve(|conn| {
        if let Some(head) = conn.read_head() {
            conn.stream.set_read_timeout(Some(Duration::from_millis(1300)));
            conn.read_body(&head);
        }
    });
    let upstream = "circuit_breaker: { min_requests: 5, failure_rate: 1% }";
    let proxy = before(&origin, upstream, "");
    let addr = proxy.addr("inbound");
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
                assert_eq!(client.read_response().reason(), "upstream_reset");
            });
        }
    });
    at_rest(&proxy);
    assert_eq!((state(&proxy), told(&proxy)), (CLOSED, vec![]));
}
