//! Prefixes that somebody invalidated and no configuration knows: a list, and what is done when it grows too long.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::RwLock;

use super::{How, Moment};

/// So many prefixes are kept; one more asks for a sweep.
pub const MOST_PREFIXES: usize = 256;

/// So many are kept while a sweep is on its way; one more invalidates everything.
const MOST_DURING_SWEEP: usize = 2 * MOST_PREFIXES;

/// One prefix and when it was raised.
#[derive(Debug, Clone)]
struct Prefix {
    text: Box<[u8]>,
    how: How,
    at: u64,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    list: RwLock<List>,
    /// When the latest of them was raised: who is younger need not read the list.
    latest: AtomicU64,
}

#[derive(Debug, Default)]
struct List {
    /// In the order in which they were raised.
    prefixes: Vec<Prefix>,
    /// The sweep that is on its way, by the time of its latest prefix.
    sweeping: Option<u64>,
}

/// What a raise of a prefix asks for.
pub(super) enum Raised {
    /// Nothing: it is in the list.
    Listed,
    /// It is in the list, which is to be swept.
    Sweep(Sweep),
    /// The list is full although a sweep is on its way. Everything up to a time has to be invalidated instead.
    Overflow { how: How, at: u64 },
}

impl Prefixes {
    /// The time is drawn under the lock: nobody then adds a prefix that is older than one which a sweep has seen.
    pub(super) fn raise(&self, text: &[u8], how: How, draw: impl FnOnce() -> u64) -> Raised {
        let mut list = self.list.write();
        let at = draw();
        // What lies under it and reaches no further is said again by it.
        list.prefixes.retain(|known| !(known.text.starts_with(text) && known.how <= how));
        list.prefixes.push(Prefix { text: text.into(), how, at });
        self.latest.store(at, SeqCst);
        match list.sweeping {
            None if list.prefixes.len() > MOST_PREFIXES => {
                list.sweeping = Some(at);
                Raised::Sweep(Sweep { prefixes: list.prefixes.clone(), upto: at })
            }
            Some(_) if list.prefixes.len() > MOST_DURING_SWEEP => {
                let how = list.prefixes.iter().map(|p| p.how).max().unwrap_or(how);
                Raised::Overflow { how, at }
            }
            _ => Raised::Listed,
        }
    }

    /// The furthest that something of this place and age is invalidated.
    pub(super) fn find(&self, place: &[u8], filed: u64) -> Option<How> {
        if self.latest.load(SeqCst) <= filed {
            return None;
        }
        furthest(&self.list.read().prefixes, place, filed)
    }

    /// Drops what was raised up to a time: everything of that age was invalidated.
    pub(super) fn clear(&self, upto: u64) {
        let mut list = self.list.write();
        list.sweeping = None;
        self.keep_after(&mut list, upto);
    }

    /// Drops what a sweep has carried out.
    pub(super) fn forget(&self, sweep: &Sweep) {
        let mut list = self.list.write();
        if list.sweeping == Some(sweep.upto) {
            list.sweeping = None;
        }
        self.keep_after(&mut list, sweep.upto);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.read().prefixes.len()
    }

    fn keep_after(&self, list: &mut List, upto: u64) {
        list.prefixes.retain(|known| known.at > upto);
        self.latest.store(list.prefixes.last().map_or(0, |p| p.at), SeqCst);
    }
}

/// Prefixes that are to be looked for in the whole store: an object that [`Sweep::reaches`] says so of is to be dropped,
/// or kept as stale.
#[derive(Debug)]
#[must_use]
pub struct Sweep {
    prefixes: Vec<Prefix>,
    upto: u64,
}

impl Sweep {
    /// How far an object of this place, filed at this time, is invalidated.
    pub fn reaches(&self, place: &[u8], filed_at: Moment) -> Option<How> {
        furthest(&self.prefixes, place, filed_at.0)
    }

    /// The time of the latest of them.
    pub(super) fn upto(&self) -> u64 {
        self.upto
    }
}

fn furthest(prefixes: &[Prefix], place: &[u8], filed: u64) -> Option<How> {
    prefixes.iter().filter(|p| p.at > filed && place.starts_with(&p.text)).map(|p| p.how).max()
}
