//! What is stored: encoded once for all who take it so, and served to those who do not.

use std::sync::{Arc, Barrier};

use crate::common::*;
use crate::shared::*;

const ALL: [&str; 3] = ["gzip", "br", "zstd"];

fn result(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric(&format!("outboard_cache_requests_total{{result=\"{result}\",route=\"all\"}}"))
}

#[test]
fn one_stored_answer_is_for_all_codings() {
    let body = json(5000);
    for order in [["identity", "gzip", "br", "zstd"], ["zstd", "br", "identity", "gzip"]] {
        let origin = answers("ETag: \"abc\"\r\n", &body);
        let proxy = proxy(&origin, &cached(""));
        for accepts in order {
            for n in 0..5 {
                let answer = match (accepts, n % 2) {
                    ("identity", 0) => get(&proxy, "/", &[]),
                    _ => get_as(&proxy, "/", accepts),
                };
                let coding = (accepts != "identity").then_some(accepts);
                assert_eq!(answer.header("content-encoding"), coding);
                assert_eq!(plain(&answer), body);
                is_framed_once(&answer);
                if let Some(encoding) = coding {
                    assert_eq!(encodings(&proxy, encoding), 1.0, "{encoding} after {n} more");
                }
            }
        }
        assert_eq!(origin.count(), 1);
        assert_eq!(result(&proxy, "hit"), 19.0);
        for encoding in ALL {
            assert_eq!(bytes(&proxy, encoding, "in"), body.len() as f64);
        }
    }
}

#[test]
fn a_long_body_is_encoded_once_as_well() {
    let body = json(400_000);
    let origin = answers("ETag: \"abc\"\r\n", &body);
    let proxy = proxy(&origin, &cached(""));
    get(&proxy, "/", &[]);
    for encoding in ALL {
        for _ in 0..4 {
            let answer = get_as(&proxy, "/", encoding);
            assert_eq!(answer.header("content-encoding"), Some(encoding));
            assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
            assert!(plain(&answer) == body);
            assert_eq!(encodings(&proxy, encoding), 1.0);
        }
        let two = http2::Client::connect(proxy.addr("inbound"));
        let mut head = http2::Client::build("GET", "/");
        head.headers_mut().insert("accept-encoding", encoding.parse().unwrap());
        let answer = two.stream(head, true).unwrap().answer().unwrap();
        assert!(decoded(encoding, &answer.body) == body);
        let mut old = Client::connect(proxy.addr("inbound"));
        old.send(format!("GET / HTTP/1.0\r\nHost: test.example\r\nAccept-Encoding: {encoding}\r\n\r\n"));
        assert!(plain(&old.read_response()) == body);
        assert_eq!(encodings(&proxy, encoding), 1.0);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_one_who_began_the_fetch_of_a_long_body_gets_it_encoded_while_it_comes() {
    let body = json(400_000);
    let origin = answers("", &body);
    for encoding in ALL {
        let proxy = proxy(&origin, &cached(""));
        let answer = get_as(&proxy, "/", encoding);
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        assert!(plain(&answer) == body);
        assert!(get(&proxy, "/", &[]).text() == body, "what is stored is not encoded");
        assert_eq!(result(&proxy, "hit"), 1.0);
    }
}

#[test]
fn many_at_once_do_not_encode_it_many_times() {
    const CLIENTS: usize = 24;
    for length in [30_000, 900_000] {
        let body = Arc::new(json(length));
        let origin = answers("", &*body);
        let proxy = Arc::new(proxy(&origin, &cached("")));
        get(&proxy, "/", &[]);
        let barrier = Arc::new(Barrier::new(CLIENTS));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let (proxy, barrier, body) = (proxy.clone(), barrier.clone(), body.clone());
                std::thread::spawn(move || {
                    let mut client = Client::connect(proxy.addr("inbound"));
                    barrier.wait();
                    client.request("GET", "/", &[("Accept-Encoding", if n % 2 == 0 { "br" } else { "gzip" })], b"");
                    assert!(plain(&client.read_response()) == *body);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!((encodings(&proxy, "br"), encodings(&proxy, "gzip")), (1.0, 1.0), "{length}");
        get_as(&proxy, "/", "br");
        get_as(&proxy, "/", "gzip");
        assert_eq!((encodings(&proxy, "br"), encodings(&proxy, "gzip")), (1.0, 1.0), "both were kept: {length}");
    }
}

#[test]
fn what_still_holds_is_not_encoded_again() {
    let body = json(5000);
    let whole = answer("ETag: \"abc\"\r\nCache-Control: no-cache\r\n", &body);
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            match head.header("if-none-match") {
                Some("\"abc\"") => {
                    conn.write("HTTP/1.1 304 Not Modified\r\nETag: \"abc\"\r\nCache-Control: no-cache\r\n\r\n")
                }
                Some(other) => panic!("asked for {other}"),
                None => conn.write(&whole),
            };
        }
    });
    let proxy = proxy(&origin, "routes: [{ name: all, cache: { freshness: standard } }]");
    for _ in 0..4 {
        let answer = get_as(&proxy, "/", "br");
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), (Some("br"), Some("\"abc~br\"")));
        assert_eq!(plain(&answer), body);
    }
    assert_eq!(encodings(&proxy, "br"), 1.0);
    assert_eq!(origin.count(), 4);
    let answer = get(&proxy, "/", &[("Accept-Encoding", "br"), ("If-None-Match", "\"abc~br\"")]);
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"abc~br\"")));
}

#[test]
fn a_fetch_asks_with_the_tag_that_was_stored() {
    // Ours is no client that was sent another one.
    let whole = answer("ETag: \"abc~br\"\r\nCache-Control: no-cache\r\n", json(3000));
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            match head.header("if-none-match") {
                Some("\"abc~br\"") => conn.write("HTTP/1.1 304 Not Modified\r\nETag: \"abc~br\"\r\n\r\n"),
                _ => conn.write(&whole),
            };
        }
    });
    let proxy = proxy(&origin, "routes: [{ name: all, cache: { freshness: standard } }]");
    for (accepts, tag) in [("br", "\"abc~br~br\""), ("identity", "\"abc~br~as-is\""), ("br", "\"abc~br~br\"")] {
        let answer = get_as(&proxy, "/", accepts);
        assert_eq!((answer.status, answer.header("etag")), (200, Some(tag)));
        assert_eq!(plain(&answer), json(3000));
    }
    let asked: Vec<_> = origin.requests().iter().map(|r| r.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(asked, [None, Some("\"abc~br\"".to_owned()), Some("\"abc~br\"".to_owned())]);
}

#[test]
fn what_changed_is_encoded_anew() {
    let proxy = {
        let origin = Origin::serve(|conn| {
            while let Some(head) = conn.read_head() {
                conn.read_body(&head);
                let body = format!("{}{}", head.header("x-n").unwrap_or_default(), json(5000));
                conn.write(answer(&format!("ETag: \"{}\"\r\n", head.header("x-n").unwrap_or_default()), body));
            }
        });
        let proxy = proxy(&origin, &cached(""));
        for n in ["1", "2", "3"] {
            for _ in 0..2 {
                let answer = get(&proxy, "/", &[("Accept-Encoding", "gzip"), ("X-N", n)]);
                assert!(plain(&answer).starts_with(&format!("{n}[")));
                assert_eq!(answer.header("etag"), Some(&*format!("\"{n}~gzip\"")));
            }
            assert_eq!(ask(&proxy, "POST", "/", &[], b"{}").status, 200);
        }
        proxy
    };
    assert_eq!(encodings(&proxy, "gzip"), 3.0);
}

#[test]
fn an_application_that_varies_by_coding_is_asked_once() {
    let body = json(5000);
    // With compression on it is not told what the client takes; with compression off its own answers are kept apart.
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            match head.header("accept-encoding") {
                Some("gzip") => conn.write(answer(
                    "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\nETag: \"z\"\r\n",
                    encoded("gzip", json(5000)),
                )),
                _ => conn.write(answer("Vary: Accept-Encoding\r\nETag: \"p\"\r\n", json(5000))),
            };
        }
    });
    let on = proxy(&origin, &cached(""));
    for (accepts, coding) in [("gzip", Some("gzip")), ("br", Some("br")), ("identity", None)] {
        let answer = get_as(&on, "/", accepts);
        assert_eq!(answer.header("content-encoding"), coding);
        assert_eq!(answer.header_all("vary"), ["Accept-Encoding"]);
        assert_eq!(plain(&answer), body);
    }
    assert_eq!(origin.count(), 1);
    let off = proxy(&origin, &cached(", compression: off"));
    for _ in 0..2 {
        for (accepts, coding, tag) in
            [("gzip", Some("gzip"), "\"z\""), ("br", None, "\"p\""), ("identity", None, "\"p\"")]
        {
            let answer = get_as(&off, "/", accepts);
            assert_eq!((answer.header("content-encoding"), answer.header("etag")), (coding, Some(tag)));
            assert_eq!(plain(&answer), body);
        }
    }
    assert_eq!(origin.count(), 4, "one for each of the three");
}

#[test]
fn an_encoded_answer_with_vary_is_one_for_all() {
    let body = json(5000);
    let origin = answers("Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\nETag: \"z\"\r\n", encoded("gzip", &body));
    let proxy = proxy(&origin, &cached(""));
    for _ in 0..2 {
        for (accepts, coding, tag) in
            [("gzip", Some("gzip"), "\"z\""), ("br", None, "\"z~identity\""), ("identity", None, "\"z~identity\"")]
        {
            let answer = get_as(&proxy, "/", accepts);
            assert_eq!((answer.header("content-encoding"), answer.header("etag")), (coding, Some(tag)));
            assert_eq!(answer.header_all("vary"), ["Accept-Encoding"]);
            assert_eq!(plain(&answer), body);
        }
    }
    assert_eq!(origin.count(), 1);
    let answer = get(&proxy, "/", &[("Accept-Encoding", "br"), ("If-None-Match", "\"z~identity\"")]);
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"z~identity\"")));
    // A part of what it cannot read is of no use to it.
    let answer = get(&proxy, "/", &[("Accept-Encoding", "identity"), ("Range", "bytes=0-9")]);
    assert_eq!(answer.header("content-encoding"), None);
    assert!(body.starts_with(&answer.text()));
}

#[test]
fn parts_of_what_is_stored_are_of_its_own_bytes() {
    let body = json(5000);
    let origin = answers("ETag: \"abc\"\r\nAccept-Ranges: bytes\r\n", &body);
    let proxy = proxy(&origin, &cached(""));
    get_as(&proxy, "/", "gzip");
    let part = |fields: &[(&str, &str)]| {
        get(&proxy, "/", &[&[("Accept-Encoding", "gzip"), ("Range", "bytes=10-19")], fields].concat())
    };
    for fields in [&[][..], &[("If-Range", "\"abc\"")]] {
        let answer = part(fields);
        assert_eq!((answer.status, answer.header("content-encoding")), (206, None));
        assert_eq!((answer.header("etag"), answer.text().as_str()), (Some("\"abc\""), &body[10..20]));
    }
    // It has a part of the encoded body.
    let answer = part(&[("If-Range", "\"abc~gzip\"")]);
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"abc~gzip\"")));
    assert_eq!(plain(&answer), body);
    assert_eq!(origin.count(), 1);
}

#[test]
fn head_is_answered_from_what_is_stored() {
    let body = json(5000);
    let origin = answers("ETag: \"abc\"\r\n", &body);
    let proxy = proxy(&origin, &cached(""));
    get_as(&proxy, "/", "gzip");
    let mut client = Client::connect(proxy.addr("inbound"));
    for _ in 0..2 {
        client.request("HEAD", "/", &[("Accept-Encoding", "gzip")], b"");
        let head = client.try_read_response("HEAD").unwrap();
        assert_eq!((head.status, head.header("content-encoding")), (200, None));
        assert_eq!(head.header("content-length"), Some(&*body.len().to_string()));
        assert_eq!(head.header("vary"), Some("Accept-Encoding"));
    }
    assert_eq!((origin.count(), encodings(&proxy, "gzip")), (1, 1.0));
}

#[test]
fn the_guard_and_no_transform_hold_for_what_is_stored() {
    let origin = answers("", json(5000));
    let proxy = proxy(&origin, &cached(""));
    assert!(get_as(&proxy, "/", "gzip").header("content-encoding").is_some());
    for field in [("Cookie", "session=1"), ("Cache-Control", "no-transform")] {
        for _ in 0..2 {
            let answer = get(&proxy, "/", &[("Accept-Encoding", "gzip"), field]);
            assert_eq!(answer.header("content-encoding"), None, "{field:?}");
        }
    }
    assert_eq!(encodings(&proxy, "gzip"), 1.0);
}

#[test]
fn what_is_not_kept_is_encoded_all_the_same() {
    for (fields, body) in [
        ("Set-Cookie: a=b\r\n", json(3000)),
        ("Cache-Control: no-store\r\n", json(3000)),
        ("Cache-Control: private\r\n", json(100_000)),
        // A card number.
        ("", json(3000).replacen("succeeded", "4111111111111111", 1)),
        ("", json(100_000).replacen("succeeded", "4111111111111111", 1)),
        // Too large.
        ("", json(1_200_000)),
    ] {
        let origin = answers(fields, &body);
        let proxy = proxy(&origin, &cached(", compression: { breach_guard: false }"));
        for n in 1..4 {
            let answer = get_as(&proxy, "/", "gzip");
            assert_eq!(answer.header("content-encoding"), Some("gzip"), "{fields}");
            assert!(plain(&answer) == body, "{fields}");
            is_framed_once(&answer);
            assert_eq!(origin.count(), n, "{fields}");
        }
        assert_eq!(proxy.metric("outboard_cache_objects"), 0.0);
    }
}

#[test]
fn headers_of_the_route_are_put_on_encoded_answers() {
    let body = json(5000);
    let origin = answers("Server: x\r\nX-Powered-By: y\r\n", &body);
    let headers = "headers: { response: { set: { x-a: b }, add: { x-c: d }, remove: [server, x-powered-by] } }";
    for more in [format!("routes: [{{ name: all, {headers} }}]"), cached(&format!(", {headers}"))] {
        let proxy = proxy(&origin, &more);
        for _ in 0..2 {
            let answer = get_as(&proxy, "/", "gzip");
            assert_eq!(
                (answer.header("x-a"), answer.header("x-c"), answer.header("server")),
                (Some("b"), Some("d"), None)
            );
            assert_eq!(answer.header_all("content-encoding"), ["gzip"]);
            is_framed_once(&answer);
            assert_eq!(plain(&answer), body);
        }
    }
}
