//! Bodies of every length and every framing: what is whole is stored, what may not be whole never is.

use std::time::{Duration, Instant};

use super::*;

const MINUTE: &str = "Cache-Control: max-age=60\r\n";

fn letters(length: usize) -> String {
    (0..length).map(|i| char::from(b'a' + (i * 7 % 26) as u8)).collect()
}

fn chunked(parts: &[&str]) -> String {
    let chunks: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
    format!("HTTP/1.1 200 OK\r\n{MINUTE}Transfer-Encoding: chunked\r\n\r\n{chunks}")
}

#[test]
fn every_length_comes_back_as_it_came() {
    let origin = scripted(|head, _| {
        let length = head.target.trim_start_matches('/').parse().unwrap();
        Some(minute(&letters(length)))
    });
    let proxy = start(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    let lengths = [0, 1, 4095, 65_535, 65_536, 65_537, 262_144, 1_048_576];
    for length in lengths {
        assert_eq!(client.get(&format!("/{length}")).text(), letters(length), "{length}");
    }
    await_stores(&proxy, "stored", lengths.len() as f64);
    for length in lengths {
        let again = client.get(&format!("/{length}"));
        assert!(again.text() == letters(length) && status(&again).contains("hit"), "{length}: {}", status(&again));
        assert_eq!(again.header("content-length"), Some(length.to_string().as_str()));
    }
    assert_eq!(origin.count(), lengths.len());
}

#[test]
fn one_byte_above_max_object_is_handed_on_and_not_stored() {
    let origin = scripted(|head, _| {
        let length = 70_000 + usize::from(head.target.ends_with("more"));
        let body = letters(length);
        Some(match head.target.starts_with("/chunked") {
            true => chunked(&[&body]) + "0\r\n\r\n",
            false => minute(&body),
        })
    });
    let proxy = start(&origin, "max_object: 70000B");
    for (target, times) in [("/plain", 1), ("/plain-more", 2), ("/chunked", 1), ("/chunked-more", 2)] {
        for _ in 0..2 {
            let length = 70_000 + usize::from(times == 2);
            assert!(ask(&proxy, target, &[]).text() == letters(length), "{target}");
            proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
        }
        assert_eq!(origin.count_of(target), times, "{target}");
    }
    await_stores(&proxy, "too_large", 2.0);
}

#[test]
fn an_answer_larger_than_its_share_of_the_store_is_handed_on() {
    let origin = scripted(|_, _| Some(minute(&letters(200_000))));
    let text = "stores: { memory: 256KiB }\nroutes: [{ name: all, cache: { max_object: 256KiB } }]";
    let proxy = Proxy::start(&yaml(&origin, text));
    for number in 0..20 {
        assert!(ask(&proxy, &format!("/{number}"), &[]).text() == letters(200_000), "{number}");
    }
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    assert!(proxy.metric("outboard_cache_bytes") <= 262_144.0, "{}", proxy.metric("outboard_cache_bytes"));
}

#[test]
fn chunks_reach_the_client_while_they_are_stored() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            conn.write(chunked(&["first"]));
            held.wait();
            conn.write("6\r\nsecond\r\n0\r\nX-Trailer: 1\r\n\r\n");
            assert_eq!(head.method, "GET");
        }
    });
    let proxy = start(&origin, "");
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    let head = client.read_head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.read_chunk().unwrap().unwrap(), b"first", "before the rest is there");
    gate.open();
    assert_eq!(client.read_chunk().unwrap().unwrap(), b"second");
    assert_eq!(client.read_chunk().unwrap(), None);
    await_stores(&proxy, "stored", 1.0);
    let again = client.get("/");
    assert_eq!((again.text().as_str(), again.header("content-length")), ("firstsecond", Some("11")));
    assert_eq!((again.header("transfer-encoding"), origin.count()), (None, 1));
}

#[test]
fn what_ends_with_its_connection_is_not_stored() {
    let heads = [
        format!("HTTP/1.1 200 OK\r\n{MINUTE}\r\nhello"),
        format!("HTTP/1.1 200 OK\r\n{MINUTE}Connection: close\r\n\r\nhello"),
        format!("HTTP/1.0 200 OK\r\n{MINUTE}\r\nhello"),
        format!("HTTP/1.1 200 OK\r\n{MINUTE}Transfer-Encoding: gzip\r\n\r\nhello"),
        format!("HTTP/1.1 200 OK\r\n{MINUTE}Transfer-Encoding: identity\r\n\r\nhello"),
    ];
    for bytes in heads {
        let origin = {
            let bytes = bytes.clone();
            Origin::serve(move |conn| {
                if conn.read_head().is_some() {
                    conn.write(&bytes);
                }
            })
        };
        let proxy = start(&origin, "");
        for _ in 0..2 {
            let mut client = Client::connect(proxy.addr("inbound"));
            client.request("GET", "/", &[], b"");
            let _ = client.try_read_response("GET");
            proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
        }
        assert_eq!(proxy.metric(&series("stores", "stored")), 0.0, "{bytes}");
        assert_eq!(results(&proxy, "hit"), 0.0, "{bytes}");
    }
}

#[test]
fn a_truncated_answer_is_seen_as_such_and_never_stored() {
    let long = letters(100_000);
    let broken = [
        format!("HTTP/1.1 200 OK\r\n{MINUTE}Content-Length: 100\r\n\r\npart"),
        format!("HTTP/1.1 200 OK\r\n{MINUTE}Content-Length: 100001\r\n\r\n{long}"),
        chunked(&["part"]),
        chunked(&[&long]) + "5\r\nhel",
        chunked(&["part"]) + "0\r\n",
        chunked(&["part"]) + "zz\r\n",
    ];
    for (number, bytes) in broken.into_iter().enumerate() {
        let story = move |_: &Head, count: usize| (count > 0).then(|| minute("whole"));
        let count = AtomicUsize::new(0);
        let origin = Origin::serve(move |conn| {
            while let Some(head) = conn.read_head() {
                let count = count.fetch_add(1, Ordering::SeqCst);
                match story(&head, count) {
                    Some(whole) => conn.write(whole),
                    None => {
                        conn.write(&bytes);
                        return;
                    }
                };
            }
        });
        let proxy = Proxy::start(&yaml(&origin, "routes: [{ name: all, retry: off, cache: {} }]"));
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("GET", "/", &[], b"");
        // Either nothing of it was sent, and it is refused, or it breaks off.
        match client.try_read_response("GET") {
            Ok(answer) => assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"), "{number}"),
            Err(_) => assert!(client.is_closed(Duration::from_secs(5)), "{number}"),
        }
        proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
        assert_eq!(proxy.metric(&series("stores", "stored")), 0.0, "{number}");
        assert_eq!((ask(&proxy, "/", &[]).text().as_str(), origin.count()), ("whole", 2), "{number}");
    }
}

#[test]
fn a_slow_reader_of_a_hit_keeps_nobody_waiting() {
    let whole = letters(1 << 20);
    let origin = scripted(|_, _| Some(minute(&letters(1 << 20))));
    let proxy = start(&origin, "");
    // The one who began the fetch reads nothing of it, and still it is stored.
    let mut first = Client::connect(proxy.addr("inbound"));
    first.request("GET", "/", &[], b"");
    await_stores(&proxy, "stored", 1.0);
    let mut slow: Vec<Client> = (0..8).map(|_| Client::connect(proxy.addr("inbound"))).collect();
    slow.iter_mut().for_each(|client| client.request("GET", "/", &[], b""));
    let begun = Instant::now();
    for _ in 0..10 {
        assert!(ask(&proxy, "/", &[]).text() == whole);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // What is stored may go while it is read.
    purge(&proxy, "{\"all\": true}");
    for client in slow.iter_mut().chain([&mut first]) {
        assert!(client.read_response().text() == whole);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn http_2_on_both_sides() {
    let origin = H2Origin::serve(|request, mut respond| async move {
        let long = request.uri().path() == "/long";
        let head = http::Response::builder().status(200).header("cache-control", "max-age=60").body(()).unwrap();
        let Ok(mut send) = respond.send_response(head, false) else { return };
        let _ = send.send_data(letters(if long { 60_000 } else { 20 }).into(), true);
    });
    let text = format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], protocol: h2c }} }}\n\
         routes: [{{ name: all, cache: {{}} }}]\n"
    );
    let proxy = Proxy::start(&text);
    let client = http2::Client::connect(proxy.addr("inbound"));
    for (path, length) in [("/", 20), ("/long", 60_000)] {
        let first = client.get(path).unwrap();
        assert!(first.status == 200 && first.body == letters(length).as_bytes(), "{path}");
        proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
        let again = client.get(path).unwrap();
        assert!(again.body == letters(length).as_bytes(), "{path}");
        assert!(again.headers["cache-status"].to_str().unwrap().contains("hit"), "{path}: {:?}", again.headers);
        assert_eq!(again.headers["content-length"], length.to_string().as_str());
        // One stored answer for clients of both versions: they ask for the same thing.
        assert!(ask(&proxy, path, &[]).text() == letters(length), "{path}");
    }
    assert_eq!((origin.count(), results(&proxy, "hit")), (2, 4.0));
}

#[test]
fn a_stream_that_the_application_resets_is_not_stored() {
    let number = AtomicUsize::new(0);
    let origin = H2Origin::serve(move |_, mut respond| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        async move {
            let head = http::Response::builder().status(200).header("cache-control", "max-age=60").body(()).unwrap();
            let Ok(mut send) = respond.send_response(head, false) else { return };
            let _ = send.send_data("part".into(), number > 0);
            if number == 0 {
                send.send_reset(h2::Reason::INTERNAL_ERROR);
            }
        }
    });
    let text = format!(
        "listeners: [{{ name: inbound, address: \"127.0.0.1:0\" }}]\n\
         upstreams: {{ app: {{ endpoints: [\"{origin}\"], protocol: h2c }} }}\n\
         routes: [{{ name: all, retry: off, cache: {{}} }}]\n"
    );
    let proxy = Proxy::start(&text);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    if let Ok(answer) = client.try_read_response("GET") {
        assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"));
    }
    proxy.await_metric("outboard_requests_in_flight{route=\"all\"}", 0.0);
    assert_eq!(proxy.metric("outboard_cache_objects"), 0.0);
    assert_eq!((ask(&proxy, "/", &[]).text().as_str(), origin.count()), ("part", 2));
}
