//! Bytes that come early: they are the next request, and never end the one in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{SOON, is_refusal};
use crate::common::{Client, Origin, Proxy, eventually, yaml};

/// An application that answers POST only when it is let go.
struct Held {
    origin: Origin,
    proxy: Proxy,
    go: Arc<AtomicBool>,
}

impl Held {
    fn new() -> Held {
        let go = Arc::new(AtomicBool::new(false));
        let told = go.clone();
        let origin = Origin::serve(move |conn| {
            while let Some(head) = conn.read_head() {
                let body = conn.read_body(&head);
                if head.method == "POST" {
                    eventually("the test lets the POST go", || told.load(Ordering::SeqCst));
                }
                conn.echo(&head, body.len());
            }
        });
        let proxy = Proxy::start(&yaml(&origin, ""));
        Held { origin, proxy, go }
    }

    fn client(&self) -> Client {
        Client::connect(self.proxy.addr("inbound"))
    }

    fn post_in_flight(&self, client: &mut Client) {
        client.request("POST", "/charge", &[], b"amount=1");
        eventually("the POST is in flight", || self.origin.count() == 1);
    }
}

#[test]
fn a_post_a_late_empty_line_and_a_get() {
    let held = Held::new();
    let mut client = held.client();
    held.post_in_flight(&mut client);
    client.send("\r\n");
    client.send("GET /next HTTP/1.1\r\nHost: test.example\r\n\r\n");
    held.go.store(true, Ordering::SeqCst);

    let charged = client.read_response();
    assert_eq!((charged.status, &charged.json()["target"]), (200, &"/charge".into()));
    assert_eq!(client.read_response().json()["target"], "/next");
    assert_eq!((held.origin.count_of("/charge"), held.origin.count_of("/next")), (1, 1));
    assert_eq!(held.origin.requests()[0].body, b"amount=1");
    assert_eq!(held.proxy.metric_sum("outboard_refusals_total"), 0.0);
}

#[test]
fn stray_bytes_are_the_next_request_and_the_one_in_flight_is_answered() {
    let held = Held::new();
    let mut client = held.client();
    held.post_in_flight(&mut client);
    client.send("stray bytes\r\n\r\n");
    held.go.store(true, Ordering::SeqCst);

    assert_eq!(client.read_response().status, 200);
    is_refusal("stray bytes", &client.read_response(), 400, "bad_request");
    assert!(client.is_closed(SOON));
    assert_eq!(held.origin.count(), 1);
    held.proxy.await_metric("outboard_refusals_total{reason=\"bad_request\",route=\"-\"}", 1.0);
    let line = held.proxy.access_line("/charge");
    assert_eq!((&line["status"], &line["client_left"]), (&200.into(), &false.into()));
}

#[test]
fn one_stray_byte_and_silence() {
    let held = Held::new();
    let mut client = held.client();
    held.post_in_flight(&mut client);
    client.send("x");
    held.go.store(true, Ordering::SeqCst);
    assert_eq!(client.read_response().status, 200);
    // It is the first byte of the next request.
    client.send("-METHOD /next HTTP/1.1\r\nHost: test.example\r\n\r\n");
    assert_eq!(client.read_response().json()["method"], "x-METHOD");
    assert_eq!(held.origin.count(), 2);
}

#[test]
fn many_requests_in_one_write_are_answered_in_their_order() {
    let held = Held::new();
    held.go.store(true, Ordering::SeqCst);
    let mut client = held.client();
    let mut all = Vec::new();
    for i in 0..50 {
        match i % 3 {
            0 => all.extend(format!("GET /{i} HTTP/1.1\r\nHost: test.example\r\n\r\n").bytes()),
            1 => all.extend(
                format!("POST /{i} HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello\r\n").bytes(),
            ),
            _ => all.extend(
                format!("PUT /{i} HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
                    .bytes(),
            ),
        }
    }
    client.send(&all);
    for i in 0..50 {
        let answer = client.read_response().json();
        assert_eq!(answer["target"], format!("/{i}"));
        assert_eq!(answer["body"], if i % 3 == 0 { 0 } else { 5 });
    }
    assert_eq!(held.origin.count(), 50);
}

/// The same bytes, cut at every place.
#[test]
fn it_does_not_matter_how_the_bytes_are_cut() {
    let held = Held::new();
    held.go.store(true, Ordering::SeqCst);
    let bytes = b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc\r\n\
                  POST /b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                  GET /c HTTP/1.1\r\nHost: t\r\n\r\n";
    for cut in 1..bytes.len() {
        let mut client = held.client();
        client.send(&bytes[..cut]);
        // Long enough that the two parts do not arrive as one.
        std::thread::sleep(std::time::Duration::from_millis(1));
        client.send(&bytes[cut..]);
        for target in ["/a", "/b", "/c"] {
            let answer = client.try_read_response("GET").unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
            assert_eq!(answer.status, 200, "cut at {cut}");
            assert_eq!(answer.json()["target"], target, "cut at {cut}");
        }
    }
}

/// An application may cut its answer anywhere as well: a chunk's size alone is not the end of the body.
#[test]
fn it_does_not_matter_how_the_answer_is_cut() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            let cut = head.target[1..].parse::<usize>().unwrap();
            conn.write(&answer[..cut]);
            std::thread::sleep(std::time::Duration::from_millis(1));
            conn.write(&answer[cut..]);
        }
    });
    let proxy = Proxy::start(&yaml(&origin, ""));
    let mut client = Client::connect(proxy.addr("inbound"));
    for cut in 1..answer.len() {
        let answer = client.get(&format!("/{cut}"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"), "cut at {cut}");
    }
}
