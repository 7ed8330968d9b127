//! The symbols of a block (RFC 1951, 3.2.5), and the tokens they are kept as until their codes are known.
//!
//! A token is a literal, the end, a length, a distance, or up to seven of the bits that stand behind those two. So each is
//! written in the same way, by one look into a table, and without a branch by its kind: which comes next cannot be predicted.

/// Literals, the end of a block, lengths.
pub(super) const LITERALS: usize = 286;
/// Distances.
pub(super) const DISTANCES: usize = 30;
/// The symbol that ends a block.
pub(super) const END: usize = 256;
/// The symbol of the first length.
pub(super) const FIRST_LENGTH: usize = 257;
/// The shortest copy, and the longest.
pub(super) const SHORTEST: usize = 3;
pub(super) const LONGEST: usize = 258;
/// The farthest copy.
pub(super) const FARTHEST: usize = 32 << 10;

/// Tokens there can be: a power of two, so that a masked one needs no check.
pub(super) const TOKENS: usize = 1024;
/// Those of distances begin here.
pub(super) const FIRST_DISTANCE: usize = 288;
/// Those of bits: with a one above them, so that it shows how many they are.
pub(super) const RAW: usize = 320;
/// So many bits are one token at most.
pub(super) const RAW_BITS: u32 = 7;
/// No bits.
pub(super) const NOTHING: u16 = raw(0, 0);

const BASES: [u8; 29] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 255];
/// How many bits stand behind each length.
pub(super) const LENGTH_EXTRAS: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// Of each length, less the shortest: its symbol, and what stands behind it.
const LENGTHS: [[u16; 2]; 256] = {
    let (mut tokens, mut len, mut symbol) = ([[0; 2]; 256], 0, 0);
    while len < 256 {
        while symbol + 1 < BASES.len() && BASES[symbol + 1] as usize <= len {
            symbol += 1;
        }
        let extra = len as u32 - BASES[symbol] as u32;
        tokens[len] = [(FIRST_LENGTH + symbol) as u16, raw(extra, LENGTH_EXTRAS[symbol] as u32)];
        len += 1;
    }
    tokens
};

const fn raw(bits: u32, count: u32) -> u16 {
    (RAW as u32 + (1 << count | bits)) as u16
}

/// Of a length, less [`SHORTEST`]: its symbol, and what stands behind it.
#[inline(always)]
pub(super) fn length(len: u8) -> [u16; 2] {
    LENGTHS[len as usize]
}

/// Of a distance, less one: its symbol, the lower bits behind it, and the upper ones.
#[inline(always)]
pub(super) fn distance(dist: u16) -> [u16; 3] {
    let dist = u32::from(dist);
    // Two symbols for each power of two, by the bit below the highest. The first two are in the same row.
    let bits = 30 - (dist | 2).leading_zeros();
    let symbol = FIRST_DISTANCE as u32 + 2 * bits + (dist >> bits);
    let extra = dist & ((1 << bits) - 1);
    let lower = bits.min(RAW_BITS);
    [symbol as u16, raw(extra & ((1 << lower) - 1), lower), raw(extra >> lower, bits - lower)]
}

/// How many bits stand behind a distance.
pub(super) fn distance_extra(symbol: usize) -> u32 {
    (symbol as u32 / 2).saturating_sub(1)
}
