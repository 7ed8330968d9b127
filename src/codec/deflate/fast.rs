//! Finds what a body has said before, as fast as it can be.
//!
//! A table tells for each hash of six bytes the last place where they stood, with sixteen more bits of the hash beside it: a
//! place of other bytes is passed over without a look at the body. Each byte is either a literal at once or the first of a
//! copy, so there are no runs of literals whose length a branch would have to guess.

use super::bytes::{common, hash, word};
use super::symbols::FARTHEST;
use super::tokens::Pen;

/// The shortest copy: shorter ones are many, and each is worth little.
const SHORTEST: usize = 6;
/// 16 KiB: a third of the processor's first cache, and cleared in no time.
const BITS: u32 = 12;

/// The table.
pub(super) struct Fast {
    /// A place is 16 bits, below 16 bits of the hash. None is 0: what is found there is compared, as any other.
    places: Box<[u32; 1 << BITS]>,
}

impl Fast {
    pub(super) fn new() -> Fast {
        Fast { places: Box::new([0; 1 << BITS]) }
    }

    /// Takes a body apart. How many tokens there are.
    pub(super) fn run(&mut self, body: &[u8], mut pen: Pen<'_>) -> usize {
        self.places.fill(0);
        let (mut at, mut rest) = (0, body);
        while let Some(now) = rest.first_chunk() {
            let now = u64::from_le_bytes(*now);
            if let Some(there) = self.enter(now, at) {
                // The first place of all is its own if nothing was entered yet.
                let dist = at - there;
                if (1..=FARTHEST).contains(&dist) {
                    let len = common(body, there, at);
                    if len >= SHORTEST {
                        pen.copy(len, dist);
                        // The byte behind the beginning may be in it already.
                        if let Some(inside) = word(rest, 2) {
                            self.enter(inside, at + 2);
                        }
                        at += len;
                        rest = &rest[len..];
                        continue;
                    }
                }
            }
            pen.literal(now as u8);
            at += 1;
            rest = &rest[1..];
        }
        pen.literals(rest);
        pen.end()
    }

    /// Enters a place. The last one that looks like it.
    #[inline(always)]
    fn enter(&mut self, word: u64, at: usize) -> Option<usize> {
        let hash = hash::<{ SHORTEST as u32 }>(word);
        let look = hash as u32 & 0xffff_0000;
        let slot = &mut self.places[(hash >> (u64::BITS - BITS)) as usize];
        let place = std::mem::replace(slot, look | at as u32);
        (place ^ look < 1 << 16).then_some((place & 0xffff) as usize)
    }
}
