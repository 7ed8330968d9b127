//! The thread that does in the database what is in the journal, and removes from it what has ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::pending::Steps;
use super::{Shared, TURN};
use crate::store::records::Clock;
use crate::store::records::disk::{Error, Op};
use crate::store::records::journal::Segment;

/// How many records are removed at a time. What the journal had waits for it, and nobody for that.
const SWEPT: usize = 2_048;

/// How many steps are done in one transaction: about as many pages of the index, 1 MiB. With more of them the disk, and the
/// processor that hands them to it, are taken from the appends for longer, and SQLite's cache overflows into its log. Tests
/// are to see what is in between.
const PIECE: usize = if cfg!(all(test, debug_assertions)) { 16 } else { 256 };

/// What the two threads hand each other.
#[derive(Default)]
pub(super) struct Hand {
    /// What is to be done in the database, the oldest first.
    pub(super) full: VecDeque<Given>,
    /// The files that may be written, the next one first.
    pub(super) free: VecDeque<Segment>,
    /// Why the oldest could not be done when it was tried last.
    pub(super) failed: Option<Arc<str>>,
    /// Who appends waits for a file.
    pub(super) awaited: bool,
    /// Nothing more comes.
    pub(super) closed: bool,
}

/// A generation of the journal.
pub(super) struct Given {
    segment: Segment,
    /// None once they are in the database.
    steps: Option<Arc<Steps>>,
    /// How many of them are.
    applied: usize,
}

impl Given {
    /// A file, and the steps in it.
    pub(super) fn new(segment: Segment, steps: Arc<Steps>) -> Self {
        Given { segment, steps: Some(steps), applied: 0 }
    }
}

/// What the thread has.
pub(super) struct Apply {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
}

impl Drop for Apply {
    /// Also where the thread dies: who waits for a file would wait for ever.
    fn drop(&mut self) {
        self.shared.hand.lock().failed = Some("the thread that writes the database has ended".into());
        self.shared.freed.notify_all();
    }
}

impl Apply {
    /// Works until all is closed.
    pub(super) fn run(self) {
        let mut swept = (self.clock)();
        let mut more = false;
        loop {
            let (given, closed) = {
                let mut hand = self.shared.hand.lock();
                // What failed is tried again at its time, not because there is more.
                if hand.failed.is_some() && !hand.closed {
                    self.shared.given.wait_while_for(&mut hand, |hand| !hand.closed, TURN);
                } else if hand.full.is_empty() && !hand.closed && !more {
                    self.shared.given.wait_for(&mut hand, TURN);
                }
                (hand.full.pop_front(), hand.closed)
            };
            match given.map(|given| self.apply(given)) {
                // At the end it is tried once: what the database does not take the next process finds in the journal.
                Some(false) | None if closed => return,
                _ => {}
            }
            let now = (self.clock)();
            if !closed && (more || now.saturating_sub(swept) >= TURN.as_millis() as u64) {
                swept = now;
                // A database that cannot be written is found out by what it is to be given.
                more = self.shared.disk.expire(now, SWEPT).is_ok_and(|gone| gone == SWEPT);
            }
        }
    }

    /// Whether it is in the database and its file is free.
    fn apply(&self, mut given: Given) -> bool {
        let done = self.done(&mut given);
        let mut hand = self.shared.hand.lock();
        hand.failed = done.as_ref().err().map(|cause| cause.to_string().into());
        match &done {
            Ok(()) => hand.free.push_back(given.segment),
            Err(_) => hand.full.push_front(given),
        }
        drop(hand);
        self.shared.freed.notify_one();
        done.is_ok()
    }

    /// Piece by piece, with as much rest after each as it took: what is appended meanwhile goes between.
    fn done(&self, given: &mut Given) -> Result<(), Error> {
        if let Some(steps) = &given.steps {
            let mut rest = &steps.ops()[given.applied..];
            loop {
                let begun = (self.clock)();
                let (piece, others) = rest.split_at(rest.len().min(PIECE));
                self.shared.disk.commit(piece)?;
                given.applied += piece.len();
                self.shared.pending.applied(piece.iter().filter(|op| matches!(op, Op::Done(..))).count());
                if others.is_empty() {
                    break;
                }
                rest = others;
                self.rest(Duration::from_millis((self.clock)().saturating_sub(begun)));
            }
            // Only now: until then they are not all found in the database.
            self.shared.pending.ends();
            given.steps = None;
        }
        given.segment.renew()
    }

    /// Stands back for so long, unless somebody waits.
    fn rest(&self, time: Duration) {
        let mut hand = self.shared.hand.lock();
        // A clock that is set meanwhile makes no rest longer.
        self.shared.given.wait_while_for(&mut hand, |hand| !hand.awaited && !hand.closed, time.min(TURN));
    }
}
