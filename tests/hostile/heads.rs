//! Malformed heads of HTTP/1.

use std::collections::BTreeMap;

use super::{Pair, SOON, is_refusal};

const BAD: (u16, &str) = (400, "bad_request");
const TOO_LARGE: (u16, &str) = (431, "header_too_large");
const TOO_LONG: (u16, &str) = (414, "uri_too_long");
const NOT_IMPLEMENTED: (u16, &str) = (501, "not_implemented");
const VERSION: (u16, &str) = (505, "version_not_supported");

/// A name, the bytes, and what they are answered with.
type Case = (String, Vec<u8>, (u16, &'static str));

/// A POST with a good Host and these lines.
fn framed(lines: &str) -> String {
    format!("POST /hostile HTTP/1.1\r\nHost: test.example\r\n{lines}\r\n\r\n")
}

/// A GET with this target.
fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test.example\r\n\r\n")
}

/// A GET with these lines and nothing else.
fn with(lines: &str) -> String {
    format!("GET /hostile HTTP/1.1\r\n{lines}\r\n\r\n")
}

fn framing() -> Vec<Case> {
    let bad = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5a",
        "Content-Length: 05",
        "Content-Length: 5.0",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999",
        "Content-Length : 5",
        "Content_Length: 5",
        "Content-Length: 5\r\nContent_Length: 6",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chu\0nked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:",
        "Transfer-Encoding: ,chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
    ];
    let unknown = ["gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked", "deflate", "chunke"];
    let mut cases: Vec<Case> = bad.iter().map(|l| ((*l).to_owned(), framed(l).into(), BAD)).collect();
    cases.extend(unknown.iter().map(|c| {
        let line = format!("Transfer-Encoding: {c}");
        (line.clone(), framed(&line).into(), NOT_IMPLEMENTED)
    }));
    let old = "POST /hostile HTTP/1.0\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    cases.push(("HTTP/1.0 with Transfer-Encoding".into(), old.into(), BAD));
    cases
}

fn fields() -> Vec<Case> {
    let host = "Host: test.example";
    let bad: Vec<String> = vec![
        "".into(),
        "X: y".into(),
        format!("{host}\r\n{host}"),
        format!("{host}\r\nHost: other.example"),
        format!("{host}\r\nhOST: other.example"),
        "Host:".into(),
        "Host: test example".into(),
        "Host: test.example/x".into(),
        "Host: user@test.example".into(),
        "Host: test.example:99999".into(),
        "Host: test.example:80a".into(),
        "Host: test.example, other.example".into(),
        "Host: [::1".into(),
        "Host: [test]".into(),
        "Host: te%73t.example".into(),
        "Host: test.example\r\n other.example".into(),
        format!("{host}\r\nX: a\r\n b"),
        format!("{host}\r\nX: a\r\n\tb"),
        format!("{host}\r\nX : a"),
        format!("{host}\r\nX\t: a"),
        format!(" X: a\r\n{host}"),
        format!("{host}\r\n: a"),
        format!("{host}\r\nX"),
        format!("{host}\r\nX{{: a"),
        format!("{host}\r\nX(y): a"),
        format!("{host}\r\nX\u{e9}: a"),
        format!("{host}\r\nX\0: a"),
        format!("{host}\r\nX: a\0b"),
        format!("{host}\r\nX: a\x7f"),
        format!("{host}\r\nX: a\x01"),
        format!("{host}\r\nX: a\rb"),
        format!("{host}\r\nX: a\r"),
        format!("{host}\r\nX: a\nY: b"),
        format!("{host}\nX: a"),
        format!("{host}\r\nExpect: 200-maybe"),
    ];
    let mut cases: Vec<Case> = bad.iter().map(|l| (l.clone(), with(l).into(), BAD)).collect();
    let many = |n: usize| (0..n - 1).fold(host.to_owned(), |all, i| format!("{all}\r\nX-{i}: y"));
    cases.push(("101 fields".into(), with(&many(101)).into(), TOO_LARGE));
    let large = format!("{host}\r\nX: {}", "y".repeat(17 << 10));
    cases.push(("a head over max_request_headers".into(), with(&large).into(), TOO_LARGE));
    let endless = format!("GET / HTTP/1.1\r\n{host}\r\nX: {}", "y".repeat(40 << 10));
    cases.push(("the same without an end".into(), endless.into(), TOO_LARGE));
    cases
}

fn lines() -> Vec<Case> {
    let end = "Host: test.example\r\n\r\n";
    let mut cases: Vec<Case> = Vec::new();
    let bad_lines = [
        " / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/\tHTTP/1.1",
        "GET /",
        "GET",
        "GET / HTTP/11.1",
        "GET / HTTP/1.",
        "GET / HTTP/1.1\r",
        "GET / HTTPS/1.1",
        "G(T / HTTP/1.1",
        "G\0T / HTTP/1.1",
        "GET / HTTP/1.1\0",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1",
        "GET * HTTP/1.1",
        "GET hostile HTTP/1.1",
        "GET ftp://test.example/ HTTP/1.1",
        "GET http://other.example/ HTTP/1.1",
        "GET http://test.example:81/ HTTP/1.1",
        "GET http://user@test.example/ HTTP/1.1",
        "GET http:// HTTP/1.1",
    ];
    cases.extend(bad_lines.iter().map(|l| ((*l).to_owned(), format!("{l}\r\n{end}").into(), BAD)));
    let bad_targets = [
        "/a b",
        "/a\0b",
        "/a\x7fb",
        "/\u{e9}",
        "/a\"b",
        "/a<b>",
        "/a#b",
        "/a`b",
        "/../etc/passwd",
        "/a/./b",
        "/a/..",
        "/a%2fb",
        "/a%5Cb",
        "/a%00b",
        "/%2e%2e/b",
        "/a%zz",
        "/a%2",
    ];
    cases.extend(bad_targets.iter().map(|t| ((*t).to_owned(), get(t).into(), BAD)));
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "http/1.1"] {
        cases.push((version.to_owned(), format!("GET / {version}\r\n{end}").into(), VERSION));
    }
    let not_implemented = ["CONNECT test.example:443 HTTP/1.1", "CONNECT / HTTP/1.1"];
    cases.extend(not_implemented.iter().map(|l| ((*l).to_owned(), format!("{l}\r\n{end}").into(), NOT_IMPLEMENTED)));
    cases.push(("8193 bytes of target".into(), get(&format!("/{}", "a".repeat(8192))).into(), TOO_LONG));
    cases.push(("20 KiB without a line's end".into(), format!("GET /{}", "a".repeat(20 << 10)).into(), TOO_LONG));
    let wrong_ends = ["GET / HTTP/1.1\nHost: test.example\n\n", "GET / HTTP/1.1\nHost: test.example\r\n\r\n"];
    cases.extend(wrong_ends.iter().map(|l| ((*l).to_owned(), (*l).into(), BAD)));
    cases.push(("two empty lines first".into(), format!("\r\n\r\n{}", get("/hostile")).into(), BAD));
    cases.push(("TLS to a clear port".into(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), BAD));
    cases.push(("half a preface".into(), b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), VERSION));
    cases
}

/// Each on a connection of its own, as its first request: refused, closed, and the application never heard of it.
fn refused_first(cases: Vec<Case>) {
    let pair = Pair::new("limits: { max_request_headers: 16KiB }");
    let mut happened = BTreeMap::new();
    for (name, bytes, (status, reason)) in &cases {
        let mut client = pair.client();
        client.send(bytes);
        // What could be smuggled behind it is never looked at.
        let _ = client.try_send(get("/smuggled"));
        let response = client.try_read_response("GET").unwrap_or_else(|e| panic!("{name:?}: {e}"));
        is_refusal(name, &response, *status, reason);
        assert_eq!(client.read_to_end(), b"", "{name:?} is answered once");
        *happened.entry(*reason).or_default() += 1;
    }
    assert_eq!(String::from_utf8_lossy(&pair.origin.raw()), "", "the application saw something");
    pair.told(&happened);
}

#[test]
fn framing_that_can_be_read_in_two_ways() {
    refused_first(framing());
}

#[test]
fn malformed_fields() {
    refused_first(fields());
}

#[test]
fn malformed_request_lines() {
    refused_first(lines());
}

/// Behind a good request on the same connection, in the same write: the good one is answered, the other one refused.
#[test]
fn behind_a_good_request() {
    let pair = Pair::new("limits: { max_request_headers: 16KiB }");
    let mut happened = BTreeMap::new();
    let cases: Vec<Case> = framing().into_iter().chain(fields()).chain(lines()).collect();
    for (i, (name, bytes, (status, reason))) in cases.iter().enumerate() {
        let mut client = pair.client();
        client.send([get("/good").as_bytes(), bytes].concat());
        let good = client.try_read_response("GET").unwrap_or_else(|e| panic!("{name:?}: {e}"));
        assert_eq!(good.status, 200, "{name:?}");
        let response = client.try_read_response("GET").unwrap_or_else(|e| panic!("{name:?}: {e}"));
        if name == "two empty lines first" {
            // The first of them ends the request before it.
            assert_eq!((response.status, response.reason()), (*status, *reason));
        }
        is_refusal(name, &response, *status, reason);
        assert!(client.is_closed(SOON), "{name:?} leaves its connection open");
        *happened.entry(*reason).or_default() += 1;
        assert_eq!(pair.origin.count(), i + 1, "{name:?}");
    }
    let raw = String::from_utf8_lossy(&pair.origin.raw()).into_owned();
    assert_eq!(raw.matches("GET /good HTTP/1.1\r\n").count(), cases.len());
    assert_eq!(raw.matches(" HTTP/1").count(), cases.len(), "the application saw good requests alone");
    pair.told(&happened);
}

/// What looks odd and is good passes, and reaches the application in one form.
#[test]
fn the_guard_lets_good_requests_pass() {
    let pair = Pair::new("");
    let good = [
        ("\r\nGET /a HTTP/1.1\r\nHost: test.example\r\n\r\n", "/a"),
        ("GET http://test.example/b?x=%20 HTTP/1.1\r\nHost: test.example\r\n\r\n", "/b?x=%20"),
        ("GET /c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/c"),
        ("GET /d HTTP/1.1\r\nhOsT:test.example\r\nX:\r\nY: \t a b \t\r\n\r\n", "/d"),
        ("POST /e HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n", "/e"),
        ("POST /f HTTP/1.1\r\nHost: a:\r\nContent-Length: 3\r\n\r\nabc", "/f"),
    ];
    let mut client = pair.client();
    for (bytes, target) in good {
        client.send(bytes);
        let response = client.read_response();
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        let seen = pair.origin.requests().pop().unwrap();
        assert_eq!(seen.target, target);
        assert_eq!(seen.header_all("host").len(), 1, "{seen:?}");
    }
    assert_eq!(pair.proxy.metric_sum("outboard_refusals_total"), 0.0);
}
