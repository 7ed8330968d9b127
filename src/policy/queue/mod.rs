//! The queue before an upstream: so many requests run at once, so many wait, and who waits goes by rules.
//!
//! - **Strict between priorities**, with ageing: a priority that waits and was given nothing for an `interval` gets one
//!   place, and of ten places at most one goes this way.
//! - **Turns within a priority.** Tenants (`fair_by`) take turns: deficit round robin (Shreedhar and Varghese, 1995), where
//!   every request costs 1, so that the deficit is never more than the turn itself. A tenant that cannot use its turn,
//!   because its routes are at their caps, keeps it.
//! - **A bounded delay.** CoDel per priority (`codel.rs`) refuses the old and serves the newest first under overload.
//! - **A fair door.** In a full queue an arrival takes the place of a lower priority, or of who has most waiting.
//! - **Caps** (`max_concurrent` of a route) are limits inside: who meets a full cap waits in the same queue, and others pass.
//!
//! `Core` is the pure state, [`Shared`] puts it behind a lock, [`Permit`] and [`Waiting`] are what a request holds.

use std::time::Duration;

use crate::policy::priority::Priority;

mod codel;
mod core;
mod line;
mod list;
mod permit;
mod settings;
mod shared;
mod turns;

pub use crate::policy::adaptive::Outcome;
pub use permit::{Permit, Waiting};
pub use settings::{MaxConcurrent, Settings};
pub use shared::{Clock, Entered, Shared};

/// What a request asks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Its priority.
    pub priority: Priority,
    /// The hash of what `fair_by` says; the same for all where it says nothing.
    pub tenant: u64,
    /// The cap of its route.
    pub cap: Cap,
    /// When an answer is of no use any more, on the clock of `now`.
    pub deadline: Option<Duration>,
}

/// A route's cap inside a queue, as [`Shared::cap`] gives it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Cap(u32);

impl Cap {
    /// For routes without one.
    pub const NONE: Cap = Cap(0);

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// Too many wait already.
    QueueFull,
    /// It has waited too long, or longer than who waits under overload may.
    Timeout,
    /// Its deadline would pass before an answer can come.
    Late,
    /// Its route's own cap alone stood in its way.
    Bulkhead,
    /// The breaker opened: nobody waits for an application that is not asked.
    Breaker,
}

/// What would have happened to a request that `observe` let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Would {
    /// It would have waited.
    Wait,
    /// It would have been refused.
    Refuse(Refused),
}

#[cfg(test)]
mod tests;
