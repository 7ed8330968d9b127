//! Whatever the application does, an unsafe request of which it may have seen a byte is never sent twice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::before;
use super::chaos::{Http1, Http2, Seen};
use crate::common::*;

/// A proxy before an application, and which requests may be sent twice there.
struct Case {
    name: &'static str,
    proxy: Proxy,
    seen: Seen,
    repeatable: fn(&Request) -> bool,
}

/// What is sent.
#[derive(Debug)]
struct Request {
    method: &'static str,
    key: Key,
}

/// How it carries an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    None,
    Sent,
    /// It is named in Connection, so that it ends at the proxy.
    Ends,
    Empty,
}

fn is_safe(request: &Request) -> bool {
    matches!(request.method, "GET" | "HEAD" | "OPTIONS")
}

const TIMEOUTS: &str = "timeouts: { connect: 500ms, first_byte: 80ms, idle: 300ms, total: 2s }";
const ALL: &str = "retry_on: [connect, reset, timeout, 429, 502, 503], backoff: { base: 1ms, max: 5ms }";
const NO_BOUND: &str = "retry_budget: { ratio: 100%, min_per_second: 1000 }";

fn cases(seed: u64, http1: &mut Vec<Http1>, http2: &mut Vec<Http2>) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, upstream: &str, retry: &str, over2: bool, repeatable: fn(&Request) -> bool| {
        let (address, seen, protocol) = if over2 {
            let app = Http2::start(seed);
            let told = (app.address, app.seen.clone(), "h2c");
            http2.push(app);
            told
        } else {
            let app = Http1::start(seed);
            let told = (app.address, app.seen.clone(), "http1");
            http1.push(app);
            told
        };
        let upstream = format!("protocol: {protocol}, {NO_BOUND}, pool: {{ reuse_for_unsafe: 4s }} {upstream}");
        let proxy = before(&[address.to_string()], &upstream, &format!("{TIMEOUTS}, retry: {{ {retry} }}"));
        cases.push(Case { name, proxy, seen, repeatable });
    };
    let many = format!("attempts: 4, {ALL}, per_attempt: 40ms");
    case("defaults", "", "", false, is_safe);
    case("everything", "", &many, false, is_safe);
    case("everything, two attempts", "", &format!("attempts: 2, {ALL}"), false, is_safe);
    case("never", "", &format!("{many}, non_idempotent: never"), false, is_safe);
    case("idempotent", "", &format!("{many}, methods: idempotent"), false, |r| {
        is_safe(r) || matches!(r.method, "PUT" | "DELETE")
    });
    let deduplicates = format!("{many}, non_idempotent: upstream_deduplicates");
    let honours = ", honours_idempotency_keys: true";
    case("deduplicates", honours, &deduplicates, false, |r| is_safe(r) || r.key == Key::Sent);
    case("defaults over HTTP/2", "", "", true, is_safe);
    case("everything over HTTP/2", "", &many, true, is_safe);
    case("deduplicates over HTTP/2", honours, &deduplicates, true, |r| is_safe(r) || r.key == Key::Sent);
    cases
}

const CLIENTS: usize = 24;

/// `OUTBOARD_SEED` replays a run, `OUTBOARD_REQUESTS` says how many.
#[test]
fn an_unsafe_request_that_may_have_been_seen_is_never_sent_twice() {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seed = from_env("OUTBOARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    let wanted = from_env("OUTBOARD_REQUESTS").unwrap_or(9000);
    println!("OUTBOARD_SEED={seed}");
    let (mut http1, mut http2) = (Vec::new(), Vec::new());
    let cases = cases(seed, &mut http1, &mut http2);
    let next = AtomicU64::new(1);
    let unsafe_ones = Mutex::new(Vec::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (cases, next, unsafe_ones) = (&cases, &next, &unsafe_ones);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed ^ client as u64);
                let mut ours = Vec::new();
                while next.load(Ordering::Relaxed) < wanted {
                    let case = &cases[random.usize(..cases.len())];
                    let mut connection = Client::connect(case.proxy.addr("inbound"));
                    for _ in 0..random.usize(1..20) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let request = draw(&mut random);
                        let goes_on = send(&mut connection, &request, number, &mut random);
                        if !(case.repeatable)(&request) {
                            ours.push((case, number, request));
                        }
                        if !goes_on {
                            break;
                        }
                    }
                }
                unsafe_ones.lock().unwrap().append(&mut ours);
            });
        }
    });
    // Those whose clients left have ended too.
    for case in &cases {
        case.proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    }
    let unsafe_ones = unsafe_ones.into_inner().unwrap();
    let mut twice = Vec::new();
    for (case, number, request) in &unsafe_ones {
        let times = case.seen.times(*number);
        if times > 1 {
            twice.push(format!("{}: {request:?} was read {times} times, as /{number}", case.name));
        }
    }
    let repeated: usize = cases.iter().map(|case| case.seen.repeated()).sum();
    let sent = next.load(Ordering::Relaxed) - 1;
    println!(
        "{sent} requests in {:.1?}, {} of them unsafe; {repeated} of the others were sent again",
        started.elapsed(),
        unsafe_ones.len()
    );
    assert!(
        twice.is_empty(),
        "OUTBOARD_SEED={seed}: {} were sent twice: {:#?}",
        twice.len(),
        &twice[..twice.len().min(5)]
    );
    assert!(repeated as u64 > sent / 50, "only {repeated} of {sent} were sent again at all: the test shows nothing");
}

fn draw(random: &mut fastrand::Rng) -> Request {
    let methods = ["GET", "HEAD", "OPTIONS", "POST", "POST", "POST", "PUT", "DELETE", "PATCH"];
    let keys = [Key::None, Key::Sent, Key::Ends, Key::Empty];
    Request { method: methods[random.usize(..methods.len())], key: keys[random.usize(..keys.len())] }
}

/// Sends it and waits for the answer; `false` where there is no next request on this connection.
fn send(client: &mut Client, request: &Request, number: u64, random: &mut fastrand::Rng) -> bool {
    let mut out = format!("{} /{number} HTTP/1.1\r\nHost: a\r\n", request.method);
    out.push_str(match request.key {
        Key::None => "",
        Key::Sent => "Idempotency-Key: k\r\n",
        Key::Ends => "Idempotency-Key: k\r\nConnection: Idempotency-Key\r\n",
        Key::Empty => "Idempotency-Key:\r\n",
    });
    let mut out = out.into_bytes();
    let body: usize = match random.u8(0..8) {
        0..=2 => 0,
        3..=6 => random.usize(1..4000),
        _ => random.usize(66_000..200_000),
    };
    if random.u8(0..5) == 0 {
        out.extend_from_slice(format!("Transfer-Encoding: chunked\r\n\r\n{:X}\r\n", body.max(1)).as_bytes());
        out.resize(out.len() + body.max(1), b'x');
        out.extend_from_slice(b"\r\n0\r\n\r\n");
    } else if body > 0 {
        out.extend_from_slice(format!("Content-Length: {body}\r\n\r\n").as_bytes());
        out.resize(out.len() + body, b'x');
    } else {
        out.extend_from_slice(b"\r\n");
    }
    // In parts, now and then: the application may end before all of it came.
    let cut = if random.u8(0..4) == 0 { random.usize(..out.len()) } else { out.len() };
    if client.try_send(&out[..cut]).is_err() {
        return false;
    }
    if cut < out.len() {
        std::thread::sleep(Duration::from_millis(random.u64(0..5)));
        if client.try_send(&out[cut..]).is_err() {
            return false;
        }
    }
    if random.u8(0..24) == 0 {
        std::thread::sleep(Duration::from_millis(random.u64(0..60)));
        return false;
    }
    let Ok(answer) = client.try_read_response(request.method) else { return false };
    answer.header("connection").is_none_or(|v| !v.eq_ignore_ascii_case("close"))
}
