//! What is remembered of a call until it ends.

use std::time::Duration;

use super::Refused;
use super::window::Place;

/// A call that was admitted.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) generation: u64,
    pub(super) part: Part,
    /// When its age began; none while the client is what it waits for.
    pub(super) since: Option<Duration>,
    pub(super) slow: Option<Slow>,
}

/// What a call counts for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// Nothing: in `observe`, it would have been refused.
    None(Refused),
    Window,
    Probe(u64),
}

/// Where a call was counted as slow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slow {
    /// None for a probe.
    pub(super) place: Option<Place>,
    pub(super) row: u64,
}

impl Call {
    /// In `observe`: it would have been refused.
    pub(super) fn would_refuse(&self) -> Option<Refused> {
        match self.part {
            Part::None(refused) => Some(refused),
            Part::Window | Part::Probe(_) => None,
        }
    }

    /// When its age began, unless it was counted as slow already or stands still.
    pub(super) fn since(&self) -> Option<Duration> {
        self.since.filter(|_| self.slow.is_none())
    }

    /// Its age stands still from now on; it was not slow until now.
    pub(super) fn pause(&mut self) {
        self.since = None;
    }

    /// Whether it tries for others.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self.part, Part::Probe(_))
    }
}
