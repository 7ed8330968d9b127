//! Once a PROXY header is decided it stays decided, and a header is never longer than what was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outboard::listen::proxy_header::{Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Ok(Parsed::Header { len, source, destination }) = whole {
        assert!(len <= bytes.len() && len <= 536);
        assert_eq!(source.is_some(), destination.is_some());
        assert_eq!(parse(&bytes[..len]), whole);
        assert_eq!(parse(&bytes[..len - 1]), Ok(Parsed::Incomplete));
    }
    for cut in 0..bytes.len().min(600) {
        match parse(&bytes[..cut]) {
            Ok(Parsed::Incomplete) => {}
            decided => assert_eq!(decided, whole),
        }
    }
});
