//! The thread that appends: what waits is written together and synced once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use super::apply::Given;
use super::{GIVEN, Order, Shared, TURN};
use crate::store::records::disk::Op;
use crate::store::records::journal::{self, ROOM, Segment};
use crate::store::records::{Clock, StoreError};

/// What the steps of one batch take, but for one step that takes more.
const BATCH: usize = 4 << 20;

type Told = oneshot::Sender<Result<(), StoreError>>;

/// What waits to be appended.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) orders: Vec<Order>,
    pub(super) told: Vec<Told>,
    /// Nothing more is taken.
    pub(super) closed: bool,
}

/// What the thread has.
pub(super) struct Work {
    shared: Arc<Shared>,
    clock: Clock,
    /// The file that is appended to. None after a restart, until the database has what was in both.
    current: Option<Segment>,
    /// How many batches the generation had that came last, where there is no file.
    batches: u64,
    /// When the database was given something last.
    gave: u64,
}

impl Drop for Work {
    /// Also where the thread dies: nobody waits for what is never written.
    fn drop(&mut self) {
        self.shared.breaks("the thread that writes the records has ended".into());
        let waiting = {
            let mut queue = self.shared.queue.lock();
            queue.closed = true;
            (std::mem::take(&mut queue.orders), std::mem::take(&mut queue.told))
        };
        drop(waiting);
        self.shared.hand.lock().closed = true;
        self.shared.given.notify_all();
    }
}

impl Work {
    /// Appends to `current`, or, where there is none, to a file that is free later.
    pub(super) fn new(shared: Arc<Shared>, clock: Clock, current: Option<Segment>, batches: u64) -> Self {
        let gave = clock();
        Work { shared, clock, current, batches, gave }
    }

    /// Writes until all is closed.
    pub(super) fn run(mut self) {
        let (mut orders, mut told) = (Vec::new(), Vec::new());
        let mut tried = self.gave;
        if self.current.is_none() {
            // Whether the database takes what was found is to be known before anybody depends on it.
            self.probe();
        }
        loop {
            let closed = {
                let mut queue = self.shared.queue.lock();
                if queue.orders.is_empty() && !queue.closed {
                    self.shared.filled.wait_for(&mut queue, TURN);
                }
                // Who shares the processor with this first does what is ready: its steps go with the same sync.
                MutexGuard::unlocked(&mut queue, std::thread::yield_now);
                std::mem::swap(&mut queue.orders, &mut orders);
                std::mem::swap(&mut queue.told, &mut told);
                queue.closed
            };
            self.write(&mut orders, &mut told);
            if closed {
                self.give_all();
                return;
            }
            let now = (self.clock)();
            let is_over = |since: u64, time: Duration| now.saturating_sub(since) >= time.as_millis() as u64;
            if !self.shared.works.load(Ordering::Acquire) && is_over(tried, TURN) {
                tried = now;
                self.probe();
            }
            if is_over(self.gave, GIVEN) {
                self.give_some();
            }
        }
    }

    /// Writes what waited, and tells those who wait for it.
    fn write(&mut self, orders: &mut Vec<Order>, told: &mut Vec<Told>) {
        let mut told = told.drain(..);
        while !orders.is_empty() {
            let (mut bytes, mut count) = (0, 0);
            let ops: Vec<_> = orders.iter().map(Order::op).collect();
            for op in &ops {
                let more = journal::size(op);
                if count > 0 && bytes + more > BATCH {
                    break;
                }
                (bytes, count) = (bytes + more, count + 1);
            }
            let done = self.commit(&ops[..count]);
            drop(ops);
            let orders = orders.drain(..count);
            if done.is_ok() {
                // Before anybody is told: from then on it is asked for here.
                self.shared.pending.put_all(orders);
            } else {
                drop(orders);
            }
            for told in told.by_ref().take(count) {
                let _ = told.send(done.clone());
            }
        }
    }

    /// Appends a batch.
    fn commit(&mut self, ops: &[Op<'_>]) -> Result<(), StoreError> {
        let bytes = ops.iter().map(journal::size).sum();
        if bytes > ROOM {
            return Err(StoreError::because(format!("a record of {bytes} bytes is larger than the journal")));
        }
        self.commit_with(ops, bytes)
    }

    /// Finds out whether steps can be written: with room for some, or the next one would find that they cannot. Nothing else
    /// says so once one could not: where a request can still be noted, there may be no room for its answer.
    fn probe(&mut self) {
        if self.commit_with(&[], BATCH).is_ok() {
            self.shared.works();
        }
    }

    /// Appends a batch where there is room for so many bytes.
    fn commit_with(&mut self, ops: &[Op<'_>], bytes: usize) -> Result<(), StoreError> {
        self.shared.began.store((self.clock)().max(1), Ordering::Relaxed);
        let done = self.append(ops, bytes);
        self.shared.began.store(0, Ordering::Relaxed);
        if let Err(cause) = &done {
            self.shared.breaks(cause.clone());
        }
        done.map_err(StoreError::Unavailable)
    }

    fn append(&mut self, ops: &[Op<'_>], bytes: usize) -> Result<(), Arc<str>> {
        let now = (self.clock)();
        self.shared.disk.saw(now);
        loop {
            if let Some(current) = self.current.as_mut().filter(|current| current.has_room(bytes)) {
                return current.append(ops, now).map_err(|cause| cause.to_string().into());
            }
            self.turn(true)?;
        }
    }

    /// Goes on to the other file, and gives this one away. Where the other one is not free, waits for it or leaves it at
    /// that; an error where it cannot become free, or where this one has a batch that failed and may be found later.
    fn turn(&mut self, waits: bool) -> Result<(), Arc<str>> {
        if let Some(current) = &mut self.current {
            current.forget_failed().map_err(|cause| cause.to_string())?;
        }
        let mut hand = self.shared.hand.lock();
        let free = loop {
            if let Some(free) = hand.free.pop_front() {
                break free;
            }
            if !waits {
                return Ok(());
            }
            if let Some(cause) = &hand.failed {
                return Err(cause.clone());
            }
            hand.awaited = true;
            self.shared.given.notify_one();
            self.shared.freed.wait(&mut hand);
            hand.awaited = false;
        };
        if let Some(full) = self.current.replace(free) {
            self.batches = full.batches();
            hand.full.push_back(Given::new(full, self.shared.pending.give()));
        }
        drop(hand);
        self.gave = (self.clock)();
        if let Some(current) = &mut self.current {
            current.follows(self.batches);
        }
        self.shared.given.notify_one();
        Ok(())
    }

    /// Gives the database what came since the last time, unless it is still at work.
    fn give_some(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.batches() > 0)
            && let Err(cause) = self.turn(false)
        {
            self.shared.breaks(cause);
        }
    }

    /// Gives the database all there is: nothing more is appended.
    fn give_all(&mut self) {
        if let Some(current) = self.current.take_if(|current| current.batches() > 0) {
            self.shared.hand.lock().full.push_back(Given::new(current, self.shared.pending.give()));
        }
    }
}
