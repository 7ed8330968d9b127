//! The records that outlive the process: a journal makes a step durable, the database has it some seconds later.
//!
//! Two threads. One appends what waits to the journal, all of it at once, and syncs it once (group commit: `writer.rs`). The
//! other takes what the journal got in some seconds, or what one of its two files holds, and does it in the database piece
//! by piece (`apply.rs`), where most of it is gone by then: of a key only the last of its steps counts. It is the same
//! steps that a restart reads from the journal and does in the database, so it is no matter whether a process ends before,
//! while or after the database has them: to do all the steps of a generation again changes nothing, and generations are done
//! in their order.
//!
//! What the database does not have yet is in memory as well (`pending.rs`), and is asked first.
//!
//! # While it cannot be written
//! Steps fail as soon as they cannot be appended: because the journal cannot be written, or because both of its files are
//! full and the database cannot take the older one. Both is tried again every second. A database that is slow and does not
//! fail makes them wait.

mod apply;
mod pending;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::disk::{Disk, Error, Op, OpenError};
use super::journal::{self, Part};
use super::{Clock, StoreError};
use crate::policy::idempotency::Hash;
use apply::{Apply, Given, Hand};
use pending::Pending;
use writer::{Queue, Work};

/// What the steps may take that one of the two files of the journal holds: they are in memory until the database has them.
pub const JOURNAL: usize = journal::ROOM;

/// How often what ended is removed, and what cannot be written is tried again.
const TURN: Duration = Duration::from_secs(1);

/// How long the database waits for what the journal has, where no file is full before. Nothing depends on it but what a step
/// costs: each time the database is written costs the same few syncs, and a page of its index for nearly every key.
const GIVEN: Duration = Duration::from_secs(5);

/// A disk that takes longer than this for one append hangs, in milliseconds: nothing more is begun meanwhile.
const HANGS: u64 = 5_000;

/// How much the thread that writes the database stands back: a quarter of a processor is left to it where others want all.
const NICE: i32 = 5;

/// How often the end looks whether the disk hangs.
const LOOK: Duration = Duration::from_millis(100);

/// A step to be made durable.
pub(super) enum Order {
    /// As [`Op::Open`].
    Open(Hash, Vec<u8>),
    /// As [`Op::Done`].
    Done(Hash, u64, Vec<u8>),
    /// As [`Op::Remove`].
    Remove(Hash),
}

impl Order {
    /// The same, borrowed.
    pub(super) fn op(&self) -> Op<'_> {
        match self {
            Order::Open(hash, record) => Op::Open(*hash, record),
            Order::Done(hash, expires, record) => Op::Done(*hash, *expires, record),
            Order::Remove(hash) => Op::Remove(*hash),
        }
    }
}

/// The records of a folder, which nothing is written to yet.
pub struct Opened {
    disk: Disk,
    parts: [Part; 2],
}

/// Opens what is in the folder, or makes it. The database's caches take `memory` bytes at most.
///
/// # Errors
/// Where it cannot be read, made or locked, where it is damaged, or was written by another version.
pub fn open(folder: &Path, memory: usize) -> Result<Opened, OpenError> {
    // The folder is locked with it.
    let disk = Disk::open(folder, memory)?;
    let parts = journal::open(folder)?;
    parts.iter().for_each(|part| disk.saw(part.time));
    Ok(Opened { disk, parts })
}

impl Opened {
    /// The latest time that was told to who wrote it, in unix milliseconds.
    pub fn last_seen(&self) -> u64 {
        self.disk.last_seen()
    }

    /// The finished records that the database may not have yet, and when they expire.
    pub(super) fn pending_done(&self) -> Vec<(Hash, u64)> {
        let orders = self.parts.iter().flat_map(|part| &part.orders);
        let done = orders.filter_map(|order| match order {
            Order::Done(hash, expires, _) => Some((*hash, *expires)),
            Order::Open(..) | Order::Remove(_) => None,
        });
        done.collect()
    }
}

/// What the two threads and those who ask share.
struct Shared {
    disk: Disk,
    queue: Mutex<Queue>,
    filled: Condvar,
    pending: Pending,
    hand: Mutex<Hand>,
    /// For who does it in the database: there is something, or there will not be.
    given: Condvar,
    /// For who appends: there is a file, or none can be had.
    freed: Condvar,
    /// Why nothing can be written; none while it can.
    broken: Mutex<Option<Arc<str>>>,
    /// The same, for a look that costs one load.
    works: AtomicBool,
    /// How many of the threads have ended.
    ended: Mutex<u8>,
    told: Condvar,
    /// When the append that runs began, in milliseconds of the clock; 0 where none does.
    began: AtomicU64,
}

impl Shared {
    fn works(&self) {
        if !self.works.swap(true, Ordering::AcqRel) {
            *self.broken.lock() = None;
        }
    }

    fn breaks(&self, cause: Arc<str>) {
        *self.broken.lock() = Some(cause);
        self.works.store(false, Ordering::Release);
    }
}

/// Tells that a thread has ended, however it did.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        *self.0.ended.lock() += 1;
        self.0.told.notify_all();
    }
}

/// The records of a folder.
pub(super) struct Durable {
    shared: Arc<Shared>,
    clock: Clock,
    /// Who appends, and who does it in the database.
    threads: Mutex<Option<[JoinHandle<()>; 2]>>,
}

impl Durable {
    /// Begins to write.
    ///
    /// # Errors
    /// Where there are no threads.
    pub(super) fn start(opened: Opened, clock: Clock) -> std::io::Result<Self> {
        let Opened { disk, parts } = opened;
        let pending = Pending::default();
        let [older, newer] = parts;
        // What follows has to say how many batches it follows; of one that is empty that is none.
        let batches = if newer.is_used() { newer.segment.batches() } else { older.segment.batches() };
        let mut hand = Hand::default();
        let mut current = None;
        let give = |part: Part, hand: &mut Hand| {
            part.orders.into_iter().for_each(|order| pending.put(order));
            hand.full.push_back(Given::new(part.segment, pending.give()));
        };
        match (older.is_used(), newer.is_used()) {
            (_, true) => {
                give(older, &mut hand);
                give(newer, &mut hand);
            }
            (true, false) => {
                give(older, &mut hand);
                hand.free.push_back(newer.segment);
            }
            (false, false) => {
                current = Some(older.segment);
                hand.free.push_back(newer.segment);
            }
        }
        let shared = Arc::new(Shared {
            disk,
            queue: Mutex::default(),
            filled: Condvar::new(),
            pending,
            hand: Mutex::new(hand),
            given: Condvar::new(),
            freed: Condvar::new(),
            broken: Mutex::default(),
            works: AtomicBool::new(true),
            ended: Mutex::default(),
            told: Condvar::new(),
            began: AtomicU64::new(0),
        });
        let apply = Apply { shared: shared.clone(), clock: clock.clone() };
        let work = Work::new(shared.clone(), clock.clone(), current, batches);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (ends, ends_too) = (Ends(shared.clone()), Ends(shared.clone()));
        let apply = thread("outboard-apply").spawn(move || {
            let _ends = ends;
            // Where the traffic wants the processor it goes first: what this does can wait for some seconds.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
            apply.run();
        })?;
        // Where this one cannot be started its work is dropped, which ends the other.
        let append = thread("outboard-records").spawn(move || {
            let _ends = ends_too;
            work.run();
        })?;
        Ok(Durable { shared, clock, threads: Mutex::new(Some([append, apply])) })
    }

    /// Asks for a step; told once it is durable, or is not.
    pub(super) fn submit(&self, order: Order) -> oneshot::Receiver<Result<(), StoreError>> {
        let (told, when) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        if !queue.closed {
            queue.orders.push(order);
            queue.told.push(told);
            drop(queue);
            self.shared.filled.notify_one();
        }
        when
    }

    /// Why nothing can be written now.
    pub(super) fn broken(&self) -> Option<Arc<str>> {
        if self.hangs() {
            return Some("the disk does not answer".into());
        }
        if self.shared.works.load(Ordering::Acquire) {
            return None;
        }
        self.shared.broken.lock().clone()
    }

    /// What is known of a finished record without asking the database: that there is one, or that there is none any more.
    pub(super) fn pending(&self, hash: &Hash) -> Option<Option<Vec<u8>>> {
        self.shared.pending.done(hash)
    }

    /// A finished record, expired or not.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn done(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Error> {
        // What is not pending any more when this is asked is in the database.
        match self.shared.pending.done(hash) {
            Some(known) => Ok(known),
            None => self.shared.disk.done(hash),
        }
    }

    /// How many finished records there are: those in the database, and those that it is still to get, be it in the place of
    /// others.
    pub(super) fn len(&self) -> u64 {
        self.shared.disk.len() + self.shared.pending.len()
    }

    /// Every open record. To be asked before anything is submitted.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(super) fn open_records(&self) -> Result<Vec<(Hash, Vec<u8>)>, Error> {
        // In this order: what the database gets in between is seen twice, and not missed.
        let pending = self.shared.pending.snapshot();
        let mut records = self.shared.disk.open_records()?.into_iter().collect();
        pending.iter().for_each(|steps| steps.apply_open(&mut records));
        Ok(records.into_iter().collect())
    }

    /// Tells the hashes of finished records in the database, some at a time: those behind `after`, in their order. Empty at
    /// the end.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(super) fn hashes(&self, after: &Hash, most: usize) -> Result<Vec<Hash>, Error> {
        self.shared.disk.hashes(after, most)
    }

    /// Writes what waits, and ends. What the database cannot take stays in the journal. A disk that hangs is not waited for:
    /// what it did not take is unknown to the next process.
    pub(super) fn close(&self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
        let Some(threads) = self.threads.lock().take() else { return };
        let mut ended = self.shared.ended.lock();
        while usize::from(*ended) < threads.len() {
            self.shared.told.wait_for(&mut ended, LOOK);
            if self.hangs() {
                return;
            }
        }
        drop(ended);
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn hangs(&self) -> bool {
        let began = self.shared.began.load(Ordering::Relaxed);
        began != 0 && (self.clock)().saturating_sub(began) > HANGS
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.close();
    }
}
