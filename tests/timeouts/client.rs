//! A slow client is its own fault: 408, and neutral for the application.

use std::time::{Duration, Instant};

use super::{attempts, attempts_are, exact, ms};
use crate::common::{Client, Origin, Proxy, eventually, http2, yaml};

#[test]
fn a_body_that_stops() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, "limits: { body_read_timeout: 250ms }"));
    let bodies = [
        ("small", "Content-Length: 10\r\n\r\nabc"),
        ("large", "Content-Length: 100000\r\n\r\nabc"),
        ("chunked", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"),
    ];
    for (name, rest) in bodies {
        exact(&format!("body_read_timeout, {name}"), ms(250), || {
            let mut client = Client::connect(proxy.addr("inbound"));
            let since = Instant::now();
            client.send(format!("POST /{name} HTTP/1.1\r\nHost: test.example\r\n{rest}"));
            let answer = client.read_response();
            let took = since.elapsed();
            assert_eq!((answer.status, answer.reason()), (408, "request_timeout"), "{name}");
            assert!(client.is_closed(Duration::from_secs(2)));
            took
        });
    }
    exact("body_read_timeout, HTTP/2", ms(250), || {
        let client = http2::Client::connect(proxy.addr("inbound"));
        let since = Instant::now();
        let mut stream = client.stream(http2::Client::build("POST", "/two"), false).unwrap();
        stream.send("abc", false).unwrap();
        let answer = stream.answer().unwrap();
        assert_eq!((answer.status, answer.reason()), (408, "request_timeout"));
        since.elapsed()
    });
    // The small ones never became an attempt; the others are counted, against nobody.
    attempts_are(&proxy, "neutral", 9.0);
    assert_eq!((attempts(&proxy, "timeout"), attempts(&proxy, "error"), attempts(&proxy, "reset")), (0.0, 0.0, 0.0));
    proxy.await_metric("outboard_refusals_total{reason=\"request_timeout\",route=\"default\"}", 12.0);
    assert_eq!(origin.whole(), 0, "the application saw no whole request");
}

/// Each byte comes in time, the body does not: total ends it, and it is still the client's fault.
#[test]
fn a_body_that_drips() {
    let origin = Origin::echo();
    let timeouts = "defaults: { timeouts: { connect: 100ms, first_byte: 200ms, idle: 200ms, total: 400ms } }";
    let proxy = Proxy::start(&yaml(&origin, timeouts));
    for (name, rest, part) in [
        ("small", "Content-Length: 1000\r\n\r\n", "x"),
        ("chunked", "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
    ] {
        exact(&format!("total of a slow body, {name}"), ms(400), || {
            let mut client = Client::connect(proxy.addr("inbound"));
            let since = Instant::now();
            client.send(format!("POST /{name} HTTP/1.1\r\nHost: test.example\r\n{rest}"));
            let mut writer = client.wire.tcp().try_clone().unwrap();
            let drip = std::thread::spawn(move || {
                for _ in 0..15 {
                    let _ = std::io::Write::write_all(&mut writer, part.as_bytes());
                    std::thread::sleep(ms(40));
                }
            });
            let answer = client.read_response();
            let took = since.elapsed();
            assert_eq!((answer.status, answer.reason()), (408, "request_timeout"), "{name}");
            drip.join().unwrap();
            took
        });
    }
    attempts_are(&proxy, "neutral", 3.0);
    assert_eq!(attempts(&proxy, "timeout"), 0.0);
}

/// An application with 16 MiB for a client.
fn large() -> Origin {
    Origin::serve(|conn| {
        while conn.read_head().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 16 << 20));
            let part = vec![b'x'; 64 << 10];
            if (0..256).any(|_| !conn.write(&part)) {
                return;
            }
        }
    })
}

/// A client that reads nothing holds neither the application nor the proxy for long.
#[test]
fn a_reader_that_stops() {
    let origin = large();
    let proxy = Proxy::start(&yaml(&origin, "limits: { min_send_rate: 1MiB/1s }"));
    let mut stopped = Client::connect(proxy.addr("inbound"));
    stopped.request("GET", "/one", &[], b"");
    let second = http2::Client::connect(proxy.addr("inbound"));
    let mut stream = second.stream(http2::Client::build("GET", "/two"), true).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    let since = Instant::now();
    eventually("both are in flight", || origin.count() == 2);
    eventually("the application is free again", || origin.open() == 0);
    assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
    for path in ["/one", "/two"] {
        let line = proxy.access_line(path);
        assert_eq!((&line["status"], &line["reason"]), (&200.into(), &"request_timeout".into()), "{path}");
    }
    attempts_are(&proxy, "neutral", 2.0);
    proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", 0.0);
}

/// A client that reads slowly, but as fast as it has to, gets everything.
#[test]
fn a_reader_that_is_slow_enough() {
    let origin = Origin::serve(|conn| {
        while conn.read_head().is_some() {
            conn.ok(vec![b'x'; 4 << 20]);
        }
    });
    let proxy = Proxy::start(&yaml(&origin, "limits: { min_send_rate: 256KiB/1s }"));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/slow", &[], b"");
    let head = client.read_head().unwrap();
    assert_eq!(head.status, 200);
    let mut read = 0;
    while read < 4 << 20 {
        read += client.read_exact(128 << 10).unwrap().len();
        std::thread::sleep(ms(60));
    }
    let line = proxy.access_line("/slow");
    assert_eq!((&line["response_bytes"], &line["reason"]), (&(4 << 20).into(), &serde_json::Value::Null));
}
