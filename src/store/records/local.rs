//! The records of this process alone.
//!
//! What is at work, or of unknown outcome, is in memory, by shards; what was sent is on the disk as well before its first
//! byte leaves, and its answer is before *its* first byte does. A reservation is in memory alone: what dies with the process
//! was never sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::disk::Disk;
use super::filter::Filter;
use super::memory::Memory;
use super::seal::Sealer;
use super::writer::{Order, Writer};
use super::{About, Clock, Counts, Found, Record, Reserve, Seen, StoreError};
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
}

/// Where what is done is kept.
enum Kept {
    Memory(Memory),
    Disk(Arc<Disk>, Writer, Filter),
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
        let record = self.record.as_deref().filter(|_| self.state != State::Reserved).cloned();
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
        }
        self.tell();
        self.record.as_deref()
    }
}

impl Local {
    /// In memory alone, at most so many records, and so many bytes of them.
    pub fn in_memory(most: u64, most_bytes: u64, clock: Clock) -> Self {
        Self::new(Kept::Memory(Memory::default()), most, most_bytes, Sealer::default(), clock)
    }

    /// In a database. What was sent by a process that has ended has an unknown outcome.
    ///
    /// # Errors
    /// Where its records cannot be read.
    pub fn on_disk(disk: Disk, most: u64, sealer: Sealer, clock: Clock) -> Result<Self, StoreError> {
        let disk = Arc::new(disk);
        let open = disk.open_records().map_err(StoreError::because)?;
        let writer = Writer::start(disk.clone(), clock.clone()).map_err(StoreError::because)?;
        let filter = Filter::new(disk.len());
        let local = Self::new(Kept::Disk(disk, writer, filter), most, u64::MAX, sealer, clock);
        for (hash, bytes) in open {
            let mut record = Record::read(&hash, &bytes, &local.sealer).map_err(StoreError::because)?;
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
            Kept::Disk(_, writer, _) => writer.broken(),
        }
    }

    /// Takes a key, or tells what is known of it. No I/O but a look-up.
    ///
    /// # Errors
    /// Where it could not be written down later: nothing is begun then.
    pub fn reserve(&self, hash: &Hash, claim: Claim, terms: &Terms) -> Result<Reserve, StoreError> {
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
            if let Some(record) = self.done(hash, now)? {
                return Ok(Reserve::Found(Found {
                    state: State::Done,
                    claim: record.claim,
                    record: Some(record),
                    changed: None,
                }));
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
        Reserve::Found(live.found())
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

    fn done(&self, hash: &Hash, now: u64) -> Result<Option<Record>, StoreError> {
        let bytes = match &self.kept {
            Kept::Memory(memory) => memory.get(hash),
            Kept::Disk(_, _, filter) if !filter.may_have(hash) => None,
            Kept::Disk(disk, ..) => disk.done(hash).map_err(StoreError::because)?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let record = Record::read(hash, &bytes, &self.sealer).map_err(StoreError::because)?;
        Ok((record.expires > now).then_some(record))
    }

    /// The first byte is about to be sent: written down before it is. False: another try has taken the key over, and nothing
    /// may be sent.
    ///
    /// # Errors
    /// Where it cannot be written down: nothing may be sent, and the key is free.
    pub async fn sent(&self, hash: &Hash, fence: u64, terms: &Terms, about: About) -> Result<bool, StoreError> {
        let (written, before) = {
            let mut shard = self.shard(hash);
            let Some(live) = shard.live.get_mut(hash).filter(|live| live.fence == fence) else { return Ok(false) };
            if live.state != State::Reserved {
                return Ok(live.state == State::Sent);
            }
            let now = (self.clock)();
            let overdue = now + terms.within.as_millis() as u64;
            let record = Record {
                state: State::Sent,
                claim: live.claim,
                created: live.record.as_ref().map_or(now, |before| before.created),
                sent: now,
                overdue,
                expires: now + terms.ttl.as_millis() as u64,
                about,
                status: 0,
                seen: Seen::Untold,
                answer: None,
            };
            let bytes = record.write(hash, &self.sealer);
            // From here on nobody takes it over, whatever the disk says.
            (live.state, live.until) = (State::Sent, overdue);
            (bytes, live.record.replace(record.into()))
        };
        match self.write(Order::Open(*hash, written)).await {
            Ok(()) => Ok(true),
            Err(cause) => {
                match before {
                    None => self.leave(hash, fence),
                    // It was taken anew, and is what it was before.
                    Some(before) => {
                        if let Some(live) = self.shard(hash).live.get_mut(hash).filter(|live| live.fence == fence) {
                            live.record = Some(before);
                            live.becomes_unknown();
                        }
                    }
                }
                Err(cause)
            }
        }
    }

    /// It is over: its answer is kept for later tries, or, without one, that it was carried out with this status. False:
    /// the key is another's by now.
    ///
    /// # Errors
    /// Where it cannot be written down: later tries are told that its outcome is not known.
    pub async fn finish(
        &self,
        hash: &Hash,
        fence: u64,
        status: u16,
        answer: Option<super::Answer>,
    ) -> Result<bool, StoreError> {
        let (expires, bytes) = {
            let mut shard = self.shard(hash);
            let Some(live) = shard.live.get_mut(hash).filter(|live| live.fence == fence) else { return Ok(false) };
            let Some(record) = &mut live.record else { return Ok(false) };
            let done = Record { state: State::Done, status, answer, ..(**record).clone() };
            (record.expires, done.write(hash, &self.sealer))
        };
        if let Kept::Disk(disk, _, filter) = &self.kept {
            filter.put(hash, expires, disk.len());
        }
        match self.write(Order::Done(*hash, expires, bytes)).await {
            Ok(()) => {
                self.leave(hash, fence);
                Ok(true)
            }
            Err(cause) => {
                self.unknown(hash, fence, status, Seen::All);
                Err(cause)
            }
        }
    }

    /// It is over, and nobody knows how. What is on the disk says the same once the process has ended, so nobody waits for
    /// it.
    pub fn unknown(&self, hash: &Hash, fence: u64, status: u16, seen: Seen) {
        let mut shard = self.shard(hash);
        let is_it = |live: &&mut Live| live.fence == fence && matches!(live.state, State::Sent | State::Unknown);
        if let Some(live) = shard.live.get_mut(hash).filter(is_it) {
            if let Some(record) = &mut live.record {
                (record.status, record.seen) = (status, seen);
            }
            let record = live.becomes_unknown().map(|record| record.write(hash, &self.sealer));
            self.note(record.map(|record| Order::Open(*hash, record)));
        }
    }

    /// Nothing was sent: the key is free again, or as it was before it was taken anew.
    pub fn release(&self, hash: &Hash, fence: u64) {
        let mut shard = self.shard(hash);
        let Some(live) = shard.live.get_mut(hash) else { return };
        if live.fence != fence || live.state != State::Reserved {
            return;
        }
        if live.record.is_some() {
            live.becomes_unknown();
            return;
        }
        drop(shard);
        self.leave(hash, fence);
    }

    /// It was sent, and the application has not carried it out: the key is free.
    ///
    /// # Errors
    /// Where that cannot be written down.
    pub async fn forget(&self, hash: &Hash, fence: u64) -> Result<(), StoreError> {
        let is_sent = |live: &Live| live.fence == fence && live.state == State::Sent;
        if !self.shard(hash).live.get(hash).is_some_and(is_sent) {
            return Ok(());
        }
        let done = self.write(Order::Remove(*hash)).await;
        match done {
            Ok(()) => self.leave(hash, fence),
            Err(_) => self.unknown(hash, fence, 0, Seen::Untold),
        }
        done
    }

    /// Takes a key whose outcome is unknown, to find it out or to send it again. What is on the disk of it stays until then.
    pub fn retake(&self, hash: &Hash, terms: &Terms) -> Option<u64> {
        let mut shard = self.shard(hash);
        let live = shard.live.get_mut(hash).filter(|live| live.state == State::Unknown)?;
        live.fence = self.fences.fetch_add(1, Ordering::Relaxed);
        (live.state, live.until) = (State::Reserved, (self.clock)() + terms.lease.as_millis() as u64);
        Some(live.fence)
    }

    /// A person, or the application, says how an unknown outcome was: it was carried out (status and answer), or not (none).
    /// False: its outcome is not unknown, or it is not there.
    ///
    /// # Errors
    /// Where it cannot be written down: it stays unknown.
    pub async fn resolve(
        &self,
        hash: &Hash,
        outcome: Option<(u16, Option<super::Answer>)>,
    ) -> Result<bool, StoreError> {
        let fence = {
            let mut shard = self.shard(hash);
            let Some(live) = shard.live.get_mut(hash).filter(|live| live.state == State::Unknown) else {
                return Ok(false);
            };
            live.fence = self.fences.fetch_add(1, Ordering::Relaxed);
            // Whoever comes meanwhile waits for what is said of it.
            (live.state, live.until) = (State::Sent, u64::MAX);
            live.fence
        };
        match outcome {
            Some((status, answer)) => self.finish(hash, fence, status, answer).await,
            None => self.forget(hash, fence).await.map(|()| true),
        }
    }

    /// What is known of a key.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn get(&self, hash: &Hash) -> Result<Option<Record>, StoreError> {
        if let Some(live) = self.shard(hash).live.get(hash) {
            return Ok(live.record.as_deref().cloned());
        }
        self.done(hash, (self.clock)())
    }

    /// Records of unknown outcome or at work, the oldest first.
    pub fn open(&self, state: State, most: usize) -> Vec<(Hash, Record)> {
        let mut found: Vec<(Hash, Record)> = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let of_state = shard.live.iter().filter(|(_, live)| live.state == state);
            found.extend(of_state.filter_map(|(hash, live)| Some((*hash, (**live.record.as_ref()?).clone()))));
        }
        found.sort_unstable_by_key(|(hash, record)| (record.sent, *hash));
        found.truncate(most);
        found
    }

    /// How many records there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            done: match &self.kept {
                Kept::Memory(memory) => memory.len(),
                Kept::Disk(disk, ..) => disk.len(),
            },
            ..Counts::default()
        };
        for live in self.shards.iter().flat_map(|shard| {
            let shard = shard.lock();
            shard.live.values().map(|live| (live.state, live.record.as_ref().map_or(0, |r| r.sent))).collect::<Vec<_>>()
        }) {
            match live {
                (State::Reserved, _) => counts.reserved += 1,
                (State::Sent, _) => counts.sent += 1,
                (State::Done, _) => counts.done += 1,
                (State::Unknown, sent) => {
                    counts.unknown += 1;
                    counts.oldest_unknown = match counts.oldest_unknown {
                        0 => sent,
                        oldest => oldest.min(sent),
                    };
                }
            }
        }
        counts
    }

    /// Forgets what has ended: of what is done a part, of the rest what stands in one shard. To be called now and again.
    pub fn sweep(&self) {
        let now = (self.clock)();
        match &self.kept {
            Kept::Memory(memory) => drop(memory.expire(now, 10_000)),
            // On the disk the writer does it.
            Kept::Disk(_, _, filter) => filter.sweep(now),
        }
        let at = self.swept.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut over = Vec::new();
        let mut shard = self.shards[at].lock();
        for (hash, live) in &mut shard.live {
            if live.state == State::Sent && live.until < now {
                let record = live.becomes_unknown().map(|record| record.write(hash, &self.sealer));
                self.note(record.map(|record| Order::Open(*hash, record)));
            }
            let ended = live.record.as_ref().is_some_and(|record| record.expires <= now);
            if ended && live.state == State::Unknown {
                over.push((*hash, live.fence));
            }
        }
        drop(shard);
        for (hash, fence) in over {
            self.note(Some(Order::Remove(hash)));
            self.leave(&hash, fence);
        }
    }

    /// Learns which keys were there at the start, so that the database need not be asked for others. To be called once, by a
    /// thread that may wait; until it returns every key is asked for.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn learn(&self) -> Result<(), StoreError> {
        let Kept::Disk(disk, _, filter) = &self.kept else { return Ok(()) };
        let mut last = Hash::default();
        loop {
            let hashes = disk.hashes(&last, LEARNT).map_err(StoreError::because)?;
            hashes.iter().for_each(|hash| filter.put_old(hash));
            match hashes.last() {
                Some(hash) => last = *hash,
                None => break,
            }
        }
        filter.is_complete();
        Ok(())
    }

    /// Writes what waits to be written, and ends. Nothing can be sent any more.
    pub fn close(&self) {
        if let Kept::Disk(_, writer, _) = &self.kept {
            writer.close();
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
            Kept::Disk(_, writer, _) => match writer.submit(order).await {
                Ok(done) => done,
                Err(_) => Err(StoreError::because("the records are closed")),
            },
        }
    }

    /// Writes what nobody waits for.
    fn note(&self, order: Option<Order>) {
        if let (Kept::Disk(_, writer, _), Some(order)) = (&self.kept, order) {
            drop(writer.submit(order));
        }
    }
}

#[cfg(test)]
mod tests;
