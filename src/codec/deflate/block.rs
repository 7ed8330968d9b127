//! One block, the whole of a body, and the three ways it is written.

use super::bits::{Bits, Word};
use super::huffman::Code;
use super::lengths::Lengths;
use super::symbols::{
    DISTANCES, FIRST_DISTANCE, FIRST_LENGTH, LENGTH_EXTRAS, LITERALS, RAW, RAW_BITS, TOKENS, distance_extra,
};

/// The longest piece that is stored as it is.
const LONGEST_STORED: usize = 65_535;
/// What stands before such a piece at most.
const STORED_HEAD: usize = 5;
/// The longest code: four of them fit between two flushes. Those of fifteen bits would be for what comes once in 16,384.
const LONGEST_CODE: usize = 14;

type Counts = ([u32; LITERALS], [u32; DISTANCES]);

/// Writes blocks.
pub(super) struct Block {
    /// What each token is written as.
    words: Box<[Word; TOKENS]>,
    /// The codes that need not be told.
    fixed: (Code<LITERALS>, Code<DISTANCES>),
}

impl Block {
    pub(super) fn new() -> Block {
        let mut words = Box::new([Word::default(); TOKENS]);
        for count in 0..=RAW_BITS {
            for bits in 0..1 << count {
                words[RAW + (1 << count | bits)] = Word::new(bits as u32, count);
            }
        }
        Block { words, fixed: (fixed_literals(), Code::with([5; DISTANCES])) }
    }

    /// Writes a body that is made of these tokens, the end among them, by the shortest way. `counts`: how often each literal or
    /// length comes, and each distance.
    pub(super) fn write(&mut self, body: &[u8], tokens: &[u16], counts: &Counts, out: &mut Bits<'_>) {
        let (lits, dists) = counts;
        let (literals, distances) = (Code::of(lits, LONGEST_CODE), Code::of(dists, LONGEST_CODE));
        let lengths = Lengths::of(&literals, &distances);
        let dynamic = lengths.cost() + literals.cost(lits) + distances.cost(dists);
        let fixed = self.fixed.0.cost(lits) + self.fixed.1.cost(dists);
        if 8 * bound(body.len()) as u32 <= 3 + fixed.min(dynamic) + extra_bits(lits, dists) {
            return store(body, out);
        }
        if fixed <= dynamic {
            out.put(Word::new(1 | 1 << 1, 3));
            tell(&mut self.words, &self.fixed.0, &self.fixed.1);
        } else {
            out.put(Word::new(1 | 2 << 1, 3));
            lengths.write(out);
            tell(&mut self.words, &literals, &distances);
        }
        out.all(tokens, &self.words);
    }
}

fn tell(words: &mut [Word; TOKENS], literals: &Code<LITERALS>, distances: &Code<DISTANCES>) {
    words[..LITERALS].copy_from_slice(&literals.words);
    words[FIRST_DISTANCE..][..DISTANCES].copy_from_slice(&distances.words);
}

/// How many bits stand behind lengths and distances that come so often.
fn extra_bits(literals: &[u32; LITERALS], distances: &[u32; DISTANCES]) -> u32 {
    let lens = literals[FIRST_LENGTH..].iter().zip(LENGTH_EXTRAS).map(|(count, extra)| count * u32::from(extra));
    let dists = distances.iter().enumerate().map(|(at, count)| count * distance_extra(at));
    lens.chain(dists).sum()
}

/// The most bytes that a body of this length becomes: it can always be stored as it is.
pub(super) fn bound(len: usize) -> usize {
    len + STORED_HEAD * len.div_ceil(LONGEST_STORED).max(1)
}

fn store(body: &[u8], out: &mut Bits<'_>) {
    let mut pieces = body.chunks(LONGEST_STORED).peekable();
    while let Some(piece) = pieces.next() {
        out.put(Word::new(u32::from(pieces.peek().is_none()), 3));
        out.align();
        let len = piece.len() as u16;
        out.bytes(&len.to_le_bytes());
        out.bytes(&(!len).to_le_bytes());
        out.bytes(piece);
    }
}

/// RFC 1951, 3.2.6. Of its symbols two stand for nothing; without them the others would have other codes.
fn fixed_literals() -> Code<LITERALS> {
    let mut lens = [8; LITERALS + 2];
    lens[144..256].fill(9);
    lens[256..280].fill(7);
    let all = Code::with(lens);
    Code { words: std::array::from_fn(|at| all.words[at]), lens: std::array::from_fn(|at| all.lens[at]) }
}
