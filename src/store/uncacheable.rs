//! Keys whose answers proved not to be stored: who asks for one does not wait for another's fetch.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// So many keys are remembered. Two that share a place drive each other out, and are asked for one by one once more.
const PLACES: usize = 1 << 14;

/// A tick of the times kept here: 32 bits of them last for thirteen years.
const TICK: Duration = Duration::from_millis(100);

/// What is remembered, for a while, of keys by their hash.
///
/// Half of the hash chooses a place, the other half is kept there beside the time until which it holds. Keys that are taken
/// for each other are fetched without waiting for one another, which is slower and not wrong.
#[derive(Debug)]
pub struct Uncacheable {
    holds: Duration,
    places: OnceLock<Box<[AtomicU64]>>,
}

impl Uncacheable {
    /// Remembers each key for this time. Takes its 128 KiB with the first one.
    pub fn new(holds: Duration) -> Self {
        Uncacheable { holds, places: OnceLock::new() }
    }

    /// An answer under this key was not to be stored. `now` is the time since some fixed moment.
    pub fn remember(&self, hash: u64, now: Duration) {
        let places = self.places.get_or_init(|| (0..PLACES).map(|_| AtomicU64::new(0)).collect());
        let until = ticks(now.saturating_add(self.holds)).saturating_add(1);
        places[place(hash)].store(half(hash) | u64::from(until), Relaxed);
    }

    /// An answer under this key was stored after all.
    pub fn forget(&self, hash: u64) {
        if let Some(place) = self.places.get().map(|places| &places[place(hash)])
            && place.load(Relaxed) & HALF == half(hash)
        {
            place.store(0, Relaxed);
        }
    }

    /// Whether it is not worth waiting for a stored answer under this key.
    pub fn has(&self, hash: u64, now: Duration) -> bool {
        let Some(places) = self.places.get() else { return false };
        let known = places[place(hash)].load(Relaxed);
        known & HALF == half(hash) && known as u32 > ticks(now)
    }
}

/// The bits of a hash that are kept.
const HALF: u64 = !(u32::MAX as u64);

const fn half(hash: u64) -> u64 {
    hash & HALF
}

const fn place(hash: u64) -> usize {
    hash as usize % PLACES
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(10);

    #[test]
    fn a_key_is_remembered_for_its_time_and_no_longer() {
        let (known, start) = (Uncacheable::new(KEPT), Duration::from_secs(1000));
        let key = 0x1234_5678_9abc_def0;
        assert!(!known.has(key, start));
        known.remember(key, start);
        assert!(known.has(key, start) && known.has(key, start + KEPT));
        assert!(!known.has(key, start + KEPT + 2 * TICK));
        known.remember(key, start + 2 * KEPT);
        assert!(known.has(key, start + 3 * KEPT), "again");
    }

    #[test]
    fn another_key_is_not_meant() {
        let (known, now) = (Uncacheable::new(KEPT), Duration::ZERO);
        known.remember(7, now);
        assert!(!known.has(7 | 1 << 40, now), "in the same place");
        assert!(!known.has(8, now));
        known.forget(7 | 1 << 40);
        assert!(known.has(7, now));
        known.forget(7);
        assert!(!known.has(7, now));
    }

    #[test]
    fn the_last_of_two_in_one_place_is_remembered() {
        let (known, now) = (Uncacheable::new(KEPT), Duration::ZERO);
        known.remember(7, now);
        known.remember(7 | 1 << 40, now);
        assert!(!known.has(7, now) && known.has(7 | 1 << 40, now));
    }

    #[test]
    fn nothing_is_known_of_a_hash_of_zeros() {
        let known = Uncacheable::new(KEPT);
        known.remember(1, Duration::ZERO);
        assert!(!known.has(0, Duration::ZERO));
    }
}
