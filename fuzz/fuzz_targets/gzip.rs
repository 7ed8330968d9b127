//! A body encoded with gzip, by our own coder at the levels up to 6, is what it was when it is decoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outboard::codec::{decode, encode};
use outboard::policy::compression::Coding;

fuzz_target!(|body: &[u8]| {
    // What a fuzzer finds is short: said again, it is full of copies near and far.
    for body in [body, &body.repeat(3), &[body, &[7; 300], body].concat()] {
        for level in [1, 6] {
            let encoded = encode(Coding::Gzip, level, body).expect("there is memory");
            assert_eq!(decode(Coding::Gzip, &encoded, body.len()).as_deref(), Ok(body));
        }
    }
});
