//! Canonical Huffman codes of limited length (RFC 1951, 3.2.2).

use super::bits::Word;

/// The longest code there is.
const LONGEST: usize = 15;
/// Bits of a word that hold a symbol; the others hold how often it comes.
const SYMBOL_BITS: u32 = 9;
/// More levels than a tree can have: the deepest is of counts like those of Fibonacci, of which 34 are more than 2²².
const LEVELS: usize = 32;

/// A code of `N` symbols.
pub(super) struct Code<const N: usize> {
    /// The bits of each symbol as they are written.
    pub(super) words: [Word; N],
    /// How many there are; 0: the symbol has no code.
    pub(super) lens: [u8; N],
}

impl<const N: usize> Code<N> {
    /// A code of at most `longest` bits for symbols that come so often, all of them together less than 2²² times. At least
    /// two symbols get one: decoders refuse a code that is not complete.
    pub(super) fn of(counts: &[u32; N], longest: usize) -> Code<N> {
        let (mut symbols, mut n) = ([0u32; N], 0);
        for (symbol, count) in counts.iter().enumerate() {
            symbols[n] = count << SYMBOL_BITS | symbol as u32;
            n += usize::from(*count > 0);
        }
        for symbol in (0..2).filter(|symbol| counts[*symbol] == 0) {
            if n < 2 {
                symbols[n] = 1 << SYMBOL_BITS | symbol as u32;
                n += 1;
            }
        }
        let symbols = &mut symbols[..n];
        symbols.sort_unstable();
        let mut per_length = [0u32; LONGEST + 1];
        depths::<N>(symbols, &mut per_length, longest);
        limit(&mut per_length, longest);
        // The rarest get the longest.
        let (mut lens, mut rest) = ([0; N], symbols.iter());
        for len in (1..=longest).rev() {
            for word in rest.by_ref().take(per_length[len] as usize) {
                lens[(word & ((1 << SYMBOL_BITS) - 1)) as usize] = len as u8;
            }
        }
        Code { words: canonical(&lens, &per_length), lens }
    }

    /// The code of these lengths.
    pub(super) fn with(lens: [u8; N]) -> Code<N> {
        let mut per_length = [0; LONGEST + 1];
        lens.iter().for_each(|len| per_length[*len as usize] += 1);
        Code { words: canonical(&lens, &per_length), lens }
    }

    /// How many bits the symbols take that come so often.
    pub(super) fn cost(&self, counts: &[u32; N]) -> u32 {
        counts.iter().zip(&self.lens).map(|(count, len)| count * u32::from(*len)).sum()
    }
}

/// How many symbols have a code of each length, if they come so often as the words say, the least first. D. Huffman's way with
/// two queues: which of them holds the lesser cannot be predicted, so nothing branches on it. There are two symbols or more.
fn depths<const N: usize>(symbols: &[u32], per_length: &mut [u32; LONGEST + 1], longest: usize) {
    let n = symbols.len().min(N);
    // Weights of nodes that are not there yet are never the lesser.
    let (mut weights, mut parents) = ([u32::MAX; N], [0u16; N]);
    let (mut leaf, mut node) = (0, 0);
    for next in 0..n - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            let a = symbols.get(leaf).map_or(u32::MAX, |word| word >> SYMBOL_BITS);
            let b = weights[node];
            sum += a.min(b);
            // In vain if it is not taken: then it is written again.
            parents[node] = next as u16;
            node += usize::from(b < a);
            leaf += usize::from(b >= a);
        }
        weights[next] = sum;
    }
    // From the root down: the depth of each inner node. Twice as many nodes are below; what is not inner is a leaf.
    let (mut depths, mut inner) = ([0u8; N], [0u32; LEVELS]);
    inner[0] = 1;
    for node in (0..n - 2).rev() {
        let depth = depths[parents[node] as usize] + 1;
        depths[node] = depth;
        inner[depth as usize % LEVELS] += 1;
    }
    for depth in 1..LEVELS {
        per_length[depth.min(longest)] += 2 * inner[depth - 1] - inner[depth];
    }
}

/// Codes that were cut to the longest length leave no room for each other: makes others longer until they do.
fn limit(per_length: &mut [u32; LONGEST + 1], longest: usize) {
    let mut taken: u32 = (1..=longest).map(|len| per_length[len] << (longest - len)).sum();
    while taken > 1 << longest {
        // One of the longest becomes the sibling of a shorter one, which goes a bit deeper for it.
        let Some(shorter) = (1..longest).rev().find(|len| per_length[*len] > 0) else { return };
        per_length[longest] -= 1;
        per_length[shorter] -= 1;
        per_length[shorter + 1] += 2;
        taken -= 1;
    }
}

fn canonical<const N: usize>(lens: &[u8; N], per_length: &[u32; LONGEST + 1]) -> [Word; N] {
    let mut next = [0u32; LONGEST + 1];
    for len in 2..=LONGEST {
        next[len] = (next[len - 1] + per_length[len - 1]) << 1;
    }
    let mut words = [Word::default(); N];
    for (word, len) in words.iter_mut().zip(lens).filter(|(_, len)| **len > 0) {
        let code = &mut next[*len as usize & LONGEST];
        *word = Word::new(u32::from((*code as u16).reverse_bits() >> (16 - *len)), u32::from(*len));
        *code += 1;
    }
    words
}
