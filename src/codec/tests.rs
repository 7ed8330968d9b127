use proptest::prelude::*;

use super::*;
use crate::policy::compression::{Coding, Levels};

const PLENTY: usize = 64 << 20;

/// Answers as a payment application gives them: `n` objects.
fn payments(n: u64) -> Vec<u8> {
    let mut seed = 7u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        seed >> 20
    };
    let objects: Vec<String> = (0..n)
        .map(|i| {
            let (id, amount, merchant) = (random(), random() % 500_000, random() % 50);
            format!(
                r#"{{"id": "pay_{id:016x}", "object": "payment", "amount": {amount}, "currency": "eur", "status": "captured", "merchant_id": "mer_{merchant:04}", "created": {}, "fingerprint": "{:016x}"}}"#,
                1_763_600_000 + i * 7,
                random()
            )
        })
        .collect();
    format!(r#"{{"object": "list", "data": [{}]}}"#, objects.join(", ")).into_bytes()
}

fn levels(coding: Coding) -> impl Iterator<Item = u32> {
    // The slowest are slow without optimisation, and differ in no more than how hard they look.
    Levels::range(coding).filter(|level| *level <= 9 || *level == 11)
}

/// Decodes a beginning of a body, as far as it goes.
fn decode_so_far(coding: Coding, body: &[u8]) -> Vec<u8> {
    let (mut decoder, mut rest, mut out) = (Decoder::new(coding).unwrap(), body, Vec::new());
    while decoder.write(&mut rest, &mut out).unwrap() {}
    assert!(rest.is_empty());
    out
}

#[test]
fn every_level_gives_back_what_it_was_given() {
    for body in [vec![], b"a".to_vec(), payments(40), payments(700)] {
        for coding in Coding::ALL {
            for level in levels(coding) {
                let encoded = encode(coding, level, &body).unwrap();
                assert_eq!(decode(coding, &encoded, PLENTY).as_deref(), Ok(body.as_slice()), "{coding:?} {level}");
                let (mut encoder, mut out) = (Encoder::new(coding, level).unwrap(), Vec::new());
                encoder.write(&body, &mut out).unwrap();
                encoder.finish(&mut out).unwrap();
                assert_eq!(decode(coding, &out, PLENTY).as_deref(), Ok(body.as_slice()), "streamed {coding:?} {level}");
                if body.len() > 1000 {
                    assert!(encoded.len() * 3 < body.len() && out.len() * 3 < body.len(), "{coding:?} {level}");
                }
            }
        }
    }
}

#[test]
fn a_level_beyond_the_last_is_the_last() {
    let body = payments(3);
    for coding in Coding::ALL {
        for level in [0, 100, u32::MAX] {
            let encoded = encode(coding, level, &body).unwrap();
            assert_eq!(decode(coding, &encoded, PLENTY).as_deref(), Ok(body.as_slice()));
            drop(Encoder::new(coding, level).unwrap());
        }
    }
}

#[test]
fn it_is_put_onto_the_end_of_what_is_there() {
    for coding in Coding::ALL {
        let mut out = b"head".to_vec();
        encode_into(coding, 3, &payments(30), &mut out).unwrap();
        assert_eq!(out[..4], *b"head");
        assert_eq!(out[4..], encode(coding, 3, &payments(30)).unwrap());
    }
}

#[test]
fn a_state_that_was_used_before_leaves_nothing_behind() {
    let (a, b) = (payments(60), payments(5));
    for coding in Coding::ALL {
        let fresh = std::thread::spawn({
            let b = b.clone();
            move || encode(coding, 3, &b).unwrap()
        });
        encode(coding, 3, &a).unwrap();
        assert_eq!(encode(coding, 3, &b).unwrap(), fresh.join().unwrap(), "{coding:?}");
        // One that was dropped in the middle of a body.
        let mut encoder = Encoder::new(coding, 3).unwrap();
        encoder.write(&a, &mut Vec::new()).unwrap();
        drop(encoder);
        let (mut encoder, mut out) = (Encoder::new(coding, 3).unwrap(), Vec::new());
        encoder.write(&b, &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        assert_eq!(decode(coding, &out, PLENTY).unwrap(), b, "{coding:?}");
        // And whole bodies after streams, which set more.
        assert_eq!(decode(coding, &encode(coding, 3, &a).unwrap(), PLENTY).unwrap(), a);
    }
}

#[test]
fn each_event_can_be_decoded_when_it_was_flushed() {
    for coding in Coding::ALL {
        let mut encoder = Encoder::new(coding, 4).unwrap();
        let (mut sent, mut wire) = (Vec::new(), Vec::new());
        for event in 0..50 {
            let event = format!("data: {{\"payment\": {event}, \"status\": \"captured\"}}\n\n");
            encoder.write(event.as_bytes(), &mut wire).unwrap();
            encoder.flush(&mut wire).unwrap();
            sent.extend_from_slice(event.as_bytes());
            assert_eq!(decode_so_far(coding, &wire), sent, "{coding:?}");
        }
        encoder.finish(&mut wire).unwrap();
        assert_eq!(decode(coding, &wire, PLENTY).unwrap(), sent);
        assert!(wire.len() < sent.len(), "{coding:?}: {} of {}", wire.len(), sent.len());
    }
}

#[test]
fn flushing_twice_and_before_anything_is_harmless() {
    for coding in Coding::ALL {
        let (mut encoder, mut wire) = (Encoder::new(coding, 4).unwrap(), Vec::new());
        for _ in 0..2 {
            encoder.flush(&mut wire).unwrap();
            encoder.flush(&mut wire).unwrap();
            encoder.write(b"abc", &mut wire).unwrap();
            encoder.write(b"", &mut wire).unwrap();
        }
        encoder.finish(&mut wire).unwrap();
        assert_eq!(decode(coding, &wire, 6).unwrap(), b"abcabc", "{coding:?}");
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 1 << 20];
    for coding in Coding::ALL {
        let (mut encoder, mut bomb) = (Encoder::new(coding, 3).unwrap(), Vec::new());
        for _ in 0..32 {
            encoder.write(&zeros, &mut bomb).unwrap();
        }
        encoder.finish(&mut bomb).unwrap();
        assert!(bomb.len() < 64 << 10, "{coding:?}: {}", bomb.len());
        assert_eq!(decode(coding, &bomb, 100_000), Err(DecodeError::TooLong(100_000)), "{coding:?}");
        assert_eq!(decode(coding, &bomb, 32 << 20).unwrap().len(), 32 << 20, "{coding:?}");
        // Piece by piece as well, it never gives out much at once.
        let (mut decoder, mut rest, mut total) = (Decoder::new(coding).unwrap(), &bomb[..], 0);
        loop {
            let mut out = Vec::new();
            let more = decoder.write(&mut rest, &mut out).unwrap();
            assert!(out.len() <= 64 << 10);
            total += out.len();
            if !more {
                break;
            }
        }
        assert_eq!(total, 32 << 20, "{coding:?}");
        decoder.finish().unwrap();
    }
    let body = payments(9);
    let encoded = encode(Coding::Gzip, 6, &body).unwrap();
    assert_eq!(decode(Coding::Gzip, &encoded, body.len()).unwrap(), body, "the limit itself is allowed");
    assert_eq!(decode(Coding::Gzip, &encoded, body.len() - 1), Err(DecodeError::TooLong(body.len() - 1)));
}

#[test]
fn what_is_cut_off_and_what_stands_behind_are_errors() {
    let body = payments(20);
    for coding in Coding::ALL {
        let encoded = encode(coding, 4, &body).unwrap();
        for len in 0..encoded.len() {
            assert_eq!(decode(coding, &encoded[..len], PLENTY), Err(DecodeError::Truncated), "{coding:?} {len}");
        }
        for garbage in [&b"\0"[..], b"garbage", &encoded[5..]] {
            let found = decode(coding, &[&encoded, garbage].concat(), PLENTY);
            assert!(found.is_err(), "{coding:?} {garbage:?}: {:?}", found.map(|b| b.len()));
        }
    }
}

#[test]
fn members_of_gzip_and_frames_of_zstd_may_follow_each_other() {
    let (a, b) = (payments(4), payments(2));
    for coding in [Coding::Gzip, Coding::Zstd] {
        let parts = [&a, &vec![], &b].map(|part| encode(coding, 3, part).unwrap());
        assert_eq!(decode(coding, &parts.concat(), PLENTY).unwrap(), [a.as_slice(), &b].concat(), "{coding:?}");
    }
    // Of brotli there is one stream, and something behind it.
    let parts = [&a, &b].map(|part| encode(Coding::Br, 3, part).unwrap());
    assert_eq!(decode(Coding::Br, &parts.concat(), PLENTY), Err(DecodeError::Corrupt));
}

#[test]
fn a_window_larger_than_the_coding_allows_is_refused() {
    // A frame of zstd that asks for a window of 16 MiB: magic, descriptor, window, one raw block that is the last.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decode(Coding::Zstd, &frame, PLENTY), Err(DecodeError::Corrupt));
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decode(Coding::Zstd, &frame, PLENTY), Ok(vec![]));
}

#[test]
fn coders_can_be_moved_to_other_threads() {
    fn movable<T: Send + 'static>() {}
    movable::<Encoder>();
    movable::<Decoder>();
}

fn coding() -> impl Strategy<Value = Coding> {
    prop::sample::select(Coding::ALL.to_vec())
}

/// Pieces of a body, some of them random, some alike; after some of them a flush.
fn pieces() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0usize..40_000).prop_map(|(b, n)| vec![b; n]),
        (0u64..60).prop_map(payments),
    ];
    prop::collection::vec((piece, any::<bool>()), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_pieces_come_back_whole(coding in coding(), level in 0u32..10, pieces in pieces(), cuts in prop::collection::vec(1usize..2000, 1..8)) {
        let (mut encoder, mut wire, mut sent) = (Encoder::new(coding, level).unwrap(), Vec::new(), Vec::new());
        for (piece, flush) in &pieces {
            encoder.write(piece, &mut wire).unwrap();
            sent.extend_from_slice(piece);
            if *flush {
                encoder.flush(&mut wire).unwrap();
                prop_assert!(decode_so_far(coding, &wire) == sent, "{:?} after a flush", coding);
            }
        }
        encoder.finish(&mut wire).unwrap();
        prop_assert!(decode(coding, &wire, PLENTY).as_deref() == Ok(&sent), "{:?}", coding);
        prop_assert!(decode(coding, &encode(coding, level, &sent).unwrap(), PLENTY).as_deref() == Ok(&sent), "{:?}", coding);
        // Decoded in other pieces than those it was encoded in.
        let (mut decoder, mut out, mut rest) = (Decoder::new(coding).unwrap(), Vec::new(), wire.as_slice());
        for cut in cuts.iter().cycle() {
            let (mut chunk, behind) = rest.split_at((*cut).min(rest.len()));
            while decoder.write(&mut chunk, &mut out).unwrap() {}
            prop_assert!(chunk.is_empty());
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        decoder.finish().unwrap();
        prop_assert!(out == sent);
    }

    #[test]
    fn damage_is_an_error_or_another_body_but_never_a_panic(coding in coding(), n in 0u64..30, flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4), keep in any::<prop::sample::Index>()) {
        let body = payments(n);
        let mut encoded = encode(coding, 3, &body).unwrap();
        for (at, flip) in flips {
            let at = at.index(encoded.len());
            encoded[at] ^= flip;
        }
        let found = decode(coding, &encoded, 1 << 20);
        // gzip has a checksum of 32 bits; only bytes that say nothing of the body may differ.
        if coding == Coding::Gzip && let Ok(found) = found {
            prop_assert!(found == body);
        }
        let _ = decode(coding, &encoded[..keep.index(encoded.len() + 1)], 1 << 20);
    }

    #[test]
    fn any_bytes_are_an_error_or_a_body_but_never_a_panic(coding in coding(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(coding, &bytes, 1 << 20);
        let magic: &[u8] = match coding {
            Coding::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            Coding::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Coding::Br => &[],
        };
        let _ = decode(coding, &[magic, &bytes].concat(), 1 << 20);
    }
}
