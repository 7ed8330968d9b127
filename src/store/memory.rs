//! The store of objects: bounded in bytes, shared by all threads.
//!
//! The index is a `quick_cache` of many small shards: a look-up takes a shard's read lock and allocates nothing. It keeps
//! what is asked for often and drives out the rest. Who changes the answers under a key holds a lock of that key's stripe,
//! so that two who add a variant at the same time both do.

mod index;
mod room;
mod variants;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use siphasher::sip::SipHasher13;

use super::generations::{Generations, How, State, Sweep};
use super::object::Object;
pub use index::Key;
use index::{Entry, Gone, Held, Index, Weights};
use room::{Room, SHARD, STEP};
pub use variants::Variants;

/// The part of the store that one object may take: 1/4.
const SHARE: u64 = 4;

/// What an object is thought to weigh: by this it is reckoned how many keys are remembered after they were driven out.
const TYPICAL: u64 = 1536;

/// Locks for who changes the answers under a key.
const STRIPES: usize = 64;

/// Objects in memory.
pub struct Memory<L> {
    seed: [u64; 2],
    capacity: u64,
    generations: Arc<Generations>,
    index: Index<L>,
    weights: Weights,
    room: Room,
    stripes: Box<[Mutex<()>]>,
    bytes: AtomicU64,
    objects: AtomicU64,
    evictions: AtomicU64,
}

/// What became of an object that was to be stored.
#[derive(Debug)]
#[must_use]
pub enum Insert<'a, L: Copy> {
    /// It is stored.
    Kept,
    /// It is not: what it is filed under was invalidated while it was fetched.
    Raced,
    /// It is not: it is too large a part of the store.
    TooLarge,
    /// It will be, when there is room.
    More(Pending<'a, L>),
}

/// An object that waits for others to be driven out. Dropped, it is not stored.
#[derive(Debug)]
#[must_use]
pub struct Pending<'a, L: Copy> {
    memory: &'a Memory<L>,
    object: Arc<Object<L>>,
    /// What is promised to it.
    beyond: u64,
}

impl<L: Copy> Memory<L> {
    /// An empty store of so many bytes. The seed keeps secret which keys crowd a place: it is random and stays in the
    /// process.
    pub fn new(capacity: u64, seed: [u64; 2], generations: Arc<Generations>) -> Self {
        let shards = usize::try_from(capacity / SHARD).unwrap_or(1).clamp(1, 1 << 16).next_power_of_two();
        let step = STEP.min(capacity / shards as u64 / 16);
        let items = usize::try_from(capacity / TYPICAL).unwrap_or(usize::MAX);
        let weights = Weights { most: step };
        let index = index::new(shards, capacity, items, weights);
        // The index may have thought that so many shards are too many.
        let shards = index.num_shards();
        Memory {
            seed,
            capacity,
            generations,
            room: Room::new(capacity, shards, step),
            index,
            weights,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            bytes: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// What decides whether objects are valid.
    pub fn generations(&self) -> &Arc<Generations> {
        &self.generations
    }

    /// A key, with its hash.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { hash: SipHasher13::new_with_keys(self.seed[0], self.seed[1]).hash(bytes), bytes }
    }

    /// The answers under a key. What each is worth, [`Memory::state`] says.
    pub fn get(&self, key: Key<'_>) -> Option<Variants<L>> {
        kept(self.index.get(&key)?)
    }

    /// Whether an object may be served.
    pub fn state(&self, object: &Object<L>) -> State {
        self.generations.state(object)
    }

    /// Stores an object as the newest answer under its key, if nothing that it is filed under was invalidated since it
    /// was filed. To be repeated by [`Pending::step`] where there is no room yet.
    pub fn insert(&self, object: Arc<Object<L>>) -> Insert<'_, L> {
        let weight = object.weight();
        if weight > self.capacity / SHARE {
            return Insert::TooLarge;
        }
        let beyond = weight.saturating_sub(self.weights.most);
        self.room.take(beyond);
        let pending = Pending { memory: self, object, beyond };
        // One that weighs no more than its entry owes nobody room.
        if beyond == 0 { pending.store() } else { pending.go_on() }
    }

    /// Makes one step more room for an object that is to come in the place of another. False where there is enough of it,
    /// or no more can be made.
    pub fn make_room(&self, old: &Object<L>, new: &Object<L>) -> bool {
        let beyond = new.weight().saturating_sub(old.weight());
        new.weight() <= self.capacity / SHARE && !self.room.has(beyond) && self.raise()
    }

    /// Puts an object in the place of one that is still there: the same answer in one more coding, or refreshed. False
    /// where that one is gone, where the new one may not be stored, and where it has no room.
    pub fn replace(&self, old: &Arc<Object<L>>, new: &Arc<Object<L>>) -> bool {
        let (key, weight) = (self.key(new.key()), new.weight());
        let beyond = weight.saturating_sub(old.weight());
        if old.key() != key.bytes || weight > self.capacity / SHARE || !self.room.has(beyond) {
            return false;
        }
        // A refreshed object is a new fetch, and is held against what a new fetch is held against.
        let _admitted = match self.generations.admit(new) {
            None if new.filed_at() != old.filed_at() => return false,
            admitted => admitted,
        };
        // Here, so that what goes is dropped when the lock is not held any more.
        let mut gone = Gone::new();
        let _stripe = self.stripe(key);
        new.follow(old);
        if self.state(new) == State::Gone {
            return false;
        }
        let after = self.peek(key).and_then(|before| before.with_instead(old, Arc::clone(new)));
        after.is_some_and(|after| self.put_back(key, after, &mut gone))
    }

    /// Drops the answers under a key; tells how many there were.
    pub fn remove(&self, key: Key<'_>) -> usize {
        let mut gone = Gone::new();
        let _stripe = self.stripe(key);
        gone.extend(self.index.remove(&key));
        self.count_out(&gone)
    }

    /// Drops one answer, if it is still there: also where it has got one more coding meanwhile.
    pub fn remove_variant(&self, object: &Arc<Object<L>>) -> bool {
        self.retain(self.key(object.key()), |other| !other.is_same(object)) > 0
    }

    /// Drops everything.
    pub fn clear(&self) {
        let _stripes: Vec<_> = self.stripes.iter().map(Mutex::lock).collect();
        self.room.reset(|| {
            for gone in self.index.drain() {
                self.count_out(&[gone]);
            }
        });
    }

    /// Carries out what was asked for when the list of prefixes had become too long; tells how many objects it reached.
    /// It looks at every object, which takes a second for some millions, and holds no lock for longer than one of them
    /// takes.
    pub fn sweep(&self, sweep: &Sweep) -> usize {
        let reached = |object: &Object<L>| sweep.reaches(object.place(), object.filed_at());
        let mut count = 0;
        for variants in self.index.iter().filter_map(|(_, entry)| kept(entry)) {
            let Some(object) = variants.find(|object| reached(object).is_some()) else { continue };
            // Looked at again under the lock: another may stand there now.
            self.retain(self.key(object.key()), |object| {
                let how = reached(object);
                if let Some(how) = how {
                    object.sweep(how);
                    count += 1;
                }
                how != Some(How::Hard)
            });
        }
        self.generations.swept(sweep);
        count
    }

    /// Makes a step of the room that is owed; false where none is. For the owner's idle moments.
    pub fn trim(&self) -> bool {
        !self.room.has(0) && self.raise()
    }

    /// What is stored takes so many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// So many bytes may be stored.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// So many answers are stored.
    pub fn objects(&self) -> u64 {
        self.objects.load(Relaxed)
    }

    /// So many answers were driven out.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }

    fn stripe(&self, key: Key<'_>) -> MutexGuard<'_, ()> {
        self.stripes[key.hash as usize % STRIPES].lock()
    }

    /// The answers under a key, which does not count as having been asked for.
    fn peek(&self, key: Key<'_>) -> Option<Variants<L>> {
        kept(self.index.peek(&key)?)
    }

    /// Adds an answer to those under its key, which is the newest of them.
    fn add(&self, object: Arc<Object<L>>) -> bool {
        let Some(_admitted) = self.generations.admit(&object) else { return false };
        let mut gone = Gone::new();
        let newest = Arc::clone(&object);
        let key = self.key(newest.key());
        let _stripe = self.stripe(key);
        let variants = match self.peek(key) {
            None => Variants::one(object),
            Some(others) => others.with(object, |other| self.state(other) != State::Gone),
        };
        self.count_in(&variants);
        self.index.insert_with_lifecycle(Held::new(key.hash, &newest), Entry::Kept(variants), &mut gone);
        self.count_driven_out(&gone, Some(key));
        true
    }

    /// Sets the answers under a key that is still there. The key's stripe is held.
    fn put_back(&self, key: Key<'_>, variants: Variants<L>, gone: &mut Gone<L>) -> bool {
        let Some(newest) = variants.newest() else { return false };
        let held = Held::new(key.hash, newest);
        self.count_in(&variants);
        // Softly: it is no sign that anybody asked for it.
        let refused = self.index.replace_with_lifecycle(held, Entry::Kept(variants), true, gone).err();
        let is_there = refused.is_none();
        self.count_driven_out(gone, Some(key));
        if let Some(refused) = refused {
            self.count_out(std::slice::from_ref(&refused));
            gone.push(refused);
        }
        is_there
    }

    /// Drops the answers under a key that are not to be kept; tells how many went.
    fn retain(&self, key: Key<'_>, keep: impl FnMut(&Arc<Object<L>>) -> bool) -> usize {
        let mut gone = Gone::new();
        let _stripe = self.stripe(key);
        let Some(before) = self.peek(key) else { return 0 };
        let after = before.retain(keep);
        let left = after.as_ref().map_or(0, |after| after.as_slice().len());
        let went = before.as_slice().len() - left;
        match after {
            _ if went == 0 => {}
            Some(after) => {
                self.put_back(key, after, &mut gone);
            }
            None => {
                gone.extend(self.index.remove(&key));
                self.count_out(&gone);
            }
        }
        went
    }

    fn raise(&self) -> bool {
        let mut gone = Gone::new();
        let raised = self.room.raise(|shard, weight| self.set_ballast(shard, weight, &mut gone));
        self.count_driven_out(&gone, None);
        raised
    }

    fn lower(&self) {
        // Nothing is driven out by that: what goes is the ballast as it was.
        self.room.lower(|shard, weight| self.set_ballast(shard, weight, &mut Gone::new()));
    }

    fn set_ballast(&self, shard: usize, weight: u64, gone: &mut Gone<L>) {
        self.index.insert_with_lifecycle(Held::ballast(shard), Entry::Ballast(weight), gone);
    }

    fn count_in(&self, variants: &Variants<L>) {
        self.bytes.fetch_add(variants.weight(), Relaxed);
        self.objects.fetch_add(variants.as_slice().len() as u64, Relaxed);
        self.room.take(self.weights.beyond(variants));
    }

    /// Tells how many answers these are.
    fn count_out(&self, gone: &[(Held<L>, Entry<L>)]) -> usize {
        let variants = gone.iter().filter_map(|(_, entry)| match entry {
            Entry::Kept(variants) => Some(variants),
            Entry::Ballast(_) => None,
        });
        let count = |variants: &Variants<L>| {
            self.bytes.fetch_sub(variants.weight(), Relaxed);
            self.objects.fetch_sub(variants.as_slice().len() as u64, Relaxed);
            self.room.give_back(self.weights.beyond(variants));
            variants.as_slice().len()
        };
        variants.map(count).sum()
    }

    /// Counts what an operation drove out. What stood under its own key was not driven out but replaced.
    fn count_driven_out(&self, gone: &[(Held<L>, Entry<L>)], own: Option<Key<'_>>) {
        self.count_out(gone);
        let others = gone.iter().filter(|(held, _)| !own.is_some_and(|own| held.is(own)));
        let count = |(_, entry): &(Held<L>, Entry<L>)| match entry {
            Entry::Kept(variants) => variants.as_slice().len() as u64,
            Entry::Ballast(_) => 0,
        };
        self.evictions.fetch_add(others.map(count).sum(), Relaxed);
    }
}

impl<'a, L: Copy> Pending<'a, L> {
    /// Makes one step of room, and stores the object if that is enough. Others should run before the next step.
    pub fn step(self) -> Insert<'a, L> {
        // Where all is ballast nothing is left that could be driven out: this object alone then takes what it takes.
        if self.memory.raise() { self.go_on() } else { self.store() }
    }

    fn go_on(self) -> Insert<'a, L> {
        if self.memory.room.has(0) { self.store() } else { Insert::More(self) }
    }

    fn store(self) -> Insert<'a, L> {
        if !self.memory.add(Arc::clone(&self.object)) {
            return Insert::Raced;
        }
        self.memory.lower();
        Insert::Kept
    }
}

impl<L: Copy> Drop for Pending<'_, L> {
    fn drop(&mut self) {
        self.memory.room.give_back(self.beyond);
    }
}

impl<L> std::fmt::Debug for Memory<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Memory { capacity, bytes, objects, evictions, .. } = self;
        let mut f = f.debug_struct("Memory");
        f.field("capacity", capacity).field("bytes", bytes).field("objects", objects).field("evictions", evictions);
        f.finish_non_exhaustive()
    }
}

fn kept<L>(entry: Entry<L>) -> Option<Variants<L>> {
    match entry {
        Entry::Kept(variants) => Some(variants),
        Entry::Ballast(_) => None,
    }
}

#[cfg(test)]
mod tests;
