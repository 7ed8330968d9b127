//! What is counted once for the process.

use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::build;

/// Families without a label from the configuration.
pub struct ProcessMetrics {
    /// Bytes of bodies held in memory.
    pub buffered_bytes: IntGauge,
    /// Event streams and WebSockets open now.
    pub event_streams: IntGauge,
    /// 1 where no policy acts.
    pub bypass: IntGauge,
    /// Panics, caught or not.
    pub panics: IntCounter,
    /// Access lines that were lost.
    pub access_log_dropped: IntCounter,
    /// Other log lines that were lost.
    pub log_lines_dropped: IntCounter,
    drain_state: IntGauge,
    shutdown_duration: Gauge,
    reloads_ok: IntCounter,
    reloads_failed: IntCounter,
    last_reload: Gauge,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ResultLabel {
    Ok,
    Failed,
}

impl ResultLabel {
    /// The word in metrics and log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            ResultLabel::Ok => "ok",
            ResultLabel::Failed => "failed",
        }
    }
}

/// Where the process stands on its way from start to end; the number is the value of `outboard_drain_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DrainState {
    /// Not ready yet.
    Starting = 0,
    /// Takes traffic.
    Ready = 1,
    /// Readiness fails; still accepts, for those who have not heard.
    Leaving = 2,
    /// Accepts no more; works on what it has.
    Draining = 3,
    /// Nothing left.
    Done = 4,
}

impl ProcessMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        r.register(Box::new(ProcessCollector::for_self()))?;
        let reloads = build::counters(
            r,
            "config_reloads_total",
            &["result"],
            "Reloads of the configuration. A failed one changes nothing: the former configuration stays.",
        )?;
        build::gauges(r, "build_info", &["version"], "Always 1; the version that runs is the label.")?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(ProcessMetrics {
            buffered_bytes: build::gauge(
                r,
                "buffered_bytes",
                "Bytes of bodies held in memory by all requests. Above limits.max_buffered: 503 overloaded.",
            )?,
            event_streams: build::gauge(
                r,
                "event_streams",
                "Event streams and WebSockets open now; limits.max_event_streams bounds them.",
            )?,
            bypass: build::gauge(
                r,
                "bypass",
                "1 where OUTBOARD_BYPASS=1 made outboard a plain proxy in which no policy acts.",
            )?,
            panics: build::counter(
                r,
                "panics_total",
                "Panics: each is a defect of outboard that cost one request or connection, never the process.",
            )?,
            access_log_dropped: build::counter(
                r,
                "access_log_dropped_total",
                "Access lines lost since standard output was read too slowly; requests never wait for it.",
            )?,
            log_lines_dropped: build::counter(
                r,
                "log_lines_dropped_total",
                "Other log lines lost since standard output was read too slowly.",
            )?,
            drain_state: build::gauge(
                r,
                "drain_state",
                "0 starting, 1 ready, 2 leaving (unready, still accepting), 3 draining (accepts no more), 4 done.",
            )?,
            shutdown_duration: build::float_gauge(
                r,
                "shutdown_duration_seconds",
                "How long the shutdown has taken; 0 while there is none. Keep it below the pod's grace period.",
            )?,
            reloads_ok: reloads.with_label_values(&[ResultLabel::Ok.as_str()]),
            reloads_failed: reloads.with_label_values(&[ResultLabel::Failed.as_str()]),
            last_reload: build::float_gauge(
                r,
                "config_last_reload_timestamp_seconds",
                "When the running configuration was loaded, in seconds since 1970.",
            )?,
        })
    }

    /// Says where the process stands.
    pub fn set_drain_state(&self, state: DrainState) {
        self.drain_state.set(state as i64);
    }

    /// Says how long the shutdown has taken so far.
    pub fn set_shutdown_duration(&self, seconds: f64) {
        self.shutdown_duration.set(seconds);
    }

    /// Counts a reload; `unix_seconds` moves the time of the last good one.
    pub fn reloaded(&self, result: ResultLabel, unix_seconds: f64) {
        match result {
            ResultLabel::Ok => {
                self.reloads_ok.inc();
                self.last_reload.set(unix_seconds);
            }
            ResultLabel::Failed => self.reloads_failed.inc(),
        }
    }

    /// Says when the first configuration was loaded; not a reload.
    pub fn loaded(&self, unix_seconds: f64) {
        self.last_reload.set(unix_seconds);
    }
}
