//! Finds what a body has said before, and among that what is long.
//!
//! A table tells for each hash of a few bytes the last four places where they stood. A place is kept with sixteen more bits
//! of the hash, so that one that stands there for other bytes is passed over without a look at the body: most bytes of an
//! answer are either new or part of something long.

use super::bytes::{WORD, common, hash, word};
use super::symbols::FARTHEST;
use super::tokens::Pen;

/// So many places of one hash are kept.
const WAYS: usize = 4;
/// The table for bodies up to 16 KiB, 32 KiB of the processor's first cache, and for longer ones.
const SHORT: usize = 16 << 10;
const SHORT_BITS: u32 = 11;
const LONG_BITS: u32 = 12;
/// The shortest copy: the shorter, the more there are, and the less each is worth.
const SHORTEST: usize = 5;
/// For a copy shorter than this a longer one is looked for that begins a byte later.
const LAZY: usize = 32;
/// Of the places inside a copy every so many are kept.
const EVERY: usize = 3;

/// Places that look like one, and what they look like.
struct Candidates {
    places: [u32; WAYS],
    look: u32,
}

impl Candidates {
    #[inline(always)]
    fn any(&self) -> bool {
        self.places.iter().fold(false, |any, place| any | self.is_one(*place))
    }

    #[inline(always)]
    fn is_one(&self, place: u32) -> bool {
        place ^ self.look < 1 << 16
    }

    /// The longest copy of what stands at `at` that is longer than `than`: its length, and how far back it begins.
    #[inline(always)]
    fn longest(&self, body: &[u8], at: usize, than: usize) -> Option<(usize, usize)> {
        let (mut best, mut dist) = (than, None);
        for place in self.places.iter().filter(|place| self.is_one(**place)) {
            let there = (place & 0xffff) as usize;
            if at - there > FARTHEST {
                break;
            }
            // What does not go as far as the best so far need not be compared.
            if body.get(at + best) != body.get(there + best) {
                continue;
            }
            let len = common(body, there, at);
            if len > best {
                (best, dist) = (len, Some(at - there));
            }
        }
        dist.map(|dist| (best, dist))
    }
}

/// The table.
pub(super) struct Thorough {
    /// The last place first. A place is 16 bits, below 16 bits of look, of which one is always set: 0 is none.
    slots: Box<[[u32; WAYS]]>,
}

impl Thorough {
    pub(super) fn new() -> Thorough {
        Thorough { slots: vec![[0; WAYS]; 1 << LONG_BITS].into_boxed_slice() }
    }

    /// Takes a body apart. How many tokens there are.
    pub(super) fn run(&mut self, body: &[u8], mut pen: Pen<'_>) -> usize {
        let bits = if body.len() <= SHORT { SHORT_BITS } else { LONG_BITS };
        let slots = &mut self.slots[..1 << bits];
        slots.fill([0; WAYS]);
        let mut table = Table { slots, shift: 64 - bits };
        let end = body.len().saturating_sub(WORD - 1);
        let (mut at, mut literals) = (0, 0);
        while at < end {
            let candidates = table.enter(body, at);
            if !candidates.any() {
                at += 1;
                continue;
            }
            let Some((mut len, mut dist)) = candidates.longest(body, at, SHORTEST - 1) else {
                at += 1;
                continue;
            };
            while len < LAZY && at + 1 < end {
                let Some(longer) = table.enter(body, at + 1).longest(body, at + 1, len) else { break };
                (len, dist) = longer;
                at += 1;
            }
            pen.literals(&body[literals..at]);
            pen.copy(len, dist);
            literals = at + len;
            // The byte behind the beginning may be in it already.
            let (mut inside, last) = (at + 2, end.min(literals));
            while inside < last {
                table.enter(body, inside);
                inside += EVERY;
            }
            at = literals;
        }
        pen.literals(&body[literals..]);
        pen.end()
    }
}

struct Table<'a> {
    slots: &'a mut [[u32; WAYS]],
    shift: u32,
}

impl Table<'_> {
    /// Enters a place. The earlier ones that look like it.
    #[inline(always)]
    fn enter(&mut self, body: &[u8], at: usize) -> Candidates {
        let hash = hash::<{ SHORTEST as u32 }>(word(body, at).unwrap_or_default());
        let look = hash as u32 & 0xffff_0000 | 1 << 16;
        let mask = self.slots.len() - 1;
        let slot = &mut self.slots[(hash >> self.shift) as usize & mask];
        let places = *slot;
        *slot = [look | at as u32, places[0], places[1], places[2]];
        Candidates { places, look }
    }
}
