//! Which answers are encoded, and which are sent as the application gave them.

use crate::common::*;
use crate::shared::*;

const TAKES: (&str, &str) = ("Accept-Encoding", "gzip");

/// What a client that takes gzip gets of an answer with these field lines; the whole of it is compared where it is plain.
#[track_caller]
fn coded(fields: &'static str, request: &[(&str, &str)], more: &str) -> (Option<String>, Option<String>) {
    let body = json(3000);
    let origin = Origin::answer(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()));
    let proxy = proxy(&origin, more);
    let answer = get(&proxy, "/path", &[&[TAKES], request].concat());
    if answer.header("content-encoding").is_none_or(|coding| coding == "gzip") && !fields.contains("Content-Encoding") {
        assert_eq!(plain(&answer), body);
    } else {
        assert_eq!(answer.text(), body);
    }
    is_framed_once(&answer);
    (answer.header("content-encoding").map(str::to_owned), answer.header("vary").map(str::to_owned))
}

#[test]
fn types_that_are_listed_are_encoded() {
    let gzip = Some("gzip".to_owned());
    for fields in [
        "Content-Type: application/json\r\n",
        "Content-Type: Application/JSON;charset=utf-8\r\n",
        "content-type: text/html\r\n",
        "Content-Type: image/svg+xml ; a=b\r\n",
        "Content-Type: application/problem+json\r\n",
    ] {
        assert_eq!(coded(fields, &[], "").0, gzip, "{fields}");
    }
    for fields in ["", "Content-Type: image/png\r\n", "Content-Type: textual/html\r\n", "Content-Type: text\r\n"] {
        assert_eq!(coded(fields, &[], ""), (None, None), "{fields}");
    }
}

#[test]
fn no_transform_of_either_side_is_heeded() {
    let says = "Content-Type: application/json\r\nCache-Control: no-store\r\nCache-Control: private, NO-TRANSFORM\r\n";
    assert_eq!(coded(says, &[], ""), (None, None));
    let plain = "Content-Type: application/json\r\n";
    assert_eq!(coded(plain, &[("Cache-Control", "no-transform")], "").0, None);
    assert!(coded(plain, &[("Cache-Control", "no-cache, max-age=0")], "").0.is_some());
}

#[test]
fn what_has_a_coding_keeps_it() {
    for fields in [
        "Content-Type: application/json\r\nContent-Encoding: deflate\r\n",
        "Content-Type: application/json\r\nContent-Encoding: gzip, br\r\n",
        "Content-Type: application/json\r\nContent-Encoding: aes128gcm\r\n",
        // It says so; nobody looks.
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
    ] {
        let coding = coded(fields, &[], "").0.unwrap();
        assert!(fields.contains(&format!("Content-Encoding: {coding}\r\n")), "{fields} {coding}");
    }
}

#[test]
fn signed_answers_stay_as_they_are() {
    let fields = "Content-Type: application/json\r\nSignature-Input: a=(\"content-digest\")\r\nSignature: a=:aaaa:\r\n";
    assert_eq!(coded(fields, &[], "").0, None);
}

#[test]
fn excluded_paths_stay_as_they_are() {
    let plain = "Content-Type: application/json\r\n";
    let excludes = |paths: &str| format!("defaults: {{ compression: {{ exclude_paths: [{paths}] }} }}");
    assert_eq!(coded(plain, &[], &excludes("/path")), (None, None));
    assert!(coded(plain, &[], &excludes("/pat, /path/x")).0.is_some());
    assert_eq!(coded(plain, &[], &excludes("\"/{*rest}\"")).0, None);
}

#[test]
fn the_guard_spares_answers_with_cookies() {
    let (plain, sets) = ("Content-Type: application/json\r\n", "Content-Type: application/json\r\nSet-Cookie: a=b\r\n");
    let off = "defaults: { compression: { breach_guard: false } }";
    assert_eq!(coded(sets, &[], "").0, None);
    assert_eq!(coded(plain, &[("Cookie", "session=1")], "").0, None);
    assert!(coded(sets, &[], off).0.is_some());
    assert!(coded(plain, &[("Cookie", "session=1")], off).0.is_some());
}

#[test]
fn short_bodies_stay_as_they_are() {
    for (length, encoded) in [(0, false), (1023, false), (1024, true)] {
        let body = "a".repeat(length);
        let origin = answers("", &body);
        let proxy = proxy(&origin, "");
        let answer = get_as(&proxy, "/", "gzip");
        assert_eq!(answer.header("content-encoding").is_some(), encoded, "{length}");
        assert_eq!(answer.header("vary").is_some(), encoded, "{length}");
        assert_eq!(plain(&answer), body);
    }
}

#[test]
fn a_body_that_does_not_become_shorter_stays_as_it_is() {
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(4000)
    .collect();
    let origin = answers("ETag: \"abc\"\r\nAccept-Ranges: bytes\r\n", &noise);
    for more in ["", &cached("")] {
        let proxy = proxy(&origin, more);
        for _ in 0..2 {
            for encoding in ["gzip", "br", "zstd"] {
                let answer = get_as(&proxy, "/", encoding);
                assert_eq!(answer.body, noise);
                assert_eq!((answer.header("content-encoding"), answer.header("etag")), (None, Some("\"abc\"")));
                assert_eq!(answer.header("accept-ranges"), Some("bytes"));
                assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "another answer might be encoded");
            }
        }
    }
}

#[test]
fn answers_without_a_body_have_none() {
    for (head, method) in [
        ("HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n", "GET"),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"abc\"\r\n\r\n", "GET"),
        ("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n", "HEAD"),
        ("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 500\r\n\r\n",
            "HEAD",
        ),
    ] {
        let origin = Origin::answer(head);
        let proxy = proxy(&origin, "");
        let mut client = Client::connect(proxy.addr("inbound"));
        for _ in 0..2 {
            client.request(method, "/", &[TAKES], b"");
            let answer = client.try_read_response(method).unwrap();
            assert!(head.contains(&answer.status.to_string()));
            assert!(answer.header("content-encoding").is_none_or(|coding| coding == "br"), "{head}");
            if let Some(length) = answer.header("content-length") {
                assert!(head.contains(&format!("Content-Length: {length}\r\n")), "{head}");
            }
        }
        let origin_says = |what: &str| head.contains(what);
        let client = http2::Client::connect(proxy.addr("inbound"));
        let mut request = http2::Client::build(method, "/");
        request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
        let answer = client.stream(request, true).unwrap().answer().unwrap();
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("content-encoding").is_some(), origin_says("Content-Encoding"));
    }
}

#[test]
fn parts_are_sent_as_they_are() {
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Type: application/json\r\nETag: \"abc\"\r\n\
                Content-Range: bytes 0-1999/5000\r\nContent-Length: 2000\r\n\r\n";
    let origin = Origin::answer([part.as_bytes(), &[b'1'; 2000]].concat());
    let proxy = proxy(&origin, "");
    let answer = get(&proxy, "/", &[TAKES, ("Range", "bytes=0-1999")]);
    assert_eq!((answer.status, answer.header("content-encoding"), answer.body.len()), (206, None, 2000));
    assert_eq!(answer.header("etag"), Some("\"abc\""));
    assert_eq!(origin.requests()[0].header("range"), Some("bytes=0-1999"));
    // A part of an encoded body cannot be decoded.
    let part = part.replace("ETag", "Content-Encoding: gzip\r\nETag");
    let origin = Origin::answer([part.as_bytes(), &[b'1'; 2000]].concat());
    let proxy = crate::shared::proxy(&origin, "");
    let answer = get(&proxy, "/", &[("Accept-Encoding", "identity"), ("Range", "bytes=0-1999")]);
    assert_eq!((answer.status, answer.header("content-encoding"), answer.body.len()), (206, Some("gzip"), 2000));
}

#[test]
fn errors_and_answers_to_post_are_encoded_too() {
    let body = json(3000);
    let head = format!("Content-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for line in ["201 Created", "402 Payment Required", "500 Internal Server Error"] {
        let origin = Origin::answer(format!("HTTP/1.1 {line}\r\n{head}"));
        let proxy = proxy(&origin, "");
        let answer = ask(&proxy, "POST", "/", &[TAKES], b"{}");
        assert_eq!(format!("{} {}", answer.status, answer.phrase), line);
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(plain(&answer), body);
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn it_can_be_switched_off_while_it_runs() {
    let origin = answers("ETag: \"abc\"\r\n", json(3000));
    let proxy = proxy(&origin, &cached(""));
    assert!(get_as(&proxy, "/", "gzip").header("content-encoding").is_some());
    assert_eq!(proxy.admin_post("/policies/all/compression/off", "").status, 200);
    let answer = get_as(&proxy, "/", "gzip");
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.text(), json(3000));
    // Clients still have what they were sent before.
    let fields = [("Accept-Encoding", "gzip"), ("If-None-Match", "\"abc~gzip\"")];
    let answer = get(&proxy, "/", &fields);
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"abc~gzip\"")));
    ask(&proxy, "PUT", "/", &[("If-Match", "\"abc~gzip\"")], b"{}");
    assert_eq!(origin.requests().last().unwrap().header("if-match"), Some("\"abc\""));
    assert_eq!(proxy.admin_post("/policies/all/compression/on", "").status, 200);
    assert!(get_as(&proxy, "/", "gzip").header("content-encoding").is_some());
}
