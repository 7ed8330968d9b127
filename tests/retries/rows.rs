//! The rows of "What is tried again" in docs/retries.md, one by one.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use h2::Reason;

use super::*;

const QUICK: &str = "backoff: { base: 1ms, max: 2ms }";

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn ask(proxy: &Proxy, method: &str, body: &[u8]) -> Response {
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request(method, "/", &[], body);
    client.try_read_response(method).unwrap()
}

/// An application that breaks the first `broken` requests off and answers the others.
fn breaking(broken: usize) -> Origin {
    scripted(move |conn, _, number| number >= broken && conn.ok("fine"))
}

/// Statuses and how often the application was asked, for each method.
fn by_method(route: &str, origin: impl Fn() -> Origin) -> Vec<(&'static str, u16, usize)> {
    let methods = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH"];
    let each = methods.map(|method| {
        let origin = origin();
        let proxy = before(&[origin.to_string()], "", route);
        (method, ask(&proxy, method, b"").status, origin.count())
    });
    each.to_vec()
}

#[test]
fn a_connection_that_broke_is_tried_again_for_safe_methods_alone() {
    let seen = by_method(&format!("retry: {{ {QUICK} }}"), || breaking(1));
    for (method, status, times) in seen {
        let safe = matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
        assert_eq!((status, times), if safe { (200, 2) } else { (502, 1) }, "{method}");
    }
    let seen = by_method(&format!("retry: {{ {QUICK}, methods: idempotent }}"), || breaking(1));
    for (method, status, times) in seen {
        let once = matches!(method, "POST" | "PATCH");
        assert_eq!((status, times), if once { (502, 1) } else { (200, 2) }, "{method}");
    }
}

#[test]
fn what_retry_on_does_not_name_is_not_tried_again() {
    let origin = breaking(1);
    let proxy = before(&[origin.to_string()], "", "retry: { retry_on: [connect, timeout, 503] }");
    let answer = ask(&proxy, "GET", b"");
    assert_eq!((answer.status, answer.reason(), origin.count()), (502, "upstream_reset", 1));
    let origin = Origin::answer(answer_of(503));
    let proxy = before(&[origin.to_string()], "", "retry: { retry_on: [connect, reset, 500, 502, 504] }");
    assert_eq!((ask(&proxy, "GET", b"").status, origin.count()), (503, 1));
}

fn answer_of(status: u16) -> String {
    super::answer(status, "", "of the application")
}

#[test]
fn off_means_that_nothing_is_tried_again() {
    // Not even after a kept connection was closed in the face of a request.
    let origin = scripted(|conn, _, number| number == 0 && conn.ok("fine"));
    let proxy = before(&[origin.to_string()], "", "retry: off");
    let mut client = Client::connect(proxy.addr("inbound"));
    assert_eq!(client.get("/").status, 200);
    assert_eq!((client.get("/").status, origin.count(), origin.connections()), (502, 2, 1));
    let proxy = before(&[nobody()], "", "retry: off");
    assert_eq!(ask(&proxy, "GET", b"").reason(), "upstream_connect");
    proxy.await_metric("outboard_attempts_total{outcome=\"connect\",upstream=\"app\"}", 1.0);
    assert_eq!(proxy.metric_sum("outboard_retries_total"), 0.0);
}

#[test]
fn who_cannot_be_connected_to_is_tried_again_whatever_the_method() {
    for method in ["GET", "POST"] {
        let proxy = before(&[nobody()], "", &format!("retry: {{ attempts: 3, {QUICK} }}"));
        let answer = ask(&proxy, method, b"body");
        assert_eq!((answer.status, answer.reason()), (502, "upstream_connect"));
        let failed = retries(&proxy, "failed");
        let connects = proxy.metric("outboard_attempts_total{outcome=\"connect\",upstream=\"app\"}");
        assert_eq!((connects, failed), (3.0, 2.0), "{method}: each is counted once");
        let line = proxy.access_line("/");
        assert_eq!((line["attempts"].as_u64(), line["upstream_sent"].as_str()), (Some(3), Some("none")), "{line}");
    }
    let proxy = before(&[nobody()], "", "retry: { non_idempotent: never }");
    assert_eq!(ask(&proxy, "POST", b"body").status, 502);
    assert_eq!(retries(&proxy, "failed"), 0.0);
}

#[test]
fn endpoints_that_cannot_be_connected_to_are_passed_over_within_one_attempt() {
    let origin = Origin::echo();
    let endpoints = [nobody(), nobody(), origin.to_string()];
    let proxy = before(&endpoints, "load_balance: round_robin", "retry: off");
    for _ in 0..6 {
        assert_eq!(ask(&proxy, "POST", b"body").status, 200);
    }
    assert_eq!((origin.count(), retries(&proxy, "ok")), (6, 0.0), "no retry was needed");
    // Three at most; what is left is another attempt.
    let endpoints = [nobody(), nobody(), nobody(), nobody()];
    let proxy = before(&endpoints, "load_balance: round_robin", "retry: { attempts: 2 }");
    assert_eq!(ask(&proxy, "GET", b"").reason(), "upstream_connect");
    assert_eq!(retries(&proxy, "failed"), 1.0);
    assert_eq!(proxy.access_line("/")["attempts"], 6);
    assert_eq!(proxy.metric("outboard_attempts_total{outcome=\"connect\",upstream=\"app\"}"), 6.0);
}

#[test]
fn the_next_attempt_goes_to_another_endpoint_where_there_is_one() {
    let (broken, good) = (scripted(|_, _, _| false), Origin::echo());
    let proxy = before(&[broken.to_string(), good.to_string()], "", &format!("retry: {{ {QUICK} }}"));
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "GET", b"").status, 200);
    }
    assert_eq!(good.count(), 20);
    assert!(broken.count() > 0, "it was asked first now and then");
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_time_and_no_place_in_the_backoff() {
    let origin = Origin::once_a_connection();
    let proxy = before(&[origin.to_string()], "", "retry: { backoff: { base: 10s, max: 10s } }");
    let mut client = Client::connect(proxy.addr("inbound"));
    let started = Instant::now();
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let post = client.post("/charge", b"x");
    assert_eq!(post.reason(), "upstream_reset", "it may have been seen");
    assert_eq!(origin.count_of("/charge"), 1);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_tried_again_where_timeout_is_named() {
    let hangs = |conn: &mut Conn, _: &Head, number: usize| {
        if number == 0 {
            conn.until_closed();
            return false;
        }
        conn.ok("fine")
    };
    let timeouts = "timeouts: { first_byte: 150ms }";
    let origin = scripted(hangs);
    let proxy = before(&[origin.to_string()], "", &format!("{timeouts}, retry: {{ retry_on: [timeout], {QUICK} }}"));
    assert_eq!((ask(&proxy, "GET", b"").status, origin.count()), (200, 2));
    let origin = scripted(hangs);
    let proxy = before(&[origin.to_string()], "", &format!("{timeouts}, retry: {{ retry_on: [timeout], {QUICK} }}"));
    assert_eq!((ask(&proxy, "POST", b"x").status, origin.count()), (504, 1));
    let origin = scripted(hangs);
    let proxy = before(&[origin.to_string()], "", timeouts);
    assert_eq!((ask(&proxy, "GET", b"").status, origin.count()), (504, 1), "not by default");
}

#[test]
fn per_attempt_gives_up_what_may_be_repeated_and_nothing_else() {
    let slow = || {
        scripted(|conn, _, _| {
            std::thread::sleep(Duration::from_millis(400));
            conn.ok("late")
        })
    };
    let route = format!("retry: {{ attempts: 2, per_attempt: 100ms, {QUICK} }}");
    let origin = slow();
    let proxy = before(&[origin.to_string()], "", &route);
    let started = Instant::now();
    assert_eq!((ask(&proxy, "GET", b"").text().as_str(), origin.count()), ("late", 2), "the last one has its time");
    assert!((490..900).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let origin = slow();
    let proxy = before(&[origin.to_string()], "", &route);
    assert_eq!((ask(&proxy, "POST", b"x").text().as_str(), origin.count()), ("late", 1), "its answer would be lost");
}

#[test]
fn a_status_is_tried_again_and_its_connection_is_kept() {
    for status in [429, 500, 502, 503, 504, 599] {
        let origin = scripted(move |conn, _, number| {
            conn.write(super::answer(if number == 0 { status } else { 200 }, "", "body"))
        });
        let proxy = before(&[origin.to_string()], "", &format!("retry: {{ retry_on: [{status}], {QUICK} }}"));
        let answer = ask(&proxy, "GET", b"");
        assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
        assert_eq!(
            (origin.count(), origin.connections()),
            (2, 1),
            "{status}: thrown away whole, its connection used again"
        );
        assert_eq!(retries(&proxy, "ok"), 1.0);
        let origin = Origin::answer(answer_of(status));
        let proxy = before(&[origin.to_string()], "", &format!("retry: {{ retry_on: [{status}], {QUICK} }}"));
        let answer = ask(&proxy, "POST", b"x");
        assert_eq!((answer.status, answer.text().as_str(), origin.count()), (status, "of the application", 1));
    }
}

#[test]
fn the_last_answer_is_passed_on_whole() {
    let large = "x".repeat(300_000);
    let whole = super::answer(503, "X-App: 1\r\n", &large);
    let origin = Origin::answer(whole);
    let proxy = before(&[origin.to_string()], "", &format!("retry: {{ attempts: 3, retry_on: [503], {QUICK} }}"));
    let answer = ask(&proxy, "GET", b"");
    assert_eq!((answer.status, answer.header("x-app"), answer.reason()), (503, Some("1"), ""));
    assert_eq!((answer.text(), origin.count()), (large, 3));
    assert_eq!(retries(&proxy, "failed"), 2.0);
}

#[test]
fn retry_after_is_waited_for_on_top_and_never_past_the_deadline() {
    let after = |seconds: &str| format!("Retry-After: {seconds}\r\n");
    let told = |fields: String| {
        scripted(move |conn, _, number| match number {
            0 => conn.write(super::answer(503, &fields, "busy")),
            _ => conn.ok("fine"),
        })
    };
    let route =
        format!("timeouts: {{ connect: 100ms, first_byte: 1s, total: 4s }}, retry: {{ retry_on: [503], {QUICK} }}");
    let dates = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:38 GMT\r\n".to_owned();
    for fields in [after("1"), dates] {
        let origin = told(fields);
        let proxy = before(&[origin.to_string()], "", &route);
        let started = Instant::now();
        assert_eq!((ask(&proxy, "GET", b"").status, origin.count()), (200, 2));
        assert!((1000..1700).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
    for seconds in ["5", "18446744073709551615"] {
        let origin = told(after(seconds));
        let proxy = before(&[origin.to_string()], "", &route);
        let started = Instant::now();
        let answer = ask(&proxy, "GET", b"");
        assert_eq!((answer.status, answer.text().as_str(), origin.count()), (503, "busy", 1), "{seconds}");
        assert_eq!(answer.header("retry-after"), Some(seconds));
        assert!(started.elapsed() < Duration::from_millis(500), "it is passed on at once");
    }
}

#[test]
fn an_answer_that_began_is_never_tried_again() {
    let origin = scripted(|conn, _, _| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        false
    });
    let proxy = before(&[origin.to_string()], "", &format!("retry: {{ attempts: 3, {QUICK} }}"));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    assert!(client.try_read_response("GET").is_err(), "it is broken off visibly");
    assert_eq!(origin.count(), 1);
}

/// An application of HTTP/2 that resets the first `count` streams.
fn resetting(count: usize, reason: Reason) -> H2Origin {
    let number = Arc::new(AtomicUsize::new(0));
    H2Origin::serve(move |request, mut respond| {
        let number = number.clone();
        async move {
            http2_origin::read(&mut request.into_body()).await;
            if number.fetch_add(1, Ordering::SeqCst) < count {
                respond.send_reset(reason);
                return;
            }
            let _ = respond.send_response(http::Response::new(()), true);
        }
    })
}

#[test]
fn a_stream_that_the_application_reset_is_a_reset_and_not_a_kept_connection_that_was_closed() {
    // The first request opens the connection, the others share it.
    let good = Arc::new(AtomicBool::new(true));
    let told = good.clone();
    let origin = H2Origin::serve(move |request, mut respond| {
        let good = told.load(Ordering::SeqCst);
        async move {
            http2_origin::read(&mut request.into_body()).await;
            if good {
                let _ = respond.send_response(http::Response::new(()), true);
            } else {
                respond.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    });
    let upstream = "protocol: h2c, circuit_breaker: { min_requests: 5, failure_rate: 50%, open_for: 30s }";
    let proxy = before(&[origin.to_string()], upstream, "retry: off");
    assert_eq!(ask(&proxy, "GET", b"").status, 200);
    good.store(false, Ordering::SeqCst);
    let reasons: Vec<String> = (0..8).map(|_| ask(&proxy, "POST", b"x").reason().to_owned()).collect();
    assert_eq!(origin.connections(), 1);
    assert_eq!(reasons[..4], ["upstream_reset"; 4].map(str::to_owned));
    assert_eq!(reasons[4..], ["breaker_open"; 4].map(str::to_owned), "four of five failed");
    // It is repeated like any reset: after its backoff, within the budget.
    let origin = resetting(usize::MAX, Reason::INTERNAL_ERROR);
    let route = format!("retry: {{ attempts: 5, {QUICK} }}");
    let proxy = before(&[origin.to_string()], "protocol: h2c, retry_budget: { ratio: 0%, min_per_second: 0 }", &route);
    assert_eq!(ask(&proxy, "GET", b"").status, 502);
    assert_eq!(ask(&proxy, "GET", b"").status, 502);
    assert_eq!((origin.count(), retries(&proxy, "budget")), (2, 2.0));
}

#[test]
fn a_refused_stream_is_sent_again_at_once_whatever_the_method() {
    let origin = resetting(1, Reason::REFUSED_STREAM);
    let route = "retry: { backoff: { base: 10s, max: 10s } }";
    let proxy = before(&[origin.to_string()], "protocol: h2c", route);
    let started = Instant::now();
    assert_eq!((ask(&proxy, "POST", b"x").status, origin.count()), (200, 2));
    assert!(started.elapsed() < Duration::from_secs(2));
    // Never for those that say so.
    let origin = resetting(1, Reason::REFUSED_STREAM);
    let proxy = before(&[origin.to_string()], "protocol: h2c", "retry: { non_idempotent: never }");
    assert_eq!((ask(&proxy, "POST", b"x").status, origin.count()), (502, 1));
}

#[test]
fn bodies_that_are_at_hand_are_sent_again_whole_and_streams_are_not() {
    let body = |length: usize| (0..length).map(|i| i as u8).collect::<Vec<_>>();
    let idempotent = format!("retry: {{ methods: idempotent, {QUICK} }}");
    for (length, times) in [(0, 2), (1, 2), (65_536, 2), (65_537, 1), (300_000, 1)] {
        let origin = breaking(1);
        let proxy = before(&[origin.to_string()], "", &idempotent);
        let answer = ask(&proxy, "PUT", &body(length));
        assert_eq!((origin.count(), answer.status), (times, if times == 2 { 200 } else { 502 }), "{length}");
        if times == 2 {
            assert_eq!(origin.requests()[1].body, body(length));
        }
    }
    // Chunked: its length is not known, so it streams.
    let origin = breaking(1);
    let proxy = before(&[origin.to_string()], "", &idempotent);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n");
    assert_eq!((client.read_response().status, origin.count()), (502, 1));
    // max_body is the most that is sent again, and less than what is at hand where it says so.
    let origin = breaking(1);
    let proxy =
        before(&[origin.to_string()], "", &format!("retry: {{ methods: idempotent, max_body: 1KiB, {QUICK} }}"));
    assert_eq!((ask(&proxy, "PUT", &body(1025)).status, origin.count()), (502, 1));
    assert_eq!((ask(&proxy, "PUT", &body(1024)).status, origin.count()), (200, 2));
}
