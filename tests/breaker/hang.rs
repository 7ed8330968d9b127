//! An application that stops answering and returns.

use std::time::{Duration, Instant};

use super::*;
use common::load::{App, open_loop, percentile};

const RATE: usize = 100;
const OVER: Duration = Duration::from_secs(1);
const OPEN_FOR: Duration = Duration::from_secs(2);
const FIRST_BYTE: Duration = Duration::from_secs(3);

#[test]
fn an_application_that_hangs_is_left_alone_and_is_whole_again_soon_after_it_returns() {
    assert_eq!(script("attempts: 3", FIRST_BYTE), 0.0, "what is slow opens it before anything is tried again");
}

/// Attempts that are given up early are tried again until it opens. While it is half-open the others still hold all places.
#[test]
fn retries_add_little_to_an_application_that_hangs() {
    let again = script("attempts: 3, per_attempt: 500ms", FIRST_BYTE + Duration::from_secs(1));
    assert!(again > 0.0, "{again}");
}

/// `OUTBOARD_HANG=20` for the whole of it. The longest that a request may take is given; returns how many retries there were.
fn script(retry: &str, longest: Duration) -> f64 {
    let seconds = std::env::var("OUTBOARD_HANG").ok().and_then(|s| s.parse().ok()).unwrap_or(6);
    let (before_it, hang, after_it) =
        (Duration::from_secs(2), Duration::from_secs(seconds), OPEN_FOR + Duration::from_secs(4));
    let app = App::start(64, Duration::from_millis(10));
    let upstream = format!(
        "queue: {{ max_concurrent: 32, max_queued: 1000, timeout: 1s }}, \
         circuit_breaker: {{ window: 10s, min_requests: 20, slow_call: {{ over: {}s, rate: 80% }}, open_for: {}s }}",
        OVER.as_secs(),
        OPEN_FOR.as_secs()
    );
    let route = format!(
        "timeouts: {{ first_byte: {}s, total: 8s }}, \
         retry: {{ {retry}, retry_on: [connect, reset, timeout, 502, 503, 504] }}",
        FIRST_BYTE.as_secs()
    );
    let proxy = before(app.address(), &upstream, &route);
    let addr = proxy.addr("inbound");
    let mut opened = None;
    let started = Instant::now();
    let samples = std::thread::scope(|scope| {
        let time = before_it + hang + after_it;
        let load = scope
            .spawn(move || open_loop(addr, RATE, time, |number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")));
        assert!(!within(before_it - started.elapsed(), || state(&proxy) != CLOSED), "it is closed while all is well");
        app.hang(true);
        let hung = Instant::now();
        assert!(within(Duration::from_secs(10), || state(&proxy) == OPEN), "it opens");
        opened = Some((hung - started, hung.elapsed()));
        within(hang.saturating_sub(hung.elapsed()), || false);
        app.hang(false);
        load.join().unwrap()
    });
    let (hung, after) = opened.unwrap();
    let returned = hung + hang;
    let bound = OVER + Duration::from_secs_f64(20.0 / RATE as f64) + Duration::from_secs(1);
    println!("opened {after:.2?} after the hang began, bound {bound:.2?}");
    assert!(after < bound, "{after:?}");

    // Nothing waits for a dead application: who waited in the queue is told when it opens, who comes later at once.
    let slack = Duration::from_millis(300);
    let waited = samples.iter().filter(|s| s.reason == "breaker_open" && s.at < hung + after);
    for sample in waited {
        assert!(sample.at + sample.took < hung + after + slack, "told when it opened: {sample:?}");
    }
    let in_between = |s: &&load::Sample| s.at > hung + after + slack && s.at < returned;
    let mut refused: Vec<Duration> =
        samples.iter().filter(in_between).filter(|s| s.reason == "breaker_open").map(|s| s.took).collect();
    let others = samples.iter().filter(in_between).filter(|s| s.reason != "breaker_open").count();
    let half_opened = (hang.as_secs_f64() / OPEN_FOR.as_secs_f64()).ceil() as usize;
    println!("{} refused at once, {others} tried, {half_opened} times half-open", refused.len());
    assert!(others <= half_opened * 5, "only probes are tried: {others}");
    assert!(percentile(&mut refused, 0.99) < Duration::from_millis(100), "{:?}", percentile(&mut refused, 0.99));
    for sample in &samples {
        assert!(sample.took < longest + slack, "nobody waits longer than the rules say: {sample:?}");
        assert_ne!(sample.status, 0, "everybody is answered: {sample:?}");
    }

    // Whole again.
    let whole = returned + OPEN_FOR + Duration::from_secs(2);
    let late: Vec<_> = samples.iter().filter(|s| s.at > whole && s.status != 200).collect();
    assert!(late.is_empty(), "{} failed later than {whole:?}: {:?}", late.len(), late.first());
    let last = samples.iter().filter(|s| s.status != 200).map(|s| s.at).max().unwrap();
    println!("whole {:.2?} after the return", last.saturating_sub(returned));

    // The retries that were sent are within the budget, as they are counted and as the application saw it.
    at_rest(&proxy);
    eventually("all is in the log", || proxy.access_lines().len() >= samples.len());
    let tried = proxy.access_lines().iter().filter(|line| line["upstream_sent"] != "none").count();
    let again = proxy.metric_sum("outboard_retries_total")
        - proxy.metric("outboard_retries_total{outcome=\"budget\",route=\"all\"}");
    let most = 0.2 * tried as f64 + 3.0 * (started.elapsed().as_secs_f64() + 10.0);
    println!("{} sent by clients, {} came, {again} retries of at most {most:.0}", samples.len(), app.received());
    assert!(again <= most, "{again}");
    assert!(app.received() as f64 <= tried as f64 + again, "{} came, {tried} and {again} were sent", app.received());
    proxy.await_metric("outboard_concurrency_used{upstream=\"app\"}", 0.0);
    again
}

/// Clients that give up before the application could be given up on.
#[test]
fn a_hang_is_seen_though_every_client_leaves() {
    let app = App::start(64, Duration::from_millis(5));
    let upstream = "circuit_breaker: { min_requests: 20, slow_call: { over: 200ms, rate: 80% }, open_for: 30s }";
    let proxy = before(app.address(), upstream, "");
    let addr = proxy.addr("inbound");
    for _ in 0..10 {
        assert_eq!(get(&proxy).status, 200);
    }
    app.hang(true);
    let hung = Instant::now();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let mut client = Client::connect(addr);
                    client.wire.set_read_timeout(Some(Duration::from_millis(300)));
                    client.request("GET", "/", &[], b"");
                    let _ = client.try_read_response("GET");
                }
            });
        }
        let opened = within(Duration::from_secs(5), || state(&proxy) == OPEN);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(opened, "{:?}", told(&proxy));
    });
    println!("opened after {:.2?}", hung.elapsed());
    // 8 clients every 300 ms: some 27 requests a second.
    assert!(hung.elapsed() < Duration::from_millis(200 + 20 * 1000 / 27 + 1000), "{:?}", hung.elapsed());
    assert!(told(&proxy)[0][2].starts_with("slow"), "{:?}", told(&proxy));
    assert_eq!(proxy.metric("outboard_attempts_total{outcome=\"timeout\",upstream=\"app\"}"), 0.0, "none ended so");
}

#[test]
fn clients_that_leave_a_healthy_application_open_nothing() {
    let app = App::start(100, Duration::from_millis(150));
    let upstream = "circuit_breaker: { min_requests: 5, failure_rate: 1%, slow_call: { over: 1s, rate: 1% } }";
    let proxy = before(app.address(), upstream, "");
    for sent in 1..=60 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[], b"");
        eventually("it was asked", || app.received() == sent);
        client.reset();
    }
    proxy.await_metric("outboard_attempts_total{outcome=\"client_left\",upstream=\"app\"}", 60.0);
    assert_eq!((state(&proxy), told(&proxy).len()), (CLOSED, 0));
    let calls = proxy.admin_get("/breakers").json()["breakers"][0]["calls"].clone();
    assert_eq!(calls, 0, "they say nothing of it: {}", proxy.admin_get("/breakers").text());
}

#[test]
fn open_answers_do_not_touch_the_application() {
    let app = App::start(8, Duration::from_millis(1));
    let proxy = before(app.address(), "circuit_breaker: { open_for: 1m }", "");
    assert_eq!(get(&proxy).status, 200);
    assert_eq!(proxy.admin_post("/breakers/upstream:app/open", "").status, 200);
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..1000 {
        assert_eq!(client.get("/").reason(), "breaker_open");
    }
    assert_eq!(app.received(), 1);
    proxy.await_metric("outboard_refusals_total{reason=\"breaker_open\",route=\"all\"}", 1000.0);
}
