//! A limit that follows the application (docs/decisions/0006).
//!
//! It asks one question again and again: does more at once give more answers? It goes a step up or down, measures there,
//! and compares with where it stood, as PCC does with sending rates (Dong et al., NSDI 2015; Vivace, NSDI 2018). What it
//! looks at is the *elasticity* of the throughput: up while it is clearly above zero, else down, because
//! a lower limit with the same throughput means shorter latencies. Steps grow while they succeed. Each measurement ends as
//! soon as it is sure, and otherwise at a number of samples and a time; between failed ones it rests twenty times as long,
//! so that looking around costs little.

use std::time::Duration;

mod settings;
mod window;

pub use settings::Settings;
use window::{Elasticity, Window};

/// The throughput has to grow by this share of what the limit grows, or the step up is taken back …
const WORTH: f64 = 0.10;
/// … and to fall by this share of what the limit falls, or the step down stays. A little less, so that it comes to rest.
const LOST: f64 = 0.05;
/// A step, as a share of the limit. At least 1.
const LEAST_STEP: f64 = 0.05;
const MOST_STEP: f64 = 0.50;
/// How exactly an elasticity has to be measured: its standard error.
const BLUR: f64 = 0.05;
/// Fewer samples say nothing.
const FEW: f64 = 20.0;
/// More are not needed.
const MANY: f64 = 1000.0;
/// This many standard errors away from a threshold a measurement is sure.
const SURE: f64 = 3.0;
/// How exactly the latency at rest should be known before it is compared with another, as a share of it.
const EXACT: f64 = 0.006;
/// A measurement with [`FEW`] samples ends after this time.
const LONG: Duration = Duration::from_secs(3);
/// One without them is given up after this time.
const TOO_LONG: Duration = Duration::from_secs(30);
/// After a step that failed it rests for so many times what the step took, and at most [`LONG`].
const REST: u32 = 20;
/// Above this share of failures the limit goes down to [`BACK_OFF`] of itself.
const TOO_MANY_FAILED: f64 = 0.10;
const BACK_OFF: f64 = 0.8;
/// After a change so many times the latency passes before anything counts.
const SETTLES: f64 = 3.0;
/// A limit is reached when this share of it is in flight.
const REACHED: f64 = 0.9;

/// How a request ended, for the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The application answered, whatever it said.
    Ok,
    /// It did not: a timeout, a reset. Too many of these take the limit down.
    Failed,
    /// It says nothing about the application: the client left, we refused it ourselves, it was a stream.
    #[default]
    Neutral,
}

/// The number of requests that run at once, and what it is learnt from.
#[derive(Debug)]
pub struct Adaptive {
    settings: Settings,
    /// The best that is known.
    limit: u32,
    phase: Phase,
    /// What was seen at `limit`.
    base: Window,
    up: bool,
    step: f64,
    /// The last measurement ended by its length, not because it was sure.
    noisy: bool,
    /// When the limit last changed: requests that began earlier ran under another one.
    changed: Duration,
    /// Requests that end earlier do not count. The first to end after a change are the fast ones, so a while is left for
    /// the slow ones to be among those that count.
    counts_from: Duration,
    failures: Failures,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// At `limit`, at least until then; `since` bounds how long it is measured, `faded` when old samples last lost weight.
    Rest { since: Duration, until: Duration, faded: Duration },
    /// A step away from it. `short`: samples for which this limit was not reached.
    Probe { at: u32, since: Duration, seen: Window, look_at: f64, short: f64 },
}

#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    since: Duration,
    ended: f64,
    failed: f64,
}

impl Adaptive {
    /// Begins at `initial`.
    pub fn new(settings: Settings) -> Adaptive {
        let settings = possible(settings);
        Adaptive {
            settings,
            limit: settings.initial.clamp(settings.min, settings.max),
            phase: Phase::rest(Duration::ZERO, Duration::ZERO),
            base: Window::default(),
            up: true,
            step: LEAST_STEP,
            noisy: false,
            changed: Duration::ZERO,
            counts_from: Duration::ZERO,
            failures: Failures::default(),
        }
    }

    /// Other bounds: more endpoints can take more, and so on. It goes on from the limit that it has found, where that lies
    /// within them.
    pub fn bound(&mut self, settings: Settings, now: Duration) {
        self.settings = possible(settings);
        self.limit = self.limit.clamp(self.settings.min, self.settings.max);
        self.step = LEAST_STEP;
        self.rest(now, Duration::ZERO);
    }

    /// The limit at this moment, a step that is being tried included.
    pub fn limit(&self) -> u32 {
        match self.phase {
            Phase::Rest { .. } => self.limit,
            Phase::Probe { at, .. } => at,
        }
    }

    /// A request ended at `now`, `latency` after it had begun, when `in_flight` ran, itself included. The new limit, if it
    /// changes.
    pub fn sample(&mut self, latency: Duration, in_flight: u32, outcome: Outcome, now: Duration) -> Option<u32> {
        if outcome == Outcome::Neutral {
            return None;
        }
        let before = self.limit();
        if self.failures.too_many(outcome, in_flight, before, now) {
            self.back_off(now);
        } else if outcome == Outcome::Ok && now >= self.counts_from && now.saturating_sub(latency) >= self.changed {
            let reached = f64::from(in_flight) >= (f64::from(before) * REACHED).ceil();
            self.learn(latency, reached, now);
        }
        Some(self.limit()).filter(|limit| *limit != before)
    }

    fn learn(&mut self, latency: Duration, reached: bool, now: Duration) {
        match &mut self.phase {
            Phase::Rest { since, until, faded } => {
                if !reached {
                    return;
                }
                self.base.add(latency);
                let stale = self.base.count() >= MANY / 5.0 && now >= *faded + LONG;
                if self.base.count() >= MANY || stale {
                    self.base.fade();
                    *faded = now;
                }
                let known = || self.base.count() >= MANY / 2.0 || now >= *since + LONG || self.base.error() <= EXACT;
                if now >= *until && self.base.count() >= FEW && known() {
                    self.probe(now);
                }
            }
            Phase::Probe { at, since, seen, look_at, short } => {
                match reached {
                    true => seen.add(latency),
                    false => *short += 1.0,
                }
                let over = seen.count() >= MANY || now >= *since + LONG;
                if seen.count() >= FEW && (over || seen.count() >= *look_at) {
                    *look_at *= 2.0;
                    let (at, since, seen) = (*at, *since, *seen);
                    self.judge(at, seen, over, since, now);
                } else if now >= *since + TOO_LONG || (over && *short > seen.count()) {
                    // Nobody came to try it with.
                    self.rest(now, LONG);
                }
            }
        }
    }

    /// A step in the present direction; in the other one where there is no room.
    fn probe(&mut self, now: Duration) {
        let step = ((f64::from(self.limit) * self.step.max(self.least_step())).round() as u32).max(1);
        let at = |up: bool| match up {
            true => self.limit.saturating_add(step).min(self.settings.max),
            false => self.limit.saturating_sub(step).max(self.settings.min),
        };
        self.up ^= at(self.up) == self.limit;
        let at = at(self.up);
        if at != self.limit {
            self.phase = Phase::Probe { at, since: now, seen: Window::default(), look_at: FEW, short: 0.0 };
            let base = self.base;
            self.change(&base, now);
        }
    }

    fn judge(&mut self, at: u32, seen: Window, over: bool, since: Duration, now: Duration) {
        let (here, there) = ((self.limit, &self.base), (at, &seen));
        let (elasticity, threshold) = match self.up {
            true => (Elasticity::between(here, there), WORTH),
            false => (Elasticity::between(there, here), LOST),
        };
        let above = elasticity.value - threshold;
        let sure = above.abs() > SURE * elasticity.error;
        if !over && !sure {
            return;
        }
        self.noisy = !sure;
        if (above > 0.0) == self.up {
            // It stays there, and goes on with larger steps.
            self.limit = at;
            self.base = seen;
            self.step = (self.step.max(self.least_step()) * 2.0).min(MOST_STEP);
            self.phase = Phase::rest(now, now);
            return;
        }
        if self.limit.abs_diff(at) > 1 && self.step > self.least_step() {
            self.step = (self.step / 2.0).max(LEAST_STEP);
        } else {
            self.step = LEAST_STEP;
            self.up = !self.up;
        }
        self.rest(now, (now.saturating_sub(since) * REST).min(LONG));
        self.change(&seen, now);
    }

    /// Back to the limit that is known, for at least so long. What was seen there is measured anew.
    fn rest(&mut self, now: Duration, long: Duration) {
        self.phase = Phase::rest(now, now + long);
        self.base = Window::default();
        (self.changed, self.counts_from) = (now, now);
    }

    fn back_off(&mut self, now: Duration) {
        self.limit = ((f64::from(self.limit()) * BACK_OFF) as u32).max(self.settings.min);
        self.step = LEAST_STEP;
        self.up = true;
        self.rest(now, LONG);
    }

    /// The smallest step that is worth its time. Where the last one was lost in the noise it has to be larger.
    fn least_step(&self) -> f64 {
        match self.noisy {
            true => (self.base.error() * std::f64::consts::SQRT_2 / BLUR).clamp(LEAST_STEP, MOST_STEP),
            false => LEAST_STEP,
        }
    }

    /// Another limit is in force, after one at which this was seen.
    fn change(&mut self, before: &Window, now: Duration) {
        self.changed = now;
        self.counts_from = now + Duration::from_secs_f64(before.mean() * SETTLES).min(LONG);
    }
}

/// At least 1, and the highest not below the lowest.
fn possible(settings: Settings) -> Settings {
    let min = settings.min.max(1);
    Settings { min, max: settings.max.max(min), ..settings }
}

impl Phase {
    fn rest(now: Duration, until: Duration) -> Phase {
        Phase::Rest { since: now, until, faded: now }
    }
}

impl Failures {
    /// Counts one, and says whether they have become too many. Those of an application that is hardly asked are not for
    /// want of a lower limit.
    fn too_many(&mut self, outcome: Outcome, in_flight: u32, limit: u32, now: Duration) -> bool {
        if in_flight.saturating_mul(2) < limit {
            return false;
        }
        self.ended += 1.0;
        self.failed += f64::from(u8::from(outcome == Outcome::Failed));
        if self.ended < FEW || now < self.since + Duration::from_secs(1) {
            return false;
        }
        let too_many = self.failed > self.ended * TOO_MANY_FAILED;
        *self = Failures { since: now, ..Failures::default() };
        too_many
    }
}

#[cfg(test)]
mod tests;
