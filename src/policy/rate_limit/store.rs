//! The one table in which all limits of the process count.
//!
//! It is bounded: 2^20 entries of a cache line each, under 80 MB with the index, allocated as they are needed. When a shard
//! is full a new key takes the place of an entry that is over, or else of the least used one among a few that are drawn.
//! Who invents keys uses each of them little, so he only drives out others that are used as little. A key that uses more of
//! its limit than the invented ones stays, and its count with it.

use std::time::Duration;

use hashbrown::HashTable;
use parking_lot::Mutex;

use super::entry::Entry;
use super::key::KeyHasher;
use super::limit::Limit;
use super::{Decision, mix};

/// Each has a lock of its own.
const SHARDS: usize = 64;

/// The most entries of a shard.
const SHARD_ENTRIES: usize = 1 << 14;

/// How many entries are drawn when one has to make place.
const DRAWN: usize = 16;

/// How many entries a sweep looks at before it lets others at the shard.
const SWEPT_AT_ONCE: usize = 1024;

/// Below this capacity memory is not worth being given back.
const SMALL: usize = 64;

/// What is known of every key under every limit.
#[derive(Debug)]
pub struct Table {
    seed: [u64; 2],
    shards: Vec<Mutex<Shard>>,
}

/// The entries, and where each key's entry lies. Its alignment keeps the locks of two shards out of one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    entries: Vec<Entry>,
    index: HashTable<u32>,
    /// How many keys found the shard full: what is drawn then differs from time to time.
    full: u64,
}

impl Table {
    /// An empty table. The seed keeps the hashes of keys secret: it is random and stays in the process.
    pub fn new(seed: [u64; 2]) -> Self {
        Table { seed, shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// The hasher by which the keys of this table are made.
    pub fn hasher(&self) -> KeyHasher {
        KeyHasher::new(self.seed)
    }

    /// Asks a limit about one request of a key, and counts it if it is allowed. `now` is the time since some fixed moment.
    pub fn take(&self, limit: &Limit, key: u64, now: Duration) -> Decision {
        let (key, now) = (limit.entry_key(key), nanoseconds(now));
        limit.take(self.shard(key).lock().entry(key, now), now)
    }

    /// Takes back a request that this limit allowed at `taken`, because another one refused it. To be called at once.
    pub fn give_back(&self, limit: &Limit, key: u64, taken: Duration) {
        let key = limit.entry_key(key);
        if let Some(entry) = self.shard(key).lock().find(key) {
            limit.give_back(entry, nanoseconds(taken));
        }
    }

    /// Drops what is over and gives its memory back. To be called every few seconds; no lock is held for long.
    pub fn sweep(&self, now: Duration) {
        let now = nanoseconds(now);
        for shard in &self.shards {
            let mut end = shard.lock().entries.len();
            while end > 0 {
                end = shard.lock().sweep(end, now);
            }
            shard.lock().shrink();
        }
    }

    /// The number of keys of which something is known.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().entries.len()).sum()
    }

    /// Whether nothing is known of any key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that is allocated, in bytes.
    pub fn bytes(&self) -> usize {
        let own = size_of::<Table>() + self.shards.capacity() * size_of::<Mutex<Shard>>();
        own + self.shards.iter().map(|s| s.lock().bytes()).sum::<usize>()
    }

    /// The index inside a shard goes by the lowest bits and the seven highest ones: this goes by others.
    fn shard(&self, key: u64) -> &Mutex<Shard> {
        &self.shards[(key >> 40) as usize % SHARDS]
    }
}

impl Shard {
    fn find(&mut self, key: u64) -> Option<&mut Entry> {
        let at = *self.index.find(key, |at| self.entries[*at as usize].key == key)?;
        Some(&mut self.entries[at as usize])
    }

    /// The entry of a key; a new one if it has none.
    fn entry(&mut self, key: u64, now: u64) -> &mut Entry {
        let known = self.index.find(key, |at| self.entries[*at as usize].key == key).copied();
        let at = known.unwrap_or_else(|| self.insert(key, now));
        &mut self.entries[at as usize]
    }

    fn insert(&mut self, key: u64, now: u64) -> u32 {
        let at = if self.entries.len() < SHARD_ENTRIES {
            self.entries.push(Entry::new(key));
            self.entries.len() - 1
        } else {
            let at = self.least_used(key, now);
            self.forget(at);
            self.entries[at] = Entry::new(key);
            at
        } as u32;
        self.index.insert_unique(key, at, |at| self.entries[*at as usize].key);
        at
    }

    /// The one that is lost with the least harm among those drawn: it is over, or used the smallest part of its limit, or
    /// is over first.
    fn least_used(&mut self, key: u64, now: u64) -> usize {
        self.full += 1;
        let mut drawn = mix(key ^ mix(self.full));
        let mut least = (u16::MAX, u64::MAX, 0);
        for _ in 0..DRAWN {
            drawn = mix(drawn.wrapping_add(0x9e37_79b9_7f4a_7c15));
            let at = drawn as usize % self.entries.len();
            let entry = &self.entries[at];
            let used = if entry.until <= now { 0 } else { entry.used };
            least = least.min((used, entry.until, at));
        }
        least.2
    }

    /// Takes an entry out of the index.
    fn forget(&mut self, at: usize) {
        if let Ok(place) = self.index.find_entry(self.entries[at].key, |other| *other as usize == at) {
            place.remove();
        }
    }

    /// Drops what is over among the last entries before `end`; tells where to go on, 0 when all were looked at.
    fn sweep(&mut self, end: usize, now: u64) -> usize {
        let end = end.min(self.entries.len());
        let start = end.saturating_sub(SWEPT_AT_ONCE);
        // From behind: what moves into a gap was looked at, or came after the sweep began.
        for at in (start..end).rev() {
            if self.entries[at].until <= now {
                self.remove(at);
            }
        }
        start
    }

    fn remove(&mut self, at: usize) {
        self.forget(at);
        self.entries.swap_remove(at);
        let gone = self.entries.len();
        if let Some(moved) = self.entries.get(at)
            && let Some(place) = self.index.find_mut(moved.key, |other| *other as usize == gone)
        {
            *place = at as u32;
        }
    }

    fn shrink(&mut self) {
        let wanted = (self.entries.len() * 2).max(if self.entries.is_empty() { 0 } else { SMALL });
        if self.entries.capacity() > wanted * 2 {
            self.entries.shrink_to(wanted);
            self.index.shrink_to(wanted, |at| self.entries[*at as usize].key);
        }
    }

    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.index.allocation_size()
    }
}

/// The table reckons in nanoseconds: they last for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
