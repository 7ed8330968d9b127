//! Steps that are in the journal and not in the database.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Order;
use crate::policy::idempotency::Hash;
use crate::store::records::disk::Op;

/// The steps of a generation, of each key what they come to.
#[derive(Default)]
pub(super) struct Steps {
    keys: HashMap<Hash, Last>,
    /// Keys with a finished record.
    done: u64,
}

/// What the steps of a key come to.
struct Last {
    done: Done,
    /// The open record; none: as it was where `done` is, and else there is none.
    open: Option<Vec<u8>>,
}

/// The finished record.
enum Done {
    AsItWas,
    Is(u64, Vec<u8>),
    Gone,
}

impl Steps {
    fn put(&mut self, order: Order) {
        let (hash, last) = match order {
            Order::Open(hash, record) => {
                let last = self.keys.entry(hash).or_insert(Last { done: Done::AsItWas, open: None });
                last.open = Some(record);
                return;
            }
            Order::Done(hash, expires, record) => (hash, Last { done: Done::Is(expires, record), open: None }),
            Order::Remove(hash) => (hash, Last { done: Done::Gone, open: None }),
        };
        let is_done = |last: &Last| u64::from(matches!(last.done, Done::Is(..)));
        self.done += is_done(&last);
        if let Some(before) = self.keys.insert(hash, last) {
            self.done -= is_done(&before);
        }
    }

    /// Steps that come to the same, in the order of their hashes: so the pages of the index come one after the other.
    pub(super) fn ops(&self) -> Vec<Op<'_>> {
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_unstable_by_key(|(hash, _)| **hash);
        let mut ops = Vec::with_capacity(keys.len());
        for (hash, last) in keys {
            match &last.done {
                Done::AsItWas => {}
                Done::Is(expires, record) => ops.push(Op::Done(*hash, *expires, record)),
                Done::Gone => ops.push(Op::Remove(*hash)),
            }
            ops.extend(last.open.as_deref().map(|record| Op::Open(*hash, record)));
        }
        ops
    }

    /// Makes of open records what they are after these steps.
    pub(super) fn apply_open(&self, records: &mut HashMap<Hash, Vec<u8>>) {
        for (hash, last) in &self.keys {
            match &last.open {
                Some(record) => drop(records.insert(*hash, record.clone())),
                None => drop(records.remove(hash)),
            }
        }
    }
}

/// Generations of steps: some that were given away to be done in the database, and the one that grows.
#[derive(Default)]
pub(super) struct Pending {
    all: Mutex<All>,
    /// The finished records in them.
    done: AtomicU64,
}

#[derive(Default)]
struct All {
    /// The oldest first.
    given: VecDeque<Arc<Steps>>,
    grows: Steps,
}

impl Pending {
    /// A step that is durable.
    pub(super) fn put(&self, order: Order) {
        self.put_all(std::iter::once(order));
    }

    /// Steps that are durable.
    pub(super) fn put_all(&self, orders: impl Iterator<Item = Order>) {
        let mut all = self.all.lock();
        let before = all.grows.done;
        orders.for_each(|order| all.grows.put(order));
        // What a step takes away was counted in the same generation.
        self.done.fetch_add(all.grows.done.wrapping_sub(before), Ordering::Relaxed);
    }

    /// The steps of a generation that has come to its end.
    pub(super) fn give(&self) -> Arc<Steps> {
        let mut all = self.all.lock();
        let steps = Arc::new(std::mem::take(&mut all.grows));
        all.given.push_back(steps.clone());
        steps
    }

    /// So many finished records of the oldest of what was given are in the database now. They are found here as well.
    pub(super) fn applied(&self, done: usize) {
        self.done.fetch_sub(done as u64, Ordering::Relaxed);
    }

    /// The oldest of what was given is in the database, all of it.
    pub(super) fn ends(&self) {
        self.all.lock().given.pop_front();
    }

    /// The finished record of a key, or that it has none. None: its steps do not say.
    pub(super) fn done(&self, hash: &Hash) -> Option<Option<Vec<u8>>> {
        let all = self.all.lock();
        let newest_first = std::iter::once(&all.grows).chain(all.given.iter().rev().map(|steps| &**steps));
        newest_first.filter_map(|steps| steps.keys.get(hash)).find_map(|last| match &last.done {
            Done::AsItWas => None,
            Done::Is(_, record) => Some(Some(record.clone())),
            Done::Gone => Some(None),
        })
    }

    /// How many finished records they have.
    pub(super) fn len(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// What was given and is not in the database, the oldest first.
    pub(super) fn snapshot(&self) -> Vec<Arc<Steps>> {
        self.all.lock().given.iter().cloned().collect()
    }
}
