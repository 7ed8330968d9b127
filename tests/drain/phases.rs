//! What is said to whom, and when the process ends.

use std::time::{Duration, Instant};

use super::common::{Client, Origin, Signal, eventually, http2, http2_raw};
use super::{LONG, gated, has_entered, proxy};

#[test]
fn readiness_fails_at_once_and_liveness_stays() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "1s", "");
    assert_eq!(proxy.admin_get("/readyz").status, 200);
    proxy.await_metric("outboard_drain_state", 1.0);
    proxy.signal(Signal::TERM);
    eventually("unready", || proxy.admin_get("/readyz").status == 503);
    assert!(!has_entered(&proxy, "draining"), "readiness fails before the listener closes");
    let page = proxy.admin_get("/readyz?verbose");
    assert_eq!((page.status, page.json()["reason"].as_str()), (503, Some("leaving")));
    assert_eq!(proxy.admin_get("/livez").status, 200);
    assert_eq!(proxy.metric("outboard_drain_state"), 2.0);
    assert!(proxy.metric("outboard_shutdown_duration_seconds") > 0.0);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn a_process_with_nothing_to_do_ends_right_at_the_delay() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "700ms", "");
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
    let took = start.elapsed();
    assert!((Duration::from_millis(700)..Duration::from_millis(1100)).contains(&took), "{took:?}");
    let states: Vec<_> = proxy.events("phase").iter().map(|line| line["new"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["ready", "leaving", "draining", "closing", "done"]);
}

#[test]
fn answers_during_the_delay_say_that_the_connection_ends() {
    let (origin, gate) = gated();
    let proxy = proxy(&origin, "1s", "");
    let mut early = Client::connect(proxy.addr("inbound"));
    early.request("GET", "/slow", &[], b"");
    eventually("in flight", || origin.count() == 1);
    let mut kept = Client::connect(proxy.addr("inbound"));
    assert_eq!(kept.get("/").header("connection"), None);
    proxy.signal(Signal::TERM);
    eventually("leaving", || has_entered(&proxy, "leaving"));
    // One that was kept, one that comes now, one whose request came before.
    assert_eq!(kept.get("/").header("connection"), Some("close"));
    assert!(kept.is_closed(Duration::from_millis(500)));
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    gate.open();
    assert_eq!(early.read_response().header("connection"), Some("close"));
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn idle_connections_end_one_by_one_over_the_last_quarter_of_the_delay() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "2s", "");
    let clients: Vec<Client> = (0..30)
        .map(|_| {
            let mut client = Client::connect(proxy.addr("inbound"));
            client.get("/");
            client
        })
        .collect();
    let term = Instant::now();
    proxy.signal(Signal::TERM);
    let ended: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                assert!(client.is_closed(Duration::from_secs(5)));
                term.elapsed()
            })
        })
        .collect();
    let mut ended: Vec<Duration> = ended.into_iter().map(|t| t.join().unwrap()).collect();
    ended.sort();
    let (first, last) = (ended[0], ended[ended.len() - 1]);
    assert!(first >= Duration::from_millis(1490) && last <= Duration::from_millis(2300), "{ended:?}");
    assert!(last - first > Duration::from_millis(200), "all at once: {ended:?}");
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn an_http2_client_is_sent_a_goaway_at_once_and_its_stream_goes_on() {
    let (origin, gate) = gated();
    let proxy = proxy(&origin, "500ms", "");
    let mut idle = http2_raw::Raw::connect(proxy.addr("inbound"));
    idle.headers(1, &http2_raw::pseudo("GET", "/"), true);
    assert_eq!(idle.outcome(1), http2_raw::Outcome::Answered(200));
    let client = http2::Client::connect(proxy.addr("inbound"));
    let stream = client.stream(http2::Client::build("GET", "/slow"), true).unwrap();
    eventually("in flight", || origin.count_of("/slow") == 1);
    proxy.signal(Signal::TERM);
    let term = Instant::now();
    assert_eq!(idle.outcome(3), http2_raw::Outcome::GoAway(0));
    assert!(term.elapsed() < Duration::from_millis(400), "GOAWAY after {:?}", term.elapsed());
    eventually("the client knows", || client.is_leaving());
    eventually("draining", || has_entered(&proxy, "draining"));
    gate.open();
    assert_eq!(stream.answer().unwrap().status, 200);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn a_connection_that_comes_late_over_http2_is_served_and_told_to_go() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "1s", "");
    proxy.signal(Signal::TERM);
    eventually("leaving", || has_entered(&proxy, "leaving"));
    let client = http2::Client::connect(proxy.addr("inbound"));
    assert_eq!(client.get("/").unwrap().status, 200);
    assert!(client.is_closed(Duration::from_millis(900)), "it is told to go after its first answer");
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn the_timeout_cuts_what_never_ends_and_the_exit_code_is_0() {
    let (origin, _gate) = gated();
    let drain = "drain: { delay: 100ms, timeout: 2500ms, allow_cut: true }\n";
    let proxy = super::Proxy::start(&super::common::yaml(&origin, drain));
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/slow", &[], b"charge");
    eventually("in flight", || origin.count() == 1);
    let term = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
    let took = term.elapsed();
    assert!((Duration::from_millis(2400)..Duration::from_millis(3000)).contains(&took), "{took:?}");
    let cut = proxy.events("drain_cut");
    assert_eq!(cut.len(), 1, "{cut:?}");
    assert_eq!(cut[0]["inbound"], 1);
}

#[test]
fn a_request_that_cannot_end_before_the_deadline_is_refused() {
    let (origin, _gate) = gated();
    // connect (1s) and one second are not left from the start.
    let drain = "drain: { delay: 1s, timeout: 1500ms, allow_cut: true }\n";
    let proxy = super::Proxy::start(&super::common::yaml(&origin, drain));
    proxy.signal(Signal::TERM);
    eventually("leaving", || has_entered(&proxy, "leaving"));
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    assert_eq!((answer.status, answer.reason()), (503, "draining"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let (origin, _gate) = gated();
    let proxy = proxy(&origin, "5s", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/slow", &[], b"");
    eventually("in flight", || origin.count() == 1);
    proxy.signal(Signal::TERM);
    eventually("leaving", || has_entered(&proxy, "leaving"));
    let again = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
    assert!(again.elapsed() < Duration::from_secs(1), "{:?}", again.elapsed());
    assert_eq!(proxy.events("ended_at_once").len(), 1);
}

#[test]
fn half_a_head_is_no_idle_connection() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "300ms", "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.get("/");
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n");
    proxy.signal(Signal::TERM);
    eventually("the listener is closed", || has_entered(&proxy, "draining"));
    client.send("\r\n");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}
