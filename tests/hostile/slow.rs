//! Clients that send a little and wait: each ends within header_read_timeout and a second, with 408 where a head had begun.

use std::thread;
use std::time::{Duration, Instant};

use super::{Pair, is_refusal};
use crate::common::http2_raw::{HEADERS, Outcome, Raw};
use crate::common::{Client, Origin, Proxy, Tls};

const TIMEOUT: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(2);
const LIMITS: &str = "limits: { header_read_timeout: 1s }";

/// Waits for the 408 that has to come between the two times.
fn is_timed_out(name: &str, client: &mut Client, since: Instant) {
    let response = client.try_read_response("GET").unwrap_or_else(|e| panic!("{name}: {e}"));
    let after = since.elapsed();
    is_refusal(name, &response, 408, "request_timeout");
    assert!(after >= TIMEOUT - Duration::from_millis(5) && after <= LATEST, "{name}: after {after:?}");
    assert!(client.is_closed(LATEST), "{name}");
}

#[test]
fn half_a_head() {
    let pair = Pair::new(LIMITS);
    let beginnings =
        ["G", "GET / HTTP", "GET / HTTP/1.1\r\nHost: te", "GET / HTTP/1.1\r\nHost: test.example\r\n", "PRI * HTTP"];
    thread::scope(|scope| {
        for bytes in beginnings {
            let pair = &pair;
            scope.spawn(move || {
                let mut client = pair.client();
                client.send(bytes);
                is_timed_out(&format!("first: {bytes:?}"), &mut client, Instant::now());
            });
            scope.spawn(move || {
                let mut client = pair.client();
                assert_eq!(client.get("/good").status, 200);
                client.send(bytes);
                is_timed_out(&format!("reused: {bytes:?}"), &mut client, Instant::now());
            });
        }
    });
    let times = beginnings.len() * 2;
    assert_eq!(pair.origin.count(), beginnings.len());
    pair.told(&[("request_timeout", times)].into());
}

/// Each byte comes in time; the head does not.
#[test]
fn a_byte_now_and_then() {
    let pair = Pair::new(LIMITS);
    thread::scope(|scope| {
        for reused in [false, true] {
            let pair = &pair;
            scope.spawn(move || {
                let mut client = pair.client();
                if reused {
                    assert_eq!(client.get("/good").status, 200);
                }
                let since = Instant::now();
                let mut writer = client.wire.tcp().try_clone().unwrap();
                let drip = scope.spawn(move || {
                    for byte in b"GET /drip HTTP/1.1\r\nHost: test.example\r\nX: yyyyyyyy" {
                        if std::io::Write::write_all(&mut writer, &[*byte]).is_err() {
                            return;
                        }
                        thread::sleep(Duration::from_millis(200));
                        if since.elapsed() > LATEST {
                            return;
                        }
                    }
                });
                is_timed_out(&format!("reused: {reused}"), &mut client, since);
                drip.join().unwrap();
            });
        }
    });
    pair.told(&[("request_timeout", 2)].into());
}

/// Nobody who never began is told anything; the connection is closed.
#[test]
fn silence() {
    let pair = Pair::new("limits: { header_read_timeout: 1s, keepalive_timeout: 1s }");
    thread::scope(|scope| {
        for reused in [false, true] {
            let pair = &pair;
            scope.spawn(move || {
                let mut client = pair.client();
                if reused {
                    assert_eq!(client.get("/good").status, 200);
                }
                let since = Instant::now();
                assert_eq!(client.read_to_end(), b"");
                let after = since.elapsed();
                assert!(after >= TIMEOUT - Duration::from_millis(5) && after <= LATEST, "reused {reused}: {after:?}");
            });
        }
    });
    assert_eq!(pair.proxy.metric_sum("outboard_refusals_total"), 0.0);
}

/// The same over HTTP/2: half a preface, a preface and nothing, half a head.
#[test]
fn http2_that_never_gets_to_a_request() {
    let pair = Pair::new(LIMITS);
    let addr = pair.proxy.addr("inbound");
    let ended = |name: &str, since: Instant| {
        let after = since.elapsed();
        assert!(after >= TIMEOUT - Duration::from_millis(5) && after <= LATEST, "{name}: after {after:?}");
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = pair.client();
            client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            let since = Instant::now();
            client.read_to_end();
            ended("a preface without settings", since);
        });
        scope.spawn(|| {
            let mut raw = Raw::connect(addr);
            let since = Instant::now();
            while raw.read().is_ok() {}
            ended("settings and silence", since);
        });
        scope.spawn(|| {
            let mut raw = Raw::connect(addr);
            raw.settle();
            raw.frame(HEADERS, 0, 1, &[0x82]);
            let since = Instant::now();
            while raw.read().is_ok() {}
            ended("a head without its end, first", since);
        });
        scope.spawn(|| {
            let mut raw = Raw::connect(addr);
            raw.headers(1, &crate::common::http2_raw::pseudo("GET", "/good"), true);
            assert_eq!(raw.outcome(1), Outcome::Answered(200));
            raw.frame(HEADERS, 0, 3, &[0x82]);
            let since = Instant::now();
            while raw.read().is_ok() {}
            ended("a head without its end, later", since);
        });
    });
}

/// Under TLS: half a handshake ends, counted as such; half a head behind a whole handshake is 408.
#[test]
fn under_tls() {
    let (tls, origin) = (Tls::new(), Origin::echo());
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", tls: {} }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\n{LIMITS}\n",
        tls.listener_yaml()
    ));
    let addr = proxy.addr("inbound");
    let mut half = Client::connect(addr);
    half.send([0x16, 3, 1, 2, 0]);
    let since = Instant::now();
    half.read_to_end();
    assert!(since.elapsed() <= LATEST, "{:?}", since.elapsed());
    let series = "outboard_connections_refused_total{cause=\"timeout\",listener=\"inbound\"}";
    proxy.await_metric(series, 1.0);

    let mut client = Client::tls(addr, &tls, "localhost", &["http/1.1"]);
    client.send("GET / HTTP/1.1\r\nHost: te");
    is_timed_out("TLS", &mut client, Instant::now());
    assert_eq!(origin.count(), 0);
}
