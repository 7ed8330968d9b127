//! How long a connection lives and how many there are.

use std::sync::Arc;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::{before, load, opened};
use crate::common::*;

const IDLE: &str = "outboard_upstream_connections{state=\"idle\",upstream=\"app\"}";

/// Silence is what these tests are about: a connection has to grow old.
fn grow_old(time: Duration) {
    std::thread::sleep(time);
}

/// A door that is shut until it is opened, for applications that answer when a test lets them.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let _ = self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), patience() * 2, |open| !*open).unwrap();
    }
}

fn gated(door: &Door) -> Origin {
    let door = door.clone();
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            let body = conn.read_body(&head);
            door.pass();
            conn.echo(&head, body.len());
        }
    })
}

#[test]
fn connections_are_used_again_under_load() {
    for (protocol, body) in [("http1", &b""[..]), ("http1", b"body"), ("h2c", b"body")] {
        let (one, two) = (Origin::echo(), H2Origin::echo());
        let endpoint = if protocol == "h2c" { two.to_string() } else { one.to_string() };
        let proxy = before(&[endpoint], &format!(", protocol: {protocol}"), "");
        load(&proxy, 16, 100, body);
        let of = |how: &str| {
            proxy.metric(&format!("outboard_upstream_requests_total{{connection=\"{how}\",upstream=\"app\"}}"))
        };
        let (new, reused) = (of("new"), of("reused"));
        assert_eq!(new + reused, 1600.0);
        let ratio = reused / (new + reused);
        println!("{protocol}: {:.2}% of 1600 requests on a connection that was used before", ratio * 100.0);
        assert!(ratio > 0.95, "{protocol}: {ratio}");
        assert_eq!(opened(&proxy), new);
    }
}

#[test]
fn a_full_endpoint_is_passed_over_and_a_full_upstream_refuses() {
    let door = Door::default();
    let (one, two) = (gated(&door), gated(&door));
    let proxy = before(&[one.to_string(), two.to_string()], ", pool: { max_connections: 2 }", "");
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    clients.iter_mut().for_each(|c| c.request("POST", "/", &[], b"body"));
    eventually("each endpoint has its two", || (one.count(), two.count()) == (2, 2));
    let mut fifth = Client::connect(proxy.addr("inbound"));
    let answer = fifth.get("/");
    assert_eq!((answer.status, answer.reason()), (503, "overloaded"));
    door.open();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    eventually("there is room again", || fifth.get("/").status == 200);
}

#[test]
fn no_more_than_max_idle_wait() {
    let door = Door::default();
    let origin = gated(&door);
    let proxy = before(&[origin.to_string()], ", pool: { max_idle: 2 }", "");
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    clients.iter_mut().for_each(|c| c.request("GET", "/", &[], b""));
    eventually("all are asked at once", || origin.count() == 8);
    door.open();
    clients.iter_mut().for_each(|c| assert_eq!(c.read_response().status, 200));
    proxy.await_metric(IDLE, 2.0);
    eventually("the others are closed", || origin.open() == 2);
}

#[test]
fn an_idle_connection_is_closed_by_us_first() {
    let origin = Origin::echo();
    let proxy = before(&[origin.to_string()], ", pool: { idle_timeout: 500ms }", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.get("/");
    client.get("/");
    assert_eq!(opened(&proxy), 1.0);
    grow_old(Duration::from_millis(600));
    client.get("/");
    assert_eq!(opened(&proxy), 2.0, "too old to be used");
    eventually("what is not used is closed", || origin.open() == 0);
    proxy.await_metric(IDLE, 0.0);
}

#[test]
fn what_the_server_says_of_its_patience_counts() {
    let answer = |keep_alive: &str| {
        Origin::answer(format!("HTTP/1.1 200 OK\r\nKeep-Alive: {keep_alive}\r\nContent-Length: 0\r\n\r\n"))
    };
    let origin = answer("timeout=2, max=100");
    let proxy = before(&[origin.to_string()], "", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.get("/");
    client.get("/");
    assert_eq!(opened(&proxy), 1.0);
    grow_old(Duration::from_millis(1100));
    client.get("/");
    assert_eq!(opened(&proxy), 2.0, "one second less than it says");
    let origin = answer("timeout=1");
    let proxy = before(&[origin.to_string()], "", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.get("/");
    client.get("/");
    assert_eq!(opened(&proxy), 2.0);
}

#[test]
fn a_request_that_must_not_be_sent_twice_takes_a_fresh_connection() {
    let origin = Origin::echo();
    let proxy = before(&[origin.to_string()], ", pool: { reuse_for_unsafe: 300ms }", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.post("/", b"body");
    client.post("/", b"body");
    assert_eq!(opened(&proxy), 1.0, "just used");
    grow_old(Duration::from_millis(400));
    assert_eq!(client.get("/").status, 200);
    assert_eq!(opened(&proxy), 1.0, "a GET may be asked again");
    grow_old(Duration::from_millis(400));
    client.post("/", b"body");
    assert_eq!(opened(&proxy), 2.0);
}

#[test]
fn a_connection_has_a_longest_life_and_a_last_request() {
    let origin = Origin::echo();
    let proxy = before(&[origin.to_string()], ", pool: { max_requests: 3 }", "");
    load(&proxy, 1, 9, b"body");
    assert_eq!((opened(&proxy), origin.connections()), (3.0, 3));
    let origin = Origin::echo();
    let proxy = before(&[origin.to_string()], ", pool: { max_lifetime: 500ms }", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..12 {
        client.get("/");
        grow_old(Duration::from_millis(100));
    }
    let opened = opened(&proxy);
    assert!((2.0..=4.0).contains(&opened), "{opened} in 1.2 s");
    let origin = H2Origin::echo();
    let proxy = before(&[origin.to_string()], ", protocol: h2c, pool: { max_requests: 3 }", "");
    load(&proxy, 1, 9, b"body");
    assert_eq!(origin.connections(), 3);
}

#[test]
fn an_http2_connection_carries_no_more_streams_than_allowed() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let origin = H2Origin::serve(move |_, mut respond| {
        let mut wait = wait.clone();
        async move {
            let _ = wait.wait_for(|open| *open).await;
            let _ = respond.send_response(http::Response::new(()), true);
        }
    });
    let proxy = before(&[origin.to_string()], ", protocol: h2c, pool: { max_streams: 2 }", "");
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    clients.iter_mut().for_each(|c| c.request("GET", "/", &[], b""));
    eventually("all are asked at once", || origin.count() == 6);
    let mut streams = [0; 3];
    origin.requests().iter().for_each(|r| streams[r.connection] += 1);
    assert_eq!(streams, [2, 2, 2]);
    go.send(true).unwrap();
    clients.iter_mut().for_each(|c| assert_eq!(c.read_response().status, 200));
}

#[test]
fn an_answer_that_closes_is_not_used_again() {
    let origin = Origin::serve(|conn| {
        if let Some(head) = conn.read_head() {
            conn.read_body(&head);
            conn.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let proxy = before(&[origin.to_string()], "", "");
    load(&proxy, 4, 20, b"body");
    assert_eq!(origin.connections(), 80);
    // Bytes behind an answer belong to nobody: such a connection is not trusted with another request.
    let origin = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.write(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
            );
            conn.until_closed();
        }
    });
    let proxy = before(&[origin.to_string()], "", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(origin.connections(), 5);
}
