//! Half-open: a few are let through to see whether the application is back.

use super::*;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

const FAILS: u8 = 0;
const HOLDS: u8 = 1;
const GOOD: u8 = 2;

/// An application that fails, answers, or holds requests until it is told what to do with them.
#[derive(Clone, Default)]
struct Mood(Arc<(AtomicU8, AtomicUsize, Mutex<u16>, Condvar)>);

impl Mood {
    fn set(&self, mood: u8) {
        self.0.0.store(mood, Ordering::SeqCst);
    }

    /// Requests that are held now, or were.
    fn held(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    /// Those that are held are answered so, and those to come.
    fn release(&self, status: u16) {
        *self.0.2.lock().unwrap() = status;
        self.0.3.notify_all();
    }

    fn serve(&self) -> Origin {
        let mood = self.clone();
        Origin::serve(move |conn| {
            while let Some(head) = conn.read_head() {
                conn.read_body(&head);
                let status = match mood.0.0.load(Ordering::SeqCst) {
                    FAILS => 500,
                    GOOD => 200,
                    _ => {
                        mood.0.1.fetch_add(1, Ordering::SeqCst);
                        let status = mood.0.2.lock().unwrap();
                        *mood.0.3.wait_while(status, |status| *status == 0).unwrap()
                    }
                };
                conn.write(answer(status, "x"));
            }
        })
    }
}

fn breaker(probes: usize) -> String {
    format!("circuit_breaker: {{ min_requests: 5, open_for: 400ms, half_open_probes: {probes} }}")
}

/// A proxy whose breaker is half-open, before an application that holds what comes.
fn half_open(probes: usize) -> (Mood, Origin, Proxy) {
    let mood = Mood::default();
    let origin = mood.serve();
    let proxy = before(&origin, &breaker(probes), "");
    for _ in 0..5 {
        assert_eq!(get(&proxy).status, 500, "what opens it is passed on");
    }
    assert_eq!(get(&proxy).reason(), "breaker_open");
    mood.set(HOLDS);
    await_state(&proxy, HALF_OPEN);
    (mood, origin, proxy)
}

fn all(proxy: &Proxy, clients: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[], b"");
        client
    };
    (0..clients).map(ask).collect()
}

#[test]
fn exactly_so_many_probes_reach_the_application_and_close_it_when_they_are_good() {
    let (mood, origin, proxy) = half_open(3);
    let before = origin.count();
    let clients = all(&proxy, 20);
    eventually("the probes are there", || mood.held() == 3);
    proxy.await_metric("outboard_refusals_total{reason=\"breaker_open\",route=\"all\"}", 18.0);
    assert_eq!(origin.count(), before + 3);
    mood.set(GOOD);
    mood.release(200);
    let answers: Vec<Response> = clients.into_iter().map(|mut client| client.read_response()).collect();
    assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 3);
    for refused in answers.iter().filter(|a| a.status != 200) {
        assert_eq!((refused.status, refused.reason()), (503, "breaker_open"));
        assert!(refused.header("retry-after").is_some());
    }
    await_state(&proxy, CLOSED);
    for _ in 0..20 {
        assert_eq!(get(&proxy).status, 200);
    }
    eventually("all is in the log", || told(&proxy).len() >= 3);
    let expected =
        [["closed", "open", "failure_rate"], ["open", "half_open", "waited"], ["half_open", "closed", "probes_good"]];
    assert_eq!(told(&proxy), expected.map(|line| line.map(str::to_owned)));
    for (to, times) in [("open", 1.0), ("half_open", 1.0), ("closed", 1.0)] {
        assert_eq!(transitions(&proxy, to), times, "{to}");
    }
    let line = &proxy.events("breaker")[0];
    assert_eq!(
        (line["scope"].as_str(), line["calls"].as_u64(), line["failed"].as_u64()),
        (Some("upstream:app"), Some(5), Some(5))
    );
    assert_eq!(line["level"], "info");
}

#[test]
fn probes_that_fail_open_it_again() {
    let (mood, _origin, proxy) = half_open(3);
    let clients = all(&proxy, 3);
    eventually("the probes are there", || mood.held() == 3);
    mood.set(FAILS);
    mood.release(502);
    clients.into_iter().for_each(|mut client| assert_eq!(client.read_response().status, 502));
    eventually("it is open again", || told(&proxy).len() >= 3);
    assert_eq!(told(&proxy)[2], ["half_open", "open", "probes_failed"].map(str::to_owned));
    // And again, for as long as it lasts; then it closes.
    eventually("it tried again", || {
        get(&proxy);
        transitions(&proxy, "open") >= 3.0
    });
    mood.set(GOOD);
    eventually("it closes", || get(&proxy).status == 200 && state(&proxy) == CLOSED);
}

#[test]
fn a_probe_whose_client_leaves_gives_its_place_to_another() {
    let (mood, origin, proxy) = half_open(1);
    for held in 1..=5 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[], b"");
        eventually("it is let through", || mood.held() == held);
        assert_eq!(get(&proxy).reason(), "breaker_open", "there is one probe");
        client.reset();
        proxy.await_metric("outboard_attempts_total{outcome=\"client_left\",upstream=\"app\"}", held as f64);
        assert_eq!(state(&proxy), HALF_OPEN, "it said nothing");
    }
    mood.set(GOOD);
    mood.release(200);
    assert_eq!(get(&proxy).status, 200);
    await_state(&proxy, CLOSED);
    assert_eq!(origin.count(), 5 + 5 + 1);
}

/// An unsafe request goes on when its client leaves; as a probe it has its say then.
#[test]
fn a_probe_that_its_client_left_behind_still_closes_it() {
    let (mood, _origin, proxy) = half_open(1);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[], b"charge");
    eventually("it is let through", || mood.held() == 1);
    client.reset();
    mood.release(200);
    await_state(&proxy, CLOSED);
}

#[test]
fn a_probe_of_which_nothing_is_heard_is_taken_back() {
    let mood = Mood::default();
    let origin = mood.serve();
    let route = "timeouts: { connect: 100ms, first_byte: 900ms, total: 1s, stream_max: 1m }, stream: true, retry: off";
    let upstream = "circuit_breaker: { min_requests: 5, open_for: 400ms, half_open_probes: 1, slow_call: off }";
    let proxy = before(&origin, upstream, route);
    for _ in 0..5 {
        get(&proxy);
    }
    mood.set(HOLDS);
    await_state(&proxy, HALF_OPEN);
    // Each of them ends after 900 ms without an answer: a failure, so it opens; and then there is another probe.
    for _ in 0..2 {
        assert_eq!(get(&proxy).reason(), "upstream_timeout");
        assert_eq!(get(&proxy).reason(), "breaker_open");
        await_state(&proxy, HALF_OPEN);
    }
    assert_eq!(mood.held(), 2);
    mood.release(200);
}

#[test]
fn retries_are_no_probes() {
    let (mood, origin, proxy) = {
        let mood = Mood::default();
        let origin = mood.serve();
        let route = "retry: { attempts: 5, retry_on: [500], backoff: { base: 1ms, max: 1ms } }";
        let proxy = before(&origin, &breaker(5), route);
        (mood, origin, proxy)
    };
    assert_eq!(get(&proxy).status, 500);
    assert_eq!((origin.count(), state(&proxy)), (5, OPEN), "five attempts of one request");
    await_state(&proxy, HALF_OPEN);
    assert_eq!(get(&proxy).status, 500);
    assert_eq!(origin.count(), 6, "a probe that failed is not tried again");
    mood.set(GOOD);
    eventually("it closes", || get(&proxy).status == 200 && state(&proxy) == CLOSED);
}
