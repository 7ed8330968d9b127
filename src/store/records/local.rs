//! The records of this process alone.
//!
//! What is at work, or of unknown outcome, is in memory, by shards; what was sent is on the disk as well before its first
//! byte leaves, and its answer is before *its* first byte does. A reservation is in memory alone: what dies with the process
//! was never sent.

mod look;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::durable::{Durable, Opened, Order};
use super::filter::Filter;
use super::memory::Memory;
use super::seal::Sealer;
use super::{Clock, Found, Record, Reserve, StoreError};
use crate::policy::idempotency::{Claim, Hash, State, Terms};

const SHARDS: usize = 64;

/// Keys that are learnt at a time.
const LEARNT: usize = 4_096;

/// The records of this process.
pub struct Local {
    shards: [Mutex<Shard>; SHARDS],
    kept: Kept,
    sealer: Sealer,
    clock: Clock,
    most: u64,
    most_bytes: u64,
    fences: AtomicU64,
    /// Records in the shards.
    live: AtomicU64,
    swept: AtomicUsize,
    closed: AtomicBool,
}

/// Where what is done is kept.
enum Kept {
    Memory(Memory),
    Disk(Arc<Durable>, Filter),
}

impl Kept {
    /// The bytes of a finished record.
    fn done(&self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Kept::Memory(memory) => Ok(memory.get(hash)),
            Kept::Disk(disk, ..) => disk.done(hash).map_err(StoreError::because),
        }
    }
}

#[derive(Default)]
struct Shard {
    live: HashMap<Hash, Live>,
    /// How many have left it: who finds nothing in it and then nothing on the disk has missed nobody if this stands.
    left: u64,
}

/// A record in memory.
struct Live {
    state: State,
    fence: u64,
    claim: Claim,
    /// When a reservation may be taken over, or when a request that was sent must have ended.
    until: u64,
    /// What is on the disk of it; none of a reservation.
    record: Option<Box<Record>>,
    /// Who waits for a change.
    changed: Option<watch::Sender<()>>,
}

impl Live {
    fn found(&mut self) -> Found {
        let record = self.record.as_deref().filter(|_| self.state != State::Reserved);
        let record = record.map(|record| Record { fence: self.fence, ..record.clone() });
        let changed = self.changed.get_or_insert_with(|| watch::Sender::new(())).subscribe();
        Found { state: self.state, claim: self.claim, record, changed: Some(changed) }
    }

    fn tell(&self) {
        if let Some(changed) = &self.changed {
            changed.send_replace(());
        }
    }

    /// Its outcome is not known. Tells what has to be written down of that.
    fn becomes_unknown(&mut self) -> Option<&Record> {
        self.state = State::Unknown;
        if let Some(record) = &mut self.record {
            record.state = State::Unknown;
            self.claim = record.claim;
        }
        self.tell();
        self.record.as_deref()
    }
}

impl Local {
    /// What knowing of a key that it was seen takes, in bits.
    pub const FILTER_BITS: u64 = super::filter::BITS;

    /// In memory alone, at most so many records, and so many bytes of them.
    pub fn in_memory(most: u64, most_bytes: u64, clock: Clock) -> Self {
        Self::new(Kept::Memory(Memory::default()), most, most_bytes, Sealer::default(), clock)
    }

    /// In a folder. What was sent by a process that has ended has an unknown outcome.
    ///
    /// # Errors
    /// Where its records cannot be read.
    pub fn on_disk(opened: Opened, most: u64, sealer: Sealer, clock: Clock) -> Result<Self, StoreError> {
        // In this order: what leaves the journal in between is in the database when that is asked, and in the filter.
        let pending = opened.pending_done();
        let disk = Durable::start(opened, clock.clone()).map_err(StoreError::because)?;
        let open = disk.open_records().map_err(StoreError::because)?;
        let filter = Filter::new(disk.len());
        for (hash, expires) in pending {
            filter.put(&hash, expires, disk.len());
        }
        let local = Self::new(Kept::Disk(disk.into(), filter), most, u64::MAX, sealer, clock);
        for (hash, bytes) in open {
            let mut record = Record::read(&hash, &bytes, &local.sealer).map_err(StoreError::because)?;
            // Its answer was written down before what says that there is none.
            if local.kept.done(&hash)?.is_some_and(|done| {
                Record::read(&hash, &done, &local.sealer).is_ok_and(|done| done.sent == record.sent)
            }) {
                continue;
            }
            record.state = State::Unknown;
            let live = Live {
                state: State::Unknown,
                fence: 0,
                claim: record.claim,
                until: record.overdue,
                record: Some(record.into()),
                changed: None,
            };
            local.live.fetch_add(1, Ordering::Relaxed);
            local.shard(&hash).live.insert(hash, live);
        }
        Ok(local)
    }

    fn new(kept: Kept, most: u64, most_bytes: u64, sealer: Sealer, clock: Clock) -> Self {
        Local {
            shards: std::array::from_fn(|_| Mutex::default()),
            kept,
            sealer,
            clock,
            most,
            most_bytes,
            fences: AtomicU64::new(1),
            live: AtomicU64::new(0),
            swept: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    fn shard(&self, hash: &Hash) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(hash[0]) % SHARDS].lock()
    }

    /// Whether the records outlive the process.
    pub fn is_durable(&self) -> bool {
        matches!(self.kept, Kept::Disk(..))
    }

    /// Why nothing can be written now; none while it can.
    pub fn broken(&self) -> Option<Arc<str>> {
        match &self.kept {
            Kept::Memory(_) => None,
            Kept::Disk(disk, _) => disk.broken(),
        }
    }

    /// Takes a key, or tells what is known of it. No I/O but a look-up of a key that may have been seen before.
    ///
    /// # Errors
    /// Where it could not be written down later: nothing is begun then.
    pub async fn reserve(&self, hash: &Hash, claim: Claim, terms: &Terms) -> Result<Reserve, StoreError> {
        if let Some(cause) = self.broken() {
            return Err(StoreError::Unavailable(cause));
        }
        loop {
            let now = (self.clock)();
            let left = {
                let mut shard = self.shard(hash);
                if let Some(live) = shard.live.get_mut(hash) {
                    return Ok(self.occupied(hash, live, claim, terms, now));
                }
                shard.left
            };
            if let Some(record) = self.done(hash, now).await? {
                return Ok(Reserve::Found(Box::new(Found {
                    state: State::Done,
                    claim: record.claim,
                    record: Some(record),
                    changed: None,
                })));
            }
            self.room()?;
            let mut shard = self.shard(hash);
            if shard.left != left || shard.live.contains_key(hash) {
                continue;
            }
            let fence = self.fences.fetch_add(1, Ordering::Relaxed);
            let until = now + terms.lease.as_millis() as u64;
            let live = Live { state: State::Reserved, fence, claim, until, record: None, changed: None };
            shard.live.insert(*hash, live);
            self.live.fetch_add(1, Ordering::Relaxed);
            return Ok(Reserve::Mine(fence));
        }
    }

    fn occupied(&self, hash: &Hash, live: &mut Live, claim: Claim, terms: &Terms, now: u64) -> Reserve {
        match live.state {
            // It was taken to be sent anew, and was not: nobody knows more of it than before.
            State::Reserved if live.until < now && live.record.is_some() => {
                live.fence = self.fences.fetch_add(1, Ordering::Relaxed);
                live.becomes_unknown();
            }
            // The one who has it waited for too long: whatever it still does, it is not to send.
            State::Reserved if live.until < now => {
                live.fence = self.fences.fetch_add(1, Ordering::Relaxed);
                (live.claim, live.until) = (claim, now + terms.lease.as_millis() as u64);
                return Reserve::Mine(live.fence);
            }
            State::Sent if live.until < now => {
                let record = live.becomes_unknown().map(|record| record.write(hash, &self.sealer));
                self.note(record.map(|record| Order::Open(*hash, record)));
            }
            _ => {}
        }
        Reserve::Found(live.found().into())
    }

    fn room(&self) -> Result<(), StoreError> {
        let (done, bytes) = match &self.kept {
            Kept::Memory(memory) => (memory.len(), memory.bytes()),
            Kept::Disk(disk, ..) => (disk.len(), 0),
        };
        if done + self.live.load(Ordering::Relaxed) >= self.most {
            return Err(StoreError::Full(self.most));
        }
        if bytes >= self.most_bytes {
            return Err(StoreError::because(
                "the records take as much memory as they may: stores.data_dir keeps them on disk",
            ));
        }
        Ok(())
    }

    /// A finished record. The database is asked by a thread that may wait: a disk that is slow, or hangs, holds up who asks
    /// and nobody else.
    async fn done(&self, hash: &Hash, now: u64) -> Result<Option<Record>, StoreError> {
        let bytes = match &self.kept {
            Kept::Disk(_, filter) if !filter.may_have(hash) => None,
            Kept::Disk(disk, _) => match disk.pending(hash) {
                Some(known) => known,
                None => {
                    let (disk, hash) = (disk.clone(), *hash);
                    let asked = tokio::task::spawn_blocking(move || disk.done(&hash));
                    asked.await.map_err(StoreError::because)?.map_err(StoreError::because)?
                }
            },
            Kept::Memory(_) => self.kept.done(hash)?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let record = Record::read(hash, &bytes, &self.sealer).map_err(StoreError::because)?;
        Ok((record.expires > now).then_some(record))
    }

    /// Writes what waits to be written, and ends. Nothing can be sent any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Kept::Disk(disk, _) = &self.kept {
            disk.close();
        }
    }

    /// A record leaves the shards.
    fn leave(&self, hash: &Hash, fence: u64) {
        let mut shard = self.shard(hash);
        if shard.live.get(hash).is_some_and(|live| live.fence == fence) {
            shard.left += 1;
            // Dropped with who is told: whoever waits looks again.
            shard.live.remove(hash);
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn write(&self, order: Order) -> Result<(), StoreError> {
        match &self.kept {
            Kept::Memory(memory) => {
                match order {
                    Order::Open(..) => {}
                    Order::Done(hash, expires, record) => memory.put(hash, expires, record),
                    Order::Remove(hash) => memory.remove(&hash),
                }
                Ok(())
            }
            // A proof that the torture test can fail: the step that makes a second charge impossible is left out.
            Kept::Disk(..) if cfg!(feature = "unsafe-no-sync") && matches!(order, Order::Open(..)) => Ok(()),
            Kept::Disk(disk, _) => match disk.submit(order).await {
                Ok(done) => done,
                Err(_) => Err(StoreError::because("the records are closed")),
            },
        }
    }

    /// Writes what nobody waits for.
    fn note(&self, order: Option<Order>) {
        if let (Kept::Disk(disk, _), Some(order)) = (&self.kept, order) {
            drop(disk.submit(order));
        }
    }
}
