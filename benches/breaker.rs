//! What a breaker, a retry budget and a decision to repeat cost a request.

#![allow(clippy::disallowed_methods, clippy::expect_used)] // A measurement reads the clock as the shell does.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use outboard::policy::breaker::{self, Clock, Outcome, Shared};
use outboard::policy::failure::Failure;
use outboard::policy::retry::{self, Budget, BudgetSettings, Failed, Kind, Seen};

const LEASE: Duration = Duration::from_secs(15);

/// The real clock, and one that stands still: the difference is what reading it costs.
fn clocks() -> [(&'static str, Clock); 2] {
    let start = Instant::now();
    [("", Arc::new(move || start.elapsed())), (", the clock left out", Arc::new(|| Duration::from_secs(1)))]
}

fn breakers(c: &mut Criterion) {
    for (name, clock) in clocks() {
        let settings = breaker::Settings::default();
        let shared = Shared::new(&settings, Arc::clone(&clock), Arc::new(|_| {}));
        c.bench_function(&format!("breaker, closed: admit and settle{name}"), |b| {
            b.iter(|| shared.admit(black_box(LEASE)).map(|ticket| ticket.settle(Outcome::Success)))
        });
        let calls = breaker::Settings { window: breaker::Window::Calls(100), ..settings };
        let shared = Shared::new(&calls, Arc::clone(&clock), Arc::new(|_| {}));
        c.bench_function(&format!("breaker, closed, the last 100 calls: admit and settle{name}"), |b| {
            b.iter(|| shared.admit(black_box(LEASE)).map(|ticket| ticket.settle(Outcome::Success)))
        });
        let open = breaker::Settings { open_for: outboard::units::Duration::from_secs(3600), ..calls };
        let shared = Shared::new(&open, clock, Arc::new(|_| {}));
        (0..20).for_each(|_| shared.admit(LEASE).expect("closed").settle(Outcome::Failure(Failure::Connect)));
        assert_eq!(shared.state(), breaker::State::Open);
        c.bench_function(&format!("breaker, open: refused{name}"), |b| {
            b.iter(|| shared.admit(black_box(LEASE)).map(drop))
        });
    }
}

fn retries(c: &mut Criterion) {
    let budget = Budget::new(&BudgetSettings::default(), Duration::ZERO);
    let mut now = Duration::ZERO;
    c.bench_function("retry budget: deposit and withdraw", |b| {
        b.iter(|| {
            now += Duration::from_micros(100);
            budget.deposit(black_box(now));
            budget.withdraw(black_box(now))
        })
    });
    c.bench_function("retry budget: deposit", |b| {
        b.iter(|| {
            now += Duration::from_micros(100);
            budget.deposit(black_box(now));
        })
    });
    let settings = retry::Settings::default();
    let failed = Failed {
        kind: Kind::Reset,
        seen: Seen::MaybeSeen,
        method: &Method::GET,
        has_idempotency_key: false,
        upstream_honours_keys: false,
        attempt: 1,
        body_at_hand: true,
        body_len: 0,
        other_endpoint: true,
        retry_after: None,
        time_left: Duration::from_secs(10),
        expected_least: Duration::from_millis(5),
        draining: false,
        seed: 0x9e37_79b9_7f4a_7c15,
    };
    assert!(retry::decide(&settings, &failed).is_some());
    c.bench_function("retry: decide", |b| b.iter(|| retry::decide(black_box(&settings), black_box(&failed))));
}

criterion_group!(benches, breakers, retries);
criterion_main!(benches);
