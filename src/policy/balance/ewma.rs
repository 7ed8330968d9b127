//! Peak EWMA, as in Finagle and Linkerd: an average latency that believes a slow answer at once and a fast one slowly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long an old latency counts: after this time it weighs 1/e.
const TAU_NANOS: f64 = 10e9;

/// The latency of one endpoint. Two atomics: a race between two answers loses one of them, which an average forgives.
#[derive(Debug, Default)]
pub(super) struct Ewma {
    /// Nanoseconds, the bits of an f64.
    nanos: AtomicU64,
    /// When it was last taken down, in nanoseconds; 0: never.
    at: AtomicU64,
}

impl Ewma {
    /// Takes down one answer.
    pub(super) fn observe(&self, latency: Duration, now: Duration) {
        let latency = nanos(latency) as f64;
        let now = nanos(now).max(1);
        let before = self.at.swap(now, Ordering::Relaxed);
        let average = f64::from_bits(self.nanos.load(Ordering::Relaxed));
        let next = if before == 0 || latency > average {
            latency
        } else {
            let weight = decay(before, now);
            average * weight + latency * (1.0 - weight)
        };
        self.nanos.store(next.to_bits(), Ordering::Relaxed);
    }

    /// What one more attempt is expected to cost. An endpoint that has not been asked for a while is tried again: its
    /// latency fades. One that was never asked costs nothing while it is idle, and as much as any peak while it is not,
    /// so that one attempt finds out, and not all of them.
    pub(super) fn cost(&self, in_flight: u32, now: Duration) -> f64 {
        let at = self.at.load(Ordering::Relaxed);
        let latency = if at == 0 {
            if in_flight == 0 { 0.0 } else { TAU_NANOS }
        } else {
            f64::from_bits(self.nanos.load(Ordering::Relaxed)) * decay(at, nanos(now))
        };
        latency * (f64::from(in_flight) + 1.0)
    }
}

fn decay(before: u64, now: u64) -> f64 {
    (-(now.saturating_sub(before) as f64) / TAU_NANOS).exp()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
