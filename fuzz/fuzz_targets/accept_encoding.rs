//! What is chosen is taken; a member more that takes everything refuses nothing; entity tags come back as they were.
#![no_main]

use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use outboard::policy::compression::etag::{self, Served};
use outboard::policy::compression::{Accepts, Coding};

fuzz_target!(|lines: Vec<&[u8]>| {
    let mut headers = HeaderMap::new();
    for line in &lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(ACCEPT_ENCODING, value);
        }
    }
    let accepts = Accepts::of(&headers);
    if let Some(coding) = accepts.choose(&Coding::ALL) {
        assert!(accepts.takes(coding));
    }
    // The same lines as one. Without any there is no field, which says something else.
    if headers.contains_key(ACCEPT_ENCODING) {
        let values: Vec<&[u8]> = headers.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes).collect();
        let joined = HeaderValue::from_bytes(&values.join(&b","[..])).expect("of values");
        assert_eq!(Accepts::of(&HeaderMap::from_iter([(ACCEPT_ENCODING, joined)])), accepts);
        // What is not named may be had by then, what is named stays as it is.
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("*"));
        let more = Accepts::of(&headers);
        assert!(Coding::ALL.into_iter().all(|coding| more.takes(coding) || !accepts.takes(coding)));
    }
    for line in lines {
        for coding in Coding::ALL {
            let sent = etag::sent(line, Served::Encoded(coding));
            if line.starts_with(b"\"") && sent != line {
                assert_eq!(&*etag::received(&sent), line);
            }
        }
        let as_is = etag::sent(line, Served::AsItIs);
        if line.starts_with(b"\"") && as_is != line {
            assert_eq!(&*etag::received(&as_is), line);
        }
        etag::received(line);
        etag::if_range(line);
    }
});
