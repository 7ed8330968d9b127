//! Passive outlier detection: attempts that failed in a row take an endpoint out for a time.
//!
//! Envoy's rule for consecutive errors: the time grows with the ejections that follow each other, and shrinks again with
//! the time in which the endpoint is not ejected. Two halves, because one of them is on the way of every request: the
//! count of failures is an atomic, all else is touched by an ejection or a return alone, under a lock of the caller.
//! Whether an endpoint may be taken out at all is decided over the set of them: see [`super::rotation`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

mod settings;

pub use settings::Settings;

use crate::units::Ratio;

/// The longest an endpoint is ejected, in ejection times. Envoy's default has the same: 300 s to a base time of 30 s.
const LONGEST: u32 = 10;

/// What an attempt says about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Ok,
    /// No connection, no answer in time, a broken connection, or a status that says the application is unwell.
    Failed,
    /// Nothing: the client left, or the attempt was given up for a reason of ours.
    Neutral,
}

/// The attempts at one endpoint that failed in a row.
#[derive(Debug, Default)]
pub struct Failures(AtomicU32);

impl Failures {
    /// Takes down how an attempt ended. True: at least `most` failed in a row. It stays true with every further failure,
    /// so that an endpoint that could not be taken out (it was the last) is once it can.
    pub fn record(&self, outcome: Outcome, most: u32) -> bool {
        match outcome {
            Outcome::Failed => self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= most,
            Outcome::Ok => {
                // Only written where it changes something: the line stays shared among the threads.
                if self.0.load(Ordering::Relaxed) != 0 {
                    self.clear();
                }
                false
            }
            Outcome::Neutral => false,
        }
    }

    /// Forgets them: the endpoint came back.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The ejections of one endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ejection {
    /// When it ends, where there is one.
    until: Option<Duration>,
    /// Ejections that followed each other.
    times: u32,
    /// When the last one ended.
    ended: Duration,
}

impl Ejection {
    /// Ejects, and says when that ends: after `base` times the number of ejections that followed each other, at most ten
    /// times `base`. Each `base` of time since the last one ended takes one off that number.
    pub fn begin(&mut self, base: Duration, now: Duration) -> Duration {
        let good = now.saturating_sub(self.ended).as_nanos() / base.as_nanos().max(1);
        let before = u128::from(self.times).saturating_sub(good) as u32;
        self.times = (before + 1).min(LONGEST);
        let until = now + base * self.times;
        self.until = Some(until);
        until
    }

    /// When it ends; none: it is not ejected.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Ends it, whatever its time.
    pub fn end(&mut self, now: Duration) {
        if self.until.take().is_some() {
            self.ended = now;
        }
    }
}

/// How many of `endpoints` may be ejected at once: the share rounded down, but one where there are two or more.
pub fn most_ejected(endpoints: usize, share: Ratio) -> usize {
    if endpoints < 2 {
        return 0;
    }
    // 29% of 100 are 28.999999999999996 in floating point.
    let most = (endpoints as f64 * share.get() + 1e-9).floor() as usize;
    most.max(1)
}

#[cfg(test)]
mod tests;
