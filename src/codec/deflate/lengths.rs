//! How a block tells its codes: by the lengths of their symbols, which have a code of their own (RFC 1951, 3.2.7).

use super::bits::{Bits, Word};
use super::huffman::Code;
use super::symbols::{DISTANCES, FIRST_LENGTH, LITERALS};

const SYMBOLS: usize = 19;
const ORDER: [usize; SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The length before, three to six times more.
const AGAIN: u8 = 16;
/// No length, three to ten times, and eleven to 138 times.
const NONE: u8 = 17;
const NONE_OFTEN: u8 = 18;

/// The lengths of two codes.
pub(super) struct Lengths {
    literals: usize,
    distances: usize,
    /// Symbols, and the bits behind them.
    items: [(u8, u8); LITERALS + DISTANCES],
    len: usize,
    counts: [u32; SYMBOLS],
    code: Code<SYMBOLS>,
    /// How many of the code's own lengths are told.
    told: usize,
}

impl Lengths {
    pub(super) fn of(literals: &Code<LITERALS>, distances: &Code<DISTANCES>) -> Lengths {
        let used = |lens: &[u8]| lens.iter().rposition(|len| *len > 0).map_or(0, |last| last + 1);
        let (some, others) = (used(&literals.lens).max(FIRST_LENGTH), used(&distances.lens).max(1));
        let mut lens = [0; LITERALS + DISTANCES];
        lens[..some].copy_from_slice(&literals.lens[..some]);
        lens[some..some + others].copy_from_slice(&distances.lens[..others]);
        let mut this = Lengths {
            literals: some,
            distances: others,
            items: [(0, 0); LITERALS + DISTANCES],
            len: 0,
            counts: [0; SYMBOLS],
            code: Code::with([0; SYMBOLS]),
            told: SYMBOLS,
        };
        for run in lens[..some + others].chunk_by(|a, b| a == b) {
            this.run(run[0], run.len());
        }
        this.code = Code::of(&this.counts, 7);
        while this.told > 4 && this.code.lens[ORDER[this.told - 1]] == 0 {
            this.told -= 1;
        }
        this
    }

    fn run(&mut self, len: u8, times: usize) {
        let mut left = times;
        if len == 0 {
            while left >= 3 {
                let now = left.min(138);
                if now > 10 {
                    self.item(NONE_OFTEN, now - 11)
                } else {
                    self.item(NONE, now - 3)
                }
                left -= now;
            }
        } else {
            self.item(len, 0);
            left -= 1;
            while left >= 3 {
                let now = left.min(6);
                self.item(AGAIN, now - 3);
                left -= now;
            }
        }
        for _ in 0..left {
            self.item(len, 0);
        }
    }

    fn item(&mut self, symbol: u8, extra: usize) {
        self.items[self.len] = (symbol, extra as u8);
        self.len += 1;
        self.counts[symbol as usize] += 1;
    }

    /// How many bits they take.
    pub(super) fn cost(&self) -> u32 {
        let extra: u32 = (AGAIN..=NONE_OFTEN).map(|symbol| self.counts[symbol as usize] * extra_bits(symbol)).sum();
        5 + 5 + 4 + 3 * self.told as u32 + self.code.cost(&self.counts) + extra
    }

    pub(super) fn write(&self, out: &mut Bits<'_>) {
        out.put(Word::new((self.literals - FIRST_LENGTH) as u32, 5));
        out.put(Word::new((self.distances - 1) as u32, 5));
        out.put(Word::new((self.told - 4) as u32, 4));
        out.flush();
        for at in &ORDER[..self.told] {
            out.put(Word::new(u32::from(self.code.lens[*at]), 3));
            out.flush();
        }
        for (symbol, extra) in &self.items[..self.len] {
            out.put(self.code.words[*symbol as usize]);
            out.put(Word::new(u32::from(*extra), extra_bits(*symbol)));
            out.flush();
        }
    }
}

fn extra_bits(symbol: u8) -> u32 {
    match symbol {
        AGAIN => 2,
        NONE => 3,
        NONE_OFTEN => 7,
        _ => 0,
    }
}
