//! What counts against an application, and what does not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;

const STRICT: &str =
    "circuit_breaker: { min_requests: 5, failure_rate: 1%, open_for: 1m, slow_call: { over: 300ms, rate: 1% } }";

fn closed(proxy: &Proxy, why: &str) {
    at_rest(proxy);
    assert_eq!((state(proxy), told(proxy)), (CLOSED, vec![]), "{why}");
}

#[test]
fn statuses_count_as_the_section_says() {
    for (status, opens) in [
        (500, true),
        (502, true),
        (503, true),
        (504, true),
        (501, false),
        (400, false),
        (404, false),
        (408, false),
        (413, false),
        (429, false),
        (302, false),
    ] {
        let origin = Origin::answer(answer(status, "x"));
        let proxy = before(&origin, STRICT, "");
        let statuses: Vec<u16> = (0..10).map(|_| get(&proxy).status).collect();
        if opens {
            assert_eq!((&statuses[..5], origin.count(), state(&proxy)), (&[status; 5][..], 5, OPEN), "{status}");
        } else {
            assert_eq!((statuses, origin.count()), (vec![status; 10], 10));
            closed(&proxy, &status.to_string());
        }
    }
}

#[test]
fn our_own_refusals_count_nowhere() {
    let app = load::App::start(1, Duration::from_millis(120));
    let upstream =
        format!("{STRICT}, queue: {{ max_concurrent: 1, max_queued: 1, timeout: 50ms, target_delay: 40ms }}");
    let proxy = before(app.address(), &upstream, "max_request_body: 1KiB");
    let addr = proxy.addr("inbound");
    let reasons = |requests: Vec<Vec<u8>>| -> Vec<String> {
        let mut clients: Vec<Client> = requests.iter().map(|_| Client::connect(addr)).collect();
        clients.iter_mut().zip(requests).for_each(|(client, bytes)| client.send(bytes));
        clients.iter_mut().map(|client| client.read_response().reason().to_owned()).collect()
    };
    // Queue full, and waited too long.
    let seen = reasons(vec![b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(); 40]);
    assert!(seen.iter().filter(|r| r.as_str() == "queue_full").count() >= 10, "{seen:?}");
    assert!(seen.iter().any(|r| r == "queue_timeout"), "{seen:?}");
    // Too large: said before, and found out while it streams.
    let mut large = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n".to_vec();
    large.resize(large.len() + 2000, b'x');
    let mut chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7D0\r\n".to_vec();
    chunked.resize(chunked.len() + 2000, b'x');
    for _ in 0..10 {
        assert_eq!(reasons(vec![large.clone()]), ["body_too_large"]);
        assert_eq!(reasons(vec![chunked.clone()]), ["body_too_large"]);
    }
    closed(&proxy, "none of it is the application's");
    proxy.await_metric("outboard_concurrency_used{upstream=\"app\"}", 0.0);
}

/// A connection that was closed while it waited says nothing of the application; one that had no time to wait does.
#[test]
fn kept_connections_that_were_closed_count_for_unsafe_requests_alone() {
    let origin = Origin::once_a_connection();
    let proxy = before(&origin, STRICT, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    closed(&proxy, "they were kept");
    // A POST went over it a moment after the last request: an application that breaks off every second one is not well.
    let seen = (0..20).map(|_| client.post("/", b"x").reason().to_owned()).collect::<Vec<_>>();
    assert!(seen.iter().any(|reason| reason == "upstream_reset"), "{seen:?}");
    assert!(seen.iter().any(|reason| reason == "breaker_open"), "{seen:?}");
}

/// One that worked on the request first, and closed then, broke it off: that is a failure, and it was slow.
#[test]
fn a_kept_connection_that_breaks_late_counts() {
    let first = AtomicUsize::new(0);
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if head.target == "/good" {
                conn.ok("fine");
                continue;
            }
            first.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1100));
            return;
        }
    });
    let upstream = "circuit_breaker: { min_requests: 5, failure_rate: 10%, open_for: 1m, slow_call: off }";
    let proxy = before(&origin, upstream, "retry: off");
    let good = |proxy: &Proxy, client: &mut Client| assert_eq!(client.get("/good").status, 200, "{}", state(proxy));
    let together = std::sync::Barrier::new(6);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = Client::connect(proxy.addr("inbound"));
                good(&proxy, &mut client);
                together.wait();
                assert_eq!(client.get("/hangs").reason(), "upstream_reset");
            });
        }
    });
    assert_eq!(state(&proxy), OPEN, "{:?}", told(&proxy));
}

/// Half a head is an answer that broke, on a kept connection too.
#[test]
fn a_kept_connection_that_breaks_inside_a_head_counts() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if head.target == "/good" {
                conn.ok("fine");
            } else {
                conn.write("HTTP/1.1 200 O");
                return;
            }
        }
    });
    let upstream = "circuit_breaker: { min_requests: 8, failure_rate: 50%, open_for: 1m }";
    let proxy = before(&origin, upstream, "retry: off");
    for _ in 0..4 {
        let mut client = Client::connect(proxy.addr("inbound"));
        assert_eq!(client.get("/good").status, 200);
        assert_eq!(client.get("/bad").reason(), "upstream_reset");
    }
    assert_eq!(state(&proxy), OPEN, "half of eight failed: {:?}", told(&proxy));
}

const LARGE: usize = 32 << 20;

/// Answers with more than all buffers hold. One that is kept waiting for 400 ms breaks off, as servers with a timeout for
/// writing do; `/patient` waits for ever.
fn generous() -> Origin {
    Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
            let limit = (head.target != "/patient").then_some(Duration::from_millis(400));
            conn.stream.tcp().set_write_timeout(limit).unwrap();
            for _ in 0..LARGE >> 16 {
                if !conn.write(vec![b'x'; 64 << 10]) {
                    return;
                }
            }
        }
    })
}

#[test]
fn slow_readers_open_nothing() {
    let origin = generous();
    let proxy = before(&origin, STRICT, "timeouts: { connect: 100ms, first_byte: 1s, total: 2s }, retry: off");
    let addr = proxy.addr("inbound");
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                client.request("GET", "/patient", &[], b"");
                assert_eq!(client.read_head().unwrap().status, 200);
                // A little now and then, for longer than the request has.
                let until = Instant::now() + Duration::from_secs(3);
                while Instant::now() < until && client.read_exact(16 << 10).is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    closed(&proxy, "they were slow, not the application");
}

#[test]
fn an_application_that_gives_a_slow_reader_up_has_not_failed() {
    let origin = generous();
    let proxy = before(&origin, STRICT, "retry: off");
    let addr = proxy.addr("inbound");
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(move || {
                let mut client = Client::connect(addr);
                client.request("GET", "/impatient", &[], b"");
                assert_eq!(client.read_head().unwrap().status, 200);
                std::thread::sleep(Duration::from_millis(2500));
                assert!(client.read_to_end().len() < LARGE, "it was broken off");
            });
        }
    });
    at_rest(&proxy);
    assert_eq!(proxy.metric("outboard_attempts_total{outcome=\"reset\",upstream=\"app\"}"), 6.0);
    closed(&proxy, "they were kept waiting");
    // One that breaks off while its client reads has failed.
    let origin = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        }
    });
    let proxy = before(&origin, STRICT, "retry: off");
    for _ in 0..5 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[], b"");
        assert!(client.try_read_response("GET").is_err());
    }
    at_rest(&proxy);
    assert_eq!(state(&proxy), OPEN);
}
