//! Bits, the least significant first.

/// So many bytes behind the last one are written too, with anything.
pub(super) const SLACK: usize = 8;

/// Some bits, 23 at most, above how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Word(u32);

impl Word {
    #[inline(always)]
    pub(super) const fn new(bits: u32, count: u32) -> Word {
        Word(bits << 8 | count)
    }
}

/// Writes bits into a buffer that is large enough.
pub(super) struct Bits<'a> {
    out: &'a mut [u8],
    at: usize,
    bits: u64,
    /// In the lowest six bits: what is above them is left of words.
    count: u32,
}

impl<'a> Bits<'a> {
    /// From the beginning of `out`.
    pub(super) fn new(out: &'a mut [u8]) -> Bits<'a> {
        Bits { out, at: 0, bits: 0, count: 0 }
    }

    /// At most 56 bits in all between two calls of [`Bits::flush`].
    #[inline(always)]
    pub(super) fn put(&mut self, word: Word) {
        self.bits |= u64::from(word.0 >> 8) << (self.count & 63);
        self.count = self.count.wrapping_add(word.0);
    }

    /// Writes out the bytes that are whole.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        self.out[self.at..self.at + SLACK].copy_from_slice(&self.bits.to_le_bytes());
        let whole = self.count >> 3 & 7;
        self.at += whole as usize;
        self.bits >>= whole << 3;
        self.count &= 7;
    }

    /// Zeros up to the next byte.
    pub(super) fn align(&mut self) {
        self.flush();
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Bytes, after [`Bits::align`].
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// What each of these is in the table, one behind the other; none has more than 14 bits.
    pub(super) fn all<const N: usize>(&mut self, tokens: &[u16], words: &[Word; N]) {
        self.flush();
        // On its own, so that it stays in registers.
        let mut bits = Bits { out: &mut *self.out, ..*self };
        let (fours, rest) = tokens.as_chunks::<4>();
        for four in fours {
            for token in four {
                bits.put(words[*token as usize & (N - 1)]);
            }
            bits.flush();
        }
        for token in rest {
            bits.put(words[*token as usize & (N - 1)]);
        }
        bits.flush();
        (self.at, self.bits, self.count) = (bits.at, bits.bits, bits.count);
    }

    /// How many bytes there are.
    pub(super) fn end(mut self) -> usize {
        self.align();
        self.at
    }
}
