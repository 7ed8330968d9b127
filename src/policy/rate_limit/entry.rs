//! What is remembered of one key under one limit.

/// So many cells fit: one for each sub-window inside the window, and one for the sub-window that it covers in part.
pub(super) const CELLS: usize = 42;

/// One key under one limit: a cache line, so that a decision touches one place in memory.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Entry {
    /// The keyed hash of limit and key.
    pub(super) key: u64,
    /// From this time on (nanoseconds) the entry says nothing any more: the key is as good as new. For a bucket this is
    /// the moment at which it is full, for a window the end of the newest sub-window's influence.
    pub(super) until: u64,
    /// Window only: requests that are no whole unit yet.
    pub(super) carry: u32,
    /// How much of the limit was in use at the last decision, in 65,535ths, rounded up.
    pub(super) used: u16,
    /// Window only: what was allowed in each of the latest sub-windows, in units, in a ring.
    pub(super) cells: [u8; CELLS],
}

const _: () = assert!(size_of::<Entry>() == 64, "an entry is one cache line");

impl Entry {
    /// A key of which nothing is known.
    pub(super) const fn new(key: u64) -> Self {
        Entry { key, until: 0, carry: 0, used: 0, cells: [0; CELLS] }
    }

    /// Takes down that so much of a limit is in use.
    pub(super) fn set_used(&mut self, part: u64, whole: u64) {
        let share = (u128::from(part) * u128::from(u16::MAX)).div_ceil(u128::from(whole.max(1)));
        self.used = u16::try_from(share).unwrap_or(u16::MAX);
    }
}
