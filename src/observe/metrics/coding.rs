//! What encoding bodies counts.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::build;

pub(super) struct Families {
    bytes: IntCounterVec,
    seconds: HistogramVec,
}

impl Families {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Families {
            bytes: build::counters(
                r,
                "compression_bytes_total",
                &["encoding", "side"],
                "Bytes of bodies before (in) and after (out) they were encoded.",
            )?,
            seconds: build::seconds(
                r,
                "compression_seconds",
                &["encoding"],
                "What encoding took: a whole body, or a part of one that came in parts.",
            )?,
        })
    }
}

/// What one coding counts into.
pub struct CodingMetrics {
    came: IntCounter,
    left: IntCounter,
    seconds: Histogram,
}

impl CodingMetrics {
    pub(super) fn new(families: &Families, encoding: &str) -> Self {
        CodingMetrics {
            came: families.bytes.with_label_values(&[encoding, "in"]),
            left: families.bytes.with_label_values(&[encoding, "out"]),
            seconds: families.seconds.with_label_values(&[encoding]),
        }
    }

    /// Counts what was encoded: bytes before and after, and how long it took.
    pub fn encoded(&self, came: usize, left: usize, time: Duration) {
        self.came.inc_by(came as u64);
        self.left.inc_by(left as u64);
        self.seconds.observe(time.as_secs_f64());
    }
}
