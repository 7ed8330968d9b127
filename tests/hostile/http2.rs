//! Malformed requests of HTTP/2, written frame by frame: the stream is reset or answered, its siblings are fine, and
//! nothing of it reaches an application that speaks HTTP/1.

use super::Pair;
use crate::common::http2;
use crate::common::http2_raw::{Outcome, Raw, pseudo};

type Fields = Vec<(&'static [u8], &'static [u8])>;

/// A GET with these fields behind its pseudo fields.
fn with(fields: &[(&'static [u8], &'static [u8])]) -> Fields {
    pseudo("GET", "/hostile").into_iter().chain(fields.iter().copied()).collect()
}

/// A GET whose pseudo field `name` is replaced.
fn replaced(name: &'static [u8], value: &'static [u8]) -> Fields {
    pseudo("GET", "/hostile").into_iter().map(|(n, v)| if n == name { (n, value) } else { (n, v) }).collect()
}

/// A GET without this pseudo field.
fn without(name: &[u8]) -> Fields {
    pseudo("GET", "/hostile").into_iter().filter(|(n, _)| *n != name).collect()
}

fn heads() -> Vec<Fields> {
    let mut cases = vec![
        with(&[(b"connection", b"close")]),
        with(&[(b"connection", b"keep-alive")]),
        with(&[(b"keep-alive", b"timeout=5")]),
        with(&[(b"proxy-connection", b"close")]),
        with(&[(b"transfer-encoding", b"chunked")]),
        with(&[(b"upgrade", b"websocket")]),
        with(&[(b"te", b"gzip")]),
        with(&[(b":authority", b"other.example")]),
        with(&[(b":path", b"/other")]),
        with(&[(b"host", b"other.example")]),
        with(&[(b"host", b"test.example"), (b"host", b"test.example")]),
        with(&[(b"x", b"y"), (b":method", b"GET")]),
        with(&[(b"content-length", b"+3")]),
        with(&[(b"content-length", b"3"), (b"content-length", b"4")]),
        with(&[(b"content-length", b"18446744073709551616")]),
        replaced(b":method", b"CONNECT"),
        replaced(b":path", b""),
        replaced(b":path", b"hostile"),
        replaced(b":path", b"*"),
        replaced(b":path", b"/a b"),
        replaced(b":path", b"/a HTTP/1.1\r\nX: y"),
        replaced(b":path", b"/a\0b"),
        replaced(b":path", b"/a/../b"),
        replaced(b":path", b"/a%2fb"),
        replaced(b":path", b"http://other.example/"),
        replaced(b":authority", b"test example"),
        replaced(b":authority", b"test.example\r\nX: y"),
        replaced(b":authority", b"user@test.example"),
        replaced(b":authority", b"test.example/x"),
        replaced(b":authority", b""),
        without(b":method"),
        without(b":scheme"),
        without(b":path"),
    ];
    // Neither :authority nor Host: HTTP/1.1 would have to make one up.
    cases.push(without(b":authority"));
    cases
}

/// What cannot even be decoded: the library ends the whole connection, as RFC 9113 5.4.2 allows.
fn undecodable() -> Vec<Fields> {
    vec![
        with(&[(b"x", b"a\r\nY: b")]),
        with(&[(b"x", b"a\rb")]),
        with(&[(b"x", b"a\nb")]),
        with(&[(b"x", b"a\0b")]),
        with(&[(b"x\r\ny", b"a")]),
        with(&[(b"x y", b"a")]),
        with(&[(b"x:", b"a")]),
        with(&[(b"", b"a")]),
        with(&[(b"X-Upper", b"a")]),
        with(&[(b":unknown", b"y")]),
        replaced(b":method", b"GET / HTTP/1.1\r\nX: y"),
        replaced(b":method", b"G T"),
        replaced(b":method", b""),
    ]
}

#[test]
fn undecodable_heads_end_the_connection() {
    let pair = Pair::new("");
    for fields in undecodable() {
        let mut raw = Raw::connect(pair.proxy.addr("inbound"));
        raw.headers(1, &fields, true);
        assert_eq!(raw.outcome(1), Outcome::GoAway(1), "{fields:?}");
        while raw.read().is_ok() {}
    }
    assert_eq!(pair.origin.raw(), b"");
    pair.told(&[("bad_request", undecodable().len())].into());
}

/// The library cuts a fragment off before anyone can see it; the application gets what is left, and nothing odd.
#[test]
fn a_fragment_is_dropped() {
    let pair = Pair::new("");
    let mut raw = Raw::connect(pair.proxy.addr("inbound"));
    raw.headers(1, &replaced(b":path", b"/a#b HTTP/1.1"), true);
    assert_eq!(raw.outcome(1), Outcome::Answered(200));
    assert_eq!(pair.origin.requests()[0].target, "/a");
}

#[test]
fn malformed_heads() {
    let pair = Pair::new("");
    let mut wrong = Vec::new();
    let mut good = 0;
    for fields in heads() {
        let mut raw = Raw::connect(pair.proxy.addr("inbound"));
        raw.headers(1, &fields, true);
        let outcome = raw.outcome(1);
        let refused = match outcome {
            Outcome::Answered(status) => (400..500).contains(&status) || status == 501,
            Outcome::Reset(_) => true,
            Outcome::GoAway(_) | Outcome::Closed => false,
        };
        // A sibling on the same connection.
        raw.headers(3, &pseudo("GET", "/good"), true);
        let sibling = raw.outcome(3);
        if sibling == Outcome::Answered(200) {
            good += 1;
        }
        let seen = pair.origin.count();
        if !refused || sibling != Outcome::Answered(200) || seen != good {
            let shown: Vec<_> =
                fields.iter().map(|(n, v)| [n.escape_ascii().to_string(), v.escape_ascii().to_string()]).collect();
            wrong.push(format!("{outcome:?}, sibling {sibling:?}, the application saw {seen} of {good}: {shown:?}"));
            good = seen;
        }
    }
    let raw = String::from_utf8_lossy(&pair.origin.raw()).into_owned();
    assert!(wrong.is_empty(), "{} of {}:\n{}\n{raw}", wrong.len(), heads().len(), wrong.join("\n"));
    // Those that the proxy sees at all are counted and logged; the library below resets some by itself.
    assert!(pair.refused("bad_request") >= 1.0);
}

/// A body that is not as long as it said. Short ones are read whole first, long ones are handed on while they come.
#[test]
fn a_body_of_another_length() {
    let pair = Pair::new("");
    let cases: [(&'static [u8], usize); 4] = [(b"3", 10), (b"10", 3), (b"100000", 120_000), (b"120000", 100_000)];
    let mut good = 0;
    for (told, sent) in cases {
        let mut raw = Raw::connect(pair.proxy.addr("inbound"));
        let mut head = pseudo("POST", "/length");
        head.push((b"content-length", told));
        raw.headers(1, &head, false);
        raw.body(1, &vec![b'x'; sent]);
        let outcome = raw.outcome(1);
        let refused = matches!(outcome, Outcome::Reset(_)) || matches!(outcome, Outcome::Answered(400..500));
        assert!(refused, "{} told, {sent} sent: {outcome:?}", told.escape_ascii());
        raw.headers(3, &pseudo("GET", "/good"), true);
        assert_eq!(raw.outcome(3), Outcome::Answered(200), "{} told, {sent} sent", told.escape_ascii());
        good += 1;
        // A short body was never sent, a long one breaks off.
        assert_eq!(pair.origin.whole(), good, "{:?}", pair.origin.requests());
    }
}

/// The same from a client library, beside streams that are fine, a hundred times on one connection.
#[test]
fn siblings_of_a_bad_stream_are_fine() {
    let pair = Pair::new("");
    let client = http2::Client::connect(pair.proxy.addr("inbound"));
    for _ in 0..20 {
        let mut beside = client.stream(http2::Client::build("POST", "/beside"), false).unwrap();
        let mut bad = http2::Client::build("POST", "/short");
        bad.headers_mut().insert("content-length", "10".parse().unwrap());
        let mut bad = client.stream(bad, false).unwrap();
        let _ = bad.send("abc", true);
        match bad.answer() {
            Ok(answer) => assert_eq!(answer.status, 400),
            Err(e) => assert!(e.is_reset(), "{e}"),
        }
        beside.send("hello", true).unwrap();
        let answer = beside.answer().unwrap();
        assert_eq!((answer.status, &answer.json()["body"]), (200, &5.into()));
    }
    assert_eq!((pair.origin.count_of("/beside"), pair.origin.count_of("/short")), (20, 0));
}
