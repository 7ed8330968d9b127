//! Log lines: whoever writes one, it goes through one queue to one thread, which redacts it and writes it.
//!
//! A line is a JSON object with `ts`, `level` and `event`, then fields; or the same as text for a person. Our own come by
//! `tracing`, those of dependencies by `tracing` or `log` and at most as warnings, panics by a hook, and the lines about
//! requests by [`AccessLog`].

mod access;
mod line;
mod queue;
mod sink;

#[cfg(test)]
mod tests;

pub use access::{AccessLog, AccessRecord, UpstreamSent, wanted};

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use prometheus::IntCounter;

use self::queue::Queue;
use self::sink::{Sink, rank};
use super::metrics::Metrics;
use crate::config::{Level, Logging};

/// Appends a line to a buffer without what nobody should see.
pub type Redactor = Arc<dyn Fn(&[u8], &mut Vec<u8>) + Send + Sync>;

/// Why there is no logging.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The writer's thread did not start.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// Someone has set up logging before.
    #[error("logging is set up already")]
    Twice,
}

/// What is counted here.
#[derive(Clone)]
struct Counters {
    lines: IntCounter,
    access: IntCounter,
    panics: IntCounter,
}

/// Sets up logging to standard output for this process: `tracing`, `log` and panics. Lines lost and panics are counted in
/// `metrics`. Hold the guard until the end.
pub fn init(settings: &Logging, redactor: Redactor, metrics: &Metrics) -> Result<Guard, LogError> {
    let guard = Guard::start(settings, redactor, metrics, Box::new(io::stdout())).map_err(LogError::Thread)?;
    let sink = guard.sink.clone();
    tracing::subscriber::set_global_default(sink.clone()).map_err(|_| LogError::Twice)?;
    log::set_boxed_logger(Box::new(sink.clone())).map_err(|_| LogError::Twice)?;
    sink.set_level(settings.level);
    let panics = guard.counters.panics.clone();
    std::panic::set_hook(Box::new(move |info| panicked(&sink, &panics, info)));
    Ok(guard)
}

/// A panic is a line like any other: its message may hold what a request said.
fn panicked(sink: &Sink, panics: &IntCounter, info: &PanicHookInfo<'_>) {
    panics.inc();
    sink.write(Level::Error, "panic", |line| {
        line.str("message", info.payload_as_str().unwrap_or("no message"));
        if let Some(location) = info.location() {
            line.text("location", location);
        }
        line.str("thread", std::thread::current().name().unwrap_or("unnamed"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            line.text("backtrace", backtrace);
        }
    });
}

/// Logging, as long as this lives. Dropping it writes what waits, for a second at most.
pub struct Guard {
    sink: Sink,
    counters: Counters,
}

impl Guard {
    fn start(
        settings: &Logging,
        redactor: Redactor,
        metrics: &Metrics,
        out: Box<dyn Write + Send>,
    ) -> io::Result<Self> {
        let process = &metrics.process;
        let counters = Counters {
            lines: process.log_lines_dropped.clone(),
            access: process.access_log_dropped.clone(),
            panics: process.panics.clone(),
        };
        let sink = Sink {
            queue: Queue::start(out, redactor, counters.lines.clone())?,
            format: settings.format,
            level: Arc::new(AtomicU8::new(rank(settings.level))),
            lost: counters.lines.clone(),
        };
        Ok(Guard { sink, counters })
    }

    /// Where access lines go.
    pub fn access_log(&self) -> AccessLog {
        AccessLog { queue: self.sink.queue.clone(), format: self.sink.format, lost: self.counters.access.clone() }
    }

    /// What changes the level while the process runs.
    pub fn level(&self) -> LevelHandle {
        LevelHandle(self.sink.clone())
    }

    /// Waits until every line logged so far is written; `false` if that took longer.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.sink.queue.flush(timeout)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.flush(Duration::from_secs(1));
        self.sink.queue.close();
    }
}

/// Changes the level while the process runs.
#[derive(Clone)]
pub struct LevelHandle(Sink);

impl LevelHandle {
    /// The least severe line that is written from now on; dependencies stay at warn.
    pub fn set(&self, level: Level) {
        self.0.set_level(level);
    }
}
