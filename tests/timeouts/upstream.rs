//! A slow application: connect, first_byte, idle, total.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{BOTH, attempts_are, begin, drip, exact, get, get_cut, ms, proxy, silent};
use crate::common::{Client, Origin, Proxy, http2, yaml};

/// An address that takes no connection: its queue is full, so that the kernel drops whoever asks.
struct Full {
    _socket: Socket,
    _waiting: Vec<Socket>,
    address: String,
}

fn full() -> Full {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let waiting = (0..4).map(|_| knock(&address)).collect();
    let address = address.as_socket().unwrap();
    let refused = TcpStream::connect_timeout(&address, ms(100));
    assert!(refused.is_err(), "the queue is not full");
    Full { _socket: socket, _waiting: waiting, address: address.to_string() }
}

fn knock(address: &SockAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let _ = socket.connect(address);
    socket
}

#[test]
fn connect() {
    let full = full();
    let proxy = Proxy::start(&yaml(&full.address, "defaults: { retry: off, timeouts: { connect: 250ms } }"));
    for speaks in BOTH {
        exact(&format!("connect {speaks:?}"), ms(250), || {
            let (status, reason, took) = get(&proxy, speaks, "/connect");
            assert_eq!((status, reason.as_str()), (502, "upstream_connect"));
            took
        });
    }
    attempts_are(&proxy, "connect", 6.0);
    assert_eq!(proxy.access_line("/connect")["upstream_sent"], "none", "the application saw nothing");
}

#[test]
fn first_byte() {
    let origin = silent();
    let proxy = proxy(&origin, "first_byte: 250ms");
    for speaks in BOTH {
        exact(&format!("first_byte {speaks:?}"), ms(250), || {
            let (status, reason, took) = get(&proxy, speaks, "/first");
            assert_eq!((status, reason.as_str()), (504, "upstream_timeout"));
            took
        });
    }
    attempts_are(&proxy, "timeout", 6.0);
    assert_eq!(proxy.access_line("/first")["upstream_sent"], "all");
}

/// It counts from the request's last byte: a client that takes longer than first_byte for its body costs nobody anything.
#[test]
fn first_byte_counts_from_the_last_byte_of_the_request() {
    let origin = silent();
    let proxy = proxy(&origin, "first_byte: 250ms");
    let heads = [
        ("small", "Content-Length: 2\r\n\r\n", "a", "b"),
        ("large", "Content-Length: 70000\r\n\r\n", "a", "b"),
        ("chunked", "Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", "1\r\nb\r\n0\r\n\r\n"),
    ];
    std::thread::scope(|scope| {
        for (name, head, first, last) in heads {
            let proxy = &proxy;
            scope.spawn(move || {
                exact(&format!("first_byte after a slow body, {name}"), ms(250), || {
                    let mut client = Client::connect(proxy.addr("inbound"));
                    client.send(format!("POST /slow-{name} HTTP/1.1\r\nHost: test.example\r\n{head}{first}"));
                    // The client's pace.
                    std::thread::sleep(ms(400));
                    if name == "large" {
                        client.send([b'x'; 69_998]);
                        std::thread::sleep(ms(50));
                    }
                    let since = Instant::now();
                    client.send(last);
                    let answer = client.read_response();
                    let took = since.elapsed();
                    assert_eq!((answer.status, answer.reason()), (504, "upstream_timeout"), "{name}");
                    took
                });
            });
        }
        scope.spawn(|| {
            exact("first_byte after a slow body, HTTP/2", ms(250), || {
                let client = http2::Client::connect(proxy.addr("inbound"));
                let mut stream = client.stream(http2::Client::build("POST", "/slow-2"), false).unwrap();
                stream.send("a", false).unwrap();
                std::thread::sleep(ms(400));
                let since = Instant::now();
                stream.send("b", true).unwrap();
                assert_eq!(stream.head().unwrap().0, 504);
                since.elapsed()
            });
        });
    });
    attempts_are(&proxy, "timeout", 12.0);
}

/// Silence inside an answer. It was begun, so all that can be done is to break it off visibly.
#[test]
fn idle() {
    let origin = Origin::serve(|conn| {
        while conn.read_head().is_some() {
            begin(conn, "text/plain");
            drip(conn, 4);
            conn.until_closed();
        }
    });
    let proxy = proxy(&origin, "idle: 250ms");
    // The last byte comes 150 ms after the head.
    for speaks in BOTH {
        exact(&format!("idle {speaks:?}"), ms(400), || {
            let (took, body) = get_cut(&proxy, speaks, "/idle");
            assert_eq!(body, b"ticktickticktick");
            took
        });
    }
    attempts_are(&proxy, "timeout", 6.0);
    let line = proxy.access_line("/idle");
    assert_eq!((&line["status"], &line["reason"]), (&200.into(), &"upstream_timeout".into()));
}

/// However busily it writes.
#[test]
fn total_inside_an_answer() {
    let origin = Origin::serve(|conn| {
        while conn.read_head().is_some() {
            begin(conn, "text/plain");
            if drip(conn, 100) < 100 {
                return;
            }
        }
    });
    let proxy = proxy(&origin, "connect: 100ms, first_byte: 300ms, idle: 300ms, total: 400ms");
    for speaks in BOTH {
        exact(&format!("total {speaks:?}"), ms(400), || {
            let (took, body) = get_cut(&proxy, speaks, "/total");
            assert!(body.len() >= 20, "{} bytes", body.len());
            took
        });
    }
    attempts_are(&proxy, "timeout", 6.0);
}

/// What the client took for its body is part of it; the application, which has the request then, is the one that is late.
#[test]
fn total_before_an_answer() {
    let origin = silent();
    let proxy = proxy(&origin, "connect: 100ms, first_byte: 300ms, idle: 10s, total: 400ms");
    exact("total before the head, HTTP/1", ms(400), || {
        let mut client = Client::connect(proxy.addr("inbound"));
        let since = Instant::now();
        client.send("POST /total HTTP/1.1\r\nHost: test.example\r\nContent-Length: 2\r\n\r\na");
        std::thread::sleep(ms(200));
        client.send("b");
        let answer = client.read_response();
        assert_eq!((answer.status, answer.reason()), (504, "upstream_timeout"));
        since.elapsed()
    });
    exact("total before the head, HTTP/2", ms(400), || {
        let client = http2::Client::connect(proxy.addr("inbound"));
        let since = Instant::now();
        let mut stream = client.stream(http2::Client::build("POST", "/total"), false).unwrap();
        stream.send("a", false).unwrap();
        std::thread::sleep(ms(200));
        stream.send("b", true).unwrap();
        let answer = stream.answer().unwrap();
        assert_eq!((answer.status, answer.reason()), (504, "upstream_timeout"));
        since.elapsed()
    });
    attempts_are(&proxy, "timeout", 6.0);
}

/// The connection of an attempt that was given up is never used again: its answer may still come.
#[test]
fn a_late_answer_is_nobodys() {
    let origin = Origin::serve(|conn| {
        while let Some(head) = conn.read_head() {
            if head.target == "/late" {
                std::thread::sleep(ms(400));
            }
            conn.ok(&head.target);
        }
    });
    let proxy = proxy(&origin, "first_byte: 200ms");
    let mut client = Client::connect(proxy.addr("inbound"));
    assert_eq!(client.get("/warm").text(), "/warm");
    assert_eq!(client.get("/late").status, 504);
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        assert_eq!(client.get("/next").text(), "/next");
    }
}
