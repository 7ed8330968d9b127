//! The symbols of lengths and distances (RFC 1951, 3.2.5).

/// Literals, the end of a block, lengths.
pub(super) const LITERALS: usize = 286;
/// Distances.
pub(super) const DISTANCES: usize = 30;
/// The symbol that ends a block.
pub(super) const END: usize = 256;
/// The symbol of the first length.
pub(super) const FIRST_LENGTH: usize = 257;
/// The shortest copy.
pub(super) const SHORTEST: usize = 3;

const BASES: [u8; 29] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 255];
const EXTRAS: [u8; 29] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const SYMBOLS: [u8; 256] = {
    let (mut symbols, mut len, mut symbol) = ([0; 256], 0, 0);
    while len < 256 {
        while symbol + 1 < BASES.len() && BASES[symbol + 1] as usize <= len {
            symbol += 1;
        }
        symbols[len] = symbol as u8;
        len += 1;
    }
    symbols
};

/// A symbol and the bits behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) symbol: usize,
    pub(super) extra: u32,
    pub(super) extra_bits: u32,
}

/// Of a length, less [`SHORTEST`].
#[inline(always)]
pub(super) fn length(len: u8) -> Symbol {
    let of = SYMBOLS[len as usize] as usize;
    Symbol { symbol: FIRST_LENGTH + of, extra: u32::from(len - BASES[of]), extra_bits: u32::from(EXTRAS[of]) }
}

/// Of a distance, less one.
#[inline(always)]
pub(super) fn distance(dist: u16) -> Symbol {
    let dist = u32::from(dist);
    if dist < 2 {
        return Symbol { symbol: dist as usize, extra: 0, extra_bits: 0 };
    }
    // Two symbols for each power of two: by the bit below the highest.
    let extra_bits = 30 - dist.leading_zeros();
    let symbol = 2 * extra_bits + (dist >> extra_bits);
    Symbol { symbol: symbol as usize, extra: dist & ((1 << extra_bits) - 1), extra_bits }
}
