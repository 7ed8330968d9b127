//! Long bodies, bodies without a length, codings.

use super::*;

#[test]
fn a_body_without_a_length_is_the_same_request_as_one_with_it() {
    let origin = charges();
    let proxy = start(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    let head = "POST /v1/payments HTTP/1.1\r\nHost: test.example\r\nX-Merchant-Id: mer_1\r\nAuthorization: Bearer one\r\n\
                Content-Type: application/json\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head);
    client.send("7\r\n{\"amoun\r\n8\r\nt\":1000}\r\n0\r\n\r\n");
    assert_eq!(client.read_response().status, 201);
    assert!(is_replayed(&pay(&proxy, "k")));
    // The application gets it whole, with its length.
    let received = &origin.requests()[0];
    assert_eq!((received.header("content-length"), received.header("transfer-encoding")), (Some("15"), None));
    assert_eq!((received.body.as_slice(), origin.count()), (BODY, 1));
}

#[test]
fn a_body_that_is_too_long_is_refused_and_never_sent_without_its_key() {
    let origin = charges();
    let proxy = start(&origin, "max_request: 1KiB");
    let long = vec![b'x'; 1025];
    let refused = pay_with(&proxy, &[("Idempotency-Key", "k")], &long);
    assert_eq!((refused.status, refused.reason()), (413, "body_too_large"));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nX-Merchant-Id: m\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.send(format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025)));
    assert_eq!(client.read_response().reason(), "body_too_large");
    // Who asks first is told before he sends it.
    let mut client = Client::connect(proxy.addr("inbound"));
    let headers =
        [("X-Merchant-Id", "m"), ("Idempotency-Key", "k"), ("Expect", "100-continue"), ("Content-Length", "1025")];
    client.request("POST", "/", &headers, b"");
    let refused = client.read_response();
    assert_eq!((refused.status, refused.informational.len()), (413, 0));
    assert_eq!(origin.count(), 0);
    assert_eq!(pay_with(&proxy, &[("Idempotency-Key", "k")], &long[..1024]).status, 201);
    // Without a key the limit of the route holds.
    assert_eq!(pay_with(&proxy, &[], &long).status, 201);
}

#[test]
fn a_long_request_is_kept_whole() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            let body = conn.read_body(&head);
            conn.ok(format!("{}", body.len()));
        }
    });
    let proxy = start(&origin, "");
    let long = vec![b'x'; 200 << 10];
    assert_eq!(pay_with(&proxy, &[("Idempotency-Key", "k")], &long).text(), "204800");
    assert!(is_replayed(&pay_with(&proxy, &[("Idempotency-Key", "k")], &long)));
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_answer_that_is_too_long_is_passed_on_and_later_tries_are_told_its_status() {
    for chunked in [false, true] {
        let origin = counted(move |conn, _| {
            let body = "x".repeat(200 << 10);
            conn.write(match chunked {
                false => format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                true => {
                    format!("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n32000\r\n{body}\r\n0\r\n\r\n")
                }
            })
        });
        let proxy = start(&origin, "max_response: 100KiB");
        let first = pay(&proxy, "k");
        assert_eq!((first.status, first.body.len()), (201, 200 << 10));
        let again = pay(&proxy, "k");
        assert_eq!((again.status, again.reason()), (409, "idempotency_not_kept"));
        assert_eq!(again.json()["detail"], "it was answered with 201");
        assert_eq!(origin.count(), 1);
        proxy.await_metric(&outcome("not_kept"), 1.0);
        proxy.await_metric(&result("not_kept"), 1.0);
    }
}

#[test]
fn an_event_stream_is_not_held_back() {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let origin = counted(move |conn, _| {
        conn.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:1\r\n",
        );
        let _ = gate.lock().unwrap().recv();
        conn.write("0\r\n\r\n")
    });
    let proxy = start(&origin, "");
    let mut client = begin(&proxy, "k");
    assert_eq!(client.read_head().unwrap().status, 200);
    let again = pay(&proxy, "k");
    assert_eq!((again.status, again.reason()), (409, "idempotency_not_kept"));
    open.send(()).unwrap();
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_event_stream_may_last_for_longer_than_a_request() {
    let origin = counted(|conn, _| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..10 {
            conn.write("6\r\ndata:1\r\n");
            std::thread::sleep(Duration::from_millis(400));
        }
        conn.write("0\r\n\r\n")
    });
    let proxy =
        Proxy::start(&yaml_with(&origin, "", "timeouts: { connect: 50ms, first_byte: 100ms, idle: 1s, total: 200ms }"));
    let answer = pay(&proxy, "k");
    assert_eq!((answer.status, answer.body.len()), (200, 60));
    assert_eq!(pay(&proxy, "k").reason(), "idempotency_not_kept");
}

#[test]
fn replays_are_held_within_the_memory_for_bodies() {
    let long = "x".repeat(100 << 10);
    let origin = counted(move |conn, _| conn.write(created(&long)));
    let proxy = Proxy::start(&(yaml_with(&origin, "", "") + "limits: { max_buffered: 300KiB }\n"));
    assert_eq!(pay(&proxy, "k").status, 201);
    assert!(is_replayed(&pay(&proxy, "k")));
    // Clients that ask for it and read nothing: their sockets take a part, the rest is held.
    let slow: Vec<Client> = (0..60).map(|_| begin(&proxy, "k")).collect();
    proxy.eventually("no more than that is held", || {
        let answer = pay(&proxy, "k");
        assert!(is_replayed(&answer) || answer.reason() == "overloaded", "{answer:?}");
        proxy.metric(&result("replayed")) > 30.0
    });
    assert!(proxy.metric("outboard_buffered_bytes") <= 300.0 * 1024.0);
    drop(slow);
    eventually("it is given back", || proxy.metric("outboard_buffered_bytes") == 0.0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_replay_is_encoded_for_who_asks_as_the_first_answer_was() {
    let json: &'static str = Box::leak(format!("{{\"text\":\"{}\"}}", "payment ".repeat(500)).into_boxed_str());
    let origin = counted(move |conn, _| conn.write(created(json)));
    let proxy = start(&origin, "");
    let ask = |coding: &'static str| {
        let mut client = Client::connect(proxy.addr("inbound"));
        let headers = [("X-Merchant-Id", "m"), ("Idempotency-Key", "k"), ("Accept-Encoding", coding)];
        client.request("POST", "/", &headers, BODY);
        client.read_response()
    };
    let (first, again, plain) = (ask("gzip"), ask("gzip"), ask("identity"));
    assert_eq!(first.header("content-encoding"), Some("gzip"));
    assert!(is_replayed(&again) && is_replayed(&plain));
    assert_eq!((first.body, first.headers.len() + 1), (again.body, again.headers.len()));
    assert_eq!((plain.text().as_str(), plain.header("content-encoding")), (json, None));
    assert_eq!(origin.count(), 1);
}

#[test]
fn answers_without_a_body_are_kept_too() {
    let origin = counted(|conn, _| conn.write("HTTP/1.1 204 No Content\r\nX-Id: 1\r\n\r\n"));
    let proxy = start(&origin, "");
    let (first, again) = (pay(&proxy, "k"), pay(&proxy, "k"));
    assert_eq!((first.status, again.status, is_replayed(&again)), (204, 204, true));
    assert_eq!((again.header("x-id"), again.header("content-length")), (Some("1"), None));
}

#[test]
fn a_body_that_never_comes_whole_takes_no_key() {
    let origin = charges();
    let proxy = start(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    let headers = [("X-Merchant-Id", "mer_1"), ("Idempotency-Key", "k"), ("Content-Length", "15")];
    client.request("POST", "/v1/payments", &headers, b"");
    client.send(&BODY[..5]);
    drop(client);
    proxy.await_metric("outboard_requests_in_flight{route=\"pay\"}", 0.0);
    assert_eq!(pay(&proxy, "k").status, 201);
    assert_eq!(origin.count(), 1);
}

#[test]
fn early_hints_reach_the_first_try_and_are_not_kept() {
    let origin = Origin::answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok",
    );
    let proxy = start(&origin, "");
    let (first, again) = (pay(&proxy, "k"), pay(&proxy, "k"));
    assert_eq!(first.informational.iter().map(|a| a.status).collect::<Vec<_>>(), [103]);
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!((again.status, again.text().as_str(), again.informational.len(), origin.count()), (201, "ok", 0, 1));
}
