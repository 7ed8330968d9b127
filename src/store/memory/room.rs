//! How a large object finds room without one request having to drive out a thousand small ones.
//!
//! The index drives out as much as an entry weighs, at once and in one shard. So an entry weighs at most [`ENTRY`] there,
//! however large its objects are. What they weigh *beyond* that is spread over all shards as *ballast*: an entry that is
//! never driven out and takes room from the others. It is raised shard by shard in steps of [`STEP`], each of which drives
//! out a few dozen objects; who stores a large object does these steps before it, one at a time, and lets others run
//! between them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// The most that an entry weighs in its shard, and the most by which a shard's ballast is raised at once. No object weighs
/// less than 400 bytes: so little is about 20 of them.
pub(super) const STEP: u64 = 8 << 10;

/// Shards hold this much or less, down to half of it. What the index does at its slowest (looking at every entry of a
/// shard for one that may go, putting a table in order) then takes some dozen microseconds where none of them is in the
/// processor's cache. And those that it drives out at once are few: while ballast rises, what goes first are entries that
/// are new in a shard, 3% of it, until one of them moves up among the frequent ones; then as many of those go.
pub(super) const SHARD: u64 = 512 << 10;

/// A store may hold this part more than it should while ballast follows: 1/128.
const TOLERANCE: u64 = 128;

/// Room for what is beyond entries.
#[derive(Debug)]
pub(super) struct Room {
    /// What a shard holds.
    shard: u64,
    step: u64,
    tolerance: u64,
    /// What objects weigh beyond their entries, and what is promised to such that are about to be stored.
    beyond: AtomicU64,
    /// All ballast.
    ballast: AtomicU64,
    turns: Mutex<Turns>,
}

#[derive(Debug)]
struct Turns {
    /// The ballast of each shard.
    shards: Box<[u64]>,
    /// The shard whose ballast is raised next.
    next: usize,
}

impl Room {
    pub(super) fn new(capacity: u64, shards: usize, step: u64) -> Self {
        Room {
            shard: capacity / shards as u64,
            step,
            tolerance: capacity / TOLERANCE,
            beyond: AtomicU64::new(0),
            ballast: AtomicU64::new(0),
            turns: Mutex::new(Turns { shards: vec![0; shards].into(), next: 0 }),
        }
    }

    pub(super) fn take(&self, bytes: u64) {
        self.beyond.fetch_add(bytes, Relaxed);
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.beyond.fetch_sub(bytes, Relaxed);
    }

    /// Whether there is room for what is there, and this.
    pub(super) fn has(&self, more: u64) -> bool {
        self.beyond.load(Relaxed) + more <= self.ballast.load(Relaxed) + self.tolerance
    }

    /// Makes one step more room, in the shard whose turn it is: `set` is told which one and its ballast. False where
    /// all shards are full of ballast.
    pub(super) fn raise(&self, set: impl FnOnce(usize, u64)) -> bool {
        let mut turns = self.turns.lock();
        let count = turns.shards.len();
        let free = |turns: &Turns, shard: usize| turns.shards[shard] + self.step <= self.shard;
        let Some(shard) = (0..count).map(|n| (turns.next + n) % count).find(|shard| free(&turns, *shard)) else {
            return false;
        };
        turns.next = (shard + 1) % count;
        turns.shards[shard] += self.step;
        self.ballast.fetch_add(self.step, Relaxed);
        set(shard, turns.shards[shard]);
        true
    }

    /// Takes back a step of ballast where there is too much. Does nothing while another thread changes it.
    pub(super) fn lower(&self, set: impl FnOnce(usize, u64)) {
        let needed = self.beyond.load(Relaxed) + self.tolerance;
        if self.ballast.load(Relaxed) <= needed {
            return;
        }
        let Some(mut turns) = self.turns.try_lock() else { return };
        let count = turns.shards.len();
        let Some(shard) = (1..=count).map(|n| (turns.next + count - n) % count).find(|at| turns.shards[*at] > 0) else {
            return;
        };
        turns.next = shard;
        turns.shards[shard] -= self.step;
        self.ballast.fetch_sub(self.step, Relaxed);
        set(shard, turns.shards[shard]);
    }

    #[cfg(test)]
    pub(super) fn beyond(&self) -> u64 {
        self.beyond.load(Relaxed)
    }

    #[cfg(test)]
    pub(super) fn ballast(&self) -> u64 {
        self.ballast.load(Relaxed)
    }

    /// The index was emptied by `empty`, and all ballast with it.
    pub(super) fn reset(&self, empty: impl FnOnce()) {
        let mut turns = self.turns.lock();
        empty();
        turns.shards.fill(0);
        self.ballast.store(0, Relaxed);
    }
}
