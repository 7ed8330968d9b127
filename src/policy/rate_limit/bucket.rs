//! A token bucket, kept as the generic cell rate algorithm (GCRA).
//!
//! ITU-T Recommendation I.371 (Annex A) and the ATM Forum's Traffic Management Specification 4.0 give it as virtual
//! scheduling: instead of tokens one time is kept, the *theoretical arrival time* TAT at which the bucket will be full.
//! A request moves it on by the emission interval T = span / limit, and is allowed when it then lies no further ahead
//! than the bucket is deep: `burst` · T. In any span t at most `burst` + t / T requests are allowed.
//!
//! T is rounded up to whole nanoseconds: at 100,000 requests a second by at most 0.01%.

use std::time::Duration;

use super::Decision;
use super::entry::Entry;
use crate::units::Rate;

/// A limit as a token bucket counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// The time that one token takes to come, in nanoseconds: T.
    interval: u64,
    /// The time that the empty bucket takes to fill: `burst` · T.
    depth: u64,
}

impl Bucket {
    /// A bucket that holds `burst` tokens (at least one) and fills at a rate.
    pub(super) fn new(rate: Rate, burst: u32) -> Self {
        let span = u64::try_from(rate.per().get().as_nanos()).unwrap_or(u64::MAX);
        let interval = span.div_ceil(u64::from(rate.count()));
        Bucket { interval, depth: interval.saturating_mul(u64::from(burst.max(1))) }
    }

    /// Allows one request and takes its token, or refuses it.
    pub(super) fn take(&self, entry: &mut Entry, now: u64) -> Decision {
        let full = entry.until.max(now).saturating_add(self.interval);
        let empty = full - now;
        let Some(left) = self.depth.checked_sub(empty) else {
            entry.used = u16::MAX;
            return Decision::Refused { retry_after: Duration::from_nanos(empty - self.depth) };
        };
        entry.until = full;
        entry.set_used(empty, self.depth);
        Decision::Allowed { remaining: u32::try_from(left / self.interval).unwrap_or(u32::MAX) }
    }

    /// Puts back the token of a request that was allowed at `taken`.
    pub(super) fn give_back(&self, entry: &mut Entry, taken: u64) {
        entry.until = entry.until.saturating_sub(self.interval);
        entry.set_used(entry.until.saturating_sub(taken), self.depth);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(rate: &str, burst: u32) -> Bucket {
        Bucket::new(rate.parse().unwrap(), burst)
    }

    fn allowed(bucket: &Bucket, entry: &mut Entry, now: u64) -> bool {
        matches!(bucket.take(entry, now), Decision::Allowed { .. })
    }

    #[test]
    fn a_full_bucket_holds_its_burst_and_fills_at_the_rate() {
        let (bucket, mut entry) = (bucket("10/1s", 3), Entry::new(1));
        for remaining in [2, 1, 0] {
            assert_eq!(bucket.take(&mut entry, 5 * SECOND), Decision::Allowed { remaining });
        }
        let wait = Decision::Refused { retry_after: Duration::from_millis(100) };
        assert_eq!(bucket.take(&mut entry, 5 * SECOND), wait);
        assert_eq!(bucket.take(&mut entry, 5 * SECOND), wait, "a refused request costs nothing");
        assert!(!allowed(&bucket, &mut entry, 5 * SECOND + SECOND / 10 - 1));
        assert_eq!(bucket.take(&mut entry, 5 * SECOND + SECOND / 10), Decision::Allowed { remaining: 0 });
        assert_eq!(bucket.take(&mut entry, 60 * SECOND), Decision::Allowed { remaining: 2 }, "it holds no more");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (bucket, mut entry) = (bucket("1/1m", 1), Entry::new(1));
        for _ in 0..100 {
            assert!(allowed(&bucket, &mut entry, SECOND));
            bucket.give_back(&mut entry, SECOND);
            assert_eq!(entry.used, 0);
        }
        assert!(allowed(&bucket, &mut entry, SECOND));
        assert!(!allowed(&bucket, &mut entry, SECOND));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let (bucket, mut entry) = (bucket("10/1s", 2), Entry::new(1));
        assert!(allowed(&bucket, &mut entry, 9 * SECOND) && allowed(&bucket, &mut entry, 9 * SECOND));
        let back = Decision::Refused { retry_after: Duration::from_millis(9100) };
        assert_eq!(bucket.take(&mut entry, 0), back);
        assert!(allowed(&bucket, &mut entry, 10 * SECOND));
    }

    #[test]
    fn no_number_is_too_large() {
        let (bucket, mut entry) = (bucket("1/3650d", u32::MAX), Entry::new(1));
        assert!(allowed(&bucket, &mut entry, u64::MAX) && allowed(&bucket, &mut entry, 0));
        bucket.give_back(&mut entry, u64::MAX);
        assert_eq!(Bucket::new("1000000000/1ms".parse().unwrap(), 0).depth, 1);
    }

    proptest! {
        /// In no span more than the burst and what came in meanwhile; and the wait that is told is exact.
        #[test]
        fn never_more_than_burst_and_rate(
            count in 1u32..50,
            burst in 1u32..20,
            steps in prop::collection::vec(0u64..SECOND / 4, 1..300),
        ) {
            let bucket = bucket(&format!("{count}/1s"), burst);
            let (mut entry, mut now, mut log) = (Entry::new(1), 0, Vec::new());
            for step in steps {
                now += step;
                match bucket.take(&mut entry, now) {
                    Decision::Allowed { .. } => log.push(now),
                    Decision::Refused { retry_after } => {
                        let then = now + retry_after.as_nanos() as u64;
                        prop_assert!(!allowed(&bucket, &mut entry.clone(), then - 1));
                        prop_assert!(allowed(&bucket, &mut entry.clone(), then));
                    }
                }
            }
            for (i, from) in log.iter().enumerate() {
                for (n, to) in log[i..].iter().enumerate() {
                    prop_assert!((n as u64) < u64::from(burst) + (to - from) / bucket.interval);
                }
            }
        }
    }
}
