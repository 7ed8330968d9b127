//! Answers to slow readers leave whole, to their last byte.

use std::time::Duration;

use super::common::{Client, Origin, Signal, eventually, http2, http2_raw};
use super::{LONG, has_entered, proxy};

const SIZE: usize = 1 << 20;
const READERS: usize = 100;
/// 32 parts of an answer, each after a pause: about 2 s for a whole one.
const PART: usize = SIZE / 32;
const PAUSE: Duration = Duration::from_millis(50);

/// An application that answers a mebibyte.
fn large() -> Origin {
    Origin::serve(|conn| {
        let body: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
        while let Some(head) = conn.read_head() {
            conn.read_body(&head);
            if !conn.ok(&body) {
                return;
            }
        }
    })
}

fn is_whole(body: &[u8]) -> bool {
    body.len() == SIZE && body.iter().enumerate().all(|(i, b)| *b == (i % 251) as u8)
}

/// Little is kept for us by the kernel, so that the proxy has to.
fn small_window(socket: &std::net::TcpStream) {
    socket2::SockRef::from(socket).set_recv_buffer_size(64 << 10).unwrap();
}

#[test]
fn a_mebibyte_to_each_of_a_hundred_slow_readers_over_http1() {
    let origin = large();
    let proxy = proxy(&origin, "200ms", "");
    let addr = proxy.addr("inbound");
    let (began, begun) = std::sync::mpsc::channel();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let began = began.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(addr);
                small_window(client.wire.tcp());
                client.request("GET", "/large", &[], b"");
                assert_eq!(client.read_head().unwrap().status, 200);
                began.send(()).unwrap();
                let mut body = Vec::new();
                while body.len() < SIZE {
                    std::thread::sleep(PAUSE);
                    match client.read_exact(PART) {
                        Ok(part) => body.extend(part),
                        Err(e) => panic!("{e} after {} bytes", body.len()),
                    }
                }
                is_whole(&body)
            })
        })
        .collect();
    (0..READERS).for_each(|_| begun.recv_timeout(LONG).unwrap());
    proxy.signal(Signal::TERM);
    let whole = readers.into_iter().map(|r| r.join()).filter(|r| matches!(r, Ok(true))).count();
    assert_eq!(whole, READERS);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

#[test]
fn a_mebibyte_to_each_of_a_hundred_slow_readers_over_http2() {
    let origin = large();
    let proxy = proxy(&origin, "200ms", "");
    // Streams of one connection do not take each other's window.
    let mut settings = h2::client::Builder::new();
    settings.initial_connection_window_size(16 << 20);
    let clients: Vec<_> = (0..10).map(|_| http2::Client::with_settings(proxy.addr("inbound"), &settings)).collect();
    let mut streams: Vec<_> =
        (0..READERS).map(|i| clients[i % 10].stream(http2::Client::build("GET", "/large"), true).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(stream.head().unwrap().0, 200);
    }
    proxy.signal(Signal::TERM);
    eventually("leaving", || has_entered(&proxy, "leaving"));
    let mut bodies = vec![Vec::new(); READERS];
    // Each gives its window back only when it is its turn.
    while bodies.iter().any(|b: &Vec<u8>| b.len() < SIZE) {
        std::thread::sleep(Duration::from_millis(5));
        for (stream, body) in streams.iter_mut().zip(&mut bodies).filter(|(_, b)| b.len() < SIZE) {
            body.extend_from_slice(&stream.chunk().expect("the answer goes on").unwrap());
        }
    }
    assert!(bodies.iter().all(|b| is_whole(b)));
    drop((streams, clients));
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}

/// With a large window the proxy is done with the answer long before the client has read it.
#[test]
fn an_answer_that_waits_in_an_http2_connection_leaves_before_the_process_does() {
    let origin = large();
    let proxy = proxy(&origin, "100ms", "");
    let mut raw = http2_raw::Raw::connect(proxy.addr("inbound"));
    small_window(&raw.stream);
    // SETTINGS_INITIAL_WINDOW_SIZE, and the same for the connection.
    raw.frame(http2_raw::SETTINGS, 0, 0, &[0, 4, 0, 0x20, 0, 0]);
    raw.frame(8, 0, 0, &0x20_0000u32.to_be_bytes());
    raw.headers(1, &http2_raw::pseudo("GET", "/large"), true);
    eventually("the request arrives", || origin.count() == 1);
    proxy.signal(Signal::TERM);
    eventually("leaving", || has_entered(&proxy, "leaving"));
    let (mut body, mut whole, mut told) = (Vec::new(), false, false);
    while let Ok(frame) = raw.read() {
        told |= frame.kind == http2_raw::GOAWAY;
        if frame.kind == http2_raw::DATA {
            body.extend_from_slice(&frame.payload);
            whole |= frame.flags & http2_raw::END_STREAM != 0;
            // A mebibyte takes longer than the proxy would wait for a client that takes nothing.
            std::thread::sleep(Duration::from_secs(7).mul_f64(frame.payload.len() as f64 / SIZE as f64));
        }
    }
    assert!(whole && is_whole(&body), "{} bytes of {SIZE} came", body.len());
    assert!(told, "no GOAWAY");
    drop(raw);
    assert_eq!(proxy.wait(LONG).code(), Some(0));
}
