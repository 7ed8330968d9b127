//! How soon a hang is seen, and how fast an open breaker answers.

use std::collections::VecDeque;

use super::*;

/// How healthy calls take, in microseconds.
const HEALTHY: u64 = 50_000;

/// An application that is healthy for 30 s and then hangs, so many requests a second; how long after the hang it opens.
///
/// Calls of which the clients leave after `patience` end so; with `timer` each call is told when it becomes slow.
fn seen_after(settings: &Settings, per_second: u64, patience: u64, timer: bool) -> Duration {
    let bench = Bench::new(settings);
    let start = bench.now();
    let hang = start + Duration::from_secs(30);
    let over = settings.slow_call.map_or(u64::MAX / 2, |slow| slow.over.get().as_micros() as u64);
    let gap = 1_000_000 / per_second;
    // (since, ticket, told to be slow): in order of their beginning, so the oldest is first.
    let mut calls: VecDeque<(u64, Ticket, bool)> = VecDeque::new();
    for request in 0.. {
        let next = start.as_micros() as u64 + request * gap;
        // Every microsecond at which something happens before the next request.
        loop {
            let hung = bench.now() >= hang;
            let due = |&(since, _, told): &(u64, Ticket, bool)| match (hung, told) {
                (false, _) => since + HEALTHY,
                (true, false) if timer => since + over.min(patience),
                (true, _) => since + patience,
            };
            let Some((index, at)) = calls.iter().enumerate().map(|(i, c)| (i, due(c))).min_by_key(|(_, at)| *at) else {
                break;
            };
            if at >= next {
                break;
            }
            bench.micros.fetch_max(at, Ordering::Relaxed);
            if !hung && bench.now() < hang {
                calls.remove(index).unwrap().1.settle(Outcome::Success);
            } else if timer && !calls[index].2 && at == calls[index].0 + over {
                calls[index].1.slow();
                calls[index].2 = true;
            } else if hung {
                drop(calls.remove(index));
            }
            if bench.state() != State::Closed {
                return bench.now() - hang;
            }
        }
        bench.micros.fetch_max(next, Ordering::Relaxed);
        calls.push_back((next, bench.admit(), false));
        assert!(bench.now() < hang + Duration::from_secs(120), "never seen");
    }
    unreachable!("it opens, or it is not seen")
}

fn bound(settings: &Settings, per_second: u64) -> Duration {
    let over = settings.slow_call.unwrap().over.get();
    let enough = Duration::from_secs_f64(f64::from(settings.min_requests) / per_second as f64);
    over + enough + Duration::from_secs(1)
}

#[test]
fn a_hang_is_seen_within_its_bound_at_any_rate() {
    for window in [Window::default(), Window::Calls(100), Window::Calls(20), Window::Time(Span::from_secs(120))] {
        for per_second in [1, 5, 100, 1000] {
            let settings = with(|s| s.window = window);
            for (patience, timer) in [(5_000_000, true), (2_000_000, false)] {
                let seen = seen_after(&settings, per_second, patience, timer);
                let bound = bound(&settings, per_second);
                assert!(seen <= bound, "{window:?} at {per_second}/s, {patience}: {seen:?}, at most {bound:?}");
                assert!(seen >= Duration::from_millis(1950), "not before anything was slow: {seen:?}");
            }
        }
    }
}

#[test]
fn other_settings_have_their_own_bound() {
    for (over, enough) in [(500, 5), (1000, 100), (4000, 1)] {
        let settings = with(|s| {
            s.min_requests = enough;
            s.slow_call = Some(SlowCall { over: Span::from_millis(over), rate: Ratio::percent(100.0) });
        });
        let (seen, bound) = (seen_after(&settings, 100, 10_000_000, true), bound(&settings, 100));
        assert!(seen <= bound, "{over} ms, {enough}: {seen:?}, at most {bound:?}");
    }
}

/// Slow clients only: none of it is the application's.
#[test]
fn twenty_clients_that_upload_a_byte_a_second_open_nothing() {
    let bench = Bench::new(&Settings::default());
    for _ in 0..20 {
        let mut uploads: Vec<Ticket> = (0..20).map(|_| bench.admit()).collect();
        uploads.iter_mut().for_each(Ticket::hold);
        for _ in 0..30 {
            bench.wait(1000);
            uploads.iter_mut().for_each(Ticket::slow);
        }
        drop(uploads);
    }
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (0, 0, 0)));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn an_open_one_answers_at_once() {
    let bench = Bench::opened(&Settings::default());
    let mut took: Vec<Duration> = (0..10_000)
        .map(|_| {
            let start = std::time::Instant::now();
            let refused = bench.breaker.admit(LEASE);
            let took = start.elapsed();
            assert!(refused.is_err());
            took
        })
        .collect();
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    assert!(p99 < Duration::from_micros(100), "{p99:?}");
}
