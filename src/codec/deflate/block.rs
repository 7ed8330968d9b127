//! One block, the whole of a body: what it is made of, and how it is written.

use super::bits::Bits;
use super::huffman::Code;
use super::lengths::Lengths;
use super::symbols::{DISTANCES, END, LITERALS, SHORTEST, distance, length};

/// The longest piece that is stored as it is.
const LONGEST_STORED: usize = 65_535;
/// What stands before such a piece at most.
const STORED_HEAD: usize = 5;

/// Literals, and a copy behind them.
#[derive(Clone, Copy)]
struct Sequence {
    literals: u16,
    /// Of the copy, less [`SHORTEST`].
    len: u8,
    /// How far back it begins, less one.
    dist: u16,
}

/// What a body is made of.
pub(super) struct Block {
    /// Behind the last one there are literals up to the end.
    sequences: Vec<Sequence>,
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    extra_bits: u32,
    fixed: (Code<LITERALS>, Code<DISTANCES>),
}

impl Block {
    pub(super) fn new() -> Block {
        Block {
            sequences: Vec::new(),
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            extra_bits: 0,
            fixed: (fixed_literals(), Code::with([5; DISTANCES])),
        }
    }

    pub(super) fn clear(&mut self) {
        self.sequences.clear();
        self.literals.fill(0);
        self.distances.fill(0);
        self.extra_bits = 0;
    }

    /// Literals, and behind them a copy of `len` bytes, 3 to 258, from `dist` bytes back, 1 to 32,768.
    #[inline(always)]
    pub(super) fn copy(&mut self, literals: &[u8], len: usize, dist: usize) {
        self.end(literals);
        let sequence =
            Sequence { literals: literals.len() as u16, len: (len - SHORTEST) as u8, dist: (dist - 1) as u16 };
        self.sequences.push(sequence);
        let (len, dist) = (length(sequence.len), distance(sequence.dist));
        self.literals[len.symbol] += 1;
        self.distances[dist.symbol] += 1;
        self.extra_bits += len.extra_bits + dist.extra_bits;
    }

    /// The literals behind the last copy.
    #[inline(always)]
    pub(super) fn end(&mut self, literals: &[u8]) {
        for byte in literals {
            self.literals[*byte as usize] += 1;
        }
    }

    /// Writes it by the shortest of the three ways. `body`: what it stands for.
    pub(super) fn write(&mut self, body: &[u8], out: &mut Bits<'_>) {
        self.literals[END] = 1;
        let (literals, distances) = (Code::of(&self.literals, 15), Code::of(&self.distances, 15));
        let lengths = Lengths::of(&literals, &distances);
        let dynamic = lengths.cost() + literals.cost(&self.literals) + distances.cost(&self.distances);
        let fixed = self.fixed.0.cost(&self.literals) + self.fixed.1.cost(&self.distances);
        if 8 * bound(body.len()) as u32 <= 3 + fixed.min(dynamic) + self.extra_bits {
            store(body, out);
        } else if fixed <= dynamic {
            out.put(1 | 1 << 1, 3);
            self.symbols(body, &self.fixed.0, &self.fixed.1, out);
        } else {
            out.put(1 | 2 << 1, 3);
            lengths.write(out);
            self.symbols(body, &literals, &distances, out);
        }
    }

    fn symbols(&self, body: &[u8], literals: &Code<LITERALS>, distances: &Code<DISTANCES>, out: &mut Bits<'_>) {
        // What each byte and each length is written as, looked up at once.
        let bytes: [(u16, u8); 256] = std::array::from_fn(|byte| (literals.bits[byte], literals.lens[byte]));
        let lens: [(u32, u32); 256] = std::array::from_fn(|len| {
            let len = length(len as u8);
            let code_len = u32::from(literals.lens[len.symbol]);
            (u32::from(literals.bits[len.symbol]) | len.extra << code_len, code_len + len.extra_bits)
        });
        out.flush();
        let mut rest = body;
        for sequence in &self.sequences {
            let (now, behind) = rest.split_at(sequence.literals as usize);
            run(now, &bytes, out);
            rest = &behind[sequence.len as usize + SHORTEST..];
            // Of 20 bits at most, and the distance of 28.
            let (bits, count) = lens[sequence.len as usize];
            out.put(u64::from(bits), count);
            let dist = distance(sequence.dist);
            out.put(u64::from(distances.bits[dist.symbol]), u32::from(distances.lens[dist.symbol]));
            out.put(u64::from(dist.extra), dist.extra_bits);
            out.flush();
        }
        run(rest, &bytes, out);
        out.put(u64::from(literals.bits[END]), u32::from(literals.lens[END]));
        out.flush();
    }
}

/// Three at once, which is what fits.
#[inline(always)]
fn run(literals: &[u8], codes: &[(u16, u8); 256], out: &mut Bits<'_>) {
    let put = |byte: &u8, out: &mut Bits<'_>| {
        let (bits, count) = codes[*byte as usize];
        out.put(u64::from(bits), u32::from(count));
    };
    let (threes, rest) = literals.as_chunks::<3>();
    for [a, b, c] in threes {
        put(a, out);
        put(b, out);
        put(c, out);
        out.flush();
    }
    rest.iter().for_each(|byte| put(byte, out));
    out.flush();
}

/// The most bytes that a body of this length becomes: it can always be stored as it is.
pub(super) fn bound(len: usize) -> usize {
    len + STORED_HEAD * len.div_ceil(LONGEST_STORED).max(1)
}

fn store(body: &[u8], out: &mut Bits<'_>) {
    let mut pieces = body.chunks(LONGEST_STORED).peekable();
    while let Some(piece) = pieces.next() {
        out.put(u64::from(pieces.peek().is_none()), 3);
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
    Code { bits: std::array::from_fn(|at| all.bits[at]), lens: std::array::from_fn(|at| all.lens[at]) }
}
