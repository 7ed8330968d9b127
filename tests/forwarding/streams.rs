//! Bodies that stream: back-pressure both ways, both directions at once, early answers, event streams.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::*;

/// Resident memory of the proxy, in KiB.
fn resident(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until a counter has stood still for a while, and returns it.
fn settled(counter: &AtomicUsize) -> usize {
    let (mut seen, mut since) = (usize::MAX, Instant::now());
    eventually("nothing moves any more", || {
        let now = counter.load(Ordering::SeqCst);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(400)
    });
    seen
}

const MUCH: usize = 64 << 20;

#[test]
fn an_application_waits_for_a_client_that_does_not_read() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let origin = Origin::serve(move |conn| {
        while conn.read_head().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"));
            let part = [b'x'; 64 << 10];
            while counter.load(Ordering::SeqCst) < MUCH && conn.write(part) {
                if counter.fetch_add(part.len(), Ordering::SeqCst) + part.len() == MUCH {
                    break;
                }
            }
        }
    });
    let proxy = Proxy::start(&yaml(&origin, ""));
    let before = resident(&proxy);
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    let stuck = settled(&written);
    let grown = resident(&proxy).saturating_sub(before);
    assert!(stuck < MUCH / 2, "{stuck} bytes went on without a reader");
    assert!(grown < 8 << 10, "{grown} KiB more");
    assert_eq!(client.read_response().body.len(), MUCH);
    drop(client);

    written.store(0, Ordering::SeqCst);
    let client = http2::Client::connect(proxy.addr("inbound"));
    let mut stream = client.stream(http2::Client::build("GET", "/"), true).unwrap();
    stream.head().unwrap();
    let stuck = settled(&written);
    assert!(stuck < MUCH / 2, "{stuck} bytes went on without a window");
    assert_eq!(stream_length(stream), MUCH);
    let grown = resident(&proxy).saturating_sub(before);
    assert!(grown < 12 << 10, "{grown} KiB more");
}

fn stream_length(mut stream: http2::Stream) -> usize {
    let mut length = 0;
    while let Some(chunk) = stream.chunk() {
        length += chunk.unwrap().len();
    }
    length
}

#[test]
fn a_client_waits_for_an_application_that_does_not_read() {
    let (read, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::serve(move |conn| {
        while let Some(head) = conn.read_head() {
            let _ = wait.lock().unwrap().recv_timeout(patience());
            let mut read = 0;
            while let Some(chunk) = conn.read_chunk().filter(|c| !c.is_empty()) {
                read += chunk.len();
            }
            conn.echo(&head, read);
        }
    });
    let proxy = Proxy::start(&yaml(&origin, "limits: { max_request_body: 100MiB }"));
    let before = resident(&proxy);
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("Transfer-Encoding", "chunked")], b"");
    let writer = std::thread::spawn(move || {
        let part = vec![b'x'; 64 << 10];
        for _ in 0..MUCH / part.len() {
            client.send(format!("{:x}\r\n", part.len()));
            client.send(&part);
            client.send("\r\n");
            counter.fetch_add(part.len(), Ordering::SeqCst);
        }
        client.send("0\r\n\r\n");
        client.read_response()
    });
    let stuck = settled(&written);
    assert!(stuck < MUCH / 2, "{stuck} bytes went on without a reader");
    let grown = resident(&proxy).saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
    read.send(()).unwrap();
    assert_eq!(writer.join().unwrap().json()["body"], MUCH);
}

/// Echoes a chunked body chunk by chunk, while it comes.
fn mirror(conn: &mut Conn) {
    while conn.read_head().is_some() {
        conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(chunk) = conn.read_chunk() {
            let mut out = format!("{:x}\r\n", chunk.len()).into_bytes();
            out.extend_from_slice(&chunk);
            out.extend_from_slice(b"\r\n");
            if !conn.write(out) || chunk.is_empty() {
                break;
            }
        }
    }
}

#[test]
fn both_directions_flow_at_once() {
    let origin = Origin::serve(mirror);
    let proxy = Proxy::start(&yaml(&origin, "limits: { max_request_body: 100MiB }"));
    let body: Vec<u8> = (0..10 << 20).map(|i: u32| (i % 251) as u8).collect();

    // Each part is answered before the next is sent.
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("Transfer-Encoding", "chunked")], b"");
    assert_eq!(client.read_head().unwrap().status, 200, "before a byte of the body was sent");
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        assert_eq!(client.read_chunk().unwrap().unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read_chunk().unwrap(), None);

    // 10 MiB, and one thread writes while another reads.
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("Transfer-Encoding", "chunked")], b"");
    let mut writer = client.wire.tcp().try_clone().unwrap();
    let sent = body.clone();
    let writing = std::thread::spawn(move || {
        for part in sent.chunks(100_000) {
            writer.write_all(format!("{:x}\r\n", part.len()).as_bytes()).unwrap();
            writer.write_all(part).unwrap();
            writer.write_all(b"\r\n").unwrap();
        }
        writer.write_all(b"0\r\n\r\n").unwrap();
    });
    assert!(client.read_response().body == body);
    writing.join().unwrap();

    // HTTP/2: the same, part by part.
    let client = http2::Client::connect(proxy.addr("inbound"));
    let mut stream = client.stream(http2::Client::build("POST", "/"), false).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    for word in ["one", "two"] {
        stream.send(word, false).unwrap();
        assert_eq!(stream.chunk().unwrap().unwrap(), word);
    }
    stream.send("", true).unwrap();
    assert_eq!(stream_length(stream), 0);
}

#[test]
fn a_client_that_reads_only_after_it_sent_everything_gets_everything() {
    // What the sockets between cannot hold, the client's own kernel must: both ends have large buffers, as a loopback has.
    let origin = Origin::serve(mirror);
    let proxy = Proxy::start(&yaml(&origin, "limits: { max_request_body: 100MiB }"));
    let body: Vec<u8> = (0..2 << 20).map(|i: u32| (i % 251) as u8).collect();
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("Transfer-Encoding", "chunked")], b"");
    for part in body.chunks(50_000) {
        client.send(format!("{:x}\r\n", part.len()));
        client.send(part);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert!(client.read_response().body == body);
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let origin = Origin::serve(|conn| {
        if conn.read_head().is_some() {
            conn.write("HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch");
            // It reads no more, and closes with bytes unread.
        }
    });
    let proxy = Proxy::start(&yaml(&origin, "limits: { max_request_body: 100MiB }"));
    for _ in 0..20 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("POST", "/", &[("Content-Length", "10000000")], b"");
        let part = vec![b'x'; 100_000];
        let mut left = 100;
        while left > 0 && client.try_send(&part).is_ok() {
            left -= 1;
        }
        let answer = client.read_response();
        assert_eq!((answer.status, answer.text().as_str()), (413, "much"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let client = http2::Client::connect(proxy.addr("inbound"));
    for _ in 0..5 {
        let answer = client.post("/", vec![b'x'; 1 << 20]).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (413, &b"much"[..]));
    }
    proxy.await_metric("outboard_requests_in_flight{route=\"default\"}", 0.0);
}

#[test]
fn a_body_over_the_limit_is_refused_however_it_comes() {
    let origin = Origin::serve(mirror);
    let proxy = Proxy::start(&yaml(&origin, "limits: { max_request_body: 100KiB }"));
    for _ in 0..20 {
        let mut client = Client::connect(proxy.addr("inbound"));
        client.request("POST", "/", &[("Content-Length", "1048576")], b"");
        let _ = client.try_send(vec![b'x'; 1 << 20]);
        let answer = client.read_response();
        assert_eq!((answer.status, answer.reason()), (413, "body_too_large"));
    }
    assert_eq!(origin.count(), 0, "its length said enough");
    // Without a length it is found out while it streams.
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("POST", "/", &[("Transfer-Encoding", "chunked")], b"");
    let part = format!("{:x}\r\n{}\r\n", 50_000, "x".repeat(50_000));
    let _ = client.try_send(part.repeat(3));
    // What the application had begun to answer is broken off.
    if let Ok(answer) = client.try_read_response("POST") {
        assert_eq!((answer.status, answer.reason()), (413, "body_too_large"));
    }
    let whole = || String::from_utf8_lossy(&origin.raw()).contains("\r\n0\r\n\r\n");
    assert!(!whole(), "half a body is never made whole");
}

#[test]
fn events_reach_the_client_as_they_are_written() {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = stop.clone();
    let (next, wait) = mpsc::channel::<Instant>();
    let wait = std::sync::Mutex::new(wait);
    let (wrote, written) = mpsc::channel::<Instant>();
    let origin = Origin::serve(move |conn| {
        if conn.read_head().is_some() {
            conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            while wait.lock().unwrap().recv().is_ok() && !ended.load(Ordering::SeqCst) {
                wrote.send(Instant::now()).unwrap();
                conn.write("data: x\n\n");
            }
        }
    });
    // The total is shorter than the stream.
    let more = "routes: [{ name: events, timeouts: { connect: 200ms, first_byte: 500ms, total: 1s, idle: 2s } }]\ndrain: { timeout: 10s }";
    let proxy = Proxy::start(&yaml(&origin, more));
    let started = Instant::now();
    let mut client = Client::connect(proxy.addr("inbound"));
    client.request("GET", "/", &[], b"");
    assert_eq!(client.read_head().unwrap().header("content-type"), Some("text/event-stream"));
    let mut late = Vec::new();
    for _ in 0..15 {
        next.send(Instant::now()).unwrap();
        assert_eq!(client.read_chunk().unwrap().unwrap(), b"data: x\n\n");
        late.push(written.recv().unwrap().elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    // The machine may be away for a moment; what is held back would be late each time.
    late.sort();
    assert!(late[12] < Duration::from_millis(100) && late[14] < Duration::from_secs(1), "{late:?}");
    assert!(started.elapsed() > Duration::from_millis(1200), "longer than the total");
    proxy.await_metric("outboard_event_streams", 1.0);
    stop.store(true, Ordering::SeqCst);
    next.send(Instant::now()).unwrap();
    assert_eq!(client.read_chunk().unwrap(), None);
    proxy.await_metric("outboard_event_streams", 0.0);

    stop.store(false, Ordering::SeqCst);
    let h2 = http2::Client::connect(proxy.addr("inbound"));
    let mut stream = h2.stream(http2::Client::build("GET", "/"), true).unwrap();
    stream.head().unwrap();
    for _ in 0..5 {
        next.send(Instant::now()).unwrap();
        assert_eq!(stream.chunk().unwrap().unwrap(), "data: x\n\n");
        assert!(written.recv().unwrap().elapsed() < Duration::from_millis(100));
    }
    // A silent one is ended by `idle`.
    assert!(stream.chunk().unwrap().is_err());
    proxy.await_metric("outboard_event_streams", 0.0);
}
