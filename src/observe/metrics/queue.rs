//! What is counted for the queue of each upstream, by priority.

use prometheus::{Histogram, HistogramVec, IntGauge, IntGaugeVec, Registry};

use super::build;

pub(super) struct Families {
    depth: IntGaugeVec,
    wait: HistogramVec,
    limit: IntGaugeVec,
    running: IntGaugeVec,
}

impl Families {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Families {
            depth: build::gauges(
                r,
                "queue_depth",
                &["upstream", "priority"],
                "Requests that wait for a place at the application now.",
            )?,
            wait: build::seconds(
                r,
                "queue_wait_seconds",
                &["upstream", "priority"],
                "How long requests waited for a place that they got; those that got one at once are in it.",
            )?,
            limit: build::gauges(
                r,
                "concurrency_limit",
                &["upstream"],
                "Requests that may be in work at the application at once: as configured, or as it was found out.",
            )?,
            running: build::gauges(
                r,
                "concurrency_used",
                &["upstream"],
                "Places at the application that are taken now.",
            )?,
        })
    }
}

/// What one queue counts into.
pub struct QueueMetrics {
    depth: Vec<IntGauge>,
    wait: Vec<Histogram>,
    limit: IntGauge,
    running: IntGauge,
}

impl QueueMetrics {
    /// The priorities are `names`, in the order of their numbers.
    pub(super) fn new(families: &Families, upstream: &str, names: &[&str]) -> Self {
        QueueMetrics {
            depth: names.iter().map(|n| families.depth.with_label_values(&[upstream, n])).collect(),
            wait: names.iter().map(|n| families.wait.with_label_values(&[upstream, n])).collect(),
            limit: families.limit.with_label_values(&[upstream]),
            running: families.running.with_label_values(&[upstream]),
        }
    }

    /// Takes down how long a request of this priority waited for its place.
    pub fn waited(&self, priority: usize, seconds: f64) {
        if let Some(wait) = self.wait.get(priority) {
            wait.observe(seconds);
        }
    }

    /// Shows the queue as it stands: the waiting by priority, the places and how many of them are taken.
    pub fn show(&self, depth: impl IntoIterator<Item = u32>, limit: u32, running: u32) {
        for (gauge, depth) in self.depth.iter().zip(depth) {
            gauge.set(i64::from(depth));
        }
        self.limit.set(i64::from(limit));
        self.running.set(i64::from(running));
    }
}
