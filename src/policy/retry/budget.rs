//! The retry budget: a leaky token bucket, after the one of Finagle.
//!
//! Each request deposits `ratio` of a retry, which leaks away unspent after ten seconds, so that a quiet hour saves up no
//! storm. Beside it a reserve fills by `min_per_second` and holds ten seconds' worth; it starts full.
//!
//! Each deposit is spent at most once. So from the start of the process, and with `seconds` since then,
//! `retries <= ratio · requests + min_per_second · (seconds + 10)`,
//! and in any span of time the same holds with the requests of that span and of the ten seconds before it.

use std::time::Duration;

use parking_lot::Mutex;

use super::BudgetSettings;

/// A retry, in the unit that is counted: integers, so that nothing is lost or won by rounding.
const RETRY: u64 = 1_000_000;

/// How many slices of a second a deposit lives; the one that runs is one of them.
const SLICES: usize = 10;

/// What the reserve holds at most, in seconds of `min_per_second`.
const RESERVE_SECONDS: u64 = SLICES as u64;

/// How many retries an upstream may still get. Shared by all who call it.
#[derive(Debug)]
pub struct Budget {
    deposit: u64,
    /// What the reserve gains in a microsecond; a retry is a million of its units, so this is `min_per_second`.
    refill: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is left of the deposits of each second.
    slices: [u64; SLICES],
    /// Their sum.
    deposited: u64,
    /// The second of the newest slice.
    second: u64,
    reserve: u64,
    /// Until when the reserve was filled, in microseconds.
    filled: u64,
}

impl Budget {
    /// A budget whose reserve is full. `now` is the time since some fixed moment, here and below.
    pub fn new(settings: &BudgetSettings, now: Duration) -> Budget {
        let refill = u64::from(settings.min_per_second);
        let state = State {
            slices: [0; SLICES],
            deposited: 0,
            second: now.as_secs(),
            reserve: refill * RETRY * RESERVE_SECONDS,
            filled: micros(now),
        };
        Budget { deposit: (settings.ratio.get() * RETRY as f64).round() as u64, refill, state: Mutex::new(state) }
    }

    /// A request arrived: once for each, not for each attempt.
    pub fn deposit(&self, now: Duration) {
        let mut state = self.state.lock();
        state.leak(now);
        let newest = state.slice(0);
        state.slices[newest] += self.deposit;
        state.deposited += self.deposit;
    }

    /// Takes a retry out of the budget; false: there is none left.
    pub fn withdraw(&self, now: Duration) -> bool {
        let mut state = self.state.lock();
        state.leak(now);
        state.fill(self.refill, now);
        if state.deposited + state.reserve < RETRY {
            return false;
        }
        state.spend();
        true
    }

    /// How many retries are left at this moment.
    pub fn left(&self, now: Duration) -> u64 {
        let mut state = self.state.lock();
        state.leak(now);
        state.fill(self.refill, now);
        (state.deposited + state.reserve) / RETRY
    }
}

impl State {
    /// The slice that is so many seconds old.
    fn slice(&self, age: u64) -> usize {
        (self.second.wrapping_sub(age) % SLICES as u64) as usize
    }

    /// Drops what is too old. Two threads may come with their times in the wrong order: the clock then stands still.
    fn leak(&mut self, now: Duration) {
        let passed = now.as_secs().saturating_sub(self.second);
        for _ in 0..passed.min(SLICES as u64) {
            self.second += 1;
            let oldest = self.slice(0);
            self.deposited -= std::mem::take(&mut self.slices[oldest]);
        }
        self.second = self.second.max(now.as_secs());
    }

    fn fill(&mut self, refill: u64, now: Duration) {
        let now = micros(now);
        let gained = refill.saturating_mul(now.saturating_sub(self.filled));
        self.reserve = self.reserve.saturating_add(gained).min(refill * RETRY * RESERVE_SECONDS);
        self.filled = self.filled.max(now);
    }

    /// Takes one retry, from the oldest deposits first: they would leak away first. The reserve gives what is missing.
    fn spend(&mut self) {
        let mut missing = RETRY;
        for age in (0..SLICES as u64).rev() {
            let slice = self.slice(age);
            let taken = self.slices[slice].min(missing);
            self.slices[slice] -= taken;
            self.deposited -= taken;
            missing -= taken;
        }
        self.reserve -= missing;
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Ratio;

    fn budget(percent: f64, min_per_second: u32) -> Budget {
        Budget::new(&BudgetSettings { ratio: Ratio::percent(percent), min_per_second }, Duration::ZERO)
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// How many retries are given now.
    fn drain(budget: &Budget, now: Duration) -> usize {
        std::iter::repeat_with(|| budget.withdraw(now)).take_while(|given| *given).count()
    }

    #[test]
    fn the_reserve_is_full_at_first_and_fills_by_the_second() {
        let budget = budget(20.0, 3);
        assert_eq!(budget.left(at(0)), 30);
        assert_eq!(drain(&budget, at(0)), 30);
        assert_eq!(drain(&budget, at(333)), 0);
        assert_eq!(drain(&budget, at(334)), 1);
        assert_eq!(drain(&budget, at(1334)), 3);
        assert_eq!(drain(&budget, at(3_600_000)), 30, "and holds ten seconds");
    }

    #[test]
    fn requests_deposit_their_ratio() {
        let budget = budget(20.0, 0);
        assert_eq!(drain(&budget, at(0)), 0);
        for given in [0, 0, 0, 0, 1, 0, 0, 0, 0, 1] {
            budget.deposit(at(5));
            assert_eq!(drain(&budget, at(5)), given);
        }
    }

    #[test]
    fn what_is_not_spent_leaks_away() {
        let budget = budget(100.0, 0);
        for second in [0, 1, 2] {
            budget.deposit(at(second * 1000 + 500));
        }
        assert_eq!(budget.left(at(9999)), 3);
        assert_eq!(budget.left(at(10_000)), 2);
        assert!(budget.withdraw(at(10_000)), "the oldest is spent first");
        assert_eq!(budget.left(at(11_000)), 1);
        assert_eq!(budget.left(at(12_000)), 0);
        budget.deposit(at(12_000));
        assert_eq!(budget.left(at(100_000)), 0);
        budget.deposit(at(100_000));
        assert_eq!(budget.left(at(109_999)), 1, "a long silence shortens nothing");
        assert_eq!(budget.left(at(1 << 40)), 0);
    }

    #[test]
    fn a_clock_read_before_anothers_changes_nothing() {
        let budget = budget(100.0, 1);
        assert_eq!(drain(&budget, at(20_000)), 10);
        budget.deposit(at(19_000));
        assert_eq!((drain(&budget, at(15_000)), drain(&budget, at(20_000))), (1, 0));
    }

    #[test]
    fn nothing_is_ever_given_where_nothing_is_allowed() {
        let budget = budget(0.0, 0);
        (0..1000).for_each(|i| budget.deposit(at(i)));
        assert!(!budget.withdraw(at(1000)));
    }

    #[test]
    fn threads_share_one_budget() {
        let budget = budget(50.0, 0);
        let given: usize = std::thread::scope(|scope| {
            let run = || {
                let one = |_| {
                    budget.deposit(at(1));
                    usize::from(budget.withdraw(at(1)))
                };
                (0..1000).map(one).sum::<usize>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(given + drain(&budget, at(1)), 2000);
    }

    proptest! {
        #[test]
        fn retries_stay_within_their_bound(
            percent in 0u32..=100,
            min_per_second in 0u32..5,
            steps in prop::collection::vec((0u64..4000, 0u32..40, 0u32..40), 1..80),
        ) {
            let budget = budget(f64::from(percent), min_per_second);
            let (mut now, mut log) = (0, Vec::new());
            for (passed, requests, tries) in steps {
                now += passed;
                (0..requests).for_each(|_| budget.deposit(at(now)));
                let given = (0..tries).filter(|_| budget.withdraw(at(now))).count();
                log.push((now, u64::from(requests), given as u64));
            }
            let (percent, min) = (u64::from(percent), u64::from(min_per_second));
            // Since the start, and in every span of the run; in hundredths of a retry and milliseconds: exact.
            let bound = |requests: u64, millis: u64| percent * requests * 10 + min * (millis + 10_000);
            let all = log.iter().fold((0, 0), |(r, g), l| (r + l.1, g + l.2));
            prop_assert!(all.1 * 1000 <= bound(all.0, now));
            for (from, start) in log.iter().enumerate() {
                let mut given = 0;
                let before: u64 = log.iter().filter(|l| l.0 + 10_000 > start.0 && l.0 < start.0).map(|l| l.1).sum();
                let mut requests = before + log[..from].iter().filter(|l| l.0 == start.0).map(|l| l.1).sum::<u64>();
                for step in &log[from..] {
                    requests += step.1;
                    given += step.2;
                    prop_assert!(given * 1000 <= bound(requests, step.0 - start.0));
                }
            }
        }

        #[test]
        fn the_parts_add_up(steps in prop::collection::vec((0u64..3000, any::<bool>()), 1..200)) {
            let budget = budget(37.0, 2);
            let mut now = 0;
            for (passed, deposits) in steps {
                now += passed;
                if deposits { budget.deposit(at(now)) } else { budget.withdraw(at(now)); }
                let state = budget.state.lock();
                prop_assert_eq!(state.deposited, state.slices.iter().sum::<u64>());
                prop_assert!(state.reserve <= 2 * RETRY * RESERVE_SECONDS);
            }
        }
    }
}
