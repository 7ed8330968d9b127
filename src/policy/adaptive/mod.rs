//! A limit that follows the application (docs/decisions/0005).

use std::time::Duration;

mod settings;

pub use settings::Settings;

/// How a request ended, for the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The application answered, whatever it said.
    Ok,
    /// It did not: a timeout, a reset. Too many of these take the limit down.
    Failed,
    /// It says nothing about the application: the client left, we refused it ourselves, it was a stream.
    #[default]
    Neutral,
}

/// The number of requests that run at once, and what it is learnt from.
#[derive(Debug)]
pub struct Adaptive {
    settings: Settings,
    limit: u32,
}

impl Adaptive {
    /// Begins at `initial`.
    pub fn new(settings: Settings) -> Adaptive {
        Adaptive { settings, limit: settings.initial.clamp(settings.min, settings.max) }
    }

    /// The limit at this moment.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// A request ended at `now`, `latency` after it had begun, when `in_flight` ran, itself included. The new limit, if it
    /// changes.
    pub fn sample(&mut self, latency: Duration, in_flight: u32, outcome: Outcome, now: Duration) -> Option<u32> {
        let _ = (latency, in_flight, outcome, now, self.settings);
        None
    }
}
