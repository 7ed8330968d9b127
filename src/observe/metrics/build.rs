//! Short ways to make a family and register it.

use prometheus::core::Collector;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

type Made<T> = Result<T, prometheus::Error>;

/// Seconds: 1 ms to 60 s. Fine around 10 to 250 ms, where a payment's own work lies, and at the 5, 10, 30 and 60 s where
/// time-outs of applications and gateways usually stand.
const SECONDS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("outboard_{name}"), help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, family: Made<C>) -> Made<C> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> Made<IntCounter> {
    register(registry, IntCounter::with_opts(opts(name, help)))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Made<IntGauge> {
    register(registry, IntGauge::with_opts(opts(name, help)))
}

pub(super) fn float_gauge(registry: &Registry, name: &str, help: &str) -> Made<Gauge> {
    register(registry, Gauge::with_opts(opts(name, help)))
}

pub(super) fn counters(registry: &Registry, name: &str, labels: &[&str], help: &str) -> Made<IntCounterVec> {
    register(registry, IntCounterVec::new(opts(name, help), labels))
}

pub(super) fn gauges(registry: &Registry, name: &str, labels: &[&str], help: &str) -> Made<IntGaugeVec> {
    register(registry, IntGaugeVec::new(opts(name, help), labels))
}

pub(super) fn seconds(registry: &Registry, name: &str, labels: &[&str], help: &str) -> Made<HistogramVec> {
    let opts = HistogramOpts::new(format!("outboard_{name}"), help).buckets(SECONDS.to_vec());
    register(registry, HistogramVec::new(opts, labels))
}
