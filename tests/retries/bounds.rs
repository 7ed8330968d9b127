//! What bounds retries: the budget, the deadline, the drain, the breaker, and clients that leave.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::*;

const NONE: &str = "retry_budget: { ratio: 0%, min_per_second: 0 }";
const QUICK: &str = "backoff: { base: 1ms, max: 2ms }";

fn busy() -> Origin {
    Origin::answer(answer(503, "", "busy"))
}

fn ask(proxy: &Proxy, target: &str) -> Response {
    Client::connect(proxy.addr("inbound")).get(target)
}

#[test]
fn the_budget_bounds_what_is_sent_again() {
    let origin = busy();
    let upstream = "retry_budget: { ratio: 10%, min_per_second: 0 }";
    let proxy = before(&[origin.to_string()], upstream, &format!("retry: {{ attempts: 3, retry_on: [503], {QUICK} }}"));
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..200 {
        assert_eq!(client.get("/").text(), "busy", "the answer is passed on where it cannot be tried again");
    }
    let again = origin.count() - 200;
    assert!((15..=20).contains(&again), "{again} were sent again");
    assert_eq!(retries(&proxy, "failed"), again as f64);
    assert!(retries(&proxy, "budget") >= 180.0 - again as f64);
}

#[test]
fn the_reserve_is_for_those_who_ask_seldom() {
    let origin = busy();
    let upstream = "retry_budget: { ratio: 0%, min_per_second: 2 }";
    let proxy = before(&[origin.to_string()], upstream, &format!("retry: {{ retry_on: [503], {QUICK} }}"));
    let started = Instant::now();
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..60 {
        client.get("/");
    }
    let again = origin.count() - 60;
    let most = 20 + (started.elapsed().as_secs_f64() * 2.0).ceil() as usize;
    assert!((20..=most).contains(&again), "{again} of at most {most}");
}

#[test]
fn an_answer_for_which_no_budget_is_left_is_passed_on_whole() {
    let large = "x".repeat(500_000);
    let origin = Origin::answer(answer(503, "Retry-After: 7\r\n", &large));
    let proxy = before(&[origin.to_string()], NONE, "retry: { retry_on: [503] }");
    let told = ask(&proxy, "/");
    assert_eq!((told.status, told.header("retry-after"), told.text() == large), (503, Some("7"), true));
    assert_eq!((origin.count(), retries(&proxy, "budget")), (1, 1.0));
}

#[test]
fn what_cost_the_application_nothing_is_not_charged() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = refused.local_addr().unwrap().to_string();
    drop(refused);
    let proxy = before(&[address], NONE, &format!("retry: {{ {QUICK} }}"));
    assert_eq!(ask(&proxy, "/").reason(), "upstream_connect");
    assert_eq!(retries(&proxy, "budget"), 1.0, "connecting again is load");
    let number = AtomicUsize::new(0);
    let origin = H2Origin::serve(move |_, mut respond| {
        let first = number.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                let _ = respond.send_response(http::Response::new(()), true);
            }
        }
    });
    let proxy = before(&[origin.to_string()], &format!("protocol: h2c, {NONE}"), "retry: {}");
    assert_eq!((ask(&proxy, "/").status, retries(&proxy, "ok")), (200, 1.0));
}

#[test]
fn the_backoff_is_between_nothing_and_its_bound() {
    let origin = scripted(|_, _, _| false);
    let route = "retry: { attempts: 4, backoff: { base: 60ms, max: 100ms } }, timeouts: { total: 13s }";
    let proxy = before(&[origin.to_string()], "retry_budget: { ratio: 100%, min_per_second: 100 }", route);
    let waits: Vec<Duration> = (0..12)
        .map(|_| {
            let started = Instant::now();
            assert_eq!(ask(&proxy, "/").status, 502);
            started.elapsed()
        })
        .collect();
    // At most 60, 100 and 100 ms, on average half of that.
    let mean = waits.iter().sum::<Duration>() / waits.len() as u32;
    assert!(waits.iter().all(|w| *w < Duration::from_millis(260 + 150)), "{waits:?}");
    assert!((50..260).contains(&mean.as_millis()), "{mean:?} on average: {waits:?}");
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*most - *least > Duration::from_millis(20), "they do not come together: {waits:?}");
    assert_eq!(origin.count(), 48);
}

#[test]
fn nothing_is_tried_past_the_deadline() {
    let origin = scripted(|conn, _, _| {
        conn.until_closed();
        false
    });
    let route = "timeouts: { connect: 100ms, first_byte: 300ms, total: 700ms }, \
                 retry: { attempts: 10, retry_on: [timeout], backoff: { base: 50ms, max: 50ms } }";
    let proxy = before(&[origin.to_string()], "retry_budget: { ratio: 100%, min_per_second: 100 }", route);
    let started = Instant::now();
    assert_eq!(ask(&proxy, "/").reason(), "upstream_timeout");
    // Two tries take 600 ms; where the pauses leave no time for a third, it ends then.
    assert!((600..1000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert!((2..=3).contains(&origin.count()), "{}", origin.count());
}

#[test]
fn nothing_is_tried_again_while_the_process_leaves() {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let wait = Mutex::new(wait);
    let origin = scripted(move |conn, head, _| match head.target.as_str() {
        "/breaks" => {
            let _ = wait.lock().unwrap().recv_timeout(patience());
            false
        }
        _ => conn.ok("fine"),
    });
    let route = format!("retry: {{ attempts: 3, {QUICK} }}");
    let mut yaml = file(&[origin.to_string()], "", &route);
    yaml.push_str("drain: { delay: 1s }\n");
    let proxy = Proxy::start(&yaml);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/breaks", &[], b"");
    eventually("it is asked", || origin.count_of("/breaks") == 1);
    proxy.signal(Signal::TERM);
    proxy.await_metric("outboard_drain_state", 2.0);
    go.send(()).unwrap();
    let told = client.read_response();
    assert_eq!((told.status, told.reason()), (502, "upstream_reset"));
    assert_eq!(origin.count_of("/breaks"), 1);
}

#[test]
fn nothing_is_tried_again_while_a_breaker_is_open() {
    let origin = busy();
    let upstream =
        "circuit_breaker: { min_requests: 3, open_for: 30s }, retry_budget: { ratio: 100%, min_per_second: 100 }";
    let route = format!("retry: {{ attempts: 10, retry_on: [503], {QUICK} }}");
    let proxy = before(&[origin.to_string()], upstream, &route);
    let told = ask(&proxy, "/");
    assert_eq!((told.status, told.text().as_str()), (503, "busy"), "the answer that opened it is passed on");
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_client_that_leaves_ends_the_wait() {
    let origin = Origin::answer(answer(503, "Retry-After: 5\r\n", "busy"));
    let route = "retry: { retry_on: [503], attempts: 2 }";
    let proxy = before(&[origin.to_string()], "", route);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/left", &[], b"");
    eventually("it was asked", || origin.count() == 1);
    client.reset();
    let line = proxy.access_line("/left");
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(499), Some("client_left")), "{line}");
    assert!(line["duration_ms"].as_f64().unwrap() < 4000.0);
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    assert_eq!(origin.count(), 1, "nobody asks for it any more");
}

/// What is unsafe runs to its end when its client leaves: it is not given up for a try that nobody waits for.
#[test]
fn per_attempt_does_not_end_what_its_client_left_behind() {
    let origin = scripted(|conn, _, _| {
        std::thread::sleep(Duration::from_millis(600));
        conn.ok("charged")
    });
    let route = "retry: { non_idempotent: upstream_deduplicates, per_attempt: 200ms }";
    let proxy = before(&[origin.to_string()], "honours_idempotency_keys: true", route);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/charge", &[("Idempotency-Key", "k")], b"body");
    eventually("it was asked", || origin.count() == 1);
    client.reset();
    let line = proxy.access_line("/charge");
    let told = (line["status"].as_u64(), line["client_left"].as_bool(), origin.count());
    assert_eq!(told, (Some(200), Some(true), 1), "its answer was read: {line}");
}

#[test]
fn a_request_that_waits_to_be_tried_again_holds_no_place() {
    let origin = scripted(|conn, head, number| match (head.target.as_str(), number) {
        ("/busy", 0) => conn.write(answer(503, "Retry-After: 2\r\n", "busy")),
        _ => conn.ok("fine"),
    });
    let upstream = "queue: { max_concurrent: 1, timeout: 500ms }";
    let route = format!("retry: {{ retry_on: [503], {QUICK} }}");
    let proxy = before(&[origin.to_string()], upstream, &route);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ask(&proxy, "/busy").status);
        eventually("it was asked", || origin.count() == 1);
        let mut client = Client::connect(proxy.addr("inbound"));
        for _ in 0..20 {
            assert_eq!(client.get("/").status, 200, "the only place is free");
        }
        assert_eq!(waits.join().unwrap(), 200);
    });
    proxy.await_metric("outboard_concurrency_used{upstream=\"app\"}", 0.0);
}
