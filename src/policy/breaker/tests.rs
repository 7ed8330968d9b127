use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::units::{Duration as Span, Ratio};

mod half_open;
mod hang;
mod modes;
mod properties;
mod settings;
mod slow;

/// A breaker on a clock that the test moves.
struct Bench {
    breaker: Shared,
    micros: Arc<AtomicU64>,
    told: Arc<Mutex<Vec<Transition>>>,
}

const LEASE: Duration = Duration::from_secs(15);
const FAILED: Outcome = Outcome::Failure(Failure::Status(500));

impl Bench {
    fn new(settings: &Settings) -> Bench {
        let micros = Arc::new(AtomicU64::new(1_000_000));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (time, log) = (Arc::clone(&micros), Arc::clone(&told));
        let clock = Arc::new(move || Duration::from_micros(time.load(Ordering::Relaxed)));
        let observer = Arc::new(move |transition: &Transition| log.lock().push(*transition));
        Bench { breaker: Shared::new(settings, clock, observer), micros, told }
    }

    fn wait(&self, millis: u64) {
        self.micros.fetch_add(millis * 1000, Ordering::Relaxed);
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    fn admit(&self) -> Ticket {
        self.breaker.admit(LEASE).expect("admitted")
    }

    fn call(&self, outcome: Outcome) {
        self.admit().settle(outcome);
    }

    fn calls(&self, count: usize, outcome: Outcome) {
        (0..count).for_each(|_| self.call(outcome));
    }

    /// A call that is slow, and ends with this.
    fn slow(&self, outcome: Outcome) {
        let mut ticket = self.admit();
        self.wait(2000);
        ticket.slow();
        ticket.settle(outcome);
    }

    fn state(&self) -> State {
        self.breaker.state()
    }

    fn figures(&self) -> (u32, u32, u32) {
        let Figures { calls, failed, slow } = self.breaker.snapshot().figures;
        (calls, failed, slow)
    }

    /// What was told since the last time.
    fn told(&self) -> Vec<(State, State, Why)> {
        self.told.lock().drain(..).map(|t| (t.from, t.to, t.why)).collect()
    }

    /// Opens it, and forgets that it was told.
    fn opened(settings: &Settings) -> Bench {
        let bench = Bench::new(settings);
        bench.calls(20, FAILED);
        assert_eq!(bench.told(), [(State::Closed, State::Open, Why::FailureRate)]);
        bench
    }
}

fn with(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

fn refused(breaker: &Shared) -> Refused {
    breaker.admit(LEASE).expect_err("refused")
}

#[test]
fn it_opens_at_the_failure_rate_and_not_below() {
    let bench = Bench::new(&Settings::default());
    bench.calls(10, Outcome::Success);
    bench.calls(9, FAILED);
    bench.call(Outcome::Success);
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (20, 9, 0)));
    bench.calls(2, FAILED);
    assert_eq!(bench.state(), State::Open, "11 of 22");
    let told = bench.told.lock()[0];
    assert_eq!(told.figures, Figures { calls: 22, failed: 11, slow: 0 });
    assert_eq!(told.to_string(), "closed -> open: failure_rate (22 calls, 11 failed, 0 slow)");
    assert_eq!((told.figures.failure_rate(), told.figures.slow_rate()), (0.5, 0.0));
}

#[test]
fn a_success_may_be_the_call_that_makes_them_enough() {
    let bench = Bench::new(&Settings::default());
    bench.calls(19, FAILED);
    assert_eq!(bench.state(), State::Closed, "too few to be judged");
    bench.call(Outcome::Success);
    assert_eq!(bench.told(), [(State::Closed, State::Open, Why::FailureRate)]);
}

#[test]
fn it_opens_at_the_slow_rate_and_not_below() {
    let bench = Bench::new(&with(|s| s.window = Window::Calls(100)));
    bench.calls(5, Outcome::Success);
    for _ in 0..15 {
        bench.slow(Outcome::Success);
    }
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (20, 0, 15)));
    (0..4).for_each(|_| bench.slow(Outcome::Success));
    assert_eq!(bench.state(), State::Closed, "19 of 24");
    bench.slow(Outcome::Success);
    assert_eq!(bench.told(), [(State::Closed, State::Open, Why::SlowRate)], "20 of 25");
}

#[test]
fn rates_that_are_no_binary_fractions_are_met_exactly() {
    for (percent, bad) in [(7.0, 7), (29.0, 29), (57.0, 57), (58.0, 58), (99.0, 99)] {
        let settings = with(|s| {
            s.min_requests = 100;
            s.window = Window::Calls(100);
            s.failure_rate = Ratio::percent(percent);
        });
        for (failed, expected) in [(bad - 1, State::Closed), (bad, State::Open)] {
            let bench = Bench::new(&settings);
            bench.calls(failed, FAILED);
            bench.calls(100 - failed, Outcome::Success);
            assert_eq!(bench.state(), expected, "{failed} of 100 at {percent}%");
        }
    }
}

#[test]
fn failures_in_a_row_open_it_whatever_the_window_holds() {
    let bench = Bench::new(&Settings::default());
    bench.calls(1000, Outcome::Success);
    bench.calls(19, FAILED);
    bench.call(Outcome::Success);
    bench.calls(19, FAILED);
    assert_eq!(bench.state(), State::Closed, "a success between them");
    bench.call(FAILED);
    assert_eq!(bench.told(), [(State::Closed, State::Open, Why::FailuresInARow(20))]);
}

#[test]
fn slow_calls_in_a_row_open_it_whatever_the_window_holds() {
    let bench = Bench::new(&with(|s| s.window = Window::Calls(10_000)));
    bench.calls(1000, Outcome::Success);
    (0..19).for_each(|_| bench.slow(Outcome::Success));
    bench.call(Outcome::Success);
    (0..19).for_each(|_| bench.slow(Outcome::Success));
    assert_eq!(bench.state(), State::Closed, "a good one between them");
    bench.slow(Outcome::ClientLeft);
    assert_eq!(bench.told(), [(State::Closed, State::Open, Why::SlowInARow(20))]);
}

#[test]
fn a_row_is_not_bound_to_the_window() {
    // One call a second: the window of 10 s never holds 20.
    let bench = Bench::new(&Settings::default());
    for _ in 0..20 {
        assert_eq!(bench.state(), State::Closed);
        bench.call(FAILED);
        bench.wait(1000);
    }
    assert_eq!(bench.told(), [(State::Closed, State::Open, Why::FailuresInARow(20))]);
}

#[test]
fn a_window_of_fewer_calls_than_are_asked_for_is_judged_when_it_is_full() {
    let bench = Bench::new(&with(|s| s.window = Window::Calls(4)));
    bench.calls(2, Outcome::Success);
    bench.call(FAILED);
    assert_eq!(bench.state(), State::Closed);
    bench.call(FAILED);
    assert_eq!(bench.told(), [(State::Closed, State::Open, Why::FailureRate)]);
}

#[test]
fn what_left_the_window_is_not_judged() {
    let bench = Bench::new(&Settings::default());
    bench.call(Outcome::Success);
    bench.calls(19, FAILED);
    // The row is ended, so that only the rate is left to open it; but the call that makes them enough comes late.
    let bench_late = Bench::new(&Settings::default());
    bench_late.calls(15, FAILED);
    bench_late.wait(10_000);
    bench_late.calls(10, Outcome::Success);
    bench_late.calls(9, FAILED);
    assert_eq!((bench_late.state(), bench_late.figures()), (State::Closed, (19, 9, 0)));
    assert_eq!(bench.state(), State::Open);
}

#[test]
fn a_failure_that_is_not_listed_is_a_success() {
    let bench = Bench::new(&with(|s| s.failures = vec![Failure::Connect]));
    for failure in [Failure::Timeout, Failure::Reset, Failure::Status(500), Failure::Status(404)] {
        bench.calls(10, Outcome::Failure(failure));
    }
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (40, 0, 0)));
    bench.calls(20, Outcome::Failure(Failure::Connect));
    assert_eq!(bench.state(), State::Open);
}

#[test]
fn our_own_refusals_and_clients_that_left_early_are_not_counted() {
    let bench = Bench::new(&Settings::default());
    bench.calls(100, Outcome::Neutral);
    bench.calls(100, Outcome::ClientLeft);
    (0..100).for_each(|_| drop(bench.admit()));
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (0, 0, 0)));
}

#[test]
fn a_client_that_left_late_was_served_slowly() {
    for leave in [|ticket: Ticket| ticket.settle(Outcome::ClientLeft), drop::<Ticket>] {
        let bench = Bench::new(&Settings::default());
        let (early, late) = (bench.admit(), bench.admit());
        bench.wait(1999);
        leave(early);
        assert_eq!(bench.figures(), (0, 0, 0));
        bench.wait(1);
        leave(late);
        assert_eq!(bench.figures(), (1, 0, 1));
    }
}

#[test]
fn open_it_refuses_and_says_for_how_long() {
    let bench = Bench::opened(&Settings::default());
    assert_eq!(refused(&bench.breaker), Refused { retry_after: Duration::from_secs(30), state: State::Open });
    bench.wait(29_000);
    assert_eq!(refused(&bench.breaker).retry_after, Duration::from_secs(1));
    assert_eq!(bench.breaker.check(), Err(refused(&bench.breaker)));
    assert_eq!(bench.breaker.snapshot().open_left, Some(Duration::from_secs(1)));
    assert_eq!(bench.told(), []);
    bench.wait(999);
    assert_eq!(bench.state(), State::Open);
    bench.wait(1);
    assert_eq!((bench.state(), bench.breaker.snapshot().open_left), (State::HalfOpen, None), "before anybody asks");
    assert_eq!(bench.told(), []);
    drop(bench.admit());
    assert_eq!(bench.told(), [(State::Open, State::HalfOpen, Why::Waited)]);
}

#[test]
fn calls_from_before_it_opened_change_nothing_after() {
    let bench = Bench::new(&Settings::default());
    let mut old: Vec<Ticket> = (0..60).map(|_| bench.admit()).collect();
    bench.calls(20, FAILED);
    assert_eq!(bench.state(), State::Open);
    let mut end = |bench: &Bench| {
        let mut slow = old.pop().unwrap();
        slow.slow();
        assert_eq!(slow.slow_at(), None);
        drop(slow);
        old.pop().unwrap().settle(FAILED);
        old.pop().unwrap().settle(Outcome::Neutral);
        old.pop().unwrap().settle(Outcome::Success);
        bench.figures()
    };
    assert_eq!(end(&bench), (0, 0, 0));
    bench.wait(30_000);
    let probe = bench.admit();
    assert_eq!(end(&bench), (0, 0, 0));
    probe.settle(Outcome::Success);
    bench.calls(2, Outcome::Success);
    assert_eq!(bench.state(), State::Closed);
    assert_eq!(end(&bench), (0, 0, 0));
    bench.call(FAILED);
    assert_eq!((end(&bench), bench.state()), ((1, 1, 0), State::Closed));
}

#[test]
fn clones_are_one_breaker() {
    let bench = Bench::new(&Settings::default());
    let other = bench.breaker.clone();
    bench.calls(20, FAILED);
    assert_eq!(refused(&other).state, State::Open);
}
