//! Invalidation that holds: what was fetched before something was invalidated is never served after it.
//!
//! Nothing is looked for when something is invalidated. A *raise* writes the time of an invalidation clock beside the name
//! that is invalidated (a tag, a URL, a path, a route); an object carries the time at which its fetch began, taken before
//! the first byte of that fetch was sent, and the names it is filed under. It is gone if one of them was raised since. So a
//! raise costs the same whatever the store holds, and it reaches objects that are still being fetched.
//!
//! # Names
//! Names come from clients and applications without bound, so what is kept of them is bounded: a [`Slot`] is a keyed hash
//! of a name, two places in two tables of 65,536 times. A name counts as raised when both of its places were. Names that
//! share a place invalidate too much, now and then; nothing is ever invalidated too little.
//!
//! # The order of things
//! A raise takes three steps: it *draws* a time, *marks* its places with it, and *tells* that it is done. A fetch that
//! began before the draw has an older time than the mark. A look-up that starts after a raise returned sees its marks; and
//! because telling comes last, whoever has seen the count of the told raises and looked at the marks after that need not
//! look again until the count moves. That makes a hit O(1), without a look at the tables. Were the clock that fetches read
//! also the one that hits compare, a hit between draw and mark would take down that it had looked, and miss the mark.
//!
//! All of these are sequentially consistent. Raises are rare, and such a load costs what any load costs on x86-64 and an
//! `ldar` on AArch64; the weakest orders that suffice would save nothing and would have to be argued for at each change.

mod prefixes;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::{RwLock, RwLockReadGuard};
use siphasher::sip::SipHasher13;

use super::object::Object;
pub use prefixes::{MOST_PREFIXES, Sweep};
use prefixes::{Prefixes, Raised};

/// The places of one table: as many as 16 bits can say.
const PLACES: usize = 1 << 16;

/// What a name is the name of: a tag and a path that read alike are two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A tag, of the configuration or of an answer.
    Tag,
    /// A URL with its query.
    Url,
    /// A path, with its host or without.
    Path,
    /// A pattern of paths, of the configuration.
    Pattern,
    /// A route.
    Route,
}

/// Something that can be invalidated, as it is kept: where its two times stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u32);

/// How far something is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// It is stale: it may be served where stale answers may, and is fetched again.
    Soft,
    /// It is gone.
    Hard,
}

/// What became of something since its fetch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing it is filed under was raised.
    Valid,
    /// It counts as stale.
    Soft,
    /// It must not be served.
    Gone,
}

/// A time on the clock of invalidations. What a fetch is filed at is taken before its first byte is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// What an object has seen: a sweep has found it to be gone. Above every number of told raises, as is the next.
pub(super) const SWEPT: u64 = u64::MAX;

/// What an object has seen: a sweep has found it to be stale.
pub(super) const SOFTENED: u64 = u64::MAX - 1;

/// The clock, and when each name was last raised. See the module.
pub struct Generations {
    seed: [u64; 2],
    /// The clock: the latest time that a raise drew.
    drawn: AtomicU64,
    /// How many raises are done, and one: an object that was never looked at has seen none of them.
    told: AtomicU64,
    hard: Marks,
    soft: Marks,
    prefixes: Prefixes,
    /// Held by who stores something, against the beginning of a sweep.
    gate: RwLock<()>,
    /// Fetches that began before this time are not stored: a sweep has begun that would not see them.
    barred: AtomicU64,
}

/// What is known of an object before its marks are looked at.
#[derive(Debug, Clone, Copy)]
struct Asked {
    told: u64,
    known: u64,
}

impl Asked {
    /// From what its marks say. Taken down is the count of before they were looked at: raises that were told since may be
    /// in what was seen, or not.
    fn conclude<L: Copy>(self, found: State, object: &Object<L>) -> State {
        let Asked { told, known } = self;
        match found {
            State::Valid if known == SOFTENED => State::Soft,
            // A sweep may have reached the object meanwhile, and its prefixes may have left the list before we read that.
            State::Valid => match object.seen().compare_exchange(known, told, SeqCst, SeqCst) {
                Err(SWEPT) => State::Gone,
                Err(SOFTENED) => State::Soft,
                _ => State::Valid,
            },
            other => other,
        }
    }
}

/// The right to put something into the store, for as long as it is held. Not to be held for long.
#[derive(Debug)]
#[must_use]
pub struct Admitted<'a>(#[allow(dead_code)] RwLockReadGuard<'a, ()>);

impl Generations {
    /// Nothing was ever raised. The seed keeps secret which names share a place: it is random and stays in the process.
    pub fn new(seed: [u64; 2]) -> Self {
        Generations {
            seed,
            drawn: AtomicU64::new(0),
            told: AtomicU64::new(1),
            hard: Marks::default(),
            soft: Marks::default(),
            prefixes: Prefixes::default(),
            gate: RwLock::default(),
            barred: AtomicU64::new(0),
        }
    }

    /// Where a name is kept. The same name has the same slot in this process, whoever asks.
    pub fn slot(&self, kind: Kind, name: &[u8]) -> Slot {
        let mut hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        std::hash::Hasher::write_u8(&mut hasher, kind as u8);
        std::hash::Hasher::write(&mut hasher, name);
        // Two places of 16 bits each.
        Slot(std::hash::Hasher::finish(&hasher) as u32)
    }

    /// What a fetch that begins now is filed at. To be asked before its first byte is sent.
    pub fn now(&self) -> Moment {
        Moment(self.drawn.load(SeqCst))
    }

    /// Invalidates what is filed under one of these names.
    pub fn raise(&self, slots: &[Slot], how: How) {
        let at = self.draw();
        self.mark(slots, how, at);
        self.tell();
    }

    /// Invalidates everything.
    pub fn raise_all(&self, how: How) {
        let at = self.draw();
        self.marks(how).all.fetch_max(at, SeqCst);
        self.tell();
    }

    /// Invalidates what lies under a prefix of paths. Such prefixes are kept in a list, which is bounded: when it
    /// has become too long, what is returned is to be carried out over the whole store ([`Sweep`]) and then handed to
    /// [`Generations::swept`]. The prefix holds from now on, whether or when that is done.
    pub fn raise_prefix(&self, prefix: &[u8], how: How) -> Option<Sweep> {
        let sweep = match self.prefixes.raise(prefix, how, || self.draw()) {
            Raised::Listed => None,
            Raised::Sweep(sweep) => {
                // Who is storing something now is done before this goes on, and so is seen by the sweep. Who comes later
                // is told that his fetch is too old.
                let _gate = self.gate.write();
                self.barred.fetch_max(sweep.upto(), SeqCst);
                Some(sweep)
            }
            Raised::Overflow { how, at } => {
                self.marks(how).all.fetch_max(at, SeqCst);
                self.prefixes.clear(at);
                None
            }
        };
        self.tell();
        sweep
    }

    /// The sweep has been over the whole store: its prefixes need not be kept any more.
    pub fn swept(&self, sweep: &Sweep) {
        // Not while something is being stored: a variant that the sweep did not see, because its key was driven out just
        // then, would be looked at without the prefixes and put back.
        let _gate = self.gate.write();
        self.prefixes.forget(sweep);
    }

    /// What became of something since it was filed. `place` is its path, as free prefixes are compared with it.
    fn look(&self, slots: impl IntoIterator<Item = Slot>, filed_at: Moment, place: &[u8]) -> State {
        let Moment(filed) = filed_at;
        if self.hard.all.load(SeqCst) > filed {
            return State::Gone;
        }
        let mut soft = self.soft.all.load(SeqCst) > filed;
        for slot in slots {
            if self.hard.last(slot) > filed {
                return State::Gone;
            }
            soft |= self.soft.last(slot) > filed;
        }
        match self.prefixes.find(place, filed) {
            Some(How::Hard) => State::Gone,
            Some(How::Soft) => State::Soft,
            None if soft => State::Soft,
            None => State::Valid,
        }
    }

    /// What became of an object. Nothing is looked up where nothing was raised since the object was last asked about.
    pub fn state<L: Copy>(&self, object: &Object<L>) -> State {
        let asked = self.ask(object);
        match asked {
            Asked { told, known } if known == told => State::Valid,
            Asked { known: SWEPT, .. } => State::Gone,
            _ => asked.conclude(self.look(object.slots(), object.filed_at(), object.place()), object),
        }
    }

    /// What is known of an object. First this, and then the marks: in the other order a raise could come between.
    fn ask<L: Copy>(&self, object: &Object<L>) -> Asked {
        let told = self.told.load(SeqCst);
        Asked { told, known: object.seen().load(SeqCst) }
    }

    /// Whether who asks now may have the answer of a running fetch: nothing that it is filed under was raised since it
    /// began.
    pub fn may_join(&self, slots: impl IntoIterator<Item = Slot>, filed_at: Moment, place: &[u8]) -> bool {
        // In this order: what has left the list of prefixes has set the bar before.
        self.look(slots, filed_at, place) == State::Valid && filed_at.0 >= self.barred.load(SeqCst)
    }

    /// Whether what a fetch has brought may be stored: nothing that it is filed under was raised, softly neither, and no
    /// sweep has begun that would miss it. What is returned is to be held while it is put into the store.
    pub fn admit<L: Copy>(&self, object: &Object<L>) -> Option<Admitted<'_>> {
        let gate = self.gate.read();
        self.may_join(object.slots(), object.filed_at(), object.place()).then_some(Admitted(gate))
    }

    fn marks(&self, how: How) -> &Marks {
        match how {
            How::Hard => &self.hard,
            How::Soft => &self.soft,
        }
    }

    fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, SeqCst) + 1
    }

    fn mark(&self, slots: &[Slot], how: How, at: u64) {
        slots.iter().for_each(|slot| self.marks(how).mark(*slot, at));
    }

    fn tell(&self) {
        self.told.fetch_add(1, SeqCst);
    }
}

impl std::fmt::Debug for Generations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generations").field("drawn", &self.drawn).field("told", &self.told).finish_non_exhaustive()
    }
}

/// When names were last raised in one way. The tables take their megabyte with the first raise.
#[derive(Default)]
struct Marks {
    /// Every name at once.
    all: AtomicU64,
    /// Two tables, one behind the other.
    table: OnceLock<Box<[AtomicU64]>>,
}

impl Marks {
    fn mark(&self, slot: Slot, at: u64) {
        let table = self.table.get_or_init(|| (0..2 * PLACES).map(|_| AtomicU64::new(0)).collect());
        for place in slot.places() {
            table[place].fetch_max(at, SeqCst);
        }
    }

    /// The time at which a name was last raised, or a later one.
    fn last(&self, slot: Slot) -> u64 {
        let Some(table) = self.table.get() else { return 0 };
        let [one, other] = slot.places();
        table[one].load(SeqCst).min(table[other].load(SeqCst))
    }
}

impl Slot {
    fn places(self) -> [usize; 2] {
        [self.0 as usize % PLACES, PLACES + (self.0 >> 16) as usize]
    }

    /// As it is kept with an object.
    pub(super) const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// From how it is kept with an object.
    pub(super) const fn from_bytes(bytes: [u8; 4]) -> Slot {
        Slot(u32::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests;
