//! How hard coders try while the CPU is short.
//!
//! The levels are lowered by steps, from the configured ones to the least that is worth its time, and raised again when there
//! has been room for a while. Raising costs CPU, so it can bring the shortage back: each time it did, the next attempt waits
//! twice as long. A shortage has its causes; encoding less well is only what we can do about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::Coding;

/// From the configured levels to the least.
const STEPS: u8 = 4;
/// A share of the CPU above which it is short …
const SHORT: f64 = 0.85;
/// … and below which there is room for more.
const ROOM: f64 = 0.60;
/// Over about this time the share is averaged.
const SMOOTH: Duration = Duration::from_millis(500);
/// At least so long between two steps down: the last one has to show first.
const DOWN_AFTER: Duration = Duration::from_millis(750);
/// There is room for this long before a step up …
const UP_AFTER: Duration = Duration::from_secs(5);
/// … and at most for this long, however often that failed.
const UP_AFTER_AT_MOST: Duration = Duration::from_secs(80);
/// A step up failed if the CPU is short again within this time.
const FAILED_WITHIN: Duration = Duration::from_secs(10);
/// Samples farther apart are of two situations.
const GAP: Duration = Duration::from_secs(3);

/// How hard coders try now. Read by every request, without a lock.
#[derive(Debug, Default)]
pub struct Effort(AtomicU8);

impl Effort {
    /// The level to encode with, where this one is configured.
    pub fn level(&self, coding: Coding, configured: u32) -> u32 {
        let room = configured.saturating_sub(least(coding));
        configured - (room * u32::from(self.steps_down())).div_ceil(u32::from(STEPS))
    }

    /// Steps below the configured levels, from 0 to 4.
    pub fn steps_down(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Below these levels bodies grow faster than the time falls (benches/README.md).
const fn least(coding: Coding) -> u32 {
    match coding {
        Coding::Zstd | Coding::Gzip => 1,
        Coding::Br => 2,
    }
}

/// Decides on the effort from samples of how busy the CPU is.
#[derive(Debug, Default)]
pub struct Governor {
    effort: Arc<Effort>,
    /// The time of the last sample, and the smoothed share by it.
    last: Option<(Duration, f64)>,
    changed: Duration,
    /// Since when there has been room.
    room_since: Option<Duration>,
    /// When the last step up was.
    raised: Option<Duration>,
    /// Steps up in a row that failed.
    failed: u32,
}

impl Governor {
    /// One that begins with the configured levels.
    pub fn new() -> Governor {
        Governor::default()
    }

    /// What it decides on, to be shared with those who encode.
    pub fn effort(&self) -> Arc<Effort> {
        Arc::clone(&self.effort)
    }

    /// The CPU was busy for this share of what we may use of it, of late. The steps below the configured levels before and
    /// after, if that changes them.
    pub fn sample(&mut self, busy: f64, now: Duration) -> Option<(u8, u8)> {
        let busy = if busy.is_finite() { busy.clamp(0.0, 1.0) } else { return None };
        let smooth = match self.last {
            Some((then, _)) if now <= then => return None,
            Some((then, before)) if now - then <= GAP => {
                let weight = 1.0 - (-(now - then).as_secs_f64() / SMOOTH.as_secs_f64()).exp();
                before + (busy - before) * weight
            }
            _ => {
                self.room_since = None;
                busy
            }
        };
        let first = self.last.replace((now, smooth)).is_none();
        let at = self.effort.steps_down();
        if smooth > SHORT {
            self.room_since = None;
            // One sample says little: the first is only remembered.
            (!first && at < STEPS && now.saturating_sub(self.changed) >= DOWN_AFTER).then(|| self.lower(at, now))
        } else if smooth < ROOM && at > 0 {
            let since = *self.room_since.get_or_insert(now);
            (now - since >= self.patience()).then(|| self.raise(at, now))
        } else {
            self.room_since = None;
            None
        }
    }

    fn patience(&self) -> Duration {
        UP_AFTER_AT_MOST.min(UP_AFTER * 2u32.saturating_pow(self.failed))
    }

    fn lower(&mut self, at: u8, now: Duration) -> (u8, u8) {
        if let Some(raised) = self.raised.take() {
            self.failed = if now - raised <= FAILED_WITHIN { (self.failed + 1).min(8) } else { 0 };
        }
        self.step(at, at + 1, now)
    }

    fn raise(&mut self, at: u8, now: Duration) -> (u8, u8) {
        self.raised = Some(now);
        // The next step has to see what this one does.
        self.room_since = None;
        self.step(at, at - 1, now)
    }

    fn step(&mut self, from: u8, to: u8, now: Duration) -> (u8, u8) {
        self.changed = now;
        self.effort.0.store(to, Ordering::Relaxed);
        (from, to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_millis(250);

    struct Clock {
        governor: Governor,
        now: Duration,
    }

    impl Clock {
        fn new() -> Clock {
            Clock { governor: Governor::new(), now: Duration::from_secs(100) }
        }

        fn steps(&self) -> u8 {
            self.governor.effort.steps_down()
        }

        /// The steps after this time at a share.
        fn run(&mut self, busy: f64, time: Duration) -> u8 {
            let end = self.now + time;
            while self.now < end {
                self.now += EVERY;
                self.governor.sample(busy, self.now);
            }
            self.steps()
        }
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn levels_fall_from_the_configured_to_the_least_that_helps() {
        let levels = |coding, configured| {
            (0..=STEPS).map(move |steps| {
                let effort = Effort::default();
                effort.0.store(steps, Ordering::Relaxed);
                effort.level(coding, configured)
            })
        };
        assert!(levels(Coding::Gzip, 6).eq([6, 4, 3, 2, 1]));
        assert!(levels(Coding::Gzip, 9).eq([9, 7, 5, 3, 1]));
        assert!(levels(Coding::Br, 4).eq([4, 3, 3, 2, 2]));
        assert!(levels(Coding::Br, 11).eq([11, 8, 6, 4, 2]));
        assert!(levels(Coding::Zstd, 3).eq([3, 2, 2, 1, 1]));
        assert!(levels(Coding::Br, 1).eq([1; 5]), "never raised");
        assert!(levels(Coding::Zstd, 1).eq([1; 5]));
    }

    #[test]
    fn it_goes_down_while_the_cpu_is_short_and_no_farther() {
        let mut clock = Clock::new();
        assert_eq!(clock.run(0.5, secs(10)), 0);
        assert_eq!(clock.run(0.97, secs(1)), 1);
        assert_eq!(clock.run(0.97, secs(4)), STEPS);
        assert_eq!(clock.run(1.0, secs(60)), STEPS);
    }

    #[test]
    fn a_single_peak_changes_nothing() {
        let mut clock = Clock::new();
        assert_eq!(clock.governor.sample(1.0, EVERY), None, "not even as the first sample");
        assert_eq!(clock.run(0.5, secs(2)), 0);
        assert_eq!(clock.run(1.0, EVERY), 0);
        assert_eq!(clock.run(0.5, secs(2)), 0);
    }

    #[test]
    fn it_stays_between_the_thresholds() {
        let mut clock = Clock::new();
        clock.run(0.97, secs(2));
        let steps = clock.steps();
        assert!(steps > 0);
        assert_eq!(clock.run(0.75, secs(600)), steps);
    }

    #[test]
    fn it_goes_up_by_steps_when_there_is_room_for_a_while() {
        let mut clock = Clock::new();
        clock.run(0.97, secs(10));
        assert_eq!(clock.run(0.3, secs(5)), STEPS);
        assert_eq!(clock.run(0.3, secs(2)), STEPS - 1);
        assert_eq!(clock.run(0.3, secs(5 * 4 + 2)), 0);
    }

    #[test]
    fn it_waits_longer_each_time_raising_brought_the_shortage_back() {
        // Room below, short above: it cannot come to rest at either step.
        let mut clock = Clock::new();
        clock.run(0.97, secs(1));
        let mut raised = Vec::new();
        for _ in 0..60 * 20 {
            let before = clock.steps();
            let busy = if before >= 1 { 0.5 } else { 0.95 };
            if clock.run(busy, EVERY) < before {
                raised.push(clock.now);
            }
        }
        let waits: Vec<u64> = raised.windows(2).map(|w| (w[1] - w[0]).as_secs()).collect();
        assert!(waits.windows(2).all(|w| w[1] >= w[0]), "{waits:?}");
        assert!(waits.last() >= Some(&80) && raised.len() <= 9, "{waits:?}");
    }

    #[test]
    fn a_gap_between_samples_is_not_room() {
        let mut clock = Clock::new();
        clock.run(0.97, secs(10));
        for _ in 0..10 {
            clock.now += secs(20);
            assert_eq!(clock.governor.sample(0.1, clock.now), None);
        }
        assert_eq!(clock.steps(), STEPS);
    }

    proptest! {
        #[test]
        fn any_samples_leave_it_within_its_bounds(samples in prop::collection::vec((any::<f64>(), 0u64..5000), 0..200)) {
            let (mut governor, mut now) = (Governor::new(), Duration::ZERO);
            let effort = governor.effort();
            for (busy, ms) in samples {
                now += Duration::from_millis(ms);
                let before = effort.steps_down();
                match governor.sample(busy, now) {
                    None => prop_assert_eq!(effort.steps_down(), before),
                    Some((from, to)) => {
                        prop_assert_eq!((from, to), (before, effort.steps_down()));
                        prop_assert_eq!(from.abs_diff(to), 1);
                        prop_assert!(to <= STEPS);
                    }
                }
            }
        }
    }
}
