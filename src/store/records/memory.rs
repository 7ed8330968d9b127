//! Records that are done, in memory alone: they end with the process.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use crate::policy::idempotency::Hash;

/// What a record costs beside its bytes: its place in the map and in the order of their ends.
const FIXED: u64 = 112;

/// Finished records.
#[derive(Default)]
pub(super) struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    records: HashMap<Hash, (u64, Box<[u8]>)>,
    by_end: BTreeSet<(u64, Hash)>,
    bytes: u64,
}

impl Memory {
    pub(super) fn put(&self, hash: Hash, expires: u64, record: Vec<u8>) {
        let mut inner = self.inner.lock();
        inner.remove(&hash);
        inner.bytes += FIXED + record.len() as u64;
        inner.by_end.insert((expires, hash));
        inner.records.insert(hash, (expires, record.into()));
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.inner.lock().records.get(hash).map(|(_, record)| record.to_vec())
    }

    pub(super) fn remove(&self, hash: &Hash) {
        self.inner.lock().remove(hash);
    }

    /// Removes at most `most` of those that end by `now`.
    pub(super) fn expire(&self, now: u64, most: usize) -> usize {
        let mut inner = self.inner.lock();
        let over: Vec<Hash> =
            inner.by_end.range(..=(now, Hash::from([0xff; 16]))).take(most).map(|(_, h)| *h).collect();
        over.iter().for_each(|hash| inner.remove(hash));
        over.len()
    }

    pub(super) fn len(&self) -> u64 {
        self.inner.lock().records.len() as u64
    }

    /// About how many bytes of memory they take.
    pub(super) fn bytes(&self) -> u64 {
        self.inner.lock().bytes
    }
}

impl Inner {
    fn remove(&mut self, hash: &Hash) {
        if let Some((expires, record)) = self.records.remove(hash) {
            self.by_end.remove(&(expires, *hash));
            self.bytes -= FIXED + record.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_in_the_order_of_their_ends_and_bytes_are_counted() {
        let memory = Memory::default();
        for (n, expires) in [(1u8, 30), (2, 10), (3, 20)] {
            memory.put([n; 16], expires, vec![n; 100]);
        }
        assert_eq!((memory.len(), memory.bytes()), (3, 3 * (100 + FIXED)));
        assert_eq!((memory.expire(9, 10), memory.expire(20, 1)), (0, 1));
        assert!(memory.get(&[2; 16]).is_none() && memory.get(&[3; 16]).is_some());
        assert_eq!(memory.expire(20, 10), 1);
        // One that is put again has its new end alone.
        memory.put([1; 16], 90, vec![1; 10]);
        assert_eq!((memory.expire(89, 10), memory.len(), memory.bytes()), (0, 1, 10 + FIXED));
        memory.remove(&[1; 16]);
        assert_eq!((memory.len(), memory.bytes(), memory.expire(99, 10)), (0, 0, 0));
    }
}
