//! The circuit breaker: stops calling an application that fails or hangs.
//!
//! *Closed*, calls flow and are judged: it opens when, of the calls in the window, too many failed or were slow. *Open*,
//! calls are refused. After a while it is *half-open*: a few calls are let through as probes, and their outcomes close or
//! reopen it. [`Shared`] is what callers use; the rules are in `core`, and know neither clock nor lock.

use std::fmt;
use std::time::Duration;

mod call;
mod core;
mod permit;
mod probes;
mod settings;
mod window;

pub use permit::{Clock, Observer, Shared, Ticket};
pub use settings::{MOST_CALLS, Mode, Settings, SlowCall, Window};

use crate::policy::failure::Failure;

/// Whether calls flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// They do.
    Closed,
    /// A few do, to find out whether the application is back.
    HalfOpen,
    /// They are refused.
    Open,
}

impl State {
    /// The word in metrics and log.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half_open",
            State::Open => "open",
        }
    }

    /// The value of the gauge `breaker_state`: 0 closed, 1 half-open, 2 open.
    pub const fn as_number(self) -> u8 {
        match self {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The application answered, and not with an error of its own: 4xx is a success.
    Success,
    /// It did not answer, or with a 5xx. One that `failures` does not name is a success.
    Failure(Failure),
    /// It says nothing about the application: a refusal of our own, a client too slow with its body. Not counted, not
    /// even if it was slow.
    Neutral,
    /// The client left. Counted as slow if the call was older than `slow_call.over`, else not at all.
    ClientLeft,
}

/// A call that may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When it is worth to try again.
    pub retry_after: Duration,
    /// The state that refused it: open, or half-open with all probes out.
    pub state: State,
}

/// The calls that a verdict stands on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Counted.
    pub calls: u32,
    /// Of these, how many failed.
    pub failed: u32,
    /// Of these, how many were slow. A call may be both.
    pub slow: u32,
}

impl Figures {
    /// The share that failed, between 0 and 1; 0 where nothing was counted.
    pub fn failure_rate(&self) -> f64 {
        share(self.failed, self.calls)
    }

    /// The share that was slow, between 0 and 1; 0 where nothing was counted.
    pub fn slow_rate(&self) -> f64 {
        share(self.slow, self.calls)
    }
}

fn share(part: u32, of: u32) -> f64 {
    if of == 0 { 0.0 } else { f64::from(part) / f64::from(of) }
}

/// Why a breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Of the calls in the window `failure_rate` failed.
    FailureRate,
    /// Of the calls in the window `slow_call.rate` were slow.
    SlowRate,
    /// So many calls failed, and none succeeded between them.
    FailuresInARow(u32),
    /// So many calls were slow, and none was good between them.
    SlowInARow(u32),
    /// It was open for `open_for`.
    Waited,
    /// Too many probes failed.
    ProbesFailed,
    /// Too many probes were slow.
    ProbesSlow,
    /// The probes were good.
    ProbesGood,
    /// An operator said so.
    ByHand,
}

impl Why {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::FailureRate => "failure_rate",
            Why::SlowRate => "slow_rate",
            Why::FailuresInARow(_) => "failures_in_a_row",
            Why::SlowInARow(_) => "slow_in_a_row",
            Why::Waited => "waited",
            Why::ProbesFailed => "probes_failed",
            Why::ProbesSlow => "probes_slow",
            Why::ProbesGood => "probes_good",
            Why::ByHand => "by_hand",
        }
    }
}

/// A change of state: one line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The old state.
    pub from: State,
    /// The new state.
    pub to: State,
    /// The reason.
    pub why: Why,
    /// The calls in the window, or the probes, when it was decided.
    pub figures: Figures,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transition { from, to, why, figures } = self;
        write!(f, "{} -> {}: {}", from.as_str(), to.as_str(), why.as_str())?;
        write!(f, " ({} calls, {} failed, {} slow)", figures.calls, figures.failed, figures.slow)
    }
}

/// What an operator is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The state at this moment.
    pub state: State,
    /// When it came into that state, on the clock of the breaker.
    pub since: Duration,
    /// Opened or closed by an operator, and so until the reset.
    pub by_hand: bool,
    /// The calls in the window; half-open, the probes.
    pub figures: Figures,
    /// Probes in flight.
    pub probes: u32,
    /// Until it lets probes through; none where it is not open, or does not end by itself.
    pub open_left: Option<Duration>,
}

#[cfg(test)]
mod tests;
