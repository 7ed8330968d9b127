//! Places at an application: who keeps them from others, and who gives them back.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use common::http2_raw::{RST_STREAM, Raw, pseudo};
use common::*;

fn before(origin: impl std::fmt::Display, upstream: &str) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], {upstream} }} }}\n\
         routes: [{{ name: all }}]\n"
    )
}

/// An application that answers `/held` when it is told to, and all else at once.
fn holding() -> (Origin, Sender<()>) {
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if head.target == "/held" {
                let _ = wait.lock().unwrap().recv_timeout(patience() * 4);
            }
            conn.ok("fine");
        }
    });
    (origin, go)
}

fn used(proxy: &Proxy, places: f64) {
    proxy.await_metric("outboard_concurrency_used{upstream=\"app\"}", places);
}

fn waiting(proxy: &Proxy, requests: f64) {
    proxy.await_metric("outboard_queue_depth{priority=\"normal\",upstream=\"app\"}", requests);
}

/// The application has long written what they do not read.
#[test]
fn clients_that_do_not_read_their_answers_starve_nobody() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.ok(vec![b'x'; if head.target == "/large" { 32 << 20 } else { 1 }]);
        }
    });
    let proxy =
        Proxy::start(&before(&origin, "queue: { max_concurrent: 2, timeout: 3s, target_delay: 2s, interval: 2s }"));
    let mut greedy: Vec<Client> = (0..2).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    greedy.iter_mut().for_each(|client| client.request("GET", "/large", &[], b""));
    eventually("they are answered", || origin.count() == 2);
    let answer = Client::connect(proxy.addr("inbound")).get("/small");
    assert_eq!((answer.status, answer.reason()), (200, ""));
    // What they get is whole all the same, once they read it.
    for client in &mut greedy {
        assert_eq!(client.read_response().body.len(), 32 << 20);
    }
    used(&proxy, 0.0);
}

/// Nothing of their bodies is read while they wait. On HTTP/2 it is seen that they left nevertheless, and a connection that
/// opens streams and resets them cannot fill the queue.
#[test]
fn streams_that_are_reset_while_they_wait_leave_at_once() {
    let (origin, go) = holding();
    let queue = "queue: { max_concurrent: 1, max_queued: 5, timeout: 14s, target_delay: 10s, interval: 10s }";
    let proxy = Proxy::start(&before(&origin, queue));
    let mut holder = Client::connect(proxy.addr("inbound"));
    holder.request("GET", "/held", &[], b"");
    used(&proxy, 1.0);
    let mut raw = Raw::connect(proxy.addr("inbound"));
    for round in 0..3 {
        let streams: Vec<u32> = (0..5).map(|n| 1 + 2 * (round * 5 + n)).collect();
        for stream in &streams {
            raw.headers(*stream, &pseudo("POST", "/upload"), false);
            raw.data(*stream, b"a beginning", false);
        }
        waiting(&proxy, 5.0);
        streams.iter().for_each(|stream| raw.frame(RST_STREAM, 0, *stream, &8u32.to_be_bytes()));
        waiting(&proxy, 0.0);
    }
    go.send(()).unwrap();
    assert_eq!(holder.read_response().status, 200);
    assert_eq!(origin.count_of("/upload"), 0);
    used(&proxy, 0.0);
}

/// A request in flight holds the upstream that was replaced, and that one looks its names up no more.
#[test]
fn an_upstream_that_was_replaced_has_nothing_to_say_to_the_queue() {
    let (origin, go) = holding();
    let yaml = |places: u32| {
        let name = format!("localhost:{}", origin.address().port());
        before(name, &format!("dns_refresh: 100ms, queue: {{ max_concurrent: {places} }}"))
    };
    let proxy = Proxy::start(&yaml(3));
    let mut holder = Client::connect(proxy.addr("inbound"));
    holder.request("GET", "/held", &[], b"");
    used(&proxy, 1.0);
    proxy.write_config(&yaml(7));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    let limit = || proxy.metric("outboard_concurrency_limit{upstream=\"app\"}");
    assert_eq!(limit(), 7.0);
    assert!(!within(Duration::from_millis(700), || limit() != 7.0), "{}", limit());
    go.send(()).unwrap();
    assert_eq!(holder.read_response().status, 200);
    used(&proxy, 0.0);
}

#[test]
fn who_found_no_place_is_told_when_there_may_be_one() {
    let origin = Origin::serve(|conn| {
        while conn.read_head().is_some() {
            std::thread::sleep(Duration::from_millis(1200));
            conn.ok("fine");
        }
    });
    let proxy = Proxy::start(&before(&origin, "queue: { max_concurrent: 1, timeout: 300ms }"));
    let mut first = Client::connect(proxy.addr("inbound"));
    assert_eq!(first.get("/").status, 200);
    first.request("GET", "/", &[], b"");
    used(&proxy, 1.0);
    let answer = Client::connect(proxy.addr("inbound")).get("/");
    assert_eq!((answer.status, answer.reason(), answer.header("retry-after")), (503, "queue_timeout", Some("2")));
    assert_eq!(first.read_response().status, 200);
}

/// An alert on an open breaker that is no more would never end.
#[test]
fn what_a_reload_takes_away_is_shown_no_more() {
    let origin = Origin::echo();
    let sections = "queue: { max_concurrent: 3 }, circuit_breaker: {}";
    let proxy = Proxy::start(&before(&origin, sections));
    assert_eq!(proxy.admin_post("/breakers/upstream:app/open", "").status, 200);
    let shown = || {
        [
            "breaker_state{scope=\"upstream:app\"}",
            "concurrency_limit{upstream=\"app\"}",
            "policy_state{policy=\"circuit_breaker\",route=\"all\"}",
            "policy_state{policy=\"queue\",route=\"all\"}",
        ]
        .map(|series| proxy.metric(&format!("outboard_{series}")))
    };
    assert_eq!(shown(), [2.0, 3.0, 2.0, 2.0]);
    proxy.write_config(&before(&origin, "dns_refresh: 1m"));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    assert_eq!(shown(), [0.0; 4]);
    assert_eq!(Client::connect(proxy.addr("inbound")).get("/").status, 200);
}

/// What is only announced takes no memory: it cannot keep others from being served.
#[test]
fn bodies_that_do_not_come_leave_the_memory_to_others() {
    let origin = Origin::echo();
    let limits = "limits: { max_buffered: 128KiB }\n";
    let proxy = Proxy::start(&format!("{limits}{}", before(&origin, "dns_refresh: 1m")));
    let mut slow: Vec<Client> = (0..8).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    for client in &mut slow {
        client.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\nx");
    }
    proxy.await_metric("outboard_buffered_bytes", 8.0);
    let answer = Client::connect(proxy.addr("inbound")).post("/", &[b'x'; 1000]);
    assert_eq!((answer.status, answer.reason()), (200, ""));
    // What has come is bounded, whoever sent it.
    let bodies: Vec<_> = slow
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                let _ = client.try_send(vec![b'x'; 65535]);
                let answer = client.read_response();
                (answer.status, answer.reason().to_owned())
            })
        })
        .collect();
    let told: Vec<_> = bodies.into_iter().map(|body| body.join().unwrap()).collect();
    let known = [(200, String::new()), (503, "overloaded".to_owned())];
    assert!(told.iter().all(|t| known.contains(t)), "{told:?}");
    proxy.await_metric("outboard_buffered_bytes", 0.0);
}

/// Half-open, as many requests try as there are probes. Clients that send a byte now and then are no reason to keep all
/// others out until the time of their requests is over.
#[test]
fn probes_of_slow_clients_keep_nobody_out() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            match head.target.as_str() {
                "/fail" => conn.write("HTTP/1.1 500 Wrong\r\nContent-Length: 0\r\n\r\n"),
                _ => conn.ok("fine"),
            };
        }
    });
    let breaker = "circuit_breaker: { min_requests: 3, open_for: 300ms, half_open_probes: 2 }";
    let proxy = Proxy::start(&before(&origin, breaker));
    let mut client = Client::connect(proxy.addr("inbound"));
    (0..3).for_each(|_| assert_eq!(client.get("/fail").status, 500));
    assert_eq!(client.get("/").reason(), "breaker_open");
    proxy.await_metric("outboard_breaker_state{scope=\"upstream:app\"}", 1.0);
    let mut slow: Vec<Client> = (0..2).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    for client in &mut slow {
        client.send("POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    }
    eventually("both try", || proxy.admin_get("/breakers").json()["breakers"][0]["probes"] == 2);
    assert_eq!(client.get("/").reason(), "breaker_open");
    eventually("others may try", || client.get("/").status == 200);
    assert_eq!(client.get("/").status, 200);
    proxy.await_metric("outboard_breaker_state{scope=\"upstream:app\"}", 0.0);
    for client in &mut slow {
        client.send("0\r\n\r\n");
        assert_eq!(client.read_response().status, 200);
    }
}

/// What an attempt from before the reload makes of its breaker concerns nobody: another stands in its place.
#[test]
fn a_breaker_that_a_reload_replaced_sends_nobody_away() {
    let (origin, go) = holding();
    let sections = |over: &str| {
        format!(
            "queue: {{ max_concurrent: 1, timeout: 5s }}, circuit_breaker: {{ min_requests: 1, slow_call: {{ over: {over}, rate: 1% }} }}"
        )
    };
    let proxy = Proxy::start(&before(&origin, &sections("800ms")));
    let mut held = Client::connect(proxy.addr("inbound"));
    held.request("GET", "/held", &[], b"");
    eventually("it is there", || origin.count() == 1);
    proxy.write_config(&before(&origin, &sections("10s")));
    assert_eq!(proxy.admin_post("/reload", "").status, 200);
    let mut waits = Client::connect(proxy.addr("inbound"));
    waits.request("GET", "/", &[], b"");
    waiting(&proxy, 1.0);
    // Longer than the former breaker bears.
    let slow = std::time::Instant::now();
    eventually("the former breaker has judged", || slow.elapsed() > Duration::from_secs(1));
    waiting(&proxy, 1.0);
    assert_eq!(proxy.metric("outboard_breaker_state{scope=\"upstream:app\"}"), 0.0);
    go.send(()).unwrap();
    assert_eq!((held.read_response().status, waits.read_response().status), (200, 200));
}

/// The work is done: to be told that there is no room for its answer would be to be asked to do it again.
#[test]
fn a_post_whose_answer_is_a_stream_is_answered_above_the_limit_of_streams() {
    let origin = Origin::serve(|conn| {
        if let Some(head) = conn.read_head() {
            conn.read_body(&head);
            conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: done\n\n");
            if head.method == "GET" {
                conn.until_closed();
            }
        }
    });
    let limits = "limits: { max_event_streams: 1 }\n";
    let proxy = Proxy::start(&format!("{limits}{}", before(&origin, "dns_refresh: 1m")));
    let mut stream = Client::connect(proxy.addr("inbound"));
    stream.request("GET", "/", &[], b"");
    proxy.await_metric("outboard_event_streams", 1.0);
    let answer = Client::connect(proxy.addr("inbound")).post("/", b"charge");
    assert_eq!((answer.status, answer.text().as_str()), (200, "data: done\n\n"));
    assert_eq!(Client::connect(proxy.addr("inbound")).get("/").reason(), "overloaded", "asking again does no harm");
}
