//! What an answer, or the lack of one, means for later tries.

use super::*;

/// An application whose answer to the first POST is this, and to later ones a charge.
fn first(answer: &'static str) -> Origin {
    counted(move |conn, number| match number {
        1 => conn.write(answer),
        n => conn.write(created(&format!("{{\"charge\":{n}}}"))),
    })
}

fn status(line: &'static str) -> Origin {
    first(Box::leak(format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\n{{}}").into_boxed_str()))
}

#[test]
fn every_whole_answer_is_kept_an_error_too() {
    for line in ["200 OK", "400 Bad Request", "402 Payment Required", "404 Not Found", "422 No", "500 Oops", "501 No"] {
        let origin = status(line);
        let proxy = start(&origin, "");
        let (first, again) = (pay(&proxy, "k"), pay(&proxy, "k"));
        assert_eq!((first.status, is_replayed(&first)), (again.status, false), "{line}");
        assert!(is_replayed(&again), "{line}");
        assert_eq!(origin.count(), 1, "{line}");
    }
}

#[test]
fn an_answer_that_says_that_nothing_was_done_frees_the_key() {
    for line in ["401 Unauthorized", "403 Forbidden", "409 Conflict", "425 Too Early", "429 Too Many"] {
        let origin = status(line);
        let proxy = start(&origin, "");
        assert_eq!(pay(&proxy, "k").status.to_string(), line[..3]);
        let again = pay(&proxy, "k");
        assert_eq!((again.status, is_replayed(&again)), (201, false), "{line}");
        assert_eq!(origin.count(), 2, "{line}");
        proxy.await_metric(&outcome("released"), 1.0);
    }
}

#[test]
fn an_answer_after_which_nobody_knows_is_passed_on_and_never_followed_by_another_try() {
    for line in ["408 Timeout", "502 Bad Gateway", "503 Unavailable", "504 Timeout"] {
        let origin = status(line);
        let proxy = start(&origin, "");
        assert_eq!(pay(&proxy, "k").status.to_string(), line[..3]);
        for _ in 0..2 {
            let again = pay(&proxy, "k");
            assert_eq!((again.status, again.reason()), (409, "idempotency_unknown"), "{line}");
            assert_eq!(again.header("retry-after"), None);
        }
        assert_eq!(origin.count(), 1, "{line}");
        proxy.await_metric(&outcome("unknown"), 1.0);
        proxy.await_metric("outboard_idempotency_records{state=\"unknown\",store=\"local\"}", 1.0);
        let line = &proxy.events("idempotency_unknown")[0];
        assert_eq!((line["level"].as_str(), line["route"].as_str()), (Some("warn"), Some("pay")));
    }
}

#[test]
fn what_the_application_breaks_off_is_unknown() {
    let whole = "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{\"id\":1}";
    for (what, answer) in [
        ("before its answer", ""),
        ("inside its head", "HTTP/1.1 201 Created\r\nContent-"),
        ("inside its body", whole),
        ("inside a chunk", "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"id"),
        ("before the last chunk", "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    ] {
        let origin = counted(move |conn, number| {
            number > 1 && conn.write(created("{}")) || {
                conn.write(answer);
                false
            }
        });
        let proxy = start(&origin, "");
        let broken = pay(&proxy, "k");
        assert_eq!((broken.status, broken.reason()), (502, "upstream_reset"), "{what}");
        assert_eq!(pay(&proxy, "k").reason(), "idempotency_unknown", "{what}");
        assert_eq!(origin.count(), 1, "{what}");
    }
}

#[test]
fn an_answer_that_ends_by_closing_is_passed_on_and_its_outcome_unknown() {
    let origin = counted(|conn, _| {
        conn.write("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\r\n{\"id\":1}");
        false
    });
    let proxy = start(&origin, "");
    let first = pay(&proxy, "k");
    assert_eq!((first.status, first.text().as_str()), (201, "{\"id\":1}"));
    assert_eq!(pay(&proxy, "k").reason(), "idempotency_unknown");
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_application_that_is_too_slow_leaves_an_unknown_outcome_however_it_goes_on() {
    let origin = counted(|conn, number| {
        std::thread::sleep(Duration::from_millis(if number == 1 { 400 } else { 0 }));
        conn.write(created("{}"))
    });
    let proxy = Proxy::start(&yaml_with(&origin, "", "timeouts: { connect: 50ms, first_byte: 100ms, total: 200ms }"));
    let late = pay(&proxy, "k");
    assert_eq!((late.status, late.reason()), (504, "upstream_timeout"));
    for _ in 0..3 {
        assert_eq!(pay(&proxy, "k").reason(), "idempotency_unknown");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_never_reached_the_application_leaves_the_key_free() {
    let origin = charges();
    let address = origin.address();
    drop(origin);
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{address}\"] }} }}\n\
         routes: [{{ name: pay, retry: off, idempotency: {{ owner: [header:x-merchant-id] }} }}]\n"
    ));
    for _ in 0..2 {
        assert_eq!(pay(&proxy, "k").reason(), "upstream_connect");
    }
    let origin = Origin::serve_at(address, |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            conn.ok("done");
        }
    });
    eventually("it is charged", || pay(&proxy, "k").status == 200);
    assert!(is_replayed(&pay(&proxy, "k")));
    assert_eq!(origin.count(), 1);
    proxy.await_metric("outboard_idempotency_records{state=\"unknown\",store=\"local\"}", 0.0);
}

#[test]
fn a_refusal_of_ours_behind_the_key_frees_it() {
    let (origin, open) = held();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], queue: {{ max_concurrent: 1, max_queued: 1, timeout: 100ms }} }} }}\n\
         routes: [{{ name: pay, idempotency: {{ owner: [header:x-merchant-id] }} }}]\n"
    ));
    let mut busy = begin(&proxy, "busy");
    eventually("the application is busy", || origin.whole() == 1);
    let refused = pay(&proxy, "k");
    assert_eq!((refused.status, refused.reason()), (503, "queue_timeout"));
    open.send(()).unwrap();
    assert_eq!(busy.read_response().status, 201);
    let charged = pay(&proxy, "k");
    assert_eq!((charged.status, is_replayed(&charged), origin.count()), (201, false, 2));
}

#[test]
fn a_request_that_waits_for_longer_than_its_lease_is_overtaken_and_never_sent() {
    let (origin, open) = held();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], queue: {{ max_concurrent: 1, max_queued: 9, timeout: 9s }} }} }}\n\
         routes: [{{ name: pay, idempotency: {{ owner: [header:x-merchant-id], lease: 100ms, in_flight: {{ wait: 10ms }} }} }}]\n"
    ));
    let mut busy = begin(&proxy, "busy");
    eventually("the application is busy", || origin.whole() == 1);
    let mut overtaken = begin(&proxy, "k");
    proxy.await_metric("outboard_requests_in_flight{route=\"pay\"}", 2.0);
    // Until the lease is over the second try is told to come again; then it has the key, and waits in the queue itself.
    let mut second = None;
    eventually("the lease is over", || {
        let mut client = begin(&proxy, "k");
        let waits = || proxy.metric("outboard_queue_depth{priority=\"normal\",upstream=\"app\"}") == 2.0;
        let has_it = within(Duration::from_millis(100), waits);
        if has_it {
            second = Some(client);
        } else {
            assert_eq!(client.read_response().reason(), "idempotency_in_flight");
        }
        has_it
    });
    open.send(()).unwrap();
    assert_eq!(busy.read_response().status, 201);
    let (one, two) = (overtaken.read_response(), second.unwrap().read_response());
    assert_eq!(one.reason(), "idempotency_in_flight", "{one:?}");
    assert_eq!((two.status, two.text().as_str()), (201, "{\"charge\":2}"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_keyed_request_is_never_sent_twice_whatever_its_method_and_the_retries_say() {
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let origin = counted(|_, _| false);
        let proxy = Proxy::start(&yaml_with(
            &origin,
            "",
            "retry: { attempts: 3, retry_on: [connect, reset, timeout, 503], methods: idempotent }",
        ));
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request(method, "/", &[("X-Merchant-Id", "m"), ("Idempotency-Key", "k")], BODY);
        assert_eq!(client.read_response().reason(), "upstream_reset", "{method}");
        assert_eq!(origin.count(), 1, "{method}");
    }
}
