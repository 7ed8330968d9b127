//! What may not allocate, counted; a binary of its own because it counts with its own allocator.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use http::Method;
use outboard::observe::metrics::Metrics;
use outboard::policy::breaker::{self, Outcome, Shared};
use outboard::policy::failure::Failure;
use outboard::policy::parts::Parts;
use outboard::policy::rate_limit::{Algorithm, Decision, Limit, Table};
use outboard::policy::retry::{self, Budget, BudgetSettings, Failed, Kind, Seen};
use outboard::route::key::Source;
use outboard::route::limits::Counted;
use outboard::{config, route};

#[path = "common/jwt.rs"]
mod jwt;

fn limits() -> [Limit; 3] {
    [
        Limit::new(Algorithm::SlidingWindow, "20/1m".parse().unwrap(), None),
        Limit::new(Algorithm::SlidingWindow, "5000/1s".parse().unwrap(), None),
        Limit::new(Algorithm::TokenBucket, "20/1m".parse().unwrap(), Some(5)),
    ]
}

/// Hashes a key and asks every limit about it, as a request does.
fn ask(table: &Table, limits: &[Limit], now: Duration) -> [usize; 2] {
    let mut answers = [0; 2];
    let mut hasher = table.hasher();
    hasher.part(b"payments");
    hasher.part(b"mer_0001");
    let key = hasher.finish();
    for limit in limits {
        match table.take(limit, key, now) {
            Decision::Allowed { .. } => {
                answers[0] += 1;
                table.give_back(limit, key, now);
                table.take(limit, key, now);
            }
            Decision::Refused { .. } => answers[1] += 1,
        }
    }
    answers
}

#[test]
fn a_rate_limit_allocates_nothing_for_a_key_it_knows() {
    let (table, limits) = (Table::new([1, 2]), limits());
    ask(&table, &limits, Duration::ZERO);
    let mut answers = [0; 2];
    let counted = measure(|| {
        for n in 1..10_000 {
            let [allowed, refused] = ask(&table, &limits, Duration::from_millis(n * 7));
            answers = [answers[0] + allowed, answers[1] + refused];
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(answers[0] > 1000 && answers[1] > 1000, "both answers were given: {answers:?}");
    assert!(measure(|| drop(Table::new([1, 2]))).count_total > 0, "the counter counts");
}

/// All that a request does for its limits, from its head to the counters: a key of each kind, and a token that is known.
#[test]
fn a_request_that_is_let_through_allocates_nothing_for_its_limits() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let signer = jwt::Signer::es256();
    std::fs::write(keys.path(), jwt::set(&[signer.jwk("a")])).unwrap();
    let text = format!(
        "listeners: [{{ name: in, address: \"127.0.0.1:0\" }}]\nupstreams: {{ app: {{ endpoints: [\"127.0.0.1:1\"] }} }}\n\
         routes:\n  - name: r\n    match: {{ path: \"/v1/{{merchant}}\" }}\n    jwt: {{ jwks_file: {} }}\n    rate_limits:\n      \
         - {{ name: a, key: [client_ip, \"header:x-m\", \"query:q\"], limit: 100000/1s }}\n      \
         - {{ name: b, key: [\"cookie:sid\", \"path:merchant\"], limit: 100000/1s, overrides: {{ \"s,m\": 1/1s }} }}\n      \
         - {{ name: c, key: [\"jwt:sub\"], limit: 100000/1s, algorithm: token_bucket }}\n      \
         - {{ name: d, key: [\"header:x-none\"], limit: 100000/1s }}\n",
        keys.path().display()
    );
    let config = config::load(&text, "f.yaml", &|_| None).unwrap();
    let table = route::table::Table::compile(&config, &Metrics::new().unwrap(), None).unwrap();
    let route = &table.routes[0];
    let token = format!("Bearer {}", signer.token("a", &serde_json::json!({ "sub": "mer_1", "exp": 2000 })));
    let mut headers = http::HeaderMap::new();
    for (name, value) in [("x-m", "mer_1"), ("cookie", "a=b; sid=s1"), ("authorization", &token)] {
        headers.insert(name, value.parse().unwrap());
    }
    let verifier = route.jwt.as_ref().unwrap();
    let known = verifier.claims(&headers, Duration::from_secs(1000)).unwrap();
    let ask = |now: Duration| {
        let token = verifier.claims(&headers, Duration::from_secs(1000)).unwrap();
        assert!(std::sync::Arc::ptr_eq(&token, &known));
        let params =
            |name: &str| table.matcher.params(0, "/v1/mer_1").find(|(n, _)| *n == name).map(|(_, value)| value);
        let claims = |name: &str| verifier.value(&token, name);
        let client = Some([10, 0, 0, 1].into());
        let source = Source { client, headers: &headers, query: Some("q=1"), params: &params, claims: &claims };
        for limit in &route.limits {
            let Counted::For(key, rule) = limit.counted(&source) else { panic!("{} lacks its key", limit.name) };
            assert!(matches!(table.counts.take(&rule.limit, key, now), Decision::Allowed { .. }));
            limit.decisions.allowed.inc();
        }
    };
    ask(Duration::ZERO);
    let counted = measure(|| (1..1000).for_each(|n| ask(Duration::from_millis(n))));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert_eq!(route.limits[0].decisions.allowed.get(), 1000);
}

/// A call through every state: good ones, slow ones, ones that wait for their client, refused ones, probes.
#[test]
fn a_breaker_allocates_nothing_in_any_state() {
    let clock = Arc::new(AtomicU64::new(0));
    let now = clock.clone();
    let settings = breaker::Settings::default();
    for window in [settings.window, breaker::Window::Calls(100)] {
        let settings = breaker::Settings { window, ..settings.clone() };
        let now = now.clone();
        let read = move || Duration::from_millis(now.load(Ordering::Relaxed));
        let breaker = Shared::new(&settings, Arc::new(read), Arc::new(|_| {}));
        let lease = Duration::from_secs(15);
        let mut seen = [0; 4];
        let counted = measure(|| {
            for n in 0..20_000u64 {
                clock.fetch_add(3, Ordering::Relaxed);
                let _ = breaker.check();
                let Ok(mut ticket) = breaker.admit(lease) else {
                    seen[3] += 1;
                    continue;
                };
                seen[usize::from(breaker.state().as_number())] += 1;
                let fails = n / 5000 % 2 == 1;
                match n % 4 {
                    0 => ticket.slow(),
                    1 => {
                        ticket.hold();
                        ticket.resume();
                    }
                    _ => {}
                }
                ticket.settle(match n % 8 {
                    7 => Outcome::ClientLeft,
                    6 => Outcome::Neutral,
                    _ if fails => Outcome::Failure(Failure::Status(503)),
                    _ => Outcome::Success,
                });
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
        assert!(seen[0] > 5000 && seen[1] > 0 && seen[3] > 1000, "closed, half-open and refused: {seen:?}");
    }
}

#[test]
fn a_retry_allocates_nothing() {
    let budget = Budget::new(&BudgetSettings::default(), Duration::ZERO);
    let settings = retry::Settings::default();
    let mut seen = [0; 3];
    let counted = measure(|| {
        for n in 0..20_000u64 {
            let now = Duration::from_millis(n * 3);
            budget.deposit(now);
            let failed = Failed {
                kind: [Kind::Connect, Kind::Reset, Kind::Stale, Kind::Status(503)][n as usize % 4],
                seen: if n % 4 == 0 { Seen::Nothing } else { Seen::MaybeSeen },
                method: if n % 3 == 0 { &Method::POST } else { &Method::GET },
                has_idempotency_key: n % 2 == 0,
                upstream_honours_keys: false,
                attempt: 1,
                body_at_hand: true,
                body_len: 100,
                other_endpoint: false,
                retry_after: Some(Duration::from_millis(n % 50)),
                time_left: Duration::from_secs(10),
                expected_least: Duration::from_millis(1),
                draining: false,
                seed: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            };
            match retry::decide(&settings, &failed) {
                Some(again) if !again.charged || budget.withdraw(now) => seen[0] += 1,
                Some(_) => seen[1] += 1,
                None => seen[2] += 1,
            }
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(seen.iter().all(|times| *times > 1000), "again, no budget, no: {seen:?}");
}

#[test]
#[ignore = "a measurement of resident memory, which what else this process does would disturb"]
fn a_million_keys_are_under_a_hundred_megabytes_resident() {
    let resident = || -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let before = resident();
    let (table, limit) = (Table::new([1, 2]), limits()[0]);
    for n in 0u64..1_000_000 {
        let mut hasher = table.hasher();
        hasher.part(&n.to_le_bytes());
        table.take(&limit, hasher.finish(), Duration::from_secs(1));
    }
    let full = resident() - before;
    table.sweep(Duration::from_secs(100));
    let after = resident().saturating_sub(before);
    println!(
        "{} bytes allocated for none, {full} resident for a million keys, {after} after they are over",
        table.bytes()
    );
    assert!(full < 100_000_000, "{full}");
}
