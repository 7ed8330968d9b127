//! What the head says of a body that was encoded, and what the application is asked by who has such a one.

use crate::common::*;
use crate::shared::*;

const FIELDS: &str = "ETag: \"abc\"\r\nVary: Origin\r\nAccept-Ranges: bytes\r\nContent-MD5: aaaa\r\n\
    Digest: sha-256=aaaa\r\nContent-Digest: sha-256=:aaaa:\r\nRepr-Digest: sha-256=:aaaa:\r\n";

const DIGESTS: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];

#[track_caller]
fn tells_the_truth(proxy: &Proxy, body: &str) {
    for encoding in ["gzip", "br", "zstd"] {
        let answer = get_as(proxy, "/", encoding);
        assert_eq!(answer.header_all("content-encoding"), [encoding]);
        assert_eq!(answer.header_all("etag"), [&*format!("\"abc~{encoding}\"")]);
        assert_eq!(answer.header_all("vary").join(", "), "Origin, Accept-Encoding");
        assert_ne!(answer.header("accept-ranges"), Some("bytes"));
        assert_eq!(answer.header_all("content-type"), ["application/json"]);
        for digest in DIGESTS {
            assert_eq!(answer.header(digest), None, "{digest}");
        }
        assert_eq!(plain(&answer), body);
        is_framed_once(&answer);
    }
    let answer = get_as(proxy, "/", "identity");
    assert_eq!(answer.header_all("etag"), ["\"abc\""]);
    assert_eq!(answer.header_all("vary").join(", "), "Origin, Accept-Encoding");
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    for digest in DIGESTS {
        assert!(answer.header(digest).is_some(), "{digest}");
    }
}

#[test]
fn a_head_is_true_for_the_body_that_is_sent() {
    for length in [3000, 100_000] {
        let body = json(length);
        let origin = answers(FIELDS, &body);
        for more in ["", &cached("")] {
            tells_the_truth(&proxy(&origin, more), &body);
        }
    }
}

#[test]
fn weak_tags_stand_for_all_codings() {
    let origin = answers("ETag: W/\"abc\"\r\n", json(3000));
    for more in ["", &cached("")] {
        let proxy = proxy(&origin, more);
        assert_eq!(get_as(&proxy, "/", "gzip").header("etag"), Some("W/\"abc\""));
    }
}

#[test]
fn every_vary_line_is_kept() {
    for (lines, expected) in [
        ("Vary: Origin\r\nVary: Accept, X-Tenant\r\n", "Origin, Accept, X-Tenant, Accept-Encoding"),
        ("Vary: accept-encoding\r\n", "accept-encoding"),
        ("Vary: *\r\n", "*"),
    ] {
        let origin = answers(lines, json(3000));
        let proxy = proxy(&origin, "");
        assert_eq!(get_as(&proxy, "/", "gzip").header_all("vary").join(", "), expected);
    }
}

/// Answers as an application that judges conditions does, and has this tag.
fn judges(tag: &'static str) -> Origin {
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            let names = |field: &str| head.header_all(field).iter().any(|list| list.contains(tag));
            if head.header("if-match").is_some() && !names("if-match") {
                conn.write("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n");
            } else if names("if-none-match") {
                conn.write(format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\nVary: Origin\r\n\r\n"));
            } else {
                conn.write(answer(&format!("ETag: {tag}\r\n"), json(3000)));
            }
        }
    })
}

/// The tag that a client was sent, and its answer when it asks whether that still holds.
#[track_caller]
fn again(proxy: &Proxy, accepts: &str) -> (String, Response) {
    let first = get_as(proxy, "/", accepts);
    let tag = first.header("etag").unwrap().to_owned();
    let answer = get(proxy, "/", &[("Accept-Encoding", accepts), ("If-None-Match", &tag)]);
    (tag, answer)
}

#[test]
fn who_has_an_encoded_body_is_told_that_it_still_holds() {
    for (more, asked) in [("", Some("\"abc\"")), (&*cached(""), None)] {
        let origin = judges("\"abc\"");
        let proxy = proxy(&origin, more);
        for accepts in ["gzip", "br", "zstd", "identity"] {
            let (tag, answer) = again(&proxy, accepts);
            assert_eq!((answer.status, answer.header("etag")), (304, Some(&*tag)), "{accepts} {more}");
            assert!(answer.header_all("vary").join(", ").contains("Accept-Encoding"), "{accepts} {more}");
            assert_eq!((answer.header("content-encoding"), answer.header("content-length")), (None, None));
            assert_eq!(origin.requests().last().unwrap().header("if-none-match"), asked);
        }
        // It has one coding, and would be sent another now: what it has still holds.
        for (has, accepts) in [("gzip", "br"), ("br", "identity")] {
            let tag = format!("\"abc~{has}\"");
            let answer = get(&proxy, "/", &[("Accept-Encoding", accepts), ("If-None-Match", &tag)]);
            assert_eq!((answer.status, answer.header("etag")), (304, Some(&*tag)), "{has} {accepts} {more}");
        }
        let answer = get(&proxy, "/", &[("Accept-Encoding", "gzip"), ("If-None-Match", "\"abc\"")]);
        assert_eq!((answer.status, answer.header("etag")), (304, Some("\"abc\"")), "{more}");
        let answer = get(&proxy, "/", &[("Accept-Encoding", "gzip"), ("If-None-Match", "\"old~gzip\", W/\"x\"")]);
        assert_eq!((answer.status, answer.header("etag")), (200, Some("\"abc~gzip\"")), "{more}");
        let answer = get(&proxy, "/", &[("If-None-Match", "\"old\""), ("If-None-Match", "\"y\", \"abc~zstd\"")]);
        assert_eq!((answer.status, answer.header("etag")), (304, Some("\"abc~zstd\"")), "{more}");
    }
}

#[test]
fn tags_that_look_like_ours_stay_the_applications() {
    for more in ["", &cached("")] {
        let origin = judges("\"abc~gzip\"");
        let proxy = proxy(&origin, more);
        for (accepts, sent) in [("gzip", "\"abc~gzip~gzip\""), ("identity", "\"abc~gzip~as-is\"")] {
            let (tag, answer) = again(&proxy, accepts);
            assert_eq!(tag, sent, "{more}");
            assert_eq!((answer.status, answer.header("etag")), (304, Some(sent)), "{more}");
        }
        let answer = get(&proxy, "/", &[("Accept-Encoding", "gzip"), ("If-None-Match", "\"abc~gzip\"")]);
        assert_eq!(answer.status, 200, "it has what \"abc\" was, encoded: {more}");
        if more.is_empty() {
            let put = ask(&proxy, "PUT", "/", &[("If-Match", "\"abc~gzip~as-is\"")], b"{}");
            assert_eq!(put.status, 200);
            assert_eq!(origin.requests().last().unwrap().header("if-match"), Some("\"abc~gzip\""));
            assert_eq!(ask(&proxy, "PUT", "/", &[("If-Match", "\"abc~gzip\"")], b"{}").status, 412);
        }
    }
}

#[test]
fn changes_are_made_against_the_tag_that_was_sent() {
    let origin = judges("\"abc\"");
    for more in ["", &cached("")] {
        let proxy = proxy(&origin, more);
        for tag in ["\"abc~gzip\"", "\"abc\"", "\"x\", \"abc~identity\""] {
            for method in ["PUT", "PATCH", "DELETE", "POST", "GET"] {
                let answer = ask(&proxy, method, "/", &[("If-Match", tag), ("X-Other", "\"abc~gzip\"")], b"");
                assert_eq!(answer.status, 200, "{method} {tag} {more}");
                let asked = origin.requests().last().unwrap().clone();
                assert_eq!(asked.header_all("if-match").len(), 1);
                assert!(asked.header("if-match").unwrap().contains("\"abc\""), "{asked:?}");
                assert_eq!(asked.header("x-other"), Some("\"abc~gzip\""));
            }
        }
        assert_eq!(ask(&proxy, "PUT", "/", &[("If-Match", "\"old~gzip\"")], b"{}").status, 412);
        assert_eq!(ask(&proxy, "PUT", "/", &[("If-Match", "*")], b"{}").status, 412);
        assert_eq!(origin.requests().last().unwrap().header("if-match"), Some("*"));
    }
}

#[test]
fn no_part_of_one_coding_is_put_behind_another() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "");
    let asks = |if_range: &str| {
        get(&proxy, "/", &[("Range", "bytes=5-"), ("If-Range", if_range)]);
        let asked = origin.requests().last().unwrap().clone();
        (asked.header("range").map(str::to_owned), asked.header("if-range").map(str::to_owned))
    };
    let own = |tag: &str| (Some("bytes=5-".to_owned()), Some(tag.to_owned()));
    assert_eq!(asks("\"abc\""), own("\"abc\""));
    assert_eq!(asks("\"abc~as-is\""), own("\"abc\""));
    assert_eq!(asks("Sun, 06 Nov 1994 08:49:37 GMT"), own("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(asks("\"abc~gzip\""), (None, None));
    assert_eq!(asks("\"abc~identity\""), (None, None));
}

#[test]
fn an_application_of_http2_is_asked_its_own_tags() {
    let origin = H2Origin::serve(|_, mut respond| async move {
        let answer = http::Response::builder().status(304).header("etag", "\"abc\"").body(()).unwrap();
        let _ = respond.send_response(answer, true);
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], protocol: h2c }} }}\n"
    ));
    let client = http2::Client::connect(proxy.addr("inbound"));
    let mut head = http2::Client::build("GET", "/");
    head.headers_mut().insert("if-none-match", "\"abc~br\"".parse().unwrap());
    let answer = client.stream(head, true).unwrap().answer().unwrap();
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"abc~br\"")));
    assert_eq!(origin.requests()[0].headers["if-none-match"], "\"abc\"");
}

#[test]
fn no_trailer_tells_the_digest_of_other_bytes() {
    let origin = H2Origin::serve(|_, mut respond| async move {
        let answer = http::Response::builder().header("content-type", "application/json").body(()).unwrap();
        let mut send = respond.send_response(answer, false).unwrap();
        let _ = send.send_data(json(3000).into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("content-digest", "sha-256=:aaaa:".parse().unwrap());
        trailers.insert("x-sum", "1".parse().unwrap());
        let _ = send.send_trailers(trailers);
    });
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], protocol: h2c }} }}\n"
    ));
    let client = http2::Client::connect(proxy.addr("inbound"));
    for (accepts, kept) in [("gzip", false), ("identity", true)] {
        let mut head = http2::Client::build("GET", "/");
        head.headers_mut().insert("accept-encoding", accepts.parse().unwrap());
        let answer = client.stream(head, true).unwrap().answer().unwrap();
        let trailers = answer.trailers.unwrap();
        assert_eq!((trailers.contains_key("content-digest"), trailers["x-sum"].to_str().unwrap()), (kept, "1"));
    }
}
