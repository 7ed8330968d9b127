//! A head that the guard lets pass is read by the parser behind it as it stands, and its body is framed the same however
//! its bytes arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outboard::http1::chunked::ChunkGuard;
use outboard::http1::head::{self, Body, Limits};

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = head::find_end(bytes, 0) else { return };
    // However the bytes arrive, the head ends where it ends.
    for seen in [end / 3, end / 2, end - 1] {
        assert_eq!(head::find_end(&bytes[..seen], 0), None);
        assert_eq!(head::find_end(bytes, seen), Some(end));
    }
    let (request, body) = bytes.split_at(end);
    let Ok(checked) = head::check(request, &Limits::default()) else { return };

    let mut storage = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut storage);
    assert_eq!(parsed.parse(request), Ok(httparse::Status::Complete(end)));
    assert_eq!(parsed.version, Some(u8::from(checked.version_11)));
    assert_eq!(parsed.headers.len(), checked.headers);
    let target = parsed.path.expect("a target");
    target.parse::<http::Uri>().expect("a URI");
    assert_eq!(request[parsed.method.expect("a method").len() + 1..][..target.len()], *target.as_bytes());
    let count = |name: &str| parsed.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name)).count();
    assert!(count("host") == 1 || !checked.version_11);
    assert_eq!(count("content-length"), usize::from(matches!(checked.body, Body::Length(_))));
    assert_eq!(count("transfer-encoding"), usize::from(checked.body == Body::Chunked));
    for header in parsed.headers.iter() {
        http::HeaderValue::from_bytes(header.value).expect("a header's value");
    }

    if checked.body == Body::Chunked {
        let at_once = ChunkGuard::new().feed(body);
        let mut guard = ChunkGuard::new();
        let in_bytes = body.iter().try_fold(0, |n, b| guard.feed(&[*b]).map(|p| n + p.consumed));
        assert_eq!(at_once.map(|p| p.consumed), in_bytes);
    }
});
