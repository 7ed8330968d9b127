//! WebSockets: the upgrade, the bytes around it, and how the tunnel ends.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use common::*;

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: test.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches, and echoes until the client ends its side; then says goodbye.
fn echo(conn: &mut Conn) {
    if conn.read_head().is_none() {
        return;
    }
    conn.write(SWITCH);
    while let Some(bytes) = conn.read_some() {
        conn.write(bytes);
    }
    conn.write("bye");
}

fn behind(more: &str, story: impl Fn(&mut Conn) + Send + Sync + 'static) -> (Origin, Proxy) {
    let origin = Origin::serve(story);
    let proxy = Proxy::start(&yaml(&origin, more));
    (origin, proxy)
}

fn asked(proxy: &Proxy) -> Client {
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send(ASK);
    let head = client.read_head().unwrap();
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")));
    assert!(head.header("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert!(head.header("sec-websocket-accept").is_some());
    client
}

#[test]
fn bytes_flow_both_ways_and_the_end_of_one_side_is_passed_on() {
    let (origin, proxy) = behind("", echo);
    let mut client = asked(&proxy);
    let seen = &origin.requests()[0];
    assert_eq!((seen.header("upgrade"), seen.header("connection")), (Some("websocket"), Some("Upgrade")));
    assert_eq!(seen.header("sec-websocket-version"), Some("13"));
    for _ in 0..3 {
        client.send(b"\x81\x05hello");
        assert_eq!(client.read_exact(7).unwrap(), b"\x81\x05hello");
    }
    proxy.await_metric("outboard_event_streams", 1.0);
    let large = vec![7; 5 << 20];
    let mut writer = client.wire.tcp().try_clone().unwrap();
    let sent = large.clone();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &sent).unwrap());
    assert!(client.read_exact(large.len()).unwrap() == large);
    writing.join().unwrap();
    // The client ends its side: what the application still says arrives.
    client.shutdown_write();
    assert_eq!(client.read_to_end(), b"bye");
    proxy.await_metric("outboard_event_streams", 0.0);
    let line = proxy.access_line("/ws");
    assert_eq!((&line["status"], &line["response_bytes"]), (&101.into(), &((5 << 20) + 21 + 3).into()), "{line}");
}

#[test]
fn the_application_may_end_its_side_first() {
    let (told, heard) = channel();
    let told = Mutex::new(told);
    let (_origin, proxy) = behind("", move |conn| {
        if conn.read_head().is_some() {
            conn.write(SWITCH);
            conn.write("last words");
            conn.stream.shutdown_write();
            let mut all = Vec::new();
            while let Some(bytes) = conn.read_some() {
                all.extend(bytes);
            }
            told.lock().unwrap().send(all).unwrap();
        }
    });
    let mut client = asked(&proxy);
    assert_eq!(client.read_to_end(), b"last words");
    client.send(b"still heard");
    client.shutdown_write();
    assert_eq!(heard.recv_timeout(patience()).unwrap(), b"still heard");
    proxy.await_metric("outboard_event_streams", 0.0);
}

#[test]
fn bytes_that_come_with_the_request_or_with_the_101_are_not_lost() {
    let (_origin, proxy) = behind("", |conn| {
        if conn.read_head().is_some() {
            // One segment: the head and the first frame.
            conn.write(format!("{SWITCH}first frame"));
            while let Some(bytes) = conn.read_some() {
                conn.write(bytes);
            }
        }
    });
    for _ in 0..20 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.send(format!("{ASK}early bytes"));
        assert_eq!(client.read_head().unwrap().status, 101);
        assert_eq!(client.read_exact(11).unwrap(), b"first frame");
        assert_eq!(client.read_exact(11).unwrap(), b"early bytes");
        client.send(b"later");
        assert_eq!(client.read_exact(5).unwrap(), b"later");
    }
}

#[test]
fn bytes_that_come_before_the_101_wait_for_it() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Mutex::new(wait);
    let (origin, proxy) = behind("", move |conn| {
        if conn.read_head().is_some() {
            wait.lock().unwrap().recv_timeout(patience()).unwrap();
            echo_rest(conn);
        }
    });
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send(ASK);
    eventually("the application is asked", || origin.count() == 1);
    client.send(vec![b'e'; 3000]);
    client.send(b"f");
    go.send(()).unwrap();
    assert_eq!(client.read_head().unwrap().status, 101);
    let echoed = client.read_exact(3001).unwrap();
    assert!(echoed[..3000].iter().all(|b| *b == b'e') && echoed[3000] == b'f');
}

fn echo_rest(conn: &mut Conn) {
    conn.write(SWITCH);
    while let Some(bytes) = conn.read_some() {
        conn.write(bytes);
    }
}

#[test]
fn a_silent_tunnel_is_cut_and_one_that_moves_is_not() {
    let (origin, proxy) = behind("routes: [{ name: ws, timeouts: { idle: 400ms } }]", echo);
    let mut client = asked(&proxy);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1000) {
        client.send(b"x");
        assert_eq!(client.read_exact(1).unwrap(), b"x");
        std::thread::sleep(Duration::from_millis(100));
    }
    let silent = Instant::now();
    assert!(client.is_closed(patience()));
    let cut = silent.elapsed();
    assert!(cut > Duration::from_millis(250) && cut < Duration::from_millis(700), "{cut:?}");
    eventually("the application's side is closed too", || origin.open() == 0);
    proxy.await_metric("outboard_event_streams", 0.0);
}

#[test]
fn stream_max_ends_a_tunnel_that_still_moves() {
    let (_origin, proxy) = behind("routes: [{ name: ws, timeouts: { stream_max: 1s } }]", echo);
    let mut client = asked(&proxy);
    let started = Instant::now();
    while client.try_send(b"x").is_ok() && client.read_exact(1).is_ok() {
        std::thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < patience());
    }
    assert!(started.elapsed() > Duration::from_millis(900));
}

#[test]
fn no_other_protocol_is_switched_to() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&yaml(&origin, ""));
    let mut client = Client::connect(proxy.addr("inbound"));
    let upgrade =
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")];
    client.request("GET", "/", &upgrade, b"");
    assert_eq!(client.read_response().status, 200);
    client.request("GET", "/", &[("Upgrade", "websocket")], b"");
    assert_eq!(client.read_response().status, 200, "without Connection: Upgrade it asks for nothing");
    for seen in origin.requests() {
        assert_eq!(
            (seen.header("upgrade"), seen.header("connection"), seen.header("http2-settings")),
            (None, None, None)
        );
    }
}

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_answer() {
    let (_origin, proxy) = behind("", echo);
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"));
    let answer = http2::Client::connect(proxy.addr("inbound")).get("/").unwrap();
    assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"));
}

#[test]
fn an_upgrade_that_is_refused_is_an_answer_like_others() {
    let (_origin, proxy) = behind("", |conn| {
        while conn.read_head().is_some() {
            conn.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..2 {
        client.send(ASK);
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (426, "no"));
    }
    proxy.await_metric("outboard_upstream_connections{state=\"active\",upstream=\"app\"}", 0.0);
}

#[test]
fn more_tunnels_than_allowed_are_refused() {
    let (_origin, proxy) = behind("limits: { max_event_streams: 1 }", echo);
    let first = asked(&proxy);
    let mut second = Client::connect(proxy.addr("inbound"));
    second.send(ASK);
    let answer = second.read_response();
    assert_eq!((answer.status, answer.reason()), (503, "overloaded"));
    drop(first);
    proxy.await_metric("outboard_event_streams", 0.0);
    asked(&proxy);
}

#[test]
fn a_side_that_vanishes_takes_the_other_with_it() {
    let (origin, proxy) = behind("", |conn| {
        if conn.read_head().is_some() {
            conn.write(SWITCH);
            conn.until_closed();
        }
    });
    asked(&proxy).reset();
    eventually("the application is told", || origin.open() == 0 && origin.connections() == 1);
    proxy.await_metric("outboard_upstream_connections{state=\"active\",upstream=\"app\"}", 0.0);
    proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", 0.0);
}

#[test]
fn a_tunnel_runs_under_tls() {
    let tls = Tls::new();
    let origin = Origin::tls(&tls, &["http/1.1"], echo);
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", protocols: [http1, h2], tls: {} }}]\n\
         upstreams: {{ app: {{ endpoints: [\"localhost:{}\"], tls: {{ ca_file: {} }} }} }}\n",
        tls.listener_yaml(),
        origin.address().port(),
        tls.ca_file().display()
    ));
    let mut client = Client::tls(proxy.addr("inbound"), &tls, "localhost", &["http/1.1"]);
    client.send(ASK);
    assert_eq!(client.read_head().unwrap().status, 101);
    client.send(b"hello");
    assert_eq!(client.read_exact(5).unwrap(), b"hello");
    client.shutdown_write();
    assert_eq!(client.read_to_end(), b"bye");
}
