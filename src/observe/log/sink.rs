//! Where events come in: from `tracing` (ours, hyper, h2) and from `log` (pingora, rustls).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use prometheus::IntCounter;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

use super::line::Line;
use super::queue::Queue;
use crate::config::{Level, LogFormat};

/// Renders events into the queue. Spans are not kept: what a line has to say stands in its fields.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) queue: Arc<Queue>,
    pub(super) format: LogFormat,
    pub(super) level: Arc<AtomicU8>,
    pub(super) lost: IntCounter,
}

/// The most that a dependency may say, whatever the level: at debug h2 and pingora log what they carry.
const DEPENDENCIES: u8 = rank(Level::Warn);

pub(super) const fn rank(level: Level) -> u8 {
    match level {
        Level::Off => 0,
        Level::Error => 1,
        Level::Warn => 2,
        Level::Info => 3,
        Level::Debug => 4,
        Level::Trace => 5,
    }
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix("outboard").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Sink {
    fn limit(&self, ours: bool) -> u8 {
        let level = self.level.load(Ordering::Relaxed);
        if ours { level } else { level.min(DEPENDENCIES) }
    }

    /// Moves the level; both crates that ask before they make an event are told.
    pub(super) fn set_level(&self, level: Level) {
        self.level.store(rank(level), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        log::set_max_level(match rank(level).min(DEPENDENCIES) {
            0 => log::LevelFilter::Off,
            1 => log::LevelFilter::Error,
            _ => log::LevelFilter::Warn,
        });
    }

    pub(super) fn write(&self, level: Level, event: &str, fields: impl FnOnce(&mut Line<'_>)) {
        let mut out = Vec::with_capacity(256);
        let mut line = Line::start(&mut out, self.format, level, event);
        fields(&mut line);
        line.end();
        if !self.queue.push(&out) {
            self.lost.inc();
        }
    }
}

impl Subscriber for Sink {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && rank(level_of(*metadata.level())) <= self.limit(is_ours(metadata.target()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.level.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut fields = Vec::with_capacity(256);
        let mut found = Fields { line: Line::fields(&mut fields, self.format), event: None, message: None };
        event.record(&mut found);
        let Fields { event: named, message, .. } = found;
        let ours = is_ours(metadata.target());
        // Ours are named by their event or, said shortly, by their message; those of others are only sentences.
        let (name, message) = match (named, message) {
            (Some(name), message) if ours => (name, message),
            (None, Some(message)) if ours => (message, None),
            (None, None) if ours => ("event".to_owned(), None),
            (_, message) => ("dependency".to_owned(), message),
        };
        self.write(level_of(*metadata.level()), &name, |line| {
            if !ours {
                line.str("target", metadata.target());
            }
            line.append(&fields);
            line.opt_str("message", message.as_deref());
        });
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Writes an event's fields down, but for the two that name it.
struct Fields<'a> {
    line: Line<'a>,
    event: Option<String>,
    message: Option<String>,
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => self.event = Some(value.to_owned()),
            "message" => self.message = Some(value.to_owned()),
            name => self.line.str(name, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.record_str(field, &text);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.line.u64(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.line.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.line.bool(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is not a number.
        if value.is_finite() {
            self.line.plain(field.name(), value);
        } else {
            self.line.text(field.name(), value);
        }
    }
}

impl log::Log for Sink {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() as usize <= usize::from(self.limit(is_ours(metadata.target())))
    }

    fn log(&self, record: &log::Record<'_>) {
        if !log::Log::enabled(self, record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        };
        self.write(level, "dependency", |line| {
            line.str("target", record.target());
            line.text("message", record.args());
        });
    }

    fn flush(&self) {}
}
