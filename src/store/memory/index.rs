//! The index, which also chooses what is driven out: quick_cache, told how our keys hash, compare and weigh.
//!
//! A key is not stored beside its object but found in it, and its hash is kept, so that a table that grows or is put in
//! order reads no keys.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Lifecycle, OptionsBuilder, Weighter};

use super::variants::Variants;
use crate::store::object::Object;

/// The index: objects by their key, and in each shard the ballast.
pub(super) type Index<L> = Cache<Held<L>, Entry<L>, Weights, BuildHasherDefault<Hashed>, Outs>;

/// What an operation drove out or replaced. It is dropped by who asked, when no lock is held any more.
pub(super) type Gone<L> = Vec<(Held<L>, Entry<L>)>;

/// A key that is looked for: its bytes and their keyed hash.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    pub(super) hash: u64,
    pub(super) bytes: &'a [u8],
}

impl Key<'_> {
    /// The keyed hash of the bytes.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// A key that is in the index. That of the ballast has no object.
#[derive(Debug, Clone)]
pub(super) struct Held<L> {
    hash: u64,
    found: Option<Found<L>>,
}

/// Where the bytes of a key are found. The object knows its buffer as well; but to be told of both here lets the processor
/// fetch them at the same time, and neither of them is in its cache where there are many.
#[derive(Debug, Clone)]
struct Found<L> {
    object: Arc<Object<L>>,
    data: Arc<[u8]>,
}

/// What a key leads to.
#[derive(Debug)]
pub(super) enum Entry<L> {
    /// Answers.
    Kept(Variants<L>),
    /// Nothing: memory that the shard leaves to what large objects weigh beyond their entry.
    Ballast(u64),
}

impl<L> Clone for Entry<L> {
    fn clone(&self) -> Self {
        match self {
            Entry::Kept(variants) => Entry::Kept(variants.clone()),
            Entry::Ballast(weight) => Entry::Ballast(*weight),
        }
    }
}

impl<L: Copy> Held<L> {
    pub(super) fn new(hash: u64, object: &Arc<Object<L>>) -> Self {
        let found = Found { object: Arc::clone(object), data: Arc::clone(object.data()) };
        Held { hash, found: Some(found) }
    }

    /// The key of the ballast of a shard. quick_cache chooses the shard by the upper half of the hash.
    pub(super) fn ballast(shard: usize) -> Self {
        Held { hash: (shard as u64) << 32, found: None }
    }

    pub(super) fn is(&self, key: Key<'_>) -> bool {
        self.hash == key.hash && self.bytes() == Some(key.bytes)
    }

    fn bytes(&self) -> Option<&[u8]> {
        let Found { object, data } = self.found.as_ref()?;
        data.get(..object.key_len())
    }
}

impl<L: Copy> PartialEq for Held<L> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes() == other.bytes()
    }
}

impl<L: Copy> Eq for Held<L> {}

impl<L> Hash for Held<L> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

impl<L: Copy> Equivalent<Held<L>> for Key<'_> {
    fn equivalent(&self, held: &Held<L>) -> bool {
        held.is(*self)
    }
}

/// Takes what is hashed already as it is.
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "keys write their hash and nothing else");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What entries weigh in their shard: at most so much, however large their objects are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    pub(super) most: u64,
}

impl Weights {
    /// What answers weigh beyond their entry.
    pub(super) fn beyond<L: Copy>(self, variants: &Variants<L>) -> u64 {
        variants.weight().saturating_sub(self.most)
    }
}

impl<L: Copy> Weighter<Held<L>, Entry<L>> for Weights {
    fn weight(&self, _: &Held<L>, entry: &Entry<L>) -> u64 {
        match entry {
            Entry::Kept(variants) => variants.weight().min(self.most),
            Entry::Ballast(weight) => *weight,
        }
    }
}

/// Collects what goes, and keeps the ballast where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outs;

impl<L> Lifecycle<Held<L>, Entry<L>> for Outs {
    type RequestState = Gone<L>;

    fn is_pinned(&self, _: &Held<L>, entry: &Entry<L>) -> bool {
        matches!(entry, Entry::Ballast(_))
    }

    fn on_evict(&self, gone: &mut Gone<L>, key: Held<L>, entry: Entry<L>) {
        gone.push((key, entry));
    }
}

/// An index of so many shards, a power of two, that holds so much and is thought to hold so many. It may be of fewer
/// shards where these would be very small.
pub(super) fn new<L: Copy>(shards: usize, capacity: u64, items: usize, weights: Weights) -> Index<L> {
    let mut options = OptionsBuilder::new();
    options.shards(shards).weight_capacity(capacity).estimated_items_capacity(items);
    match options.build() {
        Ok(options) => Cache::with_options(options, weights, BuildHasherDefault::default(), Outs),
        // Something is not said that has to be: there is nothing of the kind.
        Err(_) => Cache::with(items, capacity, weights, BuildHasherDefault::default(), Outs),
    }
}
