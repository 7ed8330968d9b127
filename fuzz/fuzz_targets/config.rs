//! Any text is a configuration or a list of errors, and the same each time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outboard::config::load;

fuzz_target!(|text: &str| {
    let read = || load(text, "fuzz.yaml", &|_| None);
    match (read(), read()) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (Err(a), Err(b)) => {
            assert!(!a.to_string().is_empty());
            assert_eq!(a.to_string(), b.to_string());
        }
        _ => panic!("read once and refused once"),
    }
});
