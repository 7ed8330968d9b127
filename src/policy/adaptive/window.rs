//! What was seen while the limit stood at one value.

use std::time::Duration;

/// Latencies, as sums.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Window {
    pub(super) fn add(&mut self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        self.count += 1.0;
        self.sum += seconds;
        self.squares += seconds * seconds;
    }

    /// Old samples count half from here on.
    pub(super) fn fade(&mut self) {
        self.count *= 0.5;
        self.sum *= 0.5;
        self.squares *= 0.5;
    }

    pub(super) fn count(&self) -> f64 {
        self.count
    }

    /// Seconds; above 0.
    pub(super) fn mean(&self) -> f64 {
        (self.sum / self.count.max(1.0)).max(1e-9)
    }

    /// The standard error of the mean, as a share of it.
    pub(super) fn error(&self) -> f64 {
        let mean = self.mean();
        let variance = (self.squares / self.count.max(1.0) - mean * mean).max(0.0);
        (variance / self.count.max(1.0)).sqrt() / mean
    }
}

/// By how many percent the throughput changes where the number in flight changes by one percent: 1 where nobody stands
/// in another's way, 0 where more at once only makes all slower, below 0 where it makes them slower still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elasticity {
    pub(super) value: f64,
    /// Its standard error.
    pub(super) error: f64,
}

impl Elasticity {
    /// From two limits that were reached, and what was seen at each. By Little's law the throughput is what is in flight
    /// by the mean latency; so it needs no count over time, which a burst at either end would spoil.
    pub(super) fn between(low: (u32, &Window), high: (u32, &Window)) -> Elasticity {
        let apart = (f64::from(high.0) / f64::from(low.0)).ln().max(1e-9);
        let slower = (high.1.mean() / low.1.mean()).ln();
        Elasticity { value: 1.0 - slower / apart, error: low.1.error().hypot(high.1.error()) / apart }
    }
}
