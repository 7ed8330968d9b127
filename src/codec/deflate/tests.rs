use std::io::Read;

use flate2::read::DeflateDecoder;
use libdeflater::Decompressor;
use proptest::prelude::*;

use super::huffman::Code;
use super::symbols::{FIRST_DISTANCE, NOTHING, RAW, SHORTEST, distance, length};
use super::*;

const EFFORTS: [Effort; 2] = [Effort::Fast, Effort::Thorough];

/// Encodes, asks two decoders of others what it says, and gives the lengths for each effort.
fn both(body: &[u8]) -> [usize; 2] {
    // One coder for all of them: nothing of the one before may show.
    let mut coder = Deflate::new();
    coder.encode(&[b'x'; LONGEST], Effort::Thorough, &mut vec![0; Deflate::bound(LONGEST)]);
    EFFORTS.map(|effort| {
        let mut out = vec![0xee; Deflate::bound(body.len())];
        let len = coder.encode(body, effort, &mut out);
        assert!(len + SLACK <= out.len(), "{len} of {}", body.len());
        let (mut zlib, mut other) = (Vec::new(), vec![0; body.len()]);
        let mut decoder = DeflateDecoder::new(&out[..len]);
        decoder.read_to_end(&mut zlib).unwrap();
        assert_eq!((zlib == body, decoder.total_in()), (true, len as u64), "zlib-ng, {effort:?}");
        let decoded = Decompressor::new().deflate_decompress(&out[..len], &mut other);
        assert_eq!((decoded, other == body), (Ok(body.len()), true), "libdeflate, {effort:?}");
        len
    })
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

#[test]
fn the_shortest_bodies() {
    assert_eq!(both(b""), [2, 2], "the end alone, in the fixed code");
    for len in 1..40 {
        both(&vec![b'a'; len]);
        both(&(0..len as u8).collect::<Vec<_>>());
        both(&[b"abcdefgh".as_slice(), &vec![b'z'; len], b"abcdefgh"].concat());
    }
}

#[test]
fn what_repeats_becomes_next_to_nothing() {
    for [fast, good] in [both(&[0; LONGEST]), both(&b"0123456789".repeat(6553))] {
        assert!(fast < 400 && good < 400, "{fast} {good}");
    }
}

#[test]
fn what_is_random_is_stored_as_it_is() {
    let mut random = random(1);
    for len in [1000, 65_534, 65_535, LONGEST] {
        let body: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        let longest = block::bound(len);
        assert_eq!(both(&body), [longest, longest]);
    }
}

#[test]
fn the_farthest_copies_and_no_farther() {
    let mut random = random(2);
    let filler: Vec<u8> = (0..32 << 10).map(|_| random() as u8).collect();
    for between in [0, 1, 32_751, 32_752, 32_753, 32_754, 32_768] {
        both(&[b"a long enough one".as_slice(), &filler[..between], b"a long enough one"].concat());
    }
}

#[test]
fn copies_of_every_length() {
    let (mut random, mut body) = (random(3), Vec::new());
    let source: Vec<u8> = (0..600).map(|_| random() as u8).collect();
    body.extend_from_slice(&source);
    for len in 3..=258 {
        body.extend_from_slice(&source[len..2 * len]);
        body.push(random() as u8);
    }
    both(&body);
}

/// So rare that a code without a limit would have some thirty bits.
#[test]
fn counts_like_those_of_fibonacci_stay_within_fifteen_bits() {
    let (mut a, mut b, mut counts) = (1, 1, [0u32; 30]);
    for count in counts.iter_mut().take(24) {
        *count = a;
        (a, b) = (b, a + b);
    }
    for longest in [7, 15] {
        let code = Code::of(&counts, longest);
        let kraft: f64 = code.lens.iter().filter(|len| **len > 0).map(|len| 0.5f64.powi(i32::from(*len))).sum();
        assert_eq!((code.lens.iter().max(), kraft), (Some(&(longest as u8)), 1.0));
        assert!(code.lens[..24].is_sorted_by(|a, b| a >= b), "{:?}", code.lens);
    }
    // A body of such counts; all of them literals.
    let mut body = Vec::new();
    let (mut a, mut b) = (1u32, 1u32);
    for byte in 0..22u8 {
        body.extend(std::iter::repeat_n(byte, a as usize));
        (a, b) = (b, a + b);
    }
    let mut random = random(4);
    body.truncate(LONGEST);
    for at in (1..body.len()).rev() {
        body.swap(at, random() as usize % (at + 1));
    }
    both(&body);
}

#[test]
fn one_symbol_has_a_code_beside_another() {
    for only in [0, 1, 7] {
        let mut counts = [0; 19];
        counts[only] = 5;
        let code = Code::of(&counts, 7);
        assert_eq!(code.lens.iter().filter(|len| **len == 1).count(), 2);
        assert_eq!(code.lens[only], 1);
    }
}

/// The bits that such a token is, and how many.
fn bits(token: u16) -> (u32, u32) {
    let marked = u32::from(token) - RAW as u32;
    (marked ^ 1 << marked.ilog2(), marked.ilog2())
}

/// The tables of RFC 1951, 3.2.5, by a few of their rows.
#[test]
fn symbols_of_lengths_and_distances() {
    let of_length = |len: usize| {
        let [symbol, extra] = length((len - SHORTEST) as u8);
        (symbol, bits(extra).0, bits(extra).1)
    };
    assert_eq!(
        [3, 10, 11, 12, 34, 257, 258].map(of_length),
        [(257, 0, 0), (264, 0, 0), (265, 0, 1), (265, 1, 1), (272, 3, 2), (284, 30, 5), (285, 0, 0),]
    );
    let of_distance = |dist: u32| {
        let [symbol, lower, upper] = distance((dist - 1) as u16);
        let ((lower, some), (upper, more)) = (bits(lower), bits(upper));
        (symbol as usize - FIRST_DISTANCE, lower | upper << some, some + more)
    };
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 7, 24_577, 32_768].map(of_distance),
        [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 1), (4, 1, 1), (5, 0, 1), (29, 0, 13), (29, 8191, 13),]
    );
    // A distance has one token of bits, and another from 513 on.
    assert_eq!((distance(511)[2], bits(distance(512)[2]).1, bits(NOTHING)), (NOTHING, 1, (0, 0)));
}

/// Around each multiple of the bytes that are compared at once, up to the end of the body and short of it.
#[test]
fn what_two_places_have_in_common() {
    for len in 0..300 {
        for behind in [0, 1, 40] {
            let mut body = [vec![b'a'; len], vec![b'b'], vec![b'a'; len], vec![b'c'; behind]].concat();
            assert_eq!(bytes::common(&body, 0, len + 1), len.min(258), "{len}, {behind}");
            for at in 0..len.min(70) {
                body[at] = b'x';
                assert_eq!(bytes::common(&body, 0, len + 1), at);
                body[at] = b'a';
            }
        }
    }
}

/// Words from a small store, so that there is much to copy, and noise between them.
fn said_again() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::collection::vec(any::<u8>(), 1..300);
    let words = prop::collection::vec(word, 1..12);
    let order = prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(any::<u8>())), 0..400);
    (words, order).prop_map(|(words, order)| {
        let mut body = Vec::new();
        for (which, noise) in order {
            body.extend_from_slice(&words[which.index(words.len())]);
            body.extend(noise);
        }
        body.truncate(LONGEST);
        body
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_body_comes_back(body in prop::collection::vec(any::<u8>(), 0..5000)) {
        both(&body);
    }

    #[test]
    fn a_body_of_few_symbols_comes_back(body in prop::collection::vec(prop::sample::select(b"ab,\"{}01".to_vec()), 0..20_000)) {
        both(&body);
    }

    #[test]
    fn a_body_that_repeats_itself_comes_back(body in said_again()) {
        both(&body);
    }

    #[test]
    fn a_code_is_complete_and_the_more_frequent_is_never_longer(
        counts in prop::array::uniform30(prop_oneof![2 => Just(0u32), 3 => 1u32..10, 1 => 1u32..60_000]),
        longest in prop::sample::select(vec![7usize, 15]),
    ) {
        let code = Code::of(&counts, longest);
        let kraft: u32 = code.lens.iter().filter(|len| **len > 0).map(|len| 1 << (15 - len)).sum();
        prop_assert_eq!(kraft, 1 << 15);
        for (a, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            prop_assert!(code.lens[a] > 0 && usize::from(code.lens[a]) <= longest);
            for (b, _) in counts.iter().enumerate().filter(|(_, other)| *other > count) {
                prop_assert!(code.lens[b] <= code.lens[a]);
            }
        }
    }
}
