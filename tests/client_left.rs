//! A client that leaves: what is safe to ask again is cancelled, what is not runs to its end, half a request goes nowhere.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use common::*;

/// An application that tells when the proxy closes a connection whose request it has not answered.
fn silent() -> (Origin, Receiver<Instant>) {
    let (told, heard) = channel();
    let told = Mutex::new(told);
    let origin = Origin::serve(move |conn| {
        if let Some(head) = conn.read_head() {
            conn.read_body(&head);
            conn.until_closed();
            let _ = told.lock().unwrap().send(Instant::now());
        }
    });
    (origin, heard)
}

/// An application that answers when it is told to.
fn slow() -> (Origin, Sender<()>) {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Mutex::new(wait);
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            let body = conn.read_body(&head);
            let _ = wait.lock().unwrap().recv_timeout(patience());
            conn.ok(format!("done {}", body.len()));
        }
    });
    (origin, go)
}

fn at_rest(proxy: &Proxy) {
    proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", 0.0);
    proxy.await_metric("outboard_upstream_connections{state=\"active\",upstream=\"app\"}", 0.0);
    proxy.await_metric("outboard_buffered_bytes", 0.0);
    eventually("no request is listed", || proxy.admin_get("/requests").json()["in_flight"] == 0);
}

fn left(proxy: &Proxy, path: &str) {
    let line = proxy.access_line(path);
    assert_eq!(line["client_left"], true, "{line}");
}

#[test]
fn a_get_is_cancelled_at_once() {
    let (origin, closed) = silent();
    let proxy = Proxy::start(&yaml(&origin, ""));
    let addr = proxy.addr("inbound");
    let cancelled = |since: Instant| {
        let at = closed.recv_timeout(patience()).unwrap();
        assert!(at - since < Duration::from_millis(200), "{:?}", at - since);
    };
    for (n, how) in ["fin", "half", "reset"].into_iter().enumerate() {
        let path = format!("/{how}");
        let mut client = Client::connect(addr);
        client.request("GET", &path, &[], b"");
        eventually("the application is asked", || origin.count() == n + 1);
        let since = Instant::now();
        match how {
            "fin" => drop(client),
            "half" => client.shutdown_write(),
            _ => client.reset(),
        }
        cancelled(since);
        let line = proxy.access_line(&path);
        assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_left".into()), "{line}");
        left(&proxy, &path);
    }
    let client = http2::Client::connect(addr);
    let mut stream = client.stream(http2::Client::build("GET", "/h2-reset"), true).unwrap();
    eventually("the application is asked", || origin.count() == 4);
    let since = Instant::now();
    stream.reset(h2::Reason::CANCEL);
    cancelled(since);
    left(&proxy, "/h2-reset");
    let stream = client.stream(http2::Client::build("GET", "/h2-gone"), true).unwrap();
    eventually("the application is asked", || origin.count() == 5);
    let since = Instant::now();
    drop((stream, client));
    cancelled(since);
    left(&proxy, "/h2-gone");
    assert_eq!(proxy.metric("outboard_attempts_total{outcome=\"client_left\",upstream=\"app\"}"), 5.0);
    assert_eq!(proxy.metric("outboard_refusals_total{reason=\"client_left\",route=\"default\"}"), 5.0);
    at_rest(&proxy);
}

#[test]
fn a_post_runs_to_its_end() {
    let (origin, go) = slow();
    let proxy = Proxy::start(&yaml(&origin, ""));
    let addr = proxy.addr("inbound");
    for (n, how) in ["fin", "reset", "h2-reset", "h2-gone", "large"].into_iter().enumerate() {
        let path = format!("/{how}");
        let body = vec![b'x'; if how == "large" { 200_000 } else { 7 }];
        let asked = || {
            eventually("the application has it all", || {
                origin.requests().get(n).is_some_and(|r| r.body.len() == body.len())
            })
        };
        if how.starts_with("h2") {
            let client = http2::Client::connect(addr);
            let mut stream = client.stream(http2::Client::build("POST", &path), false).unwrap();
            stream.send_all(body.clone().into(), true).unwrap();
            asked();
            if how == "h2-reset" {
                stream.reset(h2::Reason::CANCEL);
                let answered = client.stream(http2::Client::build("GET", "/nowhere/../"), true).unwrap().answer();
                assert_eq!(answered.unwrap().status, 400, "the reset arrived before this");
            }
        } else {
            let mut client = Client::connect(addr);
            client.request("POST", &path, &[], &body);
            asked();
            if how == "reset" { client.reset() } else { drop(client) }
        }
        // The proxy knows that the client left, and goes on: the request stays in flight.
        assert!(!within(Duration::from_millis(200), || origin.open() == 0));
        assert_eq!(proxy.metric("outboard_requests_in_flight{route=\"default\"}"), 1.0, "{how}");
        go.send(()).unwrap();
        left(&proxy, &path);
        let line = proxy.access_line(&path);
        assert_eq!((&line["status"], &line["upstream_sent"]), (&200.into(), &"all".into()), "{line}");
        assert!(line["upstream_bytes_received"].as_u64().unwrap() >= 6, "its answer was read: {line}");
    }
    at_rest(&proxy);
    assert_eq!(proxy.metric("outboard_attempts_total{outcome=\"ok\",upstream=\"app\"}"), 5.0);
    assert_eq!(proxy.metric("outboard_refusals_total{reason=\"client_left\",route=\"default\"}"), 5.0);
    assert_eq!(origin.connections(), 1, "an answer that was read leaves a good connection");
}

#[test]
fn a_route_decides_otherwise() {
    let (origin, closed) = silent();
    let proxy = Proxy::start(&yaml(&origin, "routes: [{ name: default, timeouts: { on_client_close: cancel } }]"));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[], b"body");
    eventually("the application is asked", || origin.count() == 1);
    drop(client);
    closed.recv_timeout(Duration::from_millis(500)).unwrap();
    at_rest(&proxy);

    let (origin, go) = slow();
    let proxy = Proxy::start(&yaml(&origin, "routes: [{ name: default, timeouts: { on_client_close: continue } }]"));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    eventually("the application is asked", || origin.count() == 1);
    drop(client);
    assert!(!within(Duration::from_millis(200), || origin.open() == 0));
    go.send(()).unwrap();
    left(&proxy, "/");
    assert_eq!(proxy.access_line("/")["status"], 200);
    at_rest(&proxy);
}

#[test]
fn half_a_request_is_never_made_whole() {
    let (told, ended) = channel();
    let told = Mutex::new(told);
    let origin = Origin::serve(move |conn| {
        if let Some(head) = conn.read_head() {
            let body = conn.read_body(&head);
            conn.until_closed();
            let _ = told.lock().unwrap().send((head.target.clone(), body.len()));
        }
    });
    let proxy = Proxy::start(&yaml(&origin, ""));
    let addr = proxy.addr("inbound");
    // Small ones are read whole before the application hears of them.
    let mut client = Client::connect(addr);
    client.request("POST", "/small", &[("Content-Length", "100")], b"");
    client.send("half");
    drop(client);
    left(&proxy, "/small");
    assert_eq!(origin.count(), 0);
    for (path, header) in [("/length", ("Content-Length", "200000")), ("/chunked", ("Transfer-Encoding", "chunked"))] {
        for reset in [false, true] {
            let before = origin.count();
            let mut client = Client::connect(addr);
            client.request("POST", path, &[header], b"");
            client.send(if path == "/length" { "x".repeat(1000) } else { format!("3e8\r\n{}\r\n", "x".repeat(1000)) });
            eventually("the application is asked", || origin.count() == before + 1);
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            let (target, length) = ended.recv_timeout(Duration::from_millis(500)).unwrap();
            assert_eq!(target, path);
            assert!(length <= 1000);
        }
        left(&proxy, path);
    }
    let client = http2::Client::connect(addr);
    let mut stream = client.stream(http2::Client::build("POST", "/h2"), false).unwrap();
    stream.send(vec![b'x'; 1000], false).unwrap();
    eventually("the application is asked", || origin.count() == 5);
    stream.reset(h2::Reason::CANCEL);
    ended.recv_timeout(Duration::from_millis(500)).unwrap();
    left(&proxy, "/h2");
    let raw = String::from_utf8_lossy(&origin.raw()).into_owned();
    assert!(!raw.contains("\r\n0\r\n\r\n"), "no chunked body was ended");
    at_rest(&proxy);
}

#[test]
fn a_client_that_leaves_while_a_connection_is_opened_is_noticed() {
    // The kernel accepts, nobody shakes hands: TLS is never up.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = Tls::new();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\nupstreams: {{ app: {{ endpoints: [\"127.0.0.1:{}\"], \
         tls: {{ ca_file: {} }} }} }}\ndefaults: {{ timeouts: {{ connect: 3s }} }}\n",
        hole.local_addr().unwrap().port(),
        tls.ca_file().display()
    ));
    let addr = proxy.addr("inbound");
    let in_flight = |n: f64| proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", n);
    let mut client = Client::connect(addr);
    client.request("GET", "/", &[], b"");
    let h2 = http2::Client::connect(addr);
    let stream = h2.stream(http2::Client::build("GET", "/"), true).unwrap();
    in_flight(2.0);
    let since = Instant::now();
    drop((client, stream, h2));
    at_rest(&proxy);
    assert!(since.elapsed() < Duration::from_secs(1), "before the connection is given up");
}

#[test]
fn nothing_stays_in_flight_after_clients_vanish_in_every_state() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            match head.target.as_str() {
                "/answer" => {
                    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n");
                    while conn.write([b'x'; 64 << 10]) {}
                }
                "/head" => {
                    conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    conn.until_closed();
                }
                _ => {
                    conn.read_body(&head);
                    conn.until_closed();
                }
            }
        }
    });
    let more = "defaults: { timeouts: { idle: 1s, first_byte: 1s } }\nlimits: { header_read_timeout: 1s }";
    let proxy = Proxy::start(&yaml(&origin, more));
    let addr = proxy.addr("inbound");
    for round in 0..8 {
        let mut clients = Vec::new();
        let heads: [&[u8]; 8] = [
            b"",
            b"GET /a HTT",
            b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
            b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhalf",
            b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
            b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /answer HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /head HTTP/1.1\r\nHost: a\r\n\r\n",
        ];
        for head in heads {
            let mut client = Client::connect(addr);
            client.send(head);
            clients.push(client);
        }
        let h2 = http2::Client::connect(addr);
        let mut streams = Vec::new();
        for path in ["/wait", "/answer", "/head"] {
            streams.push(h2.stream(http2::Client::build("GET", path), true).unwrap());
        }
        let mut half = h2.stream(http2::Client::build("POST", "/half"), false).unwrap();
        half.send("half", false).unwrap();
        // Leave when everything is under way, and now and then before.
        if round % 2 == 0 {
            eventually("all are in flight", || proxy.metric("outboard_requests_in_flight{route=\"default\"}") >= 9.0);
        }
        for (n, client) in clients.into_iter().enumerate() {
            if n % 2 == round % 2 { client.reset() } else { drop(client) }
        }
        drop((streams, half, h2));
    }
    at_rest(&proxy);
    eventually("every client connection is gone", || proxy.metric_sum("outboard_client_connections{") == 0.0);
    eventually("every connection to the application is gone", || origin.open() == 0);
}
