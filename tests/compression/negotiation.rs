//! What a client takes, and what it gets.

use crate::common::*;
use crate::shared::*;

/// Fields, and the coding of the answer.
type Case = (&'static [&'static str], Option<&'static str>);

const CASES: &[Case] = &[
    (&[], None),
    (&[""], None),
    (&["gzip"], Some("gzip")),
    (&["br"], Some("br")),
    (&["zstd"], Some("zstd")),
    (&["x-gzip"], Some("gzip")),
    (&["GZip"], Some("gzip")),
    (&["deflate"], None),
    (&["compress, deflate"], None),
    // Among equals the server's preference decides.
    (&["gzip, br, zstd"], Some("zstd")),
    (&["gzip, deflate, br"], Some("br")),
    (&["gzip, br;q=0.9"], Some("gzip")),
    (&["gzip;q=0.5, br;q=0.8, zstd;q=0.1"], Some("br")),
    (&["gzip;q=0.500,br;q=0.499"], Some("gzip")),
    (&["gzip; q=0.5 , br ;q=0.4"], Some("gzip")),
    // What has no weight is not wanted.
    (&["gzip;q=0"], None),
    (&["gzip;q=0.000, br"], Some("br")),
    (&["*"], Some("zstd")),
    (&["*;q=0"], None),
    (&["zstd;q=0, *"], Some("br")),
    (&["zstd;q=0, br;q=0, *;q=0.1"], Some("gzip")),
    (&["gzip, *;q=0"], Some("gzip")),
    (&["identity"], None),
    (&["identity, gzip;q=0.5"], None),
    (&["identity;q=0.5, gzip"], Some("gzip")),
    (&["identity;q=0, gzip;q=0.1"], Some("gzip")),
    (&["identity;q=0"], None),
    (&["identity;q=0, *;q=0.5"], Some("zstd")),
    // Several lines are one.
    (&["gzip;q=0.5", "br"], Some("br")),
    (&["deflate", "gzip"], Some("gzip")),
    // Nonsense is passed over.
    (&["gzip;q=2, br;q=0.1"], Some("br")),
    (&["gzip;level=9"], None),
    (&[", ,gzip,"], Some("gzip")),
];

#[test]
fn a_client_gets_what_it_likes_best_of_what_there_is() {
    let body = json(3000);
    let origin = answers("", &body);
    let proxy = proxy(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    for (lines, expected) in CASES {
        let fields: Vec<_> = lines.iter().map(|line| ("Accept-Encoding", *line)).collect();
        client.request("GET", "/", &fields, b"");
        let answer = client.read_response();
        assert_eq!(answer.header("content-encoding"), *expected, "{lines:?}");
        assert_eq!(plain(&answer), body, "{lines:?}");
        assert_eq!(answer.header_all("vary"), ["Accept-Encoding"], "{lines:?}");
        is_framed_once(&answer);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn so_it_is_from_the_cache() {
    let body = json(3000);
    let origin = answers("", &body);
    let proxy = proxy(&origin, &cached(""));
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..2 {
        for (lines, expected) in CASES {
            let fields: Vec<_> = lines.iter().map(|line| ("Accept-Encoding", *line)).collect();
            client.request("GET", "/", &fields, b"");
            let answer = client.read_response();
            assert_eq!(answer.header("content-encoding"), *expected, "{lines:?}");
            assert_eq!(plain(&answer), body, "{lines:?}");
            assert_eq!(answer.header_all("vary"), ["Accept-Encoding"], "{lines:?}");
            is_framed_once(&answer);
        }
    }
    assert_eq!(origin.count(), 1, "one answer for all of them");
    assert_eq!(origin.requests()[0].header("accept-encoding"), None, "the stored one is not encoded");
    for encoding in ["gzip", "br", "zstd"] {
        assert_eq!(encodings(&proxy, encoding), 1.0, "{encoding}");
    }
}

#[test]
fn the_preference_is_the_configured_one() {
    let origin = answers("", json(3000));
    let proxy = proxy(&origin, "defaults: { compression: { encodings: [gzip, br] } }");
    for (accepts, expected) in [
        ("zstd, br, gzip", Some("gzip")),
        ("br, gzip;q=0.9", Some("br")),
        ("zstd", None),
        ("zstd;q=1, br;q=0.1", Some("br")),
        ("*", Some("gzip")),
    ] {
        assert_eq!(get_as(&proxy, "/", accepts).header("content-encoding"), expected, "{accepts}");
    }
}

#[test]
fn compression_that_is_off_leaves_everything_alone() {
    let body = json(3000);
    let origin = answers("ETag: \"abc~gzip\"\r\n", &body);
    let proxy = proxy(&origin, "defaults: { compression: off }");
    let answer = get(&proxy, "/", &[("Accept-Encoding", "gzip"), ("If-None-Match", "\"abc~gzip\"")]);
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None));
    assert_eq!(answer.header("etag"), Some("\"abc~gzip\""));
    assert_eq!(answer.text(), body);
    let asked = &origin.requests()[0];
    assert_eq!(asked.header("if-none-match"), Some("\"abc~gzip\""));
    assert_eq!(asked.header("accept-encoding"), Some("gzip"));
}

#[test]
fn every_protocol_gets_it() {
    let body = json(3000);
    let origin = answers("ETag: \"abc\"\r\n", &body);
    let proxy = proxy(&origin, "");
    let client = http2::Client::connect(proxy.addr("inbound"));
    for (accepts, length) in [("gzip", true), ("br", true), ("zstd", true)] {
        let mut head = http2::Client::build("GET", "/");
        head.headers_mut().insert("accept-encoding", accepts.parse().unwrap());
        let answer = client.stream(head, true).unwrap().answer().unwrap();
        assert_eq!(answer.header("content-encoding"), Some(accepts));
        assert_eq!(answer.header("etag"), Some(&*format!("\"abc~{accepts}\"")));
        assert_eq!(decoded(accepts, &answer.body), body);
        assert_eq!(answer.header("content-length").is_some(), length);
    }
    let mut old = Client::connect(proxy.addr("inbound"));
    for _ in 0..2 {
        old.send("GET / HTTP/1.0\r\nAccept-Encoding: br\r\nConnection: keep-alive\r\n\r\n");
        let answer = old.read_response();
        assert_eq!(answer.header("content-encoding"), Some("br"));
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        is_framed_once(&answer);
        assert_eq!(plain(&answer), body);
    }
}

#[test]
fn what_was_encoded_is_counted() {
    let body = json(5000);
    let origin = answers("", &body);
    let proxy = proxy(&origin, "");
    for encoding in ["gzip", "br", "zstd"] {
        let (first, second) = (get_as(&proxy, "/", encoding), get_as(&proxy, "/", encoding));
        assert_eq!(bytes(&proxy, encoding, "in"), 2.0 * body.len() as f64);
        assert_eq!(bytes(&proxy, encoding, "out"), (first.body.len() + second.body.len()) as f64);
        assert_eq!(encodings(&proxy, encoding), 2.0);
    }
    get_as(&proxy, "/", "identity");
    assert_eq!(encodings(&proxy, "gzip"), 2.0);
}
