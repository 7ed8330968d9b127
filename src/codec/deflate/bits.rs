//! Bits, the least significant first.

/// So many bytes behind the last one are written too, with anything.
pub(super) const SLACK: usize = 8;

/// Writes bits into a buffer that is large enough.
pub(super) struct Bits<'a> {
    out: &'a mut [u8],
    at: usize,
    bits: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// From the beginning of `out`.
    pub(super) fn new(out: &'a mut [u8]) -> Bits<'a> {
        Bits { out, at: 0, bits: 0, count: 0 }
    }

    /// At most 57 bits in all between two calls of [`Bits::flush`].
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
    }

    /// Writes out the bytes that are whole.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        self.out[self.at..self.at + SLACK].copy_from_slice(&self.bits.to_le_bytes());
        let whole = self.count >> 3;
        self.at += whole as usize;
        self.bits >>= whole << 3;
        self.count &= 7;
    }

    /// Zeros up to the next byte.
    pub(super) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Bytes, after [`Bits::align`].
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// How many bytes there are.
    pub(super) fn end(mut self) -> usize {
        self.align();
        self.at
    }
}
