//! A sliding window over counted sub-windows.
//!
//! An exact sliding window remembers the time of every request it allowed. This one counts them in sub-windows, 41 to a
//! window. The newest has only begun, so the window reaches back into a 42nd and covers that oldest one only in part. How
//! much of the oldest one is still inside is not known, so it is estimated: of its content `c` at most
//! `m = ceil(1.25 · limit / 41)` fades evenly while the window moves over it, and what exceeds `m` counts in full until
//! the window has left it behind. A request is allowed when the estimate and the request together do not exceed the limit.
//!
//! Under an even load, up to a quarter above the limit, a sub-window holds no more than `m`, and the estimate is as good
//! as exact. After a burst it errs on the safe side. What is proven, for a window W of 41 sub-windows and a limit L:
//!
//! - **No window of length W, wherever it begins, sees more than L + m − 1 requests allowed**: at most 3.1% above the
//!   limit, and nothing above it for limits up to 32, where m is 1. Let t be the time of the last request allowed in
//!   that window. What the estimate can miss at t is what faded of the oldest sub-window: if a share f > 0 of it is
//!   covered, (1 − f) · min(c, m) < m. The estimate was at most L − 1, so fewer than L − 1 + m requests were allowed in
//!   the window before this one: at most L − 2 + m of them, and this one.
//! - **No request is refused that an exact log over W and one sub-window more would allow**, as the estimate never
//!   exceeds the sum of all cells, and they reach no further back than that. (Limits above 255: see below.)
//!
//! A cell is one byte. For limits above 255 it counts in units of `ceil(limit / 255)` requests; those that make no whole
//! unit yet are the carry, which counts as used. A request is then never counted earlier than it came, so the first
//! statement holds as it stands; it may be counted a little longer, so of the second the log has to lie a unit less one
//! request below the limit: at most 0.4% of it.
//!
//! 41 sub-windows of a byte are better than 24 of two bytes in the same memory: the error is 1.25/41 + 1/255 of the limit
//! instead of 1.25/23 (with the one that is covered in part there would be 23 to a window).

use std::time::Duration;

use super::Decision;
use super::entry::{CELLS, Entry};
use crate::units::Rate;

/// Sub-windows to a window.
const SUB_WINDOWS: u64 = CELLS as u64 - 1;

/// The largest number of units in a limit: what a cell can hold.
const UNITS: u32 = u8::MAX as u32;

/// A limit as a sliding window counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Requests in a window.
    limit: u64,
    /// Requests to a unit.
    unit: u32,
    /// At most so many requests of the oldest sub-window fade evenly.
    fades: u64,
    /// The length of a sub-window in nanoseconds.
    sub: u64,
}

/// Where a moment lies.
#[derive(Clone, Copy)]
struct Moment {
    /// The number of its sub-window since the beginning of time.
    number: u64,
    /// Nanoseconds since that sub-window began.
    into: u64,
}

/// What the cells say of a sub-window in which the window may end.
struct Estimate {
    /// Counts in full.
    whole: u64,
    /// Fades evenly in the course of the sub-window.
    fading: u64,
}

impl Window {
    /// A window for so many requests in such a span. The span is rounded up to 41 whole sub-windows: by at most 40 ns.
    pub(super) fn new(rate: Rate) -> Self {
        let span = u64::try_from(rate.per().get().as_nanos()).unwrap_or(u64::MAX);
        let limit = u64::from(rate.count());
        Window {
            limit,
            unit: rate.count().div_ceil(UNITS),
            fades: (limit * 5).div_ceil(4 * SUB_WINDOWS),
            sub: span.div_ceil(SUB_WINDOWS),
        }
    }

    /// What the cells of an entry mean under this limit; entries of limits that differ in it cannot be read alike.
    pub(super) fn scale(&self) -> (u64, u32) {
        (self.sub, self.unit)
    }

    /// Allows and counts one request, or refuses it.
    pub(super) fn take(&self, entry: &mut Entry, now: u64) -> Decision {
        let moment = self.advance(entry, now);
        let all = sum(entry);
        let oldest = u64::from(entry.cells[ring(moment.number + 1)]);
        let estimate = self.estimate(entry, all - oldest, oldest);
        let fading = u128::from(estimate.fading) * u128::from(self.sub - moment.into);
        let room = self.limit.checked_sub(estimate.whole + 1);
        let Some(left) = room.and_then(|room| (u128::from(room) * u128::from(self.sub)).checked_sub(fading)) else {
            entry.used = u16::MAX;
            return Decision::Refused { retry_after: Duration::from_nanos(self.wait(entry, moment, all, now)) };
        };
        entry.carry += 1;
        if entry.carry >= self.unit {
            entry.carry = 0;
            let newest = &mut entry.cells[ring(moment.number)];
            *newest = newest.saturating_add(1);
        }
        let remaining = (left / u128::from(self.sub)) as u64;
        entry.set_used(self.limit - remaining, self.limit);
        Decision::Allowed { remaining: remaining as u32 }
    }

    /// Takes back one request that was allowed at `taken`, at once: between the two, time should not have gone on to
    /// another sub-window, or of several requests that make a unit the wrong one may be taken back.
    pub(super) fn give_back(&self, entry: &mut Entry, taken: u64) {
        let newest = (entry.until / self.sub).saturating_sub(CELLS as u64);
        let number = (taken / self.sub).min(newest);
        if entry.carry > 0 {
            entry.carry -= 1;
        } else if newest - number < CELLS as u64
            // Where requests are counted in units, later ones may have made the unit whole.
            && let Some(counted) = (number..=newest).find(|n| entry.cells[ring(*n)] > 0)
        {
            entry.cells[ring(counted)] -= 1;
            entry.carry = self.unit - 1;
        }
        entry.set_used(sum(entry) * u64::from(self.unit) + u64::from(entry.carry), self.limit);
    }

    /// Empties the cells whose sub-windows are over. A clock that went back stands still where the newest one began.
    fn advance(&self, entry: &mut Entry, now: u64) -> Moment {
        let mut number = now / self.sub;
        if entry.until <= now {
            entry.cells = [0; CELLS];
            entry.carry = 0;
        } else {
            let newest = (entry.until / self.sub).saturating_sub(CELLS as u64);
            for over in newest + 1..=number {
                entry.cells[ring(over)] = 0;
            }
            number = number.max(newest);
        }
        entry.until = (number + CELLS as u64).saturating_mul(self.sub);
        Moment { number, into: now.saturating_sub(number * self.sub) }
    }

    /// From units in the sub-windows that the window covers, and in the oldest one.
    fn estimate(&self, entry: &Entry, covered: u64, oldest: u64) -> Estimate {
        let unit = u64::from(self.unit);
        let oldest = oldest * unit;
        let fading = oldest.min(self.fades);
        Estimate { whole: covered * unit + u64::from(entry.carry) + oldest - fading, fading }
    }

    /// Nanoseconds until one request would be allowed, if none comes before.
    fn wait(&self, entry: &Entry, from: Moment, all: u64, now: u64) -> u64 {
        let mut covered = all;
        for number in from.number..from.number + CELLS as u64 {
            let oldest = u64::from(entry.cells[ring(number + 1)]);
            covered -= oldest;
            let estimate = self.estimate(entry, covered, oldest);
            let Some(room) = self.limit.checked_sub(estimate.whole + 1) else { continue };
            // Allowed when fading · (sub − into) is at most room · sub.
            let into = match room >= estimate.fading {
                true => 0,
                false => self.sub - (u128::from(room) * u128::from(self.sub) / u128::from(estimate.fading)) as u64,
            };
            if into < self.sub {
                return (number * self.sub + into).saturating_sub(now);
            }
        }
        entry.until.saturating_sub(now)
    }
}

/// The cell of a sub-window.
fn ring(number: u64) -> usize {
    (number % CELLS as u64) as usize
}

/// The units in all cells.
fn sum(entry: &Entry) -> u64 {
    // 42 cells of at most 255 fit into 16 bits; in those the sum takes a few vector instructions.
    u64::from(entry.cells.iter().map(|c| u16::from(*c)).sum::<u16>())
}

#[cfg(test)]
mod tests;
