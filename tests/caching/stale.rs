//! What is stale and served all the same, and what is not.

use std::net::TcpListener;
use std::time::Duration;

use super::*;

const WINDOWS: &str = "stale_while_revalidate: 1m, stale_if_error: 1m";
const MINUTE: &str = "Cache-Control: max-age=60\r\n";

/// Answers the first of each target for a minute, and the others as told.
fn first_then(others: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> Origin {
    let seen = Mutex::new(std::collections::HashSet::new());
    scripted(move |head, number| {
        let is_first = seen.lock().unwrap().insert(head.target.clone());
        if is_first { Some(minute(&format!("answer {number}"))) } else { others(number) }
    })
}

fn await_refresh(proxy: &Proxy, result: &str, count: f64) {
    proxy.await_metric(&format!("outboard_cache_refresh_total{{result=\"{result}\"}}"), count);
}

#[test]
fn it_is_served_at_once_and_fetched_behind() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = first_then(move |number| {
        held.wait();
        Some(minute(&format!("answer {number}")))
    });
    let limit = "rate_limits: [{ name: few, key: [constant], limit: 5/1h }]";
    let proxy = Proxy::start(&yaml(&origin, &format!("routes: [{{ name: all, {limit}, cache: {{ {WINDOWS} }} }}]")));
    assert_eq!(ask(&proxy, "/", &[]).text(), "answer 0");
    expire(&proxy);
    for _ in 0..3 {
        let stale = ask(&proxy, "/", &[]);
        assert_eq!((stale.status, stale.text().as_str()), (200, "answer 0"));
        assert!(status(&stale).starts_with("outboard; hit; ttl="), "{stale:?}");
    }
    eventually("it is fetched", || origin.count() == 2);
    gate.open();
    await_refresh(&proxy, "stored", 1.0);
    assert_eq!(ask(&proxy, "/", &[]).text(), "answer 1", "the fifth: the refresh passed no limit");
    assert_eq!((ask(&proxy, "/", &[]).status, origin.count()), (429, 2));
    assert_eq!((results(&proxy, "stale"), results(&proxy, "hit")), (3.0, 1.0));
    // What nobody asked for is no request.
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    assert_eq!(proxy.metric("outboard_requests_total{method=\"GET\",route=\"all\",status=\"2xx\"}"), 5.0);
}

#[test]
fn head_refreshes_by_get() {
    let origin = first_then(|number| Some(minute(&format!("answer {number}"))));
    let proxy = start(&origin, WINDOWS);
    ask(&proxy, "/", &[]);
    expire(&proxy);
    assert_eq!(ask_by(&proxy, "HEAD", "/", &[]).status, 200);
    await_refresh(&proxy, "stored", 1.0);
    assert_eq!((origin.requests()[1].method.as_str(), ask(&proxy, "/", &[]).text().as_str()), ("GET", "answer 1"));
}

#[test]
fn at_most_sixteen_are_fetched_behind_at_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = first_then(move |number| {
        held.wait();
        Some(minute(&format!("answer {number}")))
    });
    let proxy = start(&origin, WINDOWS);
    for n in 0..24 {
        ask(&proxy, &format!("/{n}"), &[]);
    }
    expire(&proxy);
    for n in 0..24 {
        assert_eq!(ask(&proxy, &format!("/{n}"), &[]).text(), format!("answer {n}"));
    }
    await_refresh(&proxy, "dropped", 8.0);
    eventually("sixteen are at the application", || origin.count() == 40);
    gate.open();
    await_refresh(&proxy, "stored", 16.0);
    for n in 0..24 {
        ask(&proxy, &format!("/{n}"), &[]);
    }
    await_refresh(&proxy, "stored", 24.0);
}

#[test]
fn what_a_refresh_gets_decides() {
    // How it answers, whether what was stored is still served, what is counted.
    for (code, fields, kept, result) in [
        (401, "", false, "failed"),
        (403, "", false, "failed"),
        (404, "Cache-Control: max-age=60\r\n", true, "failed"),
        (500, "", true, "failed"),
        (503, "Retry-After: 1\r\n", true, "failed"),
        (302, "Location: /login\r\nCache-Control: max-age=60\r\n", true, "failed"),
        (200, "Cache-Control: no-store\r\n", false, "not_stored"),
        (200, "Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n", false, "not_stored"),
    ] {
        let origin = first_then(move |_| Some(answer(code, fields, "other")));
        let proxy = start(&origin, WINDOWS);
        ask(&proxy, "/", &[]);
        expire(&proxy);
        assert_eq!(ask(&proxy, "/", &[]).text(), "answer 0");
        await_refresh(&proxy, result, 1.0);
        let after = ask(&proxy, "/", &[]);
        assert_eq!(after.text(), if kept { "answer 0" } else { "other" }, "{code} {fields}");
    }
}

#[test]
fn a_refresh_that_is_told_that_nothing_changed_makes_it_fresh() {
    let origin = scripted(|head, _| match head.header("if-none-match") {
        Some(tag) => Some(format!("HTTP/1.1 304 Not Modified\r\n{MINUTE}ETag: {tag}\r\nX-New: 1\r\n\r\n")),
        None => Some(answer(200, "Cache-Control: max-age=60\r\nETag: \"e\"\r\n", "body")),
    });
    let proxy = start(&origin, WINDOWS);
    ask(&proxy, "/", &[]);
    expire(&proxy);
    ask(&proxy, "/", &[]);
    await_refresh(&proxy, "stored", 1.0);
    let after = ask(&proxy, "/", &[]);
    assert_eq!((after.text().as_str(), after.header("x-new"), origin.count()), ("body", Some("1"), 2));
    assert_eq!(results(&proxy, "hit"), 1.0);
}

#[test]
fn where_the_application_fails_it_is_served() {
    for (code, told) in [(500, true), (502, true), (503, true), (504, true), (501, false), (404, false), (429, false)] {
        let origin = first_then(move |_| Some(answer(code, "", "failed")));
        let proxy = start(&origin, "stale_if_error: 1m");
        ask(&proxy, "/", &[]);
        expire(&proxy);
        let after = ask(&proxy, "/", &[]);
        assert_eq!(after.text(), if told { "answer 0" } else { "failed" }, "{code}");
        if told {
            assert!(status(&after).contains(&format!("fwd-status={code}")), "{after:?}");
            assert_eq!((origin.count(), results(&proxy, "stale")), (2, 1.0));
            assert_eq!(ask(&proxy, "/", &[("Cache-Control", "no-cache")]).status, code, "who wants its word gets it");
        }
    }
}

#[test]
fn never_against_the_word_of_the_application() {
    for word in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let fields = format!("Cache-Control: max-age=60, {word}\r\nETag: \"e\"\r\n");
        let origin = scripted(move |_, number| {
            Some(if number == 0 { answer(200, &fields, "old") } else { answer(503, "", "failed") })
        });
        let proxy = start(&origin, WINDOWS);
        ask(&proxy, "/", &[]);
        expire(&proxy);
        let after = ask(&proxy, "/", &[]);
        assert_eq!((after.status, after.text().as_str()), (503, "failed"), "{word}");
    }
}

#[test]
fn where_nobody_can_be_connected_to_it_is_served() {
    let origin = first_then(|_| None);
    let proxy = start(&origin, "stale_if_error: 1m");
    ask(&proxy, "/", &[]);
    ask(&proxy, "/other", &[]);
    expire(&proxy);
    assert_eq!(ask(&proxy, "/", &[]).text(), "answer 0", "a connection that breaks");
    let address = origin.address();
    drop(origin);
    eventually("nobody listens", || TcpListener::bind(address).is_ok());
    let after = ask(&proxy, "/other", &[]);
    assert_eq!((after.status, after.text().as_str()), (200, "answer 1"));
    assert!(status(&after).contains("stale_if_error"), "{after:?}");
    assert_eq!(ask(&proxy, "/nothing", &[]).reason(), "upstream_connect");
}

#[test]
fn a_full_queue_and_an_open_breaker_are_no_reason_to_refuse() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |head, _| {
        if head.target == "/held" {
            held.wait();
        }
        Some(minute(&head.target))
    });
    let text = format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], circuit_breaker: {{}}, \
         queue: {{ max_concurrent: 1, max_queued: 0 }} }} }}\n\
         routes: [{{ name: all, cache: {{ stale_if_error: 1m }} }}]\n"
    );
    let proxy = Proxy::start(&text);
    assert_eq!(ask(&proxy, "/a", &[]).text(), "/a");
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    expire(&proxy);
    let mut other = Client::connect(proxy.addr("inbound"));
    other.request("GET", "/held", &[], b"");
    eventually("it has the place", || origin.count_of("/held") == 1);
    assert_eq!(ask(&proxy, "/b", &[]).reason(), "queue_full");
    assert_eq!((ask(&proxy, "/a", &[]).status, ask(&proxy, "/a", &[]).text().as_str()), (200, "/a"));
    gate.open();
    other.read_response();
    assert_eq!(proxy.admin_post("/breakers/upstream:app/open", "").status, 200);
    assert_eq!(ask(&proxy, "/b", &[]).reason(), "breaker_open");
    assert_eq!(ask(&proxy, "/a", &[]).text(), "/a");
    // Fresh answers never see either.
    assert_eq!(ask(&proxy, "/held", &[]).text(), "/held");
    assert_eq!(origin.count_of("/a"), 1);
}

#[test]
fn with_a_credential_for_a_minute_at_most() {
    let origin = scripted(|_, number| {
        // Fresh for a minute, and stale for more than one by its age.
        let fields = "Cache-Control: max-age=60, stale-if-error=3600\r\nAge: 125\r\n";
        Some(if number < 2 { answer(200, fields, "old") } else { answer(503, "", "failed") })
    });
    let proxy = start(&origin, "stale_if_error: 1h");
    let key: &[(&str, &str)] = &[("X-Api-Key", "k")];
    ask(&proxy, "/", &[]);
    ask(&proxy, "/", key);
    assert_eq!(ask(&proxy, "/", &[]).text(), "old", "without one for an hour");
    assert_eq!(ask(&proxy, "/", key).text(), "failed");
}

#[test]
fn the_drain_does_not_wait_for_a_refresh() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = first_then(move |_| {
        held.wait();
        Some(minute("late"))
    });
    let text = format!("drain: {{ delay: 100ms }}\nroutes: [{{ name: all, cache: {{ {WINDOWS} }} }}]");
    let proxy = Proxy::start(&yaml(&origin, &text));
    ask(&proxy, "/", &[]);
    expire(&proxy);
    ask(&proxy, "/", &[]);
    eventually("the refresh is at the application", || origin.count() == 2);
    proxy.signal(Signal::TERM);
    assert!(proxy.wait(Duration::from_secs(5)).success());
    gate.open();
}

#[test]
fn a_change_ends_what_is_stale_too() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |head, number| {
        if head.method == "GET" && number == 1 {
            held.wait();
        }
        Some(minute(&format!("answer {number}")))
    });
    let proxy = start(&origin, WINDOWS);
    ask(&proxy, "/", &[]);
    expire(&proxy);
    assert_eq!(ask(&proxy, "/", &[]).text(), "answer 0");
    eventually("the refresh is at the application", || origin.count() == 2);
    assert_eq!(Client::connect(proxy.addr("inbound")).post("/", b"new").status, 200);
    // Neither what was stale, nor what the refresh brings: both show what was before.
    assert_eq!(ask(&proxy, "/", &[]).text(), "answer 3");
    gate.open();
    await_stores(&proxy, "raced", 1.0);
    assert_eq!((ask(&proxy, "/", &[]).text().as_str(), origin.count()), ("answer 3", 4));
}

/// It got one more coding while it was asked whether it holds.
#[test]
fn a_refusal_ends_it_in_every_coding() {
    let long = "{\"a\": 1}".repeat(400);
    let fields = "Cache-Control: max-age=60\r\nContent-Type: application/json\r\n";
    let origin = scripted(move |_, number| {
        Some(if number == 0 { answer(200, fields, &long) } else { answer(403, "", "refused") })
    });
    let proxy = start(&origin, WINDOWS);
    assert_eq!(ask(&proxy, "/", &[]).status, 200);
    expire(&proxy);
    let stale = ask(&proxy, "/", &[("Accept-Encoding", "gzip")]);
    assert_eq!((stale.status, stale.header("content-encoding")), (200, Some("gzip")));
    await_refresh(&proxy, "failed", 1.0);
    assert_eq!(ask(&proxy, "/", &[]).text(), "refused");
}

#[test]
fn the_drain_does_not_wait_for_a_fetch_that_nobody_wants() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |_, _| {
        held.wait();
        Some(minute("late"))
    });
    let proxy = Proxy::start(&yaml(&origin, "drain: { delay: 100ms }\nroutes: [{ name: all, cache: {} }]"));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    eventually("the application is asked", || origin.count() == 1);
    client.reset();
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    proxy.signal(Signal::TERM);
    assert!(proxy.wait(Duration::from_secs(5)).success());
    gate.open();
}

#[test]
fn the_drain_waits_for_who_waits_for_a_fetch() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = scripted(move |_, _| {
        held.wait();
        Some(minute("late"))
    });
    let routes = "routes: [{ name: all, cache: { coalesce: { wait: 14s } } }]";
    let proxy = Proxy::start(&yaml(&origin, &format!("drain: {{ delay: 100ms }}\n{routes}")));
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    clients.iter_mut().for_each(|client| client.request("GET", "/", &[], b""));
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 5.0);
    clients.remove(0).reset();
    proxy.signal(Signal::TERM);
    eventually("nobody is let in any more", || std::net::TcpStream::connect(proxy.addr("inbound")).is_err());
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read_response().text(), "late");
    }
    assert!(proxy.wait(Duration::from_secs(10)).success());
}
