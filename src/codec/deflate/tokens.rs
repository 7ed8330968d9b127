//! What a body is made of: tokens, and how often each comes that has a code.

use super::symbols::{DISTANCES, END, FIRST_DISTANCE, LITERALS, NOTHING, SHORTEST, distance, length};

/// Symbols that are counted: a power of two, so that a masked one needs no check.
const COUNTED: usize = 512;
/// A copy is five tokens at most.
const COPY: usize = 5;

/// Room for them, which can be used again.
pub(super) struct Tokens {
    all: Vec<u16>,
    counts: [u32; COUNTED],
}

impl Tokens {
    pub(super) fn new() -> Tokens {
        Tokens { all: Vec::new(), counts: [0; COUNTED] }
    }

    /// Begins with those of a body of this length. They are no more than its bytes, and the end.
    pub(super) fn pen(&mut self, len: usize) -> Pen<'_> {
        if self.all.len() < len + COPY {
            self.all.resize(len + COPY, NOTHING);
        }
        self.counts.fill(0);
        Pen { all: &mut self.all, len: 0, counts: &mut self.counts }
    }

    /// The first of them.
    pub(super) fn first(&self, len: usize) -> &[u16] {
        &self.all[..len]
    }

    /// How often each literal or length comes, and each distance.
    pub(super) fn counts(&self) -> ([u32; LITERALS], [u32; DISTANCES]) {
        let counts = &self.counts;
        (std::array::from_fn(|at| counts[at]), std::array::from_fn(|at| counts[FIRST_DISTANCE + at]))
    }
}

/// Writes tokens, one behind the other. It is handed on as it is: so the compiler keeps it in registers.
pub(super) struct Pen<'a> {
    all: &'a mut [u16],
    len: usize,
    counts: &'a mut [u32; COUNTED],
}

impl Pen<'_> {
    #[inline(always)]
    fn count(&mut self, symbol: u16) {
        self.counts[symbol as usize & (COUNTED - 1)] += 1;
    }

    #[inline(always)]
    fn symbol(&mut self, symbol: u16) {
        self.all[self.len] = symbol;
        self.len += 1;
        self.count(symbol);
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, byte: u8) {
        self.symbol(u16::from(byte));
    }

    #[inline(always)]
    pub(super) fn literals(&mut self, literals: &[u8]) {
        for byte in literals {
            self.literal(*byte);
        }
    }

    /// A copy of `len` bytes, 5 to 258, from `dist` bytes back, 1 to 32,768.
    #[inline(always)]
    pub(super) fn copy(&mut self, len: usize, dist: usize) {
        let [symbol, extra] = length((len - SHORTEST) as u8);
        let [dist, lower, upper] = distance((dist - 1) as u16);
        self.count(symbol);
        self.count(dist);
        let Some(room) = self.all.get_mut(self.len..).and_then(|all| all.first_chunk_mut::<COPY>()) else { return };
        // What is nothing is written over by what is behind it.
        let next = 1 + usize::from(extra != NOTHING);
        room[0] = symbol;
        room[1] = extra;
        room[next] = dist;
        room[next + 1] = lower;
        room[next + 2] = upper;
        self.len += next + 2 + usize::from(upper != NOTHING);
    }

    /// The end. How many tokens there are.
    #[inline(always)]
    pub(super) fn end(mut self) -> usize {
        self.symbol(END as u16);
        self.len
    }
}
