//! How encoded bodies are sent: short ones at once, long and unknown ones as they come.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::common::*;
use crate::shared::*;

const ALL: [&str; 3] = ["gzip", "br", "zstd"];

#[test]
fn a_short_body_comes_with_its_head_and_its_length() {
    let body = json(40_000);
    // In several parts, so that it has to be gathered.
    let whole = answer("", &body);
    let origin = Origin::serve(move |conn| {
        while conn.read_head().is_some() {
            for part in whole.chunks(7000) {
                conn.write(part);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let proxy = proxy(&origin, "");
    for encoding in ALL {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[("Accept-Encoding", encoding)], b"");
        // All of it is there when the first byte is.
        let mut read = vec![0; 64 << 10];
        let n = client.wire.read(&mut read).unwrap();
        let end = read.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        assert_eq!(head.matches("ontent-").filter(|_| true).count(), 3, "type, length, encoding: {head}");
        assert!(head.to_lowercase().contains(&format!("content-length: {}\r\n", n - end)), "{head}");
        assert_eq!(decoded(encoding, &read[end..n]), body);
    }
}

#[test]
fn bodies_of_every_framing_and_length_arrive_whole() {
    for length in [2000, 65_530, 65_536, 65_540, 300_000] {
        let body = json(length);
        let chunks: String = body.as_bytes().chunks(10_000).fold(String::new(), |mut all, chunk| {
            all.push_str(&format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)));
            all
        });
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        let framings = [
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
            format!("{head}Connection: close\r\n\r\n{body}"),
        ];
        for (n, bytes) in framings.into_iter().enumerate() {
            let origin = Origin::serve(move |conn| {
                while conn.read_head().is_some() {
                    conn.write(&bytes);
                    if n == 2 {
                        return;
                    }
                }
            });
            let proxy = proxy(&origin, "");
            let mut client = Client::connect(proxy.addr("inbound"));
            let two = http2::Client::connect(proxy.addr("inbound"));
            for encoding in ALL {
                client.request("GET", "/", &[("Accept-Encoding", encoding)], b"");
                let answer = client.read_response();
                assert_eq!(answer.header("content-encoding"), Some(encoding));
                is_framed_once(&answer);
                assert_eq!(answer.header("content-length").is_some(), n == 0 && length <= 65_536, "{n} {length}");
                assert!(plain(&answer) == body, "{encoding} {n} {length}");
                let mut head = http2::Client::build("GET", "/");
                head.headers_mut().insert("accept-encoding", encoding.parse().unwrap());
                let answer = two.stream(head, true).unwrap().answer().unwrap();
                assert!(decoded(encoding, &answer.body) == body, "{encoding} {n} {length} over HTTP/2");
                let mut old = Client::connect(proxy.addr("inbound"));
                old.send(format!("GET / HTTP/1.0\r\nAccept-Encoding: {encoding}\r\n\r\n"));
                let answer = old.read_response();
                assert_eq!(answer.header("transfer-encoding"), None);
                assert!(plain(&answer) == body, "{encoding} {n} {length} over HTTP/1.0");
            }
        }
    }
}

/// Sends what it is told to, chunk by chunk; none is the end.
fn dictated(head: &'static str) -> (Origin, mpsc::Sender<Option<String>>) {
    let (say, says) = mpsc::channel::<Option<String>>();
    let says = Mutex::new(says);
    let origin = Origin::serve(move |conn| {
        if conn.read_head().is_none() {
            return;
        }
        conn.write(format!("HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n"));
        let says = says.lock().unwrap();
        while let Ok(Some(text)) = says.recv() {
            conn.write(format!("{:x}\r\n{text}\r\n", text.len()));
        }
        conn.write("0\r\n\r\n");
    });
    (origin, say)
}

#[test]
fn events_are_not_held_back() {
    for (head, more) in [
        ("Content-Type: text/event-stream\r\n", String::new()),
        ("Content-Type: application/json\r\n", String::new()),
        ("Content-Type: text/plain\r\n", String::new()),
        // By way of a fetch of the cache.
        ("Content-Type: text/event-stream\r\nCache-Control: no-store\r\n", cached("")),
        ("Content-Type: application/json\r\nSet-Cookie: a=b\r\n", cached(", compression: { breach_guard: false }")),
    ] {
        for encoding in ALL {
            let (origin, say) = dictated(head);
            let proxy = proxy(&origin, &more);
            let mut client = Client::connect(proxy.addr("inbound"));
            client.request("GET", "/", &[("Accept-Encoding", encoding)], b"");
            let answer = client.read_head().unwrap();
            assert_eq!(answer.header("content-encoding"), Some(encoding), "{head}");
            let mut reader = Reader::new(encoding);
            for n in 0..5 {
                let event = format!("data: {{\"n\":{n}}}\n\n");
                say.send(Some(event.clone())).unwrap();
                let mut text = String::new();
                while text.len() < event.len() {
                    text.push_str(&reader.read(&client.read_chunk().unwrap().unwrap()));
                }
                assert_eq!(text, event, "{encoding} {head}");
            }
            say.send(None).unwrap();
            while let Some(chunk) = client.read_chunk().unwrap() {
                assert_eq!(reader.read(&chunk), "");
            }
            assert!(reader.ends());
        }
    }
}

#[test]
fn events_are_not_held_back_over_http2() {
    for more in ["", &cached("")] {
        for encoding in ALL {
            let (origin, say) = dictated("Content-Type: text/event-stream\r\nCache-Control: no-store\r\n");
            let proxy = proxy(&origin, more);
            let client = http2::Client::connect(proxy.addr("inbound"));
            let mut head = http2::Client::build("GET", "/");
            head.headers_mut().insert("accept-encoding", encoding.parse().unwrap());
            let mut stream = client.stream(head, true).unwrap();
            assert_eq!(stream.head().unwrap().1["content-encoding"], encoding);
            let mut reader = Reader::new(encoding);
            for n in 0..4 {
                let event = format!("data: {n}\n\n");
                say.send(Some(event.clone())).unwrap();
                let mut text = String::new();
                while text.len() < event.len() {
                    text.push_str(&reader.read(&stream.chunk().unwrap().unwrap()));
                }
                assert_eq!(text, event, "{encoding} {more}");
            }
            say.send(None).unwrap();
            while let Some(chunk) = stream.chunk() {
                assert_eq!(reader.read(&chunk.unwrap()), "");
            }
            assert!(reader.ends());
        }
    }
}

#[test]
fn a_stream_of_known_length_is_not_held_back_either() {
    let (say, says) = mpsc::channel::<()>();
    let says = Mutex::new(says);
    let origin = Origin::serve(move |conn| {
        if conn.read_head().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 4000\r\n\r\n");
            conn.write("a".repeat(2000));
            says.lock().unwrap().recv().unwrap();
            conn.write("b".repeat(2000));
        }
    });
    let proxy = proxy(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[("Accept-Encoding", "gzip")], b"");
    client.read_head().unwrap();
    let (mut reader, mut text) = (Reader::new("gzip"), String::new());
    while text.len() < 2000 {
        text.push_str(&reader.read(&client.read_chunk().unwrap().unwrap()));
    }
    say.send(()).unwrap();
    while let Some(chunk) = client.read_chunk().unwrap() {
        text.push_str(&reader.read(&chunk));
    }
    assert_eq!(text.len(), 4000);
}

/// Breaks off the first `times` answers in the middle of a body of known length; what comes then is up to the caller.
fn breaks_off(times: usize, then: Vec<u8>) -> Origin {
    let tried = AtomicUsize::new(0);
    Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if tried.fetch_add(1, Ordering::SeqCst) < times {
                let whole = answer("X-Try: first\r\n", json(20_000));
                conn.write(&whole[..15_000]);
                return;
            }
            conn.write(&then);
        }
    })
}

#[test]
fn half_a_gathered_answer_is_none() {
    for (more, method) in [("", "GET"), ("", "POST"), (&*cached(""), "GET")] {
        let origin = breaks_off(usize::MAX, Vec::new());
        let proxy = proxy(&origin, more);
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request(method, "/", &[("Accept-Encoding", "gzip")], b"");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"), "{method} {more}");
        assert_eq!((answer.header("content-encoding"), answer.header("x-try")), (None, None));
        assert_eq!(answer.json()["status"], 502);
        // The connection is good for more.
        client.request(method, "/", &[], b"");
        let _ = client.try_read_response(method);
        let two = http2::Client::connect(proxy.addr("inbound"));
        let mut head = http2::Client::build(method, "/");
        head.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
        let answer = two.stream(head, true).unwrap().answer().unwrap();
        assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"), "{method} {more} over HTTP/2");
        if method == "POST" {
            assert_eq!(origin.count(), 3, "never tried again");
        }
    }
}

#[test]
fn an_answer_that_broke_off_while_it_was_gathered_is_tried_again() {
    let body = json(3000);
    let retry = "defaults: { retry: { attempts: 2, backoff: { base: 1ms, max: 2ms } } }";
    let error = "HTTP/1.1 500 Oh\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\nabc";
    let stream =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (then, status, coding, text) in [
        (answer("", &body), 200, Some("gzip"), &*body),
        // The second answer is of another kind than the first.
        (answer("Content-Encoding: identity\r\nCache-Control: no-transform\r\n", &body), 200, Some("identity"), &*body),
        (error.into(), 500, None, "abc"),
        (stream.into(), 200, Some("gzip"), "abc"),
        (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), 204, None, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), 200, None, ""),
    ] {
        let origin = breaks_off(1, then);
        let proxy = proxy(&origin, retry);
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[("Accept-Encoding", "gzip")], b"");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.header("content-encoding")), (status, coding));
        assert_eq!(answer.header("x-try"), None);
        let got = if coding == Some("gzip") { plain(&answer) } else { answer.text() };
        assert_eq!(got, text);
        assert_eq!(origin.count(), 2);
        // Nothing of the first answer comes behind the second.
        client.request("GET", "/", &[("Accept-Encoding", "gzip")], b"");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.header("content-encoding")), (status, coding));
    }
}

#[test]
fn a_charge_whose_answer_broke_off_is_not_made_again() {
    let origin = breaks_off(1, answer("", json(3000)));
    let proxy = proxy(&origin, "defaults: { retry: { attempts: 3 } }");
    let answer = ask(&proxy, "POST", "/", &[("Accept-Encoding", "gzip")], b"{}");
    assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_answer_that_never_ends_is_told_as_late() {
    let origin = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.write(&answer("", json(3000))[..2000]);
            conn.until_closed();
        }
    });
    let proxy = proxy(&origin, "defaults: { timeouts: { first_byte: 500ms, idle: 200ms, total: 2s } }");
    let answer = get_as(&proxy, "/", "gzip");
    assert_eq!((answer.status, answer.reason()), (504, "upstream_timeout"));
}

#[test]
fn a_streamed_answer_that_breaks_off_is_seen_to() {
    for encoding in ALL {
        let origin = Origin::serve(|conn| {
            if conn.read_head().is_some() {
                conn.write(&answer("", json(200_000))[..150_000]);
            }
        });
        let proxy = proxy(&origin, "");
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[("Accept-Encoding", encoding)], b"");
        client.read_head().unwrap();
        while let Ok(chunk) = client.read_chunk() {
            assert!(chunk.is_some(), "{encoding}: a chunk of none is the end of a whole body");
        }
        let mut head = http2::Client::build("GET", "/");
        head.headers_mut().insert("accept-encoding", encoding.parse().unwrap());
        let two = http2::Client::connect(proxy.addr("inbound"));
        assert!(two.stream(head, true).unwrap().answer().is_err());
        assert_eq!(proxy.access_line("/")["reason"], "upstream_reset");
    }
}

/// An application without end, and how much of its answer it could write.
fn endless() -> (Origin, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let origin = Origin::serve(move |conn| {
        if conn.read_head().is_none() {
            return;
        }
        conn.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        // What cannot be made much shorter.
        let mut state = 7u64;
        loop {
            let text: String = (0..2000)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    format!("{state:016x}")
                })
                .collect();
            if !conn.write(format!("{:x}\r\n{text}\r\n", text.len())) {
                return;
            }
            count.fetch_add(text.len(), Ordering::SeqCst);
        }
    });
    (origin, written)
}

#[test]
fn a_slow_reader_slows_the_application_down() {
    let (origin, written) = endless();
    let proxy = proxy(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[("Accept-Encoding", "zstd")], b"");
    client.read_head().unwrap();
    // It stands still once the buffers of both sides are full.
    let mut before = usize::MAX;
    eventually("it stands still", || {
        let now = written.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < 64 << 20, "{before}");
    let (mut reader, mut read) = (Reader::new("zstd"), 0);
    while read < before + (1 << 20) {
        read += reader.read(&client.read_chunk().unwrap().unwrap()).len();
    }
    drop(client);
    proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", 0.0);
}

#[test]
fn a_client_that_leaves_ends_it() {
    let (origin, _) = endless();
    let proxy = proxy(&origin, "");
    for encoding in ALL {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[("Accept-Encoding", encoding)], b"");
        client.read_head().unwrap();
        client.read_chunk().unwrap();
        client.reset();
        eventually("the application is let go", || origin.open() == 0);
    }
    // One that leaves while its answer is gathered.
    let origin = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.write(&answer("", json(3000))[..2000]);
            conn.until_closed();
        }
    });
    let proxy = crate::shared::proxy(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[("Accept-Encoding", "gzip")], b"");
    eventually("it is asked", || origin.count() == 1);
    client.reset();
    eventually("the application is let go", || origin.open() == 0);
    proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", 0.0);
}

#[test]
fn a_narrow_window_gets_every_byte() {
    let body = json(500_000);
    for whole in [false, true] {
        let bytes = match whole {
            true => answer("", &body[..60_000]),
            false => answer("", &body),
        };
        let expected = if whole { &body[..60_000] } else { &body };
        let origin = Origin::answer(bytes);
        let proxy = proxy(&origin, "");
        for encoding in ALL {
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(1000);
            let two = http2::Client::with_settings(proxy.addr("inbound"), &builder);
            let mut head = http2::Client::build("GET", "/");
            head.headers_mut().insert("accept-encoding", encoding.parse().unwrap());
            let mut stream = two.stream(head, true).unwrap();
            stream.head().unwrap();
            let mut all = Vec::new();
            while let Some(chunk) = stream.chunk() {
                all.extend_from_slice(&chunk.unwrap());
            }
            assert!(decoded(encoding, &all) == expected, "{encoding} {whole}");
        }
    }
}

#[test]
fn a_request_that_still_streams_gets_an_encoded_answer() {
    let body = json(3000);
    let origin = answers("", &body);
    let proxy = proxy(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("Accept-Encoding", "br"), ("Transfer-Encoding", "chunked")], b"");
    client.wire.write_all(b"3\r\nabc\r\n").unwrap();
    client.send("0\r\n\r\n");
    assert_eq!(plain(&client.read_response()), body);
}
