//! Canonical Huffman codes of limited length (RFC 1951, 3.2.2).

/// The longest code there is.
const LONGEST: usize = 15;
/// Bits of a word that hold a symbol; the others hold how often it comes.
const SYMBOL_BITS: u32 = 9;

/// A code of `N` symbols.
pub(super) struct Code<const N: usize> {
    /// The bits of each symbol as they are written.
    pub(super) bits: [u16; N],
    /// How many there are; 0: the symbol has no code.
    pub(super) lens: [u8; N],
}

impl<const N: usize> Code<N> {
    /// A code of at most `longest` bits for symbols that come so often, all of them together less than 2²³ times. At least
    /// two symbols get one: decoders refuse a code that is not complete.
    pub(super) fn of(counts: &[u32; N], longest: usize) -> Code<N> {
        let (mut used, mut depths) = ([0u32; N], [0u32; N]);
        let mut n = 0;
        let mut uses = |symbol: usize, count: u32| {
            used[n] = count << SYMBOL_BITS | symbol as u32;
            n += 1;
            n
        };
        let mut so_many = 0;
        for (symbol, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            so_many = uses(symbol, count);
        }
        for symbol in (0..2).filter(|symbol| counts[*symbol] == 0) {
            if so_many < 2 {
                so_many = uses(symbol, 1);
            }
        }
        let (used, depths) = (&mut used[..so_many], &mut depths[..so_many]);
        used.sort_unstable();
        for (depth, word) in depths.iter_mut().zip(&*used) {
            *depth = word >> SYMBOL_BITS;
        }
        minimum_redundancy(depths);
        let mut per_length = [0u32; LONGEST + 1];
        for depth in depths {
            per_length[longest.min(*depth as usize)] += 1;
        }
        limit(&mut per_length, longest);
        // The rarest get the longest.
        let (mut lens, mut rest) = ([0; N], used.iter());
        for len in (1..=longest).rev() {
            for word in rest.by_ref().take(per_length[len] as usize) {
                lens[(word & ((1 << SYMBOL_BITS) - 1)) as usize] = len as u8;
            }
        }
        Code { bits: canonical(&lens), lens }
    }

    /// The code of these lengths.
    pub(super) fn with(lens: [u8; N]) -> Code<N> {
        Code { bits: canonical(&lens), lens }
    }

    /// How many bits the symbols take that come so often.
    pub(super) fn cost(&self, counts: &[u32; N]) -> u32 {
        counts.iter().zip(&self.lens).map(|(count, len)| count * u32::from(*len)).sum()
    }
}

/// Turns weights, the least first, into the lengths of their codes, the longest first: A. Moffat and J. Katajainen,
/// "In-place calculation of minimum-redundancy codes", 1995. There are two or more.
fn minimum_redundancy(a: &mut [u32]) {
    let n = a.len();
    // Inner nodes take the places of the leaves that were used up; each then holds the place of its parent.
    let (mut root, mut leaf) = (0, 0);
    for next in 0..n - 1 {
        let mut take = |a: &mut [u32]| {
            if leaf >= n || (root < next && a[root] < a[leaf]) {
                let weight = std::mem::replace(&mut a[root], next as u32);
                root += 1;
                weight
            } else {
                leaf += 1;
                a[leaf - 1]
            }
        };
        let weight = take(a) + take(a);
        a[next] = weight;
    }
    // From the root down: the depth of each inner node.
    a[n - 2] = 0;
    for node in (0..n - 2).rev() {
        a[node] = a[a[node] as usize] + 1;
    }
    // At each depth, what is not an inner node is a leaf.
    let (mut available, mut depth) = (1, 0);
    let (mut inner, mut place) = (n - 1, n);
    while available > 0 {
        let mut used = 0;
        while inner > 0 && a[inner - 1] == depth {
            used += 1;
            inner -= 1;
        }
        for _ in used..available {
            place -= 1;
            a[place] = depth;
        }
        available = 2 * used;
        depth += 1;
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

fn canonical<const N: usize>(lens: &[u8; N]) -> [u16; N] {
    let mut next = [0u16; LONGEST + 2];
    for len in lens {
        next[*len as usize + 1] += 1;
    }
    next[1] = 0;
    for len in 1..=LONGEST {
        next[len + 1] = (next[len + 1].wrapping_add(next[len])) << 1;
    }
    let mut bits = [0; N];
    for (bits, len) in bits.iter_mut().zip(lens).filter(|(_, len)| **len > 0) {
        let code = &mut next[*len as usize];
        *bits = code.reverse_bits() >> (16 - *len);
        *code = code.wrapping_add(1);
    }
    bits
}
