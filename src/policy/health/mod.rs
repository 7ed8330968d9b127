//! Active health checks: when results in a row change what is believed of an endpoint.
//!
//! The rule is HAProxy's `fall` and `rise`: so many failed checks in a row, so many passed ones in a row. One result
//! between them begins the count anew, so that a lost packet takes nobody out and one lucky answer brings nobody back.
//! Who asks, and what is done with the verdict, is not known here: see [`super::rotation`].

mod settings;
mod statuses;

pub use settings::Settings;
pub use statuses::{StatusRange, Statuses};

/// How many results in a row change the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Failed checks in a row until an endpoint is unhealthy.
    pub unhealthy_after: u32,
    /// Passed checks in a row until it is healthy again.
    pub healthy_after: u32,
}

/// What the checks of one endpoint say. An endpoint is believed healthy until they say otherwise: a process that starts
/// must serve before its first check, and an application that is down is found out by the requests as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    failing: bool,
    /// Results in a row that speak against the verdict.
    against: u32,
}

impl Verdict {
    /// Takes down one result. True: the verdict has changed.
    pub fn record(&mut self, passed: bool, thresholds: Thresholds) -> bool {
        if passed != self.failing {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.failing { thresholds.healthy_after } else { thresholds.unhealthy_after };
        if self.against < needed {
            return false;
        }
        *self = Verdict { failing: !self.failing, against: 0 };
        true
    }

    /// Whether the endpoint is believed unhealthy.
    pub fn is_failing(self) -> bool {
        self.failing
    }
}

#[cfg(test)]
mod tests;
