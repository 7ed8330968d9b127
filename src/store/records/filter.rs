//! Tells of most keys that were never seen that they were not, without asking the database: nearly every key is new.
//!
//! Bloom filters (Bloom 1970), each of blocks of one cache line (Putze, Sanders, Singler 2007): a hash sets six bits in one
//! block, at ten bits a record; one key in a hundred that was never put in is asked for in the database all the same. What
//! was put in cannot be taken out, so there are several, one after the other in time, and one goes when all that was put
//! into it has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::policy::idempotency::Hash;

/// Bits for each hash that a layer is made for.
pub(super) const BITS: u64 = 10;
/// Bits that a hash sets.
const SET: usize = 6;
/// Words of a block: a cache line.
const BLOCK: usize = 8;
/// The smallest layer, in hashes: 80 KiB.
const LEAST: u64 = 1 << 16;

/// What was put in, or may have been.
pub(super) struct Filter {
    layers: ArcSwap<Vec<Arc<Layer>>>,
    /// Held by who adds a layer, or takes some away.
    changes: Mutex<()>,
    /// All that was there at the start is in it.
    complete: AtomicBool,
}

struct Layer {
    blocks: Box<[[AtomicU64; BLOCK]]>,
    room: u64,
    taken: AtomicU64,
    /// When the last of what was put into it ends.
    ends: AtomicU64,
}

impl Layer {
    fn new(room: u64, ends: u64) -> Arc<Self> {
        let blocks = (room * BITS).div_ceil(64 * BLOCK as u64).max(1);
        let blocks = (0..blocks).map(|_| Default::default()).collect();
        Arc::new(Layer { blocks, room, taken: AtomicU64::new(0), ends: AtomicU64::new(ends) })
    }

    /// The words and bits of a hash. It is uniform already: its halves say where.
    fn bits(&self, hash: &Hash) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| hash[at + i]));
        let block = ((u128::from(half(0)) * self.blocks.len() as u128) >> 64) as usize;
        let (block, places) = (&self.blocks[block], half(8));
        (0..SET).map(move |n| {
            // Nine bits for each of the six places of a block of 512.
            let place = (places >> (9 * n)) & 511;
            (&block[(place >> 6) as usize], 1 << (place & 63))
        })
    }

    fn has(&self, hash: &Hash) -> bool {
        self.bits(hash).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn put(&self, hash: &Hash, ends: u64) {
        for (word, bit) in self.bits(hash) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        self.ends.fetch_max(ends, Ordering::Relaxed);
    }
}

impl Filter {
    /// For so many hashes that are there already, and are still to be put in: until [`Filter::is_complete`] it says of every
    /// key that it may have been seen.
    pub(super) fn new(there: u64) -> Self {
        let mut layers = Vec::new();
        if there > 0 {
            // When they end is not known.
            layers.push(Layer::new(there, u64::MAX));
        }
        layers.push(Layer::new(LEAST.max(there / 4), 0));
        Filter {
            layers: ArcSwap::from_pointee(layers),
            changes: Mutex::default(),
            complete: AtomicBool::new(there == 0),
        }
    }

    /// One of those that were there at the start.
    pub(super) fn put_old(&self, hash: &Hash) {
        if let Some(first) = self.layers.load().first() {
            first.put(hash, u64::MAX);
        }
    }

    /// All of those are in it.
    pub(super) fn is_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// A hash that is about to be written down, until `ends`. `len`: how many are.
    pub(super) fn put(&self, hash: &Hash, ends: u64, len: u64) {
        let layers = self.layers.load();
        let Some(last) = layers.last() else { return };
        last.put(hash, ends);
        if last.taken.fetch_add(1, Ordering::Relaxed) + 1 == last.room {
            let _changes = self.changes.lock();
            let mut layers = Vec::clone(&self.layers.load());
            layers.push(Layer::new(LEAST.max(len / 4), 0));
            self.layers.store(layers.into());
        }
    }

    /// Forgets what has ended by `now`.
    pub(super) fn sweep(&self, now: u64) {
        let is_over = |layer: &Arc<Layer>| layer.ends.load(Ordering::Relaxed) <= now;
        // The last one is being filled, and may be put into by who has not said so yet.
        let full = |layers: &[Arc<Layer>]| layers.len().saturating_sub(2);
        if !self.layers.load().iter().take(full(&self.layers.load())).any(is_over) {
            return;
        }
        let _changes = self.changes.lock();
        let mut layers = Vec::clone(&self.layers.load());
        let kept = full(&layers);
        let mut at = 0;
        layers.retain(|layer| {
            at += 1;
            at > kept || !is_over(layer)
        });
        self.layers.store(layers.into());
    }

    /// Whether a hash may have been put in.
    pub(super) fn may_have(&self, hash: &Hash) -> bool {
        !self.complete.load(Ordering::Acquire) || self.layers.load().iter().any(|layer| layer.has(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As uniform as a SHA-256 is.
    fn hash(n: u64) -> Hash {
        let mix = |mut x: u64| {
            for _ in 0..3 {
                x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
            x ^ (x >> 29)
        };
        let mut hash = Hash::default();
        hash[..8].copy_from_slice(&mix(n + 1).to_le_bytes());
        hash[8..].copy_from_slice(&mix(n ^ 0xdead_beef_1234_5678).to_le_bytes());
        hash
    }

    #[test]
    fn what_was_put_in_is_found_and_of_the_rest_nearly_nothing() {
        let filter = Filter::new(0);
        for n in 0..200_000 {
            filter.put(&hash(n), 1_000, n);
        }
        assert!((0..200_000).all(|n| filter.may_have(&hash(n))));
        let wrong = (200_000..300_000).filter(|n| filter.may_have(&hash(*n))).count();
        assert!(wrong < 6_000, "{wrong} of 100,000");
        assert!(filter.layers.load().len() >= 3);
    }

    #[test]
    fn until_all_that_was_there_is_in_it_it_says_nothing() {
        let filter = Filter::new(1_000);
        assert!(filter.may_have(&hash(5)));
        (0..1_000).for_each(|n| filter.put_old(&hash(n)));
        assert!(filter.may_have(&hash(9_999_999)));
        filter.is_complete();
        assert!((0..1_000).all(|n| filter.may_have(&hash(n))));
        assert!((1_000..11_000).filter(|n| filter.may_have(&hash(*n))).count() < 300);
    }

    #[test]
    fn layers_go_when_all_of_them_has_ended() {
        let filter = Filter::new(0);
        for n in 0..5 * LEAST {
            filter.put(&hash(n), n, 0);
        }
        let layers = filter.layers.load().len();
        assert_eq!(layers, 6);
        filter.sweep(2 * LEAST);
        assert_eq!(filter.layers.load().len(), layers - 2);
        assert!((2 * LEAST..5 * LEAST).all(|n| filter.may_have(&hash(n))), "what lives is still known");
        filter.sweep(u64::MAX - 1);
        assert_eq!(filter.layers.load().len(), 2, "the last two stay");
    }
}
