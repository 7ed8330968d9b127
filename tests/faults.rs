//! Faults on purpose: exactly those that were asked for, and nothing else takes them for real.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::{Client, Origin, Proxy, eventually, http2, yaml};

/// A proxy whose only route has this fault, and more keys of the route.
fn faulty(origin: &Origin, fault: &str, more: &str) -> Proxy {
    Proxy::start(&yaml(origin, &format!("routes: [{{ name: pay, fault: {fault}{more} }}]")))
}

fn injected(proxy: &Proxy, kind: &str) -> f64 {
    proxy.metric(&format!("outboard_faults_injected_total{{kind=\"{kind}\",route=\"pay\"}}"))
}

/// Six standard deviations around so many of `count` draws at `ratio`: one run in 500 million lies outside.
fn plausible(hits: usize, count: usize, ratio: f64) -> bool {
    let expected = count as f64 * ratio;
    (hits as f64 - expected).abs() <= 6.0 * (expected * (1.0 - ratio)).sqrt()
}

#[test]
fn a_share_of_the_requests_is_aborted_and_the_application_never_sees_them() {
    const COUNT: usize = 1000;
    let origin = Origin::echo();
    let proxy = faulty(&origin, "{ abort: { status: 429, ratio: 30% } }", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    let mut aborted = 0;
    for _ in 0..COUNT {
        let answer = client.post("/", b"body");
        match answer.status {
            200 => assert_eq!(answer.json()["body"], 4),
            _ => {
                aborted += 1;
                assert_eq!((answer.status, answer.reason()), (429, "fault_injected"), "{}", answer.text());
                assert_eq!(answer.json()["type"], "urn:outboard:fault-injected");
            }
        }
    }
    assert!(plausible(aborted, COUNT, 0.3), "{aborted} of {COUNT}");
    assert_eq!(origin.count(), COUNT - aborted);
    assert_eq!(injected(&proxy, "abort"), aborted as f64);
    assert_eq!(injected(&proxy, "delay"), 0.0);
    let refused = "outboard_refusals_total{reason=\"fault_injected\",route=\"pay\"}";
    proxy.await_metric(refused, aborted as f64);
    assert_eq!(proxy.metric("outboard_client_connections_total{listener=\"inbound\"}"), 1.0, "they are kept alive");
}

#[test]
fn a_share_of_the_requests_is_held_back() {
    const CLIENTS: usize = 10;
    const EACH: usize = 30;
    let hold = Duration::from_millis(60);
    let origin = Origin::echo();
    let proxy = faulty(&origin, "{ delay: { for: 60ms, ratio: 50% } }", "");
    let slow: usize = std::thread::scope(|scope| {
        let one = || {
            let mut client = Client::connect(proxy.addr("inbound"));
            let one = |_: usize| {
                let started = Instant::now();
                assert_eq!(client.get("/").status, 200);
                started.elapsed() >= hold
            };
            (0..EACH).map(one).filter(|slow| *slow).count()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        clients.into_iter().map(|c| c.join().unwrap()).sum()
    });
    let delayed = injected(&proxy, "delay") as usize;
    assert!(plausible(delayed, CLIENTS * EACH, 0.5), "{delayed} of {}", CLIENTS * EACH);
    assert!(slow >= delayed, "{delayed} were held back, {slow} took as long");
    assert_eq!(origin.count(), CLIENTS * EACH, "held back, and sent on");
}

#[test]
fn only_requests_that_carry_the_header_are_hit() {
    let origin = Origin::echo();
    let proxy = faulty(&origin, "{ abort: { ratio: 100% }, when: { header: x-fault } }", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    for value in ["1", "", "no"] {
        client.request("GET", "/", &[("X-Fault", value)], b"");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.reason()), (503, "fault_injected"), "{value:?}");
    }
    let mut head = http2::Client::build("GET", "/");
    head.headers_mut().insert("x-fault", "1".parse().unwrap());
    let answer = http2::Client::connect(proxy.addr("inbound")).stream(head, true).unwrap().answer().unwrap();
    assert_eq!((answer.status, answer.reason()), (503, "fault_injected"));
    assert_eq!((origin.count(), injected(&proxy, "abort")), (50, 4.0));
}

#[test]
fn a_stranger_cannot_ask_for_one_where_its_header_is_taken_away() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\", strip_from_untrusted: [x-fault] }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"] }} }}\n\
         routes: [{{ name: pay, fault: {{ abort: {{ ratio: 100% }}, when: {{ header: x-fault }} }} }}]\n"
    ));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[("x-fault", "1")], b"");
    assert_eq!(client.read_response().status, 200);
    assert_eq!(injected(&proxy, "abort"), 0.0);
}

#[test]
fn both_at_once_is_an_error_that_comes_late() {
    let origin = Origin::echo();
    let proxy = faulty(&origin, "{ abort: { status: 500, ratio: 100% }, delay: { for: 150ms, ratio: 100% } }", "");
    let started = Instant::now();
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    let took = started.elapsed();
    assert_eq!((answer.status, answer.reason()), (500, "fault_injected"));
    assert!(took >= Duration::from_millis(150) && took < Duration::from_millis(400), "{took:?}");
    assert_eq!((injected(&proxy, "abort"), injected(&proxy, "delay"), origin.count()), (1.0, 1.0, 0));
    let line = proxy.access_line("/");
    assert_eq!((&line["reason"], &line["upstream_sent"]), (&"fault_injected".into(), &"none".into()), "{line}");
}

#[test]
fn a_body_that_waits_out_a_delay_arrives_whole() {
    let origin = Origin::echo();
    let proxy = faulty(&origin, "{ delay: { for: 50ms, ratio: 100% } }", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    for length in [0, 1, 4000, 70_000, 300_000] {
        assert_eq!(client.post("/", &vec![b'x'; length]).json()["body"], length, "{length}");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.read_response().json()["body"], 5);
    // The next request of the same connection came while the first was held back.
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().json()["target"], "/1");
    assert_eq!(client.read_response().json()["target"], "/2");
    let answer = http2::Client::connect(proxy.addr("inbound")).post("/", vec![b'x'; 100_000]).unwrap();
    assert_eq!(answer.json()["body"], 100_000);
}

#[test]
fn a_client_that_leaves_during_a_delay_is_not_waited_for() {
    let origin = Origin::echo();
    let proxy = faulty(&origin, "{ delay: { for: 10s, ratio: 100% } }", "");
    let in_flight = "outboard_requests_in_flight{route=\"pay\"}";
    for (at, method) in ["GET", "POST"].into_iter().enumerate() {
        let started = Instant::now();
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request(method, &format!("/{method}"), &[], if method == "POST" { b"body" } else { b"" });
        proxy.eventually("it is held back", || injected(&proxy, "delay") == (at + 1) as f64);
        assert_eq!(proxy.metric(in_flight), 1.0);
        drop(client);
        proxy.await_metric(in_flight, 0.0);
        assert!(started.elapsed() < Duration::from_secs(9), "it was not waited for: {:?}", started.elapsed());
        let line = proxy.access_line(&format!("/{method}"));
        assert_eq!((&line["reason"], &line["client_left"]), (&"client_left".into(), &true.into()), "{line}");
        assert_eq!(line["upstream_sent"], "none");
    }
    proxy.await_metric("outboard_refusals_total{reason=\"client_left\",route=\"pay\"}", 2.0);
    assert_eq!(origin.connections(), 0, "nobody asked the application");
}

#[test]
fn a_delay_ends_with_the_requests_time() {
    let origin = Origin::echo();
    let times = ", timeouts: { connect: 100ms, first_byte: 100ms, total: 250ms }";
    let proxy = faulty(&origin, "{ delay: { for: 5s, ratio: 100% } }", times);
    let started = Instant::now();
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    let took = started.elapsed();
    assert_eq!((answer.status, answer.reason()), (504, "upstream_timeout"));
    assert!(took >= Duration::from_millis(250) && took < Duration::from_millis(600), "{took:?}");
    assert_eq!(origin.count(), 0);
}

#[test]
fn what_was_asked_for_is_no_failure_of_the_application() {
    let origin = Origin::echo();
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], circuit_breaker: {{ min_requests: 1 }}, outlier_detection: {{ \
         consecutive_failures: 1 }} }} }}\n\
         routes: [{{ name: pay, fault: {{ abort: {{ status: 500, ratio: 100% }}, when: {{ header: x-fault }} }}, retry: {{ \
         retry_on: [500] }} }}]\n"
    ));
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..30 {
        client.request("GET", "/", &[("x-fault", "1")], b"");
        assert_eq!(client.read_response().status, 500);
    }
    assert_eq!(injected(&proxy, "abort"), 30.0, "each once: nothing of it is tried again");
    assert_eq!(proxy.metric("outboard_breaker_state{scope=\"upstream:app\"}"), 0.0);
    assert_eq!(proxy.metric_sum("outboard_attempts_total"), 0.0);
    assert_eq!(proxy.metric_sum("outboard_endpoint_ejections_total"), 0.0);
    assert_eq!(client.get("/").status, 200);
    eventually("one attempt", || proxy.metric_sum("outboard_attempts_total") == 1.0);
}
