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

/// Asks `rate` times a second for some seconds, against `limit` a second; those that were let through, and the load's end.
fn steady(limit: usize, rate: usize, seconds: u64) -> (Vec<Sample>, Duration) {
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
    let end = samples.last().unwrap().at;
    let refused = samples.iter().filter(|s| s.status == 429 && s.reason == "rate_limited").count();
    let reconnects = samples.iter().filter(|s| s.connected).count();
    assert!(reconnects < samples.len() / 4, "{reconnects} connections for {} requests", samples.len());
    samples.retain(|s| s.status == 200);
    assert_eq!(samples.len() + refused, rate * seconds as usize, "every request was answered");
    assert_eq!(app.received(), samples.len());
    (samples, end)
}

/// In no window more than 2% above the limit, and after the second second in none less than 2% below it.
fn holds(limit: usize, rate: usize, seconds: u64) {
    // Where this machine stalls the load is not steady: after a burst less is let through, as it should be.
    for attempt in 1.. {
        let (allowed, end) = steady(limit, rate, seconds);
        let (most, least) = (most(&allowed), least(&allowed, 2 * WINDOW, end));
        let slowest = allowed.iter().map(|s| s.took).max().unwrap();
        let all = allowed.len();
        println!(
            "{rate} a second against {limit}/1s: {least} to {most} in a window, {all} in all, at most {slowest:?}"
        );
        assert!(most <= limit * 102 / 100, "{most}");
        if least >= limit * 98 / 100 {
            return;
        }
        assert!(attempt < 5, "{least}");
    }
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
