//! Applications that do what no application should, and remember the number of every request of which they read a byte.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use h2::Reason;
use tokio::runtime::Runtime;

use crate::common::http2_origin;

/// Which requests were read, and how often; each has its number as its path.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<HashMap<u64, usize>>>);

impl Seen {
    fn note(&self, target: &str) -> Option<(u64, usize)> {
        let number: u64 = target.strip_prefix('/')?.parse().ok()?;
        let mut seen = self.0.lock().unwrap();
        let times = seen.entry(number).or_default();
        *times += 1;
        Some((number, *times))
    }

    /// How often a request was read.
    pub(super) fn times(&self, number: u64) -> usize {
        self.0.lock().unwrap().get(&number).copied().unwrap_or(0)
    }

    /// How many requests were read more than once.
    pub(super) fn repeated(&self) -> usize {
        self.0.lock().unwrap().values().filter(|times| **times > 1).count()
    }
}

/// What happens to a request is drawn from its number and from how often it was seen, so that a seed can be replayed
/// whatever the threads do.
fn draw(seed: u64, number: u64, times: usize) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (times as u64) << 56)
}

/// An application of HTTP/1.
pub(super) struct Http1 {
    pub(super) address: SocketAddr,
    pub(super) seen: Seen,
}

/// What an answer costs a client that waits for one: longer than `first_byte` of the proxies here.
const HANG: Duration = Duration::from_millis(150);

impl Http1 {
    pub(super) fn start(seed: u64) -> Http1 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let told = seen.clone();
        std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(seed);
            while let Ok((stream, _)) = listener.accept() {
                let (told, seed) = (told.clone(), random.u64(..));
                std::thread::spawn(move || {
                    let _ = connection(stream, &told, seed);
                });
            }
        });
        Http1 { address, seen }
    }
}

fn connection(mut stream: TcpStream, seen: &Seen, seed: u64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut ours = fastrand::Rng::with_seed(seed);
    // Before a byte is read: at once, or when something came.
    match ours.u8(..) {
        0..=5 => return Ok(()),
        6..=11 => return reset(stream),
        12..=17 => {
            stream.peek(&mut [0])?;
            return reset(stream);
        }
        _ => {}
    }
    let mut buf = Vec::new();
    loop {
        let mut part = [0; 2048];
        let end = loop {
            if let Some(at) = buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let n = stream.read(&mut part)?;
            if n == 0 {
                return Ok(());
            }
            buf.extend_from_slice(&part[..n]);
        };
        let head = String::from_utf8_lossy(&buf[..end]).into_owned();
        buf.drain(..end);
        let target = head.split(' ').nth(1).unwrap_or_default();
        let Some((number, times)) = seen.note(target) else { return Ok(()) };
        let mut random = draw(seed, number, times);
        let bodiless = head.starts_with("HEAD");
        let answer = |status: u16, fields: &str| {
            let body = if bodiless { "" } else { "four" };
            format!("HTTP/1.1 {status} Status\r\n{fields}Content-Length: 4\r\n\r\n{body}")
        };
        match random.u8(0..32) {
            0 => return Ok(()),
            1 => return reset(stream),
            2 => {
                let _ = stream.read(&mut part[..100]);
                return Ok(());
            }
            _ => {}
        }
        body(&mut stream, &head, &mut buf)?;
        match random.u8(0..24) {
            0 => return Ok(()),
            1 => return reset(stream),
            2 => return stream.write_all(b"\0\xffgarbage\r\n\r\n"),
            3 => return stream.write_all(b"HTTP/1.1 200 Sta"),
            4 => return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"),
            5 => stream.write_all(answer(503, "").as_bytes())?,
            6 => stream.write_all(answer(503, "Retry-After: 0\r\n").as_bytes())?,
            7 => return stream.write_all(answer(502, "Connection: close\r\n").as_bytes()),
            8 => stream.write_all(answer(429, "Retry-After: 0\r\n").as_bytes())?,
            9 => {
                std::thread::sleep(HANG);
                return Ok(());
            }
            10 => {
                std::thread::sleep(HANG);
                stream.write_all(answer(200, "").as_bytes())?;
            }
            // Answers, and closes though it did not say so: at once, or in the face of the next request.
            11 => return stream.write_all(answer(200, "").as_bytes()),
            12 => {
                stream.write_all(answer(200, "").as_bytes())?;
                std::thread::sleep(Duration::from_micros(random.u64(0..3000)));
                return Ok(());
            }
            13 => {
                stream.write_all(answer(200, "").as_bytes())?;
                stream.peek(&mut [0])?;
                return if random.bool() { reset(stream) } else { Ok(()) };
            }
            14 => return stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            15 => {
                stream.shutdown(Shutdown::Write)?;
                let _ = stream.read(&mut part);
                return Ok(());
            }
            _ => stream.write_all(answer(200, "").as_bytes())?,
        }
    }
}

fn reset(stream: TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

/// Reads a body to its end.
fn body(stream: &mut TcpStream, head: &str, buf: &mut Vec<u8>) -> std::io::Result<()> {
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let mut part = [0; 16 << 10];
    loop {
        let end = match length {
            Some(length) => (buf.len() >= length).then_some(length),
            None if !lower.contains("transfer-encoding") => Some(0),
            None => buf.windows(5).position(|w| w == b"0\r\n\r\n").map(|at| at + 5),
        };
        if let Some(end) = end {
            buf.drain(..end);
            return Ok(());
        }
        match stream.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => buf.extend_from_slice(&part[..n]),
        }
    }
}

/// An application of HTTP/2. What it refuses as RFC 9113 8.7 has it, it has not seen.
pub(super) struct Http2 {
    pub(super) address: SocketAddr,
    pub(super) seen: Seen,
    _runtime: Runtime,
}

impl Http2 {
    pub(super) fn start(seed: u64) -> Http2 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let told = seen.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let Ok(mut h2) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = h2.accept().await {
                        match request_of(request, respond, &told, seed) {
                            After::Next => {}
                            After::Goodbye => h2.graceful_shutdown(),
                            After::Abrupt => h2.abrupt_shutdown(Reason::NO_ERROR),
                            After::Error => h2.abrupt_shutdown(Reason::INTERNAL_ERROR),
                            After::Closed => return,
                        }
                    }
                });
            }
        });
        Http2 { address, seen, _runtime: runtime }
    }
}

/// What a request does to its connection.
enum After {
    Next,
    Goodbye,
    Abrupt,
    Error,
    Closed,
}

fn request_of(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
    seen: &Seen,
    seed: u64,
) -> After {
    // Refused unread: whether it is, is told by a number that grows with each try.
    if fastrand::u8(..) < 12 {
        respond.send_reset(Reason::REFUSED_STREAM);
        return After::Next;
    }
    let Some((number, times)) = seen.note(request.uri().path()) else { return After::Closed };
    let mut random = draw(seed, number, times);
    let status = |status: u16| http::Response::builder().status(status).body(()).unwrap();
    match random.u8(0..24) {
        0 => respond.send_reset(Reason::INTERNAL_ERROR),
        1 => respond.send_reset(Reason::CANCEL),
        2 => drop(respond.send_response(status(503), true)),
        3 => return After::Goodbye,
        4 => return After::Abrupt,
        5 => return After::Error,
        6 => return After::Closed,
        7 => {
            let _ = respond.send_response(status(200), true);
            return After::Goodbye;
        }
        kind => {
            tokio::spawn(async move {
                http2_origin::read(&mut request.into_body()).await;
                match kind {
                    8 => respond.send_reset(Reason::INTERNAL_ERROR),
                    9 => tokio::time::sleep(HANG).await,
                    10 => {
                        if let Ok(mut send) = respond.send_response(status(200), false) {
                            let _ = send.send_data("four".into(), false);
                            send.send_reset(Reason::INTERNAL_ERROR);
                        }
                    }
                    11 => drop(respond.send_response(status(503), true)),
                    _ => {
                        if let Ok(mut send) = respond.send_response(status(200), false) {
                            let _ = send.send_data("four".into(), true);
                        }
                    }
                }
            });
        }
    }
    After::Next
}
