//! Averages and percentiles.

use serde_json::{Value, json};

/// Of some latencies, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Latency {
    pub(super) count: usize,
    pub(super) average: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Latency {
    /// Exact: all of them are sorted.
    pub(super) fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let sum: u64 = micros.iter().map(|m| u64::from(*m)).sum();
        Latency {
            count: micros.len(),
            average: sum as f64 / micros.len().max(1) as f64,
            p50: percentile(&micros, 50),
            p99: percentile(&micros, 99),
        }
    }

    pub(super) fn json(self) -> Value {
        let us = |v: f64| v.round() as u64;
        json!({ "count": self.count, "average_us": us(self.average), "p50_us": us(self.p50), "p99_us": us(self.p99) })
    }
}

/// The nearest rank: the least value that so many percent are not above.
fn percentile(sorted: &[u32], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |v| f64::from(*v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let latency = Latency::of((1..=200).rev().collect());
        assert_eq!((latency.count, latency.average, latency.p50, latency.p99), (200, 100.5, 100.0, 198.0));
        let one = Latency::of(vec![7]);
        assert_eq!((one.p50, one.p99), (7.0, 7.0));
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }
}
