//! The key, the owner, the credential, the payload.

use super::*;

#[test]
fn a_retry_gets_the_first_answer_and_the_application_charges_once() {
    let origin = charges();
    let proxy = start(&origin, "");
    let first = pay(&proxy, "k1");
    assert_eq!((first.status, first.text().as_str()), (201, "{\"charge\":1}"));
    assert!(!is_replayed(&first));
    for _ in 0..3 {
        let again = pay(&proxy, "k1");
        assert!(is_replayed(&again));
        assert_eq!((again.status, again.body.clone()), (first.status, first.body.clone()));
        for name in ["content-type", "x-charge", "content-length", "date"] {
            assert_eq!(again.header(name), first.header(name), "{name}");
        }
    }
    assert_eq!(pay(&proxy, "k2").text(), "{\"charge\":2}");
    assert_eq!(origin.count(), 2);
    // The key is passed on.
    assert_eq!(origin.requests()[0].header("idempotency-key"), Some("k1"));
    // Whether the application saw a try stands in its line.
    proxy.eventually("a line of each", || proxy.access_lines().len() >= 5);
    let lines = proxy.access_lines();
    // In whatever order: a line is written once its answer has left.
    let of = |replayed: bool, sent: &str| {
        lines.iter().filter(|l| (l["replayed"] == true, l["upstream_sent"] == sent) == (replayed, true)).count()
    };
    assert_eq!((of(false, "all"), of(true, "none"), lines.len()), (2, 3, 5));
    proxy.await_metric(&result("first"), 2.0);
    proxy.await_metric(&result("replayed"), 3.0);
    proxy.await_metric(&outcome("kept"), 2.0);
    proxy.await_metric("outboard_idempotency_records{state=\"done\",store=\"local\"}", 2.0);
}

#[test]
fn the_quoted_key_and_the_bare_one_are_the_same() {
    let origin = charges();
    let proxy = start(&origin, "");
    pay(&proxy, "\"8e03978e\"");
    assert!(is_replayed(&pay(&proxy, "8e03978e")));
    assert_eq!(origin.count(), 1);
    assert_eq!(origin.requests()[0].header("idempotency-key"), Some("\"8e03978e\""));
}

#[test]
fn without_a_key_every_request_is_its_own_unless_one_is_required() {
    let origin = charges();
    let proxy = start(&origin, "");
    assert_eq!((pay(&proxy, "").status, pay(&proxy, "").status, origin.count()), (201, 201, 2));
    let strict = start(&origin, "required: true");
    let refused = pay(&strict, "");
    assert_eq!((refused.status, refused.reason()), (400, "idempotency_key_missing"));
    assert_eq!(refused.json()["type"], "urn:outboard:idempotency-key-missing");
    assert_eq!(refused.json()["detail"], "expected the header idempotency-key");
    // What changes nothing needs none.
    assert_eq!(Client::connect(strict.addr("inbound")).get("/v1/payments").status, 201);
    assert_eq!(origin.count(), 3);
    strict.await_metric(&result("missing"), 1.0);
}

#[test]
fn a_key_that_is_none_is_refused_and_never_sent_as_if_it_were_not_there() {
    let origin = charges();
    let proxy = start(&origin, "");
    let long = "k".repeat(256);
    for key in ["\"open", "a, b", "a b", "\"\"", long.as_str(), "k\u{e9}"] {
        let refused = pay(&proxy, key);
        assert_eq!((refused.status, refused.reason()), (400, "idempotency_key_malformed"), "{key}");
    }
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("X-Merchant-Id", "m"), ("Idempotency-Key", "a"), ("Idempotency-Key", "a")], BODY);
    assert_eq!(client.read_response().reason(), "idempotency_key_malformed");
    assert_eq!(origin.count(), 0);
    proxy.await_metric(&result("malformed"), 7.0);
}

#[test]
fn keys_are_their_owners_and_who_names_none_is_refused() {
    let origin = charges();
    let proxy = start(&origin, "");
    assert_eq!(
        pay_with(&proxy, &[("Idempotency-Key", "k"), ("X-Merchant-Id", "mer_1")], BODY).text(),
        "{\"charge\":1}"
    );
    assert_eq!(
        pay_with(&proxy, &[("Idempotency-Key", "k"), ("X-Merchant-Id", "mer_2")], BODY).text(),
        "{\"charge\":2}"
    );
    let refused = pay_with(&proxy, &[("Idempotency-Key", "k"), ("X-Merchant-Id", "")], BODY);
    assert_eq!((refused.status, refused.reason()), (400, "idempotency_owner_missing"));
    assert_eq!(refused.json()["detail"], "expected header:x-merchant-id, once and not empty");

    let by_credential = start(&origin, "missing_owner: credential");
    let pay = |token: &str| {
        pay_with(&by_credential, &[("Idempotency-Key", "k"), ("X-Merchant-Id", ""), ("Authorization", token)], BODY)
    };
    assert_eq!((pay("Bearer a").text(), pay("Bearer b").text()), ("{\"charge\":3}".into(), "{\"charge\":4}".into()));
    assert!(is_replayed(&pay("Bearer a")) && is_replayed(&pay("Bearer b")));
    assert_eq!((pay("").status, pay("").reason()), (400, "idempotency_owner_missing"));
    assert_eq!(origin.count(), 4);
}

#[test]
fn another_credential_of_the_right_owner_is_neither_sent_nor_given_the_answer() {
    let origin = charges();
    let proxy = start(&origin, "");
    pay(&proxy, "k");
    let renewed = pay_with(&proxy, &[("Idempotency-Key", "k"), ("Authorization", "Bearer renewed")], BODY);
    assert_eq!((renewed.status, renewed.reason()), (409, "idempotency_credential_changed"));
    assert!(!renewed.text().contains("charge\":"), "{}", renewed.text());
    // Nor is it told whether the payload is the same.
    let guess = pay_with(&proxy, &[("Idempotency-Key", "k"), ("Authorization", "Bearer renewed")], b"other");
    assert_eq!(guess.reason(), "idempotency_credential_changed");
    proxy.await_metric(&result("credential_changed"), 2.0);

    let trusting = start(&origin, "replay_to: owner");
    pay(&trusting, "k");
    let renewed = pay_with(&trusting, &[("Idempotency-Key", "k"), ("Authorization", "Bearer renewed")], BODY);
    assert!(is_replayed(&renewed));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_session_is_given_to_who_asked_first_and_to_nobody_else() {
    let origin = counted(|conn, _| {
        conn.write("HTTP/1.1 201 Created\r\nSet-Cookie: session=secret\r\nContent-Length: 2\r\n\r\n{}")
    });
    let proxy = start(&origin, "replay_to: owner");
    assert_eq!(pay(&proxy, "k").header("set-cookie"), Some("session=secret"));
    assert_eq!(pay(&proxy, "k").header("set-cookie"), Some("session=secret"));
    let other = pay_with(&proxy, &[("Idempotency-Key", "k"), ("Authorization", "Bearer other")], BODY);
    assert!(is_replayed(&other) && other.header("set-cookie").is_none());
}

#[test]
fn another_payload_under_the_same_key_is_refused() {
    let origin = charges();
    let proxy = start(&origin, "");
    pay(&proxy, "k");
    for (headers, body) in [
        (vec![], &b"{\"amount\":2000}"[..]),
        (vec![], b"{ \"amount\":1000}"),
        (vec![], b""),
        (vec![("Content-Type", "text/plain")], BODY),
        (vec![("Content-Encoding", "gzip")], BODY),
    ] {
        let headers: Vec<_> = headers.into_iter().chain([("Idempotency-Key", "k")]).collect();
        let refused = pay_with(&proxy, &headers, body);
        assert_eq!((refused.status, refused.reason()), (422, "idempotency_mismatch"), "{headers:?}");
    }
    // Another target, or another method, is another request as well.
    let mut client = Client::connect(proxy.addr("inbound"));
    let headers = [("X-Merchant-Id", "mer_1"), ("Authorization", "Bearer one"), ("Idempotency-Key", "k")];
    for (method, target) in [("POST", "/v1/payments?a=1"), ("POST", "/v1/refunds"), ("PUT", "/v1/payments")] {
        client.request(method, target, &headers, BODY);
        assert_eq!(client.read_response().reason(), "idempotency_mismatch", "{method} {target}");
    }
    assert_eq!(origin.count(), 1);
    assert!(is_replayed(&pay(&proxy, "k")), "the record is as it was");
}

#[test]
fn what_an_application_calls_with_the_same_key_has_a_record_of_its_own() {
    // The application hands its client's key on to its gateway, through the egress listener.
    let gateway = charges();
    let application = charges();
    let proxy = Proxy::start(&format!(
        "listeners:
  - {{ name: inbound, address: \"127.0.0.1:0\", direction: inbound }}
  - {{ name: egress, address: \"127.0.0.1:0\", direction: outbound }}
upstreams: {{ app: {{ endpoints: [\"{application}\"] }}, gateway: {{ endpoints: [\"{gateway}\"] }} }}
defaults: {{ idempotency: {{ owner: [header:x-merchant-id] }} }}
routes:
  - {{ name: pay, match: {{ listener: inbound }}, upstream: app }}
  - {{ name: charge, match: {{ listener: egress }}, upstream: gateway }}
"
    ));
    let headers = [("X-Merchant-Id", "mer_1"), ("Idempotency-Key", "k")];
    for listener in ["inbound", "egress", "inbound", "egress"] {
        let mut client = Client::connect(proxy.addr(listener));
        client.request("POST", "/v1/payments", &headers, BODY);
        assert_eq!(client.read_response().status, 201, "{listener}");
    }
    assert_eq!((application.count(), gateway.count()), (1, 1));
}

#[test]
fn a_replay_comes_even_where_the_application_does_not_answer_any_more() {
    let origin = charges();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], circuit_breaker: {{ mode: force_open }} }} }}\n\
         routes: [{{ name: pay, idempotency: {{ owner: [header:x-merchant-id] }} }}]\n"
    ));
    proxy.admin_post("/policies/pay/circuit_breaker/off", "");
    assert_eq!(pay(&proxy, "k").status, 201);
    proxy.admin_post("/policies/pay/circuit_breaker/on", "");
    assert!(is_replayed(&pay(&proxy, "k")));
    assert_eq!(pay(&proxy, "other").reason(), "breaker_open");
    // Also to one who waits to be told to send its body.
    let mut client = Client::connect(proxy.addr("inbound"));
    let headers = [
        ("X-Merchant-Id", "mer_1"),
        ("Authorization", "Bearer one"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "k"),
        ("Expect", "100-continue"),
        ("Content-Length", "15"),
    ];
    client.request("POST", "/v1/payments", &headers, b"");
    assert_eq!(client.read_head().unwrap().status, 100);
    client.send(BODY);
    assert!(is_replayed(&client.read_response()));
    assert_eq!(origin.count(), 1);
}
