//! What the webhook counts.

use std::time::Duration;

use prometheus::{Encoder, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use super::review::Result as Reviewed;

/// Its families.
pub(super) struct Metrics {
    registry: Registry,
    reviews: IntCounterVec,
    bad: IntCounterVec,
    seconds: Histogram,
    certificate: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> std::result::Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help).namespace("outboard_webhook"), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let reviews = counters(
            "reviews_total",
            "Reviews by what became of the pod (injected, left, skipped, ignored, refused) and why.",
            &["result", "reason"],
        )?;
        let bad = counters("bad_requests_total", "Requests that were no reviews, by what was wrong.", &["cause"])?;
        let seconds = HistogramOpts::new("review_seconds", "From a review's last byte to its answer.")
            .namespace("outboard_webhook")
            .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        let seconds = Histogram::with_opts(seconds)?;
        registry.register(Box::new(seconds.clone()))?;
        let certificate = Opts::new(
            "certificate_expiry_timestamp_seconds",
            "When its own certificate ends; 0: it serves with files, which are somebody else's to watch.",
        );
        let certificate = IntGauge::with_opts(certificate.namespace("outboard_webhook"))?;
        registry.register(Box::new(certificate.clone()))?;
        Ok(Metrics { registry, reviews, bad, seconds, certificate })
    }

    pub(super) fn reviewed(&self, result: Reviewed, time: Duration) {
        let (result, reason) = result.words();
        self.reviews.with_label_values(&[result, reason]).inc();
        self.seconds.observe(time.as_secs_f64());
    }

    pub(super) fn bad(&self, cause: &str) {
        self.bad.with_label_values(&[cause]).inc();
    }

    pub(super) fn certificate(&self, until: u64) {
        self.certificate.set(i64::try_from(until).unwrap_or(i64::MAX));
    }

    pub(super) fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Into memory it cannot fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        out
    }
}
