//! What an operator switches while traffic flows: policies of routes, breakers, and everything at once by OUTBOARD_BYPASS.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::sync::{Arc, Condvar, Mutex};

use common::{Client, Origin, Proxy, Response, eventually};

/// A proxy before one upstream with these keys, and one route `pay` with those.
fn yaml(origin: &Origin, upstream: &str, route: &str) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"]{upstream} }} }}\n\
         routes: [{{ name: pay{route} }}]\n"
    )
}

fn start(origin: &Origin, upstream: &str, route: &str) -> Proxy {
    Proxy::start(&yaml(origin, upstream, route))
}

const ABORT: &str = ", fault: { abort: { status: 418, ratio: 100% } }";

fn get(proxy: &Proxy) -> Response {
    Client::connect(proxy.addr("inbound")).get("/")
}

/// POST /policies/pay/{policy}/{word}, which has to do it.
#[track_caller]
fn switch(proxy: &Proxy, policy: &str, word: &str, body: &str) -> serde_json::Value {
    let answer = proxy.admin_post(&format!("/policies/pay/{policy}/{word}"), body);
    assert_eq!(answer.status, 200, "{policy} {word}: {}", answer.text());
    answer.json()
}

/// What the gauge says of a policy of the route: 0 off, 1 observe, 2 on.
fn state(proxy: &Proxy, policy: &str) -> f64 {
    proxy.metric(&format!("outboard_policy_state{{policy=\"{policy}\",route=\"pay\"}}"))
}

fn observed(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!("outboard_observed_refusals_total{{reason=\"{reason}\",route=\"pay\"}}"))
}

#[test]
fn a_fault_is_switched_off_and_on() {
    let origin = Origin::echo();
    let proxy = start(&origin, "", ABORT);
    let both = || (get(&proxy).status, state(&proxy, "fault"));
    assert_eq!(both(), (418, 2.0));
    let done = switch(&proxy, "fault", "off", "");
    assert_eq!(done, serde_json::json!({ "route": "pay", "policy": "fault", "switch": "off", "seconds_left": null }));
    assert_eq!(both(), (200, 0.0));
    switch(&proxy, "fault", "on", "{}");
    assert_eq!(both(), (418, 2.0));
    switch(&proxy, "fault", "off", "");
    switch(&proxy, "fault", "reset", "");
    assert_eq!(both(), (418, 2.0));
    assert_eq!(proxy.admin_get("/policies").json()["switched"].as_array().unwrap().len(), 0);
    // Each is one line that says who did what.
    eventually("a line for each", || proxy.events("admin").iter().filter(|l| l["action"] == "policy").count() == 4);
    let lines = proxy.events("admin");
    let orders: Vec<_> =
        lines.iter().filter(|l| l["action"] == "policy").map(|l| l["order"].as_str().unwrap()).collect();
    let expected = ["off", "on", "off", "reset"].map(|word| format!("/policies/pay/fault/{word}"));
    assert_eq!(orders, expected);
    assert!(
        lines.iter().all(|l| l["result"] == "ok" && l["peer"].as_str().unwrap().starts_with("127.0.0.1:")),
        "{lines:?}"
    );
}

/// Answers 503 to the first of each two requests.
fn every_other() -> Origin {
    let count = Mutex::new(0);
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            let first = {
                let mut count = count.lock().unwrap();
                *count += 1;
                *count % 2 == 1
            };
            if first {
                conn.write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
            } else {
                conn.ok("better");
            }
        }
    })
}

#[test]
fn retries_are_switched_off_and_on() {
    let origin = every_other();
    let proxy = start(&origin, "", ", retry: { retry_on: [503], backoff: { base: 1ms, max: 1ms } }");
    assert_eq!((get(&proxy).status, origin.count(), state(&proxy, "retry")), (200, 2, 2.0));
    switch(&proxy, "retry", "off", "");
    assert_eq!((get(&proxy).status, origin.count(), state(&proxy, "retry")), (503, 3, 0.0));
    assert_eq!((get(&proxy).status, origin.count()), (200, 4));
    switch(&proxy, "retry", "on", "");
    assert_eq!((get(&proxy).status, origin.count(), state(&proxy, "retry")), (200, 6, 2.0));
    // Counted once the client has its answer.
    for (outcome, count) in [("ok", 2.0), ("failed", 0.0), ("budget", 0.0)] {
        proxy.await_metric(&format!("outboard_retries_total{{outcome=\"{outcome}\",route=\"pay\"}}"), count);
    }
}

#[test]
fn a_breaker_is_switched_for_one_route_alone() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], circuit_breaker: {{ mode: force_open }} }} }}\n\
         routes: [{{ name: pay, match: {{ path: / }} }}, {{ name: other }}]\n"
    ));
    let answer = get(&proxy);
    assert_eq!((answer.status, answer.reason()), (503, "breaker_open"));
    assert!(answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s >= 1)), "{answer:?}");
    switch(&proxy, "circuit_breaker", "observe", "");
    assert_eq!((get(&proxy).status, state(&proxy, "circuit_breaker")), (200, 1.0));
    switch(&proxy, "circuit_breaker", "off", "");
    assert_eq!((get(&proxy).status, state(&proxy, "circuit_breaker")), (200, 0.0));
    let other = Client::connect(proxy.addr("inbound")).get("/other");
    assert_eq!((other.status, other.reason()), (503, "breaker_open"), "another route at the same upstream");
    for word in ["on", "reset"] {
        switch(&proxy, "circuit_breaker", word, "");
        assert_eq!((get(&proxy).status, state(&proxy, "circuit_breaker")), (503, 2.0), "{word}");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_only_observes_is_switched_on() {
    let origin = Origin::answer("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
    let breaker = ", circuit_breaker: { min_requests: 3, mode: observe, open_for: 1h }";
    let proxy = start(&origin, breaker, ", retry: off");
    assert_eq!(state(&proxy, "circuit_breaker"), 1.0);
    for _ in 0..6 {
        assert_eq!(get(&proxy).reason(), "");
    }
    assert_eq!((origin.count(), observed(&proxy, "breaker_open")), (6, 3.0));
    switch(&proxy, "circuit_breaker", "on", "");
    assert_eq!((get(&proxy).reason(), state(&proxy, "circuit_breaker")), ("breaker_open", 2.0));
    assert_eq!(origin.count(), 6);
}

type Gate = Arc<(Mutex<bool>, Condvar)>;

/// An application that answers `/held` once its gate is open, and everything else at once.
fn gated() -> (Origin, Gate) {
    let gate: Gate = Arc::default();
    let held = gate.clone();
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if head.target == "/held" {
                let _open = held.1.wait_while(held.0.lock().unwrap(), |open| !*open).unwrap();
            }
            conn.ok("done");
        }
    });
    (origin, gate)
}

/// When a breaker opens all who wait are sent away, but for those whom it does not concern.
#[test]
fn who_waits_where_the_breaker_is_switched_off_waits_on_when_it_opens() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], circuit_breaker: {{}}, \
         queue: {{ max_concurrent: 1, timeout: 9s, target_delay: 8s, interval: 8s }} }} }}\n\
         routes: [{{ name: other, match: {{ path: /other }} }}, {{ name: pay }}]\n"
    ));
    switch(&proxy, "circuit_breaker", "off", "");
    let mut held = Client::connect(proxy.addr("inbound"));
    held.request("GET", "/held", &[], b"");
    eventually("it holds the only place", || origin.count() == 1);
    let mut other = Client::connect(proxy.addr("inbound"));
    other.request("GET", "/other", &[], b"");
    let mut pay = Client::connect(proxy.addr("inbound"));
    pay.request("GET", "/", &[], b"");
    let depth = "outboard_queue_depth{priority=\"normal\",upstream=\"app\"}";
    proxy.await_metric(depth, 2.0);
    assert_eq!(proxy.admin_post("/breakers/upstream:app/open", "").status, 200);
    assert_eq!(other.read_response().reason(), "breaker_open");
    proxy.await_metric(depth, 1.0);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!((held.read_response().status, pay.read_response().status), (200, 200));
}

#[test]
fn a_queue_is_switched_off_and_on() {
    let (origin, gate) = gated();
    let proxy = start(&origin, ", queue: { max_concurrent: 1, max_queued: 0 }", "");
    let mut held = Client::connect(proxy.addr("inbound"));
    held.request("GET", "/held", &[], b"");
    eventually("it holds the only place", || origin.count() == 1);
    let full = get(&proxy);
    assert_eq!((full.status, full.reason(), state(&proxy, "queue")), (503, "queue_full", 2.0));
    switch(&proxy, "queue", "observe", "");
    assert_eq!((get(&proxy).status, state(&proxy, "queue"), observed(&proxy, "queue_full")), (200, 1.0, 1.0));
    switch(&proxy, "queue", "off", "");
    assert_eq!((get(&proxy).status, state(&proxy, "queue"), observed(&proxy, "queue_full")), (200, 0.0, 1.0));
    switch(&proxy, "queue", "on", "");
    assert_eq!((get(&proxy).reason(), state(&proxy, "queue")), ("queue_full", 2.0));
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(held.read_response().status, 200);
    proxy.await_metric("outboard_concurrency_used{upstream=\"app\"}", 0.0);
    assert_eq!(get(&proxy).status, 200, "every place was given back, whatever was switched meanwhile");
}

#[test]
fn a_switch_ends_by_itself() {
    let origin = Origin::echo();
    let proxy = start(&origin, "", ABORT);
    let done = switch(&proxy, "fault", "off", "{\"for\": \"1500ms\"}");
    assert_eq!(done["seconds_left"], 2.0);
    assert_eq!((get(&proxy).status, state(&proxy, "fault")), (200, 0.0));
    let shown = proxy.admin_get("/policies").json();
    assert_eq!(shown["switched"][0]["switch"], "off");
    assert!((1.0..=2.0).contains(&shown["switched"][0]["seconds_left"].as_f64().unwrap()), "{shown}");
    eventually("it is over", || get(&proxy).status == 418);
    assert_eq!(state(&proxy, "fault"), 2.0);
    assert_eq!(proxy.admin_get("/policies").json()["switched"].as_array().unwrap().len(), 0);
    // A later one without an end replaces one that has one.
    switch(&proxy, "fault", "off", "{\"for\": \"1h\"}");
    switch(&proxy, "fault", "off", "");
    assert_eq!(proxy.admin_get("/policies").json()["switched"][0]["seconds_left"], serde_json::Value::Null);
}

#[test]
fn what_is_unknown_or_impossible_is_refused_with_what_is_known() {
    let origin = Origin::echo();
    let proxy = start(&origin, "", ABORT);
    for (path, body, status, expected) in [
        ("/policies/pya/fault/off", "", 404, "no such route: pya; known: pay"),
        (
            "/policies/pay/faults/off",
            "",
            404,
            "no such policy: faults; known: rate_limits, queue, circuit_breaker, retry, fault",
        ),
        ("/policies/pay/fault/of", "", 404, "no such word: of; known: on, observe, off, reset"),
        ("/policies/pay/fault", "", 404, "expected /policies/ROUTE/POLICY/WORD"),
        ("/policies/pay/fault/off/", "", 404, "expected /policies/ROUTE/POLICY/WORD"),
        ("/policies/pay/fault/observe", "", 422, "expected on or off: fault cannot observe"),
        ("/policies/pay/retry/observe", "", 422, "expected on or off: retry cannot observe"),
        ("/policies/pay/queue/off", "", 422, "route pay has no queue: there is nothing to switch"),
        ("/policies/pay/circuit_breaker/on", "", 422, "route pay has no circuit_breaker"),
        ("/policies/pay/fault/off", "{\"for\": \"0s\"}", 422, "for: expected more than zero"),
        ("/policies/pay/fault/off", "{\"for\": 900}", 400, "expected a duration such as 250ms"),
        ("/policies/pay/fault/off", "{\"fro\": \"15m\"}", 400, "unknown field `fro`"),
        ("/policies/pay/fault/off", "off", 400, ""),
        ("/breakers/upstream:app/open", "", 404, "no such breaker: upstream:app; there are none"),
    ] {
        let answer = proxy.admin_post(path, body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        let problem = answer.json();
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{path} {body}: {problem}");
    }
    assert_eq!((get(&proxy).status, state(&proxy, "fault")), (418, 2.0), "nothing was switched");
    let failed = || proxy.events("admin").iter().filter(|l| l["result"] == "failed").count();
    eventually("each is a line", || failed() == 14);
}

#[test]
fn a_reload_keeps_a_switch() {
    let origin = Origin::echo();
    let proxy = start(&origin, "", ABORT);
    switch(&proxy, "fault", "off", "");
    proxy.write_config(&yaml(&origin, "", &format!("{ABORT}, timeouts: {{ idle: 9s }}")));
    let reloaded = proxy.admin_post("/reload", "");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!((get(&proxy).status, state(&proxy, "fault")), (200, 0.0));
    switch(&proxy, "fault", "reset", "");
    assert_eq!((get(&proxy).status, state(&proxy, "fault")), (418, 2.0));
}

#[test]
fn a_breaker_is_told_by_hand() {
    let origin = Origin::echo();
    let breakers = ", circuit_breaker: { window: 1m, min_requests: 10 }";
    let proxy = start(&origin, breakers, breakers);
    let shown = proxy.admin_get("/breakers").json();
    let scopes: Vec<_> = shown["breakers"].as_array().unwrap().iter().map(|b| b["scope"].as_str().unwrap()).collect();
    assert_eq!(scopes, ["upstream:app", "route:pay"]);
    for scope in ["upstream:app", "route:pay"] {
        let tell = |word: &str| {
            let answer = proxy.admin_post(&format!("/breakers/{scope}/{word}"), "");
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()
        };
        let gauge = || proxy.metric(&format!("outboard_breaker_state{{scope=\"{scope}\"}}"));
        let count = origin.count();
        assert_eq!((get(&proxy).status, gauge()), (200, 0.0));

        let told = tell("open");
        assert_eq!((&told["state"], &told["by_hand"]), (&"open".into(), &true.into()), "{told}");
        let answer = get(&proxy);
        assert_eq!((answer.status, answer.reason(), gauge()), (503, "breaker_open", 2.0));
        assert!(answer.header("retry-after").is_some());
        assert_eq!(origin.count(), count + 1, "the application is left alone");

        let told = tell("close");
        assert_eq!((&told["state"], &told["calls"]), (&"closed".into(), &0.into()), "an empty window: {told}");
        assert_eq!((get(&proxy).status, gauge()), (200, 0.0));

        tell("open");
        let told = tell("reset");
        assert_eq!(told["by_hand"], false, "{told}");
        eventually("its own rules hold again", || get(&proxy).status == 200);
        let opened = format!("outboard_breaker_transitions_total{{scope=\"{scope}\",to=\"open\"}}");
        assert_eq!(proxy.metric(&opened), 2.0);
        let lines = || proxy.events("breaker").into_iter().filter(|l| l["scope"] == scope && l["new"] == "open");
        eventually("a line for each transition", || lines().count() == 2);
        assert!(lines().all(|l| l["old"] == "closed" && l["level"] == "info"), "{:?}", lines().collect::<Vec<_>>());
    }
    for (path, status, expected) in [
        ("/breakers/route:app/open", 404, "no such breaker: route:app; known: upstream:app, route:pay"),
        ("/breakers/route:pay/opne", 404, "no such word: opne; known: open, close, reset"),
        ("/breakers/route:pay", 404, "expected /breakers/SCOPE/WORD"),
    ] {
        let answer = proxy.admin_post(path, "");
        assert_eq!((answer.status, answer.json()["detail"].as_str()), (status, Some(expected)), "{path}");
    }
    assert_eq!(proxy.admin_post("/breakers/route:pay/open", "{\"for\": \"1m\"}").status, 400);
    eventually("orders are lines", || {
        proxy.events("admin").iter().any(|l| l["order"] == "/breakers/upstream:app/close")
    });
}

/// Everything that could refuse or hold back a request.
const ALL: (&str, &str) = (
    ", queue: { max_concurrent: 1, max_queued: 0 }, circuit_breaker: { mode: force_open }",
    ", fault: { abort: { ratio: 100% }, delay: { for: 5s, ratio: 100% } }, max_concurrent: 1, circuit_breaker: { mode: \
     force_open }",
);

#[test]
fn a_bypass_is_a_plain_proxy() {
    let (origin, gate) = gated();
    let text = yaml(&origin, ALL.0, ALL.1);
    let proxy = Proxy::with_env(&text, &[("OUTBOARD_BYPASS", "1")]);
    let plain = || {
        assert_eq!((get(&proxy).status, get(&proxy).reason()), (200, ""));
        assert_eq!(proxy.metric("outboard_bypass"), 1.0);
        assert_eq!(proxy.metric_sum("outboard_faults_injected_total"), 0.0);
        assert_eq!(proxy.admin_get("/breakers").json()["breakers"].as_array().unwrap().len(), 0);
    };
    let mut held = Client::connect(proxy.addr("inbound"));
    held.request("GET", "/held", &[], b"");
    eventually("it is in work", || origin.count() == 1);
    plain();
    let warnings = proxy.events("bypass");
    assert_eq!((warnings.len(), &warnings[0]["level"]), (1, &"warn".into()), "{warnings:?}");
    // What is not there cannot be switched, and a reload brings nothing back.
    assert_eq!(proxy.admin_post("/policies/pay/fault/on", "").status, 422);
    proxy.write_config(&text.replace("for: 5s", "for: 6s"));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    plain();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(held.read_response().status, 200);
    // What forwarding needs stays.
    assert_eq!(state(&proxy, "retry"), 2.0);
}

#[test]
fn without_it_nothing_is_bypassed() {
    let origin = Origin::echo();
    for value in ["0", "", "off"] {
        let proxy = Proxy::with_env(&yaml(&origin, "", ABORT), &[("OUTBOARD_BYPASS", value)]);
        assert_eq!((get(&proxy).status, proxy.metric("outboard_bypass")), (418, 0.0), "{value:?}");
        assert!(proxy.events("bypass").is_empty());
    }
    assert_eq!(start(&origin, "", ABORT).metric("outboard_bypass"), 0.0);
}
