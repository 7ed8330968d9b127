//! DEFLATE (RFC 1951) of whole bodies of up to 64 KiB: answers of an API, which repeat themselves at some distance and in
//! long pieces.
//!
//! What a body has in common with itself is found in one pass (`fast` or `thorough`), kept as tokens with their counts
//! (`tokens`), and written in one block by the shortest of the three ways there are (`block`). Why it is our own:
//! docs/decisions/0010.

mod bits;
mod block;
mod bytes;
mod fast;
mod huffman;
mod lengths;
mod symbols;
mod thorough;
mod tokens;

use bits::{Bits, SLACK};
use block::Block;
use fast::Fast;
use thorough::Thorough;
use tokens::Tokens;

/// The longest body that it takes.
pub(super) const LONGEST: usize = 64 << 10;

/// How hard it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// As fast as it can be.
    Fast,
    /// About as short as zlib makes it by default.
    Thorough,
}

/// What the encoder needs beside a body; it can be used again.
pub(super) struct Deflate {
    fast: Fast,
    thorough: Thorough,
    tokens: Tokens,
    block: Block,
}

impl Deflate {
    pub(super) fn new() -> Deflate {
        Deflate { fast: Fast::new(), thorough: Thorough::new(), tokens: Tokens::new(), block: Block::new() }
    }

    /// How much room a body of this length needs.
    pub(super) fn bound(len: usize) -> usize {
        block::bound(len) + SLACK
    }

    /// Encodes a body into the beginning of `out`, which has room for [`Deflate::bound`]. The length.
    ///
    /// # Panics
    /// If the body is longer than [`LONGEST`], or `out` too short.
    pub(super) fn encode(&mut self, body: &[u8], effort: Effort, out: &mut [u8]) -> usize {
        assert!(body.len() <= LONGEST, "a short body");
        let pen = self.tokens.pen(body.len());
        let len = match effort {
            Effort::Fast => self.fast.run(body, pen),
            Effort::Thorough => self.thorough.run(body, pen),
        };
        let mut bits = Bits::new(out);
        self.block.write(body, self.tokens.first(len), &self.tokens.counts(), &mut bits);
        bits.end()
    }
}

#[cfg(test)]
mod tests;
