//! A client that cannot take what the application sent encoded gets it decoded; and what comes of bodies that are not what
//! they say.

use std::time::Duration;

use crate::common::*;
use crate::shared::*;

const ALL: [&str; 3] = ["gzip", "br", "zstd"];

fn says(encoding: &str, more: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    answer(&format!("Content-Encoding: {encoding}\r\n{more}"), body)
}

#[test]
fn a_client_gets_it_as_it_can_read_it() {
    for encoding in ALL {
        for length in [500, 3000, 300_000] {
            let body = json(length);
            let origin = Origin::answer(says(
                encoding,
                "ETag: \"abc\"\r\nContent-Digest: sha-256=:a:\r\n",
                encoded(encoding, &body),
            ));
            for more in ["", &cached("")] {
                let proxy = proxy(&origin, more);
                for _ in 0..2 {
                    let answer = get_as(&proxy, "/", "identity");
                    assert_eq!(answer.header("content-encoding"), None, "{encoding} {length} {more}");
                    assert_eq!(answer.header("etag"), Some("\"abc~identity\""));
                    assert_eq!(answer.header_all("vary"), ["Accept-Encoding"]);
                    assert_eq!(answer.header("content-digest"), None);
                    is_framed_once(&answer);
                    assert!(answer.text() == body);
                    // Others get it as it came.
                    for accepts in [encoding, "*", "gzip, br, zstd"] {
                        let answer = get_as(&proxy, "/", accepts);
                        assert_eq!(answer.header("content-encoding"), Some(encoding));
                        assert_eq!(answer.header("etag"), Some("\"abc\""));
                        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "others get it decoded: {more}");
                        assert!(plain(&answer) == body);
                    }
                    assert_eq!(get(&proxy, "/", &[]).header("content-encoding"), Some(encoding), "it did not say");
                    // It takes nothing that there is.
                    assert_eq!(get_as(&proxy, "/", "*;q=0").header("content-encoding"), Some(encoding));
                }
                let head = ask(&proxy, "HEAD", "/", &[("Accept-Encoding", "identity")], b"");
                assert_eq!(head.status, 200);
            }
        }
    }
}

#[test]
fn it_is_left_alone_where_it_is_not_ours_to_change() {
    let body = encoded("gzip", json(3000));
    let excluded = "defaults: { compression: { exclude_paths: [/] } }";
    for (fields, request, more) in [
        ("Cache-Control: no-transform, max-age=60\r\n", None, String::new()),
        ("Cache-Control: no-transform, max-age=60\r\n", None, cached("")),
        ("Signature-Input: a=()\r\nSignature: a=:aa:\r\n", None, String::new()),
        ("Signature-Input: a=()\r\nSignature: a=:aa:\r\n", None, cached("")),
        ("", Some(("Cache-Control", "no-transform")), String::new()),
        ("", Some(("Cache-Control", "no-transform")), cached("")),
        ("", None, excluded.to_owned()),
        ("", None, format!("{}\n{excluded}", cached(""))),
        ("", None, "defaults: { compression: off }".to_owned()),
    ] {
        let origin = Origin::answer(says("gzip", fields, &body));
        let proxy = proxy(&origin, &more);
        for _ in 0..2 {
            let fields: Vec<_> = [("Accept-Encoding", "identity")].into_iter().chain(request).collect();
            let answer = get(&proxy, "/", &fields);
            assert_eq!(answer.header("content-encoding"), Some("gzip"), "{fields:?} {more}");
            assert!(answer.body == body);
        }
    }
}

/// That a client sees that this body is not whole, and that its connection is not used for another answer; and that it is
/// the application who is blamed.
#[track_caller]
fn breaks(bytes: &[u8], accepts: &str, more: &str) {
    for method in ["GET", "POST", "PUT"] {
        let origin = Origin::answer(bytes);
        let proxy = proxy(&origin, more);
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request(method, "/", &[("Accept-Encoding", accepts)], b"");
        match client.try_read_response(method) {
            Ok(answer) => assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"), "{method} {more}"),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{method} {more}");
                assert!(client.is_closed(Duration::from_secs(1)), "{method} {more}");
            }
        }
        let line = proxy.access_line("/");
        assert_eq!(line["reason"], "upstream_reset", "{method} {more}: {line}");
        let two = http2::Client::connect(proxy.addr("inbound"));
        let mut head = http2::Client::build(method, "/");
        head.headers_mut().insert("accept-encoding", accepts.parse().unwrap());
        if let Ok(answer) = two.stream(head, true).unwrap().answer() {
            assert_eq!(answer.status, 502, "{method} {more} over HTTP/2");
        }
        proxy.await_metric(
            &format!("outboard_requests_in_flight{{route=\"{}\"}}", if more.is_empty() { "default" } else { "all" }),
            0.0,
        );
    }
}

#[test]
fn a_body_that_is_not_what_it_says_is_broken_off() {
    for encoding in ALL {
        let good = encoded(encoding, json(50_000));
        let mut damaged = good.clone();
        let middle = damaged.len() / 2;
        for byte in &mut damaged[middle..middle + 40] {
            *byte ^= 0x55;
        }
        for bad in [&good[..good.len() - 3], &good[..good.len() / 2], b"this is not encoded", &damaged] {
            for more in ["", &cached("")] {
                // The Rust brotli has no checksum: what is damaged may decode to something.
                if encoding == "br" && bad == &damaged[..] {
                    continue;
                }
                breaks(&says(encoding, "", bad), "identity", more);
            }
        }
    }
}

#[test]
fn nothing_at_all_is_not_encoded_either() {
    for encoding in ALL {
        let origin = Origin::answer(says(encoding, "", b""));
        for more in ["", &cached("")] {
            let proxy = proxy(&origin, more);
            let answer = get_as(&proxy, "/", "identity");
            assert!(answer.status == 502 || answer.status == 200 && answer.body.is_empty(), "{encoding} {more}");
        }
    }
}

/// A body of some `length` zeros, without an end.
fn bomb(encoding: &str, length: usize) -> Vec<u8> {
    const PART: usize = 1 << 20;
    let mut encoder = outboard::codec::Encoder::new(coding(encoding), 3).unwrap();
    let mut part = || {
        let mut out = Vec::new();
        encoder.write(&vec![0; PART], &mut out).unwrap();
        encoder.flush(&mut out).unwrap();
        out
    };
    let mut bytes = part();
    bytes.extend(part());
    // Each behind the second is like the second.
    let like = part();
    (2..length / PART).for_each(|_| bytes.extend_from_slice(&like));
    bytes
}

/// Memory that the proxy held at most, in bytes.
fn peak(proxy: &Proxy) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn a_bomb_takes_no_more_memory_than_any_body() {
    const LENGTH: usize = 512 << 20;
    for encoding in ALL {
        let body = bomb(encoding, LENGTH);
        let origin = Origin::answer(says(encoding, "", &body));
        let proxy = proxy(&origin, "");
        let before = peak(&proxy);
        // One that does not read, and one that does.
        let mut lazy = Client::connect(proxy.addr("inbound"));
        lazy.request("GET", "/", &[("Accept-Encoding", "identity")], b"");
        lazy.read_head().unwrap();
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[("Accept-Encoding", "identity")], b"");
        client.read_head().unwrap();
        let mut read = 0;
        while read < 32 << 20 {
            read += client.read_chunk().unwrap().expect("more of it").len();
        }
        let grown = peak(&proxy) - before;
        assert!(grown < 40 << 20, "{encoding}: {} KiB became {grown} bytes in memory", body.len() >> 10);
    }
}

#[test]
fn a_bomb_in_the_cache_is_not_set_off() {
    for encoding in ALL {
        let origin = Origin::answer(says(encoding, "", bomb(encoding, 512 << 20)));
        let proxy =
            proxy(&origin, "routes: [{ name: all, cache: { freshness: override, ttl: 1m, max_object: 1MiB } }]");
        let before = peak(&proxy);
        for _ in 0..3 {
            let mut client = Client::connect(proxy.addr("inbound"));
            client.request("GET", "/", &[("Accept-Encoding", "identity")], b"");
            let head = client.read_head().unwrap();
            assert!(matches!(head.status, 200 | 502));
        }
        let grown = peak(&proxy) - before;
        assert!(grown < 100 << 20, "{encoding}: {grown} bytes in memory");
    }
}

#[test]
fn what_comes_decoded_comes_at_once() {
    for encoding in ALL {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let origin = Origin::serve(move |conn| {
            if conn.read_head().is_none() {
                return;
            }
            conn.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n\r\n"
            ));
            let mut encoder = outboard::codec::Encoder::new(coding(encoding), 3).unwrap();
            for _ in 0..3 {
                let mut out = Vec::new();
                encoder.write(b"{\"event\":1}\n", &mut out).unwrap();
                encoder.flush(&mut out).unwrap();
                conn.write(format!("{:x}\r\n", out.len()));
                conn.write(&out);
                conn.write("\r\n");
                wait.lock().unwrap().recv().unwrap();
            }
            let mut out = Vec::new();
            encoder.finish(&mut out).unwrap();
            conn.write(format!("{:x}\r\n", out.len()));
            conn.write(&out);
            conn.write("\r\n0\r\n\r\n");
        });
        let proxy = proxy(&origin, "");
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[("Accept-Encoding", "identity")], b"");
        client.read_head().unwrap();
        for _ in 0..3 {
            assert_eq!(client.read_chunk().unwrap().unwrap(), b"{\"event\":1}\n", "{encoding}");
            go.send(()).unwrap();
        }
        assert_eq!(client.read_chunk().unwrap(), None);
    }
}
