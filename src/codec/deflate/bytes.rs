//! Bytes of a body, several at once.

use super::symbols::LONGEST;

/// So many are read at once.
pub(super) const WORD: usize = 8;
/// So many are compared at once: most copies are shorter.
const PIECE: usize = 32;

/// What stands there, if there is so much.
#[inline(always)]
pub(super) fn word(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*body.get(at..)?.first_chunk()?))
}

/// Of the first `N` bytes of a word; its upper bits are the better ones, and its lower 64 - 8 `N` are zero.
#[inline(always)]
pub(super) fn hash<const N: u32>(word: u64) -> u64 {
    // By the golden ratio of 2^64: D. Knuth, The Art of Computer Programming, volume 3, 6.4.
    (word << (u64::BITS - 8 * N)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// How many bytes are the same from both places on, of which the first is the earlier: no more than a copy can have.
#[inline(always)]
pub(super) fn common(body: &[u8], there: usize, here: usize) -> usize {
    let most = LONGEST.min(body.len() - here);
    let (a, b) = (&body[there..][..most], &body[here..][..most]);
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<PIECE>(), b.as_chunks::<PIECE>());
    let mut len = 0;
    for (a, b) in a.iter().zip(b) {
        let same = same(a, b);
        len += same;
        if same < PIECE {
            return len;
        }
    }
    len + rest_a.iter().zip(rest_b).take_while(|(a, b)| a == b).count()
}

/// How many bytes are the same: where they begin to differ cannot be predicted, so nothing branches on it.
#[inline(always)]
fn same(a: &[u8; PIECE], b: &[u8; PIECE]) -> usize {
    let (a, b) = (a.as_chunks::<WORD>().0, b.as_chunks::<WORD>().0);
    let differ = |at: usize| u64::from_le_bytes(a[at]) ^ u64::from_le_bytes(b[at]);
    let or = |first: (u64, u32), second: (u64, u32)| if first.0 != 0 { first } else { second };
    let (bits, at) = or(or((differ(0), 0), (differ(1), 8)), or((differ(2), 16), (differ(3), 24)));
    (at + bits.trailing_zeros() / 8) as usize
}
