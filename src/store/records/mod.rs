//! Idempotency records: which keys were seen, what became of their requests, and the answers that later tries get.
//!
//! [`Local`] is this process' own store: what is at work is in memory, what was sent is in a folder ([`durable`]: a journal
//! and behind it a database, [`disk`]), or in memory alone where there is none. [`Shared`] is one of several processes: they keep them in [`redis`]. Which
//! transition is allowed when is in `policy::idempotency`; here each is made whole, once, and durable before anybody acts
//! upon it.

pub mod disk;
pub mod durable;
mod filter;
mod journal;
pub mod local;
mod memory;
pub mod record;
pub mod redis;
pub mod seal;
pub mod shared;

use std::sync::Arc;

pub use local::Local;
pub use record::{About, Answer, Record, Seen};
pub use seal::Sealer;
pub use shared::Shared;

use crate::policy::idempotency::{Claim, State};

/// Tells the milliseconds since 1970, by a clock that is never set back while the process runs.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why a step was not made. Nothing may be sent then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be written, or not be reached.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// There are as many records as there may be, and all of them live.
    #[error("all {0} records are in use (stores.max_records)")]
    Full(u64),
}

impl StoreError {
    pub(crate) fn because(cause: impl std::fmt::Display) -> Self {
        StoreError::Unavailable(cause.to_string().into())
    }
}

/// What a try found.
pub enum Reserve {
    /// The key is its own: it goes on, under this fence.
    Mine(u64),
    /// There is a record.
    Found(Box<Found>),
}

/// A record that a try found.
pub struct Found {
    /// Where it stands.
    pub state: State,
    /// What it was made for.
    pub claim: Claim,
    /// Its times and its answer, where it was sent.
    pub record: Option<Record>,
    /// Told when it has changed; none where that has to be asked for again.
    pub changed: Option<tokio::sync::watch::Receiver<()>>,
}

/// How many records there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// At work, nothing sent.
    pub reserved: u64,
    /// At work, sent.
    pub sent: u64,
    /// Done.
    pub done: u64,
    /// Of which nobody knows the outcome.
    pub unknown: u64,
    /// When the oldest of those was sent, in milliseconds since 1970; 0 where there is none.
    pub oldest_unknown: u64,
}
