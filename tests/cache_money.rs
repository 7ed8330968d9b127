//! The two promises of the cache that are about money, held against many clients at once: no answer ever reaches another
//! client than it was for, and who has changed something never sees the state before.
//!
//! They run for seconds; `OUTBOARD_MONEY_SECONDS` makes them longer, `OUTBOARD_MONEY_SEED` repeats what a failure printed.

// The lints know tests by #[test]; what the tests share is a test as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

#[path = "cache_money/again.rs"]
mod again;
#[path = "cache_money/application.rs"]
mod application;
#[path = "cache_money/crossing.rs"]
mod crossing;
#[path = "cache_money/rows.rs"]
mod rows;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::*;

/// For how long clients ask.
fn runs() -> Duration {
    let seconds = std::env::var("OUTBOARD_MONEY_SECONDS").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// What the random choices of a run begin with.
fn seed() -> u64 {
    let seed = std::env::var("OUTBOARD_MONEY_SEED").ok().and_then(|s| s.parse().ok());
    seed.unwrap_or_else(|| fastrand::u64(..))
}

/// What went wrong, gathered from all clients: one that fails must not keep the others running into it.
#[derive(Default)]
struct Wrongs(Mutex<Vec<String>>);

impl Wrongs {
    fn add(&self, wrong: String) {
        let mut wrongs = self.0.lock().unwrap();
        if wrongs.len() < 20 {
            wrongs.push(wrong);
        }
    }

    fn any(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }

    #[track_caller]
    fn check(&self, seed: u64) {
        let wrongs = self.0.lock().unwrap();
        assert!(wrongs.is_empty(), "with seed {seed}:\n{}", wrongs.join("\n\n"));
    }
}

/// Clients that ask at the same time until the time is over, or one of them saw something wrong.
struct Clients {
    wrongs: Wrongs,
    until: Instant,
}

impl Clients {
    fn new() -> Clients {
        Clients { wrongs: Wrongs::default(), until: Instant::now() + runs() }
    }

    fn go_on(&self) -> bool {
        Instant::now() < self.until && !self.wrongs.any()
    }
}

/// How many requests of the cached routes were answered so.
fn results(proxy: &Proxy) -> Vec<(String, u64)> {
    let page = proxy.metrics();
    let mut results: Vec<(String, u64)> = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("outboard_cache_requests_total{")) {
        let result = line.split("result=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let count = line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) as u64;
        match results.iter_mut().find(|(name, _)| name == result) {
            Some((_, sum)) => *sum += count,
            None => results.push((result.to_owned(), count)),
        }
    }
    results
}

/// At least so many were answered so: a run in which the ways to go wrong were not taken shows nothing.
#[track_caller]
fn at_least(results: &[(String, u64)], result: &str, least: u64) {
    let count = results.iter().find(|(name, _)| name == result).map_or(0, |(_, count)| *count);
    assert!(count >= least, "only {count} times {result}: {results:?}");
}

/// Orders a purge; `false` where the proxy knows of none.
fn purge(proxy: &Proxy, json: &str) -> bool {
    let answer = proxy.admin_post("/cache/purge", json);
    assert!(matches!(answer.status, 200 | 202 | 204 | 404), "{json}: {} {}", answer.status, answer.text());
    answer.status != 404
}
