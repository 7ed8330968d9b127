//! Streams know no total: idle and stream_max bound them.

use std::time::Instant;

use super::{BOTH, begin, drip, exact, get_cut, ms, proxy};
use crate::common::{Client, Origin, http2};

const SHORT: &str = "connect: 100ms, first_byte: 200ms, idle: 200ms, total: 300ms";

/// Event streams of so many ticks.
fn events(ticks: usize) -> Origin {
    Origin::serve(move |conn| {
        while conn.read_head().is_some() {
            begin(conn, "text/event-stream; charset=utf-8");
            if drip(conn, ticks) < ticks || !conn.write("0\r\n\r\n") {
                return;
            }
        }
    })
}

#[test]
fn an_event_stream_outlives_total() {
    let origin = events(12);
    let proxy = proxy(&origin, SHORT);
    let mut one = Client::connect(proxy.addr("inbound"));
    assert_eq!(one.get("/events").text(), "tick".repeat(12));
    let two = http2::Client::connect(proxy.addr("inbound"));
    assert_eq!(two.get("/events").unwrap().body, "tick".repeat(12).as_bytes());
    assert_eq!(proxy.metric_sum("outboard_refusals_total"), 0.0);
}

#[test]
fn stream_max_ends_an_event_stream() {
    let origin = events(1000);
    let proxy = proxy(&origin, &format!("{SHORT}, stream_max: 500ms"));
    for speaks in BOTH {
        exact(&format!("stream_max {speaks:?}"), ms(500), || {
            let (took, body) = get_cut(&proxy, speaks, "/events");
            assert!(body.len() >= 28, "{} bytes", body.len());
            took
        });
    }
}

#[test]
fn idle_ends_an_event_stream() {
    let origin = Origin::serve(|conn| {
        conn.read_head();
        begin(conn, "text/event-stream");
        drip(conn, 10);
        conn.until_closed();
    });
    let proxy = proxy(&origin, SHORT);
    // The last tick comes 450 ms after the head.
    for speaks in BOTH {
        exact(&format!("idle of an event stream {speaks:?}"), ms(650), || {
            let (took, body) = get_cut(&proxy, speaks, "/events");
            assert_eq!(body, "tick".repeat(10).as_bytes());
            took
        });
    }
}

/// A WebSocket: what it carries resets idle, whoever sends it; stream_max ends it whatever it carries.
#[test]
fn a_websocket() {
    let origin = Origin::serve(|conn| {
        conn.read_head();
        conn.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        while let Some(bytes) = conn.read_some() {
            conn.write(bytes);
        }
    });
    let proxy = proxy(&origin, &format!("{SHORT}, stream_max: 700ms"));
    let open = || {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/ws", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], b"");
        assert_eq!(client.read_head().unwrap().status, 101);
        client
    };
    exact("idle of a WebSocket", ms(200), || {
        let mut client = open();
        // The bytes pass the proxy a moment later.
        let since = Instant::now();
        client.send("hello");
        assert_eq!(client.read_exact(5).unwrap(), b"hello");
        client.read_to_end();
        since.elapsed()
    });
    exact("stream_max of a WebSocket", ms(700), || {
        // It counts from the 101, which comes a moment later.
        let since = Instant::now();
        let mut client = open();
        while client.try_send("x").is_ok() && client.read_exact(1).is_ok() {
            std::thread::sleep(ms(10));
        }
        since.elapsed()
    });
}
