//! DEFLATE (RFC 1951) of whole bodies of up to 64 KiB: answers of an API, which repeat themselves at some distance and in
//! long pieces.
//!
//! What a body has in common with itself is found in one pass (`matcher`), collected in one block with its counts
//! (`block`), and written by the shortest of the three ways there are. Why it is our own: docs/decisions/0010.

mod bits;
mod block;
mod huffman;
mod lengths;
mod matcher;
mod symbols;

pub(super) use matcher::Effort;

use bits::{Bits, SLACK};
use block::Block;
use matcher::Matcher;

/// The longest body that it takes.
pub(super) const LONGEST: usize = 64 << 10;

/// What the encoder needs beside a body; it can be used again.
pub(super) struct Deflate {
    matcher: Matcher,
    block: Block,
}

impl Deflate {
    pub(super) fn new() -> Deflate {
        Deflate { matcher: Matcher::new(), block: Block::new() }
    }

    /// How much room a body of this length needs.
    pub(super) fn bound(len: usize) -> usize {
        block::bound(len) + SLACK
    }

    /// Encodes a body into the beginning of `out`, which has room for [`Deflate::bound`]. The length.
    ///
    /// # Panics
    /// If the body is longer than [`LONGEST`], or `out` too short.
    pub(super) fn encode(&mut self, body: &[u8], effort: &Effort, out: &mut [u8]) -> usize {
        assert!(body.len() <= LONGEST, "a short body");
        self.block.clear();
        self.matcher.run(body, effort, &mut self.block);
        let mut bits = Bits::new(out);
        self.block.write(body, &mut bits);
        bits.end()
    }
}

#[cfg(test)]
mod tests;
