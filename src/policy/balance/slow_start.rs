//! Slow start: an endpoint that returns gets its share of the requests little by little.
//!
//! It comes back with cold caches, no connections and empty pools of its own, and perhaps not well yet. Its share rises in
//! a line, as with HAProxy's `slowstart`, from a tenth, which is the least weight of Envoy's slow start: enough requests
//! to find out soon that it is not well. As with HAProxy it holds for endpoints that were out, never at the start.

use std::time::Duration;

use super::hash::mix;

/// How long it lasts. There is no key for it. Long enough to open connections and to fill caches, and for five failures in a
/// row to show while few requests meet them; short against the 30 s that a first ejection lasts, so that the others do not
/// carry its load for much longer than it was out. Envoy, HAProxy and nginx leave the time to the user.
const LASTS: Duration = Duration::from_secs(10);

/// The share with which it begins, in percent.
const LEAST: u8 = 10;

/// The whole share, in percent.
pub const WHOLE: u8 = 100;

/// The share in percent of an endpoint that returned at `returned`.
pub fn share(returned: Duration, now: Duration) -> u8 {
    let part = now.saturating_sub(returned).as_secs_f64() / LASTS.as_secs_f64();
    let grown = f64::from(WHOLE - LEAST) * part.min(1.0);
    LEAST + grown as u8
}

/// Whether an endpoint with this share sits one choice out. The same `draw` sits out at a share and at all below it.
pub(super) fn sits_out(draw: u64, endpoint: u64, share: u8) -> bool {
    share < WHOLE && mix(draw ^ mix(endpoint)) % u64::from(WHOLE) >= u64::from(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_share_rises_in_a_line_from_a_tenth_to_the_whole() {
        let returned = at(5000);
        let shares = [0, 1000, 5000, 9000, 9999, 10_000, 60_000].map(|after| share(returned, returned + at(after)));
        assert_eq!(shares, [10, 19, 55, 91, 99, 100, 100]);
        // Another thread's clock may be read a moment earlier.
        assert_eq!(share(returned, at(4999)), 10);
    }

    #[test]
    fn as_many_draws_sit_out_as_the_share_lacks() {
        for share in [10, 50, 90] {
            let out = (0..10_000u64).filter(|draw| sits_out(mix(*draw), 7, share)).count() as i32;
            let expected = (100 - i32::from(share)) * 100;
            assert!((out - expected).abs() < 200, "{share}: {out}");
        }
        assert!((0..10_000u64).all(|draw| !sits_out(mix(draw), 7, WHOLE)));
    }

    #[test]
    fn who_came_back_at_one_share_stays_at_a_larger_one() {
        for draw in (0..1000).map(mix) {
            let first = (0..=100).find(|share| !sits_out(draw, 3, *share)).unwrap();
            assert!((first..=100).all(|share| !sits_out(draw, 3, share)));
        }
    }
}
