//! A scripted overload: five times what the application can take, of mixed priority, from ten tenants of which one sends
//! half of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::Proxy;
use common::load::{App, Sample, open_loop, percentile};

const PLACES: usize = 10;
const WORK: Duration = Duration::from_millis(50);
const OFFERED: usize = 1000;
const TIME: Duration = Duration::from_secs(10);
const TENANTS: usize = 10;

/// Of a hundred requests 5 are critical, 10 high, 60 normal, 25 low; half of all are tenant 0's. Both by the number, and
/// independent of each other.
fn priority(number: usize) -> &'static str {
    match (number * 37 + number / 100 * 11) % 100 {
        0..5 => "critical",
        5..15 => "high",
        15..75 => "normal",
        _ => "low",
    }
}

fn tenant(number: usize) -> usize {
    if number.is_multiple_of(2) { 0 } else { 1 + (number / 2) % (TENANTS - 1) }
}

fn request(number: usize) -> String {
    let (priority, tenant) = (priority(number), tenant(number));
    format!("GET / HTTP/1.1\r\nHost: a\r\nx-priority: {priority}\r\nx-merchant-id: mer_{tenant}\r\n\r\n")
}

/// Beside the application that is overloaded one that is not: what a request to it takes at the same time is what this
/// machine makes of an unloaded one.
fn yaml(app: &App, idle: &App) -> String {
    format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         logging: {{ access: {{ enabled: false }} }}\n\
         upstreams:\n  app:\n    endpoints: [\"{}\"]\n    queue: {{ max_concurrent: {PLACES}, fair_by: [header:x-merchant-id] }}\n\
         \x20 idle: {{ endpoints: [\"{}\"] }}\n\
         routes:\n  - {{ name: idle, match: {{ path: /idle }}, upstream: idle }}\n\
         \x20 - {{ name: all, upstream: app, priority: {{ from: header:x-priority, max: critical }} }}\n",
        app.address(),
        idle.address()
    )
}

/// Answers in the time in which the overload is steady.
fn steady(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(|s| s.at > Duration::from_secs(1) && s.at < TIME - Duration::from_secs(1))
}

/// On a machine that is busy with something else the times of one run say little: the best of three counts.
#[test]
fn five_times_the_capacity_from_ten_tenants() {
    let in_time = (0..3).any(|_| run());
    assert!(in_time, "in none of three runs");
}

/// Asserts what holds on any machine; false where the times do not hold.
fn run() -> bool {
    let (app, idle) = (App::start(PLACES, WORK), App::start(PLACES, WORK));
    let proxy = Proxy::start(&yaml(&app, &idle));
    let addr = proxy.addr("inbound");
    // What the application can do when it is asked directly and never waits.
    let capacity = app.capacity(Duration::from_secs(2));

    let probes =
        std::thread::spawn(move || open_loop(addr, 20, TIME, |_| "GET /idle HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()));
    let samples = open_loop(addr, OFFERED, TIME, request);
    let mut alone: Vec<_> = steady(&probes.join().unwrap()).map(|s| s.took).collect();
    let unloaded = percentile(&mut alone, 0.99);
    let good = steady(&samples).filter(|s| s.status == 200).count() as f64 / (TIME.as_secs_f64() - 2.0);
    let mut critical: Vec<_> = steady(&samples).filter(|s| priority(s.number) == "critical").map(|s| s.took).collect();
    let critical_refused = steady(&samples).filter(|s| priority(s.number) == "critical" && s.status != 200).count();
    let critical_p99 = percentile(&mut critical, 0.99);
    println!("capacity {capacity:.1}/s, goodput {good:.1}/s = {:.1}%", good / capacity * 100.0);
    println!("unloaded {unloaded:?}, critical p99 {critical_p99:?}, refused {critical_refused} of {}", critical.len());

    let mut shares: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for sample in steady(&samples).filter(|s| s.status == 200) {
        shares.entry(priority(sample.number)).or_insert_with(|| vec![0; TENANTS])[tenant(sample.number)] += 1;
    }
    println!("answered by priority and tenant: {shares:?}");
    let mut refused: Vec<_> = samples.iter().filter(|s| s.status == 503).map(|s| s.took).collect();
    let slowest = refused.iter().max().copied().unwrap_or_default();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    samples.iter().for_each(|s| *reasons.entry(s.reason.as_str()).or_default() += 1);
    println!(
        "refused {} of {}, slowest {slowest:?}, p99 {:?}; {reasons:?}",
        refused.len(),
        samples.len(),
        percentile(&mut refused, 0.99)
    );
    let connected = samples.iter().filter(|s| s.connected).count();
    println!("connections {connected}; the most inside the application at once: {}", app.most());

    assert!(samples.iter().all(|s| s.status == 200 || s.status == 503), "{reasons:?}");
    assert_eq!(critical_refused, 0);
    // Tenants share what is left to their priority.
    let normal = &shares["normal"];
    let fair = normal.iter().sum::<usize>() as f64 / TENANTS as f64;
    let least = *normal.iter().min().unwrap() as f64;
    assert!(least >= 0.8 * fair, "a tenant got {least} of {fair:.1}: {normal:?}");
    // Low has two places a second for ten tenants, of which some ask for none at that moment: but nobody takes them all.
    let low = &shares["low"];
    let fair = low.iter().sum::<usize>() as f64 / TENANTS as f64;
    assert!((low[0] as f64) <= 2.0 * fair + 1.0, "{low:?}");
    assert!(shares["low"].iter().sum::<usize>() >= 8, "low is never starved for ever");
    // 800 refusals a second are not 800 reconnects.
    assert!(connected < 1000, "{connected} connections for {} requests", samples.len());
    assert_eq!(app.most(), PLACES, "the application never had more than its places");
    let waited = proxy.metric("outboard_queue_wait_seconds_count{priority=\"critical\",upstream=\"app\"}");
    assert!(waited > 0.0);
    proxy.await_metric("outboard_concurrency_used{upstream=\"app\"}", 0.0);
    assert_eq!(proxy.metric("outboard_concurrency_limit{upstream=\"app\"}"), PLACES as f64);
    good >= 0.95 * capacity && critical_p99 <= 2 * unloaded && slowest <= Duration::from_millis(1200)
}
