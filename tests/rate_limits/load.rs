//! A steady load above the limit: how much is let through in any window of its time.
//!
//! When a request was decided on is known to lie between its sending and its answer. In a window lie at least those that
//! were sent and answered in it, and at most those that were on their way in it.

use std::time::Duration;

use super::*;
use crate::common::load::{App, Sample, open_loop};

const WINDOW: Duration = Duration::from_secs(1);

/// The most that was certainly let through in any window.
fn most(allowed: &[Sample]) -> usize {
    let certainly = |from: Duration| allowed.iter().filter(move |s| s.at >= from && s.at + s.took <= from + WINDOW);
    allowed.iter().map(|s| certainly(s.at).count()).max().unwrap_or(0)
}

/// The least that was possibly let through in any window between these moments.
fn least(allowed: &[Sample], from: Duration, to: Duration) -> usize {
    let possibly = |from: Duration| allowed.iter().filter(move |s| s.at + s.took >= from && s.at < from + WINDOW);
    // The window with the least begins just behind an answer.
    let starts = allowed.iter().map(|s| s.at + s.took + Duration::from_nanos(1)).chain([from]);
    let inside = starts.filter(|start| *start >= from && *start + WINDOW <= to);
    inside.map(|start| possibly(start).count()).min().unwrap_or(0)
}

/// What became of a load.
struct Ran {
    /// The requests that were let through.
    allowed: Vec<Sample>,
    /// When the last request was sent.
    end: Duration,
    /// How far behind its time a request was sent, or answered behind that, at most.
    late: Duration,
}

/// Asks `rate` times a second for some seconds, against `limit` a second.
fn run(limit: usize, rate: usize, seconds: u64) -> Ran {
    let app = App::start(1000, Duration::ZERO);
    let config = yaml(
        app.address(),
        &format!(
            "logging: {{ access: {{ enabled: false }} }}\n\
             routes: [{{ name: r, rate_limits: [{{ name: a, key: [constant], limit: {limit}/1s }}] }}]"
        ),
    );
    let proxy = Proxy::start(&config);
    let request = |_| "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let mut samples = open_loop(proxy.addr("inbound"), rate, Duration::from_secs(seconds), request);
    assert_eq!(samples.len(), rate * seconds as usize);
    let due = |s: &Sample| Duration::from_secs_f64(s.number as f64 / rate as f64);
    let late = samples.iter().map(|s| s.took.max(s.at.saturating_sub(due(s)))).max().unwrap();
    let end = samples.last().unwrap().at;
    let refused: Vec<_> = samples.extract_if(.., |s| s.status == 429).collect();
    assert!(refused.iter().all(|s| s.reason == "rate_limited"));
    assert!(samples.iter().all(|s| s.status == 200), "every request was answered");
    assert_eq!(app.received(), samples.len());
    // As many connections as were in use at once; a refused request does not cost its own.
    let reconnects = refused.iter().filter(|s| s.connected).count();
    assert!(
        late > UNSTEADY || reconnects < refused.len() / 4,
        "{reconnects} connections for {} refusals",
        refused.len()
    );
    Ran { allowed: samples, end, late }
}

/// A machine that stalls for so long sends bursts, not a steady load; after a burst less is let through, as it should be.
const UNSTEADY: Duration = Duration::from_millis(25);

/// In no window more than 2% above the limit, and after the second second in none less than 2% below it.
fn holds(limit: usize, rate: usize, seconds: u64) {
    let mut steady = 0;
    for _ in 0..5 {
        let Ran { allowed, end, late } = run(limit, rate, seconds);
        let (most, least) = (most(&allowed), least(&allowed, 2 * WINDOW, end));
        let all = allowed.len();
        println!(
            "{rate} a second against {limit}/1s: {least} to {most} in a window, {all} in all, at most {late:?} late"
        );
        assert!(most <= limit * 102 / 100, "{most}");
        if least >= limit * 98 / 100 {
            return;
        }
        steady += usize::from(late <= UNSTEADY);
        assert!(steady < 2, "{least}");
    }
    println!("this machine is too busy for a steady load: of the least in a window nothing is known");
}

#[test]
fn two_hundred_a_second_are_two_hundred() {
    holds(200, 240, 4);
}

#[test]
#[ignore = "a thousand a second need a release build and a machine that does nothing else"]
fn a_thousand_a_second_are_a_thousand() {
    holds(1000, 1200, 5);
}
