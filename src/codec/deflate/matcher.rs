//! Finds what a body has said before.
//!
//! A table tells for each hash of a few bytes the last four places where they stood. A place is kept with sixteen more bits
//! of the hash, so that one that stands there for other bytes is passed over without a look at the body: most bytes of an
//! answer are either new or part of something long.

use super::block::Block;

/// The longest copy there is, and the farthest.
const LONGEST: usize = 258;
const FARTHEST: usize = 32 << 10;
/// So many places of one hash are kept.
const WAYS: usize = 4;
/// The table for bodies up to 16 KiB, 32 KiB of the processor's first cache, and for longer ones.
const SHORT: usize = 16 << 10;
const SHORT_BITS: u32 = 11;
const LONG_BITS: u32 = 12;
/// A word of the body is read whole.
const WORD: usize = 8;

/// How hard it looks.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Effort {
    /// The shortest copy, 4 to 8: the shorter, the more there are, and the less each is worth.
    shortest: usize,
    /// For a copy shorter than this a longer one is looked for that begins a byte later.
    lazy: usize,
    /// Of the places inside a copy every so many are kept.
    every: usize,
}

impl Effort {
    /// As fast as it can be.
    pub(in crate::codec) const FAST: Effort = Effort { shortest: 6, lazy: 0, every: usize::MAX };
    /// About as short as zlib makes it by default.
    pub(in crate::codec) const GOOD: Effort = Effort { shortest: 5, lazy: 32, every: 3 };
}

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
            let len = common(body, there, at);
            if len > best {
                (best, dist) = (len, Some(at - there));
            }
        }
        dist.map(|dist| (best, dist))
    }
}

/// The table.
pub(super) struct Matcher {
    /// The last place first. A place is 16 bits, below 16 bits of look, of which one is always set: 0 is none.
    slots: Box<[[u32; WAYS]]>,
}

impl Matcher {
    pub(super) fn new() -> Matcher {
        Matcher { slots: vec![[0; WAYS]; 1 << LONG_BITS].into_boxed_slice() }
    }

    /// Takes a body apart.
    pub(super) fn run(&mut self, body: &[u8], effort: &Effort, block: &mut Block) {
        let bits = if body.len() <= SHORT { SHORT_BITS } else { LONG_BITS };
        let slots = &mut self.slots[..1 << bits];
        slots.fill([0; WAYS]);
        let mut table = Table { slots, shift: 64 - bits, cut: 64 - 8 * effort.shortest as u32 };
        let end = body.len().saturating_sub(WORD - 1);
        let (mut at, mut literals) = (0, 0);
        while at < end {
            let candidates = table.enter(body, at);
            if !candidates.any() {
                at += 1;
                continue;
            }
            let Some((mut len, mut dist)) = candidates.longest(body, at, effort.shortest - 1) else {
                at += 1;
                continue;
            };
            while len < effort.lazy && at + 1 < end {
                let Some(longer) = table.enter(body, at + 1).longest(body, at + 1, len) else { break };
                (len, dist) = longer;
                at += 1;
            }
            block.copy(&body[literals..at], len, dist);
            literals = at + len;
            // The byte behind the beginning may be in it already.
            let (mut inside, last) = (at + 2, end.min(literals));
            while inside < last {
                table.enter(body, inside);
                inside = inside.saturating_add(effort.every);
            }
            at = literals;
        }
        block.end(&body[literals..]);
    }
}

struct Table<'a> {
    slots: &'a mut [[u32; WAYS]],
    shift: u32,
    /// What is left of a word when the bytes that count are at its top.
    cut: u32,
}

impl Table<'_> {
    /// Enters a place. The earlier ones that look like it.
    #[inline(always)]
    fn enter(&mut self, body: &[u8], at: usize) -> Candidates {
        // By the golden ratio of 2^64: D. Knuth, The Art of Computer Programming, volume 3, 6.4.
        let hash = (word(body, at) << self.cut).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let look = hash as u32 & 0xffff_0000 | 1 << 16;
        let mask = self.slots.len() - 1;
        let slot = &mut self.slots[(hash >> self.shift) as usize & mask];
        let places = *slot;
        *slot = [look | at as u32, places[0], places[1], places[2]];
        Candidates { places, look }
    }
}

#[inline(always)]
fn word(body: &[u8], at: usize) -> u64 {
    let mut word = [0; WORD];
    word.copy_from_slice(&body[at..at + WORD]);
    u64::from_le_bytes(word)
}

/// How many bytes are the same from both places on.
#[inline(always)]
fn common(body: &[u8], there: usize, here: usize) -> usize {
    let most = LONGEST.min(body.len() - here);
    let mut len = 0;
    while len + WORD <= most {
        let differ = word(body, there + len) ^ word(body, here + len);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += WORD;
    }
    while len < most && body[there + len] == body[here + len] {
        len += 1;
    }
    len
}
