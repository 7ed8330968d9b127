//! An HTTP/1 application that does what a test tells it, and remembers every byte that it was sent.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Tls, Wire};

/// An application. Dropped, it accepts nothing more.
pub struct Origin {
    address: Option<SocketAddr>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Received>>,
    raw: Mutex<Vec<u8>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    ended: AtomicBool,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    pub target: String,
    /// Fields in their order, names as they came.
    pub headers: Vec<(String, String)>,
    /// What [`Conn::read_body`] read of its body.
    pub body: Vec<u8>,
    /// Its body was read to its end.
    pub whole: bool,
    /// The head's bytes.
    pub raw: Vec<u8>,
    /// On which connection, from 0.
    pub connection: usize,
    /// When its head was whole.
    pub at: Instant,
}

impl Received {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All fields of this name.
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

/// The head of a request.
pub type Head = Received;

/// A connection of the proxy to the application.
pub struct Conn {
    pub stream: Wire,
    /// Which one it is, from 0.
    pub index: usize,
    buf: Vec<u8>,
    shared: Arc<Shared>,
}

impl Origin {
    /// Runs `story` for every connection, each on its own thread. When it returns the connection is closed.
    pub fn serve(story: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        Origin::listen("127.0.0.1:0", None, story)
    }

    /// The same at this address: an application that was ended and is started again.
    pub fn serve_at(address: SocketAddr, story: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        Origin::listen(address, None, story)
    }

    /// The same under TLS, with the certificate for `localhost`.
    pub fn tls(tls: &Tls, alpn: &[&str], story: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        Origin::listen("127.0.0.1:0", Some(Arc::new(tls.server_config(alpn))), story)
    }

    fn listen(
        address: impl ToSocketAddrs,
        tls: Option<Arc<rustls::ServerConfig>>,
        story: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let accept = move || {
            let (stream, _) = listener.accept().ok()?;
            let _ = stream.set_nodelay(true);
            Some(secured(stream, tls.as_ref()))
        };
        Origin { address: Some(address), shared: run(accept, story) }
    }

    /// The same on a Unix socket.
    pub fn unix(path: &Path, story: impl Fn(&mut Conn) + Send + Sync + 'static) -> Origin {
        let listener = UnixListener::bind(path).unwrap();
        Origin { address: None, shared: run(move || Some(Wire::Unix(listener.accept().ok()?.0)), story) }
    }

    /// Answers every request with 200 and JSON that describes it: method, target, headers, body (its length).
    pub fn echo() -> Origin {
        Origin::serve(|conn| {
            while let Some(head) = conn.read_head() {
                let body = conn.read_body(&head);
                conn.echo(&head, body.len());
            }
        })
    }

    /// Answers one request of each connection, and closes in the face of the second.
    pub fn once_a_connection() -> Origin {
        Origin::serve(|conn| {
            if let Some(head) = conn.read_head() {
                conn.read_body(&head);
                conn.ok("once");
            }
            if let Some(head) = conn.read_head() {
                conn.read_body(&head);
            }
        })
    }

    /// Answers every request with these bytes.
    pub fn answer(bytes: impl AsRef<[u8]>) -> Origin {
        let bytes = bytes.as_ref().to_vec();
        Origin::serve(move |conn| {
            while let Some(head) = conn.read_head() {
                conn.read_body(&head);
                conn.write(&bytes);
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it listens on a Unix socket")
    }

    /// Every request whose head came whole, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// How many came for this target.
    pub fn count_of(&self, target: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|r| r.target == target).count()
    }

    /// How many came whole, their body read to its end.
    pub fn whole(&self) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|r| r.whole).count()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open: their story is not over.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Every byte that came, of all connections.
    pub fn raw(&self) -> Vec<u8> {
        self.shared.raw.lock().unwrap().clone()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(address) = self.address {
            // Wakes the thread that accepts.
            let _ = TcpStream::connect(address);
        }
    }
}

fn secured(stream: TcpStream, tls: Option<&Arc<rustls::ServerConfig>>) -> Wire {
    match tls {
        None => Wire::Tcp(stream),
        Some(config) => {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            Wire::TlsServer(Box::new(rustls::StreamOwned::new(connection, stream)))
        }
    }
}

fn run(
    mut accept: impl FnMut() -> Option<Wire> + Send + 'static,
    story: impl Fn(&mut Conn) + Send + Sync + 'static,
) -> Arc<Shared> {
    let shared = Arc::new(Shared::default());
    let told = shared.clone();
    let story = Arc::new(story);
    std::thread::spawn(move || {
        while let Some(stream) = accept() {
            if told.ended.load(Ordering::SeqCst) {
                return;
            }
            let index = told.connections.fetch_add(1, Ordering::SeqCst);
            told.open.fetch_add(1, Ordering::SeqCst);
            let mut conn = Conn { stream, index, buf: Vec::new(), shared: told.clone() };
            let story = story.clone();
            std::thread::spawn(move || {
                story(&mut conn);
                conn.stream.shutdown_write();
                conn.shared.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    shared
}

impl Conn {
    /// Reads the next head; nothing when the proxy closed the connection.
    pub fn read_head(&mut self) -> Option<Head> {
        let end = loop {
            match self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.more()?,
            };
        };
        let raw: Vec<u8> = self.buf.drain(..end).collect();
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let mut line = lines.next().unwrap_or("").split(' ').map(str::to_owned);
        let field = |line: &str| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
        let received = Received {
            method: line.next().unwrap_or_default(),
            target: line.next().unwrap_or_default(),
            headers: lines.filter_map(field).collect(),
            body: Vec::new(),
            whole: false,
            raw,
            connection: self.index,
            at: Instant::now(),
        };
        self.shared.requests.lock().unwrap().push(received.clone());
        Some(received)
    }

    /// Reads the body that this head announces; what came of it where the connection ended first.
    pub fn read_body(&mut self, head: &Head) -> Vec<u8> {
        let mut body = Vec::new();
        let mut whole = true;
        if head.header("transfer-encoding").is_some() {
            loop {
                match self.read_chunk() {
                    Some(chunk) if !chunk.is_empty() => body.extend_from_slice(&chunk),
                    end => {
                        whole = end.is_some();
                        break;
                    }
                }
            }
        } else if let Some(length) = head.header("content-length").and_then(|v| v.parse::<usize>().ok()) {
            while self.buf.len() < length && self.more().is_some() {}
            let there = length.min(self.buf.len());
            body.extend(self.buf.drain(..there));
            whole = there == length;
        }
        let mut requests = self.shared.requests.lock().unwrap();
        if let Some(received) = requests.iter_mut().rev().find(|r| r.connection == self.index) {
            received.body.clone_from(&body);
            received.whole = whole;
        }
        body
    }

    /// Reads one chunk; an empty one at the end, nothing where the connection ended first.
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.read_line()?;
        let size = usize::from_str_radix(line.trim(), 16).expect("the proxy sends plain chunk sizes");
        while self.buf.len() < size + 2 {
            self.more()?;
        }
        let chunk = self.buf.drain(..size).collect();
        assert_eq!(self.buf.drain(..2).collect::<Vec<_>>(), b"\r\n", "the end of a chunk");
        Some(chunk)
    }

    fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buf.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buf.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            self.more()?;
        }
    }

    /// Reads what comes; nothing at the end. What was read before comes first.
    pub fn read_some(&mut self) -> Option<Vec<u8>> {
        if self.buf.is_empty() {
            self.more()?;
        }
        Some(std::mem::take(&mut self.buf))
    }

    fn more(&mut self) -> Option<()> {
        let mut part = [0; 16 << 10];
        match self.stream.read(&mut part) {
            Ok(n @ 1..) => {
                self.buf.extend_from_slice(&part[..n]);
                self.shared.raw.lock().unwrap().extend_from_slice(&part[..n]);
                Some(())
            }
            _ => None,
        }
    }

    /// Writes bytes; `false` where the proxy has gone.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Answers 200 with this body.
    pub fn ok(&mut self, body: impl AsRef<[u8]>) -> bool {
        let mut out = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.as_ref().len()).into_bytes();
        out.extend_from_slice(body.as_ref());
        self.write(out)
    }

    /// Answers 200 with JSON that describes the request.
    pub fn echo(&mut self, head: &Head, body: usize) -> bool {
        let json = serde_json::json!({
            "method": head.method, "target": head.target, "headers": head.headers, "body": body,
        });
        let json = if head.method == "HEAD" { String::new() } else { json.to_string() };
        self.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        ))
    }

    /// Waits until the proxy closes its side; what comes before is read and remembered.
    pub fn until_closed(&mut self) {
        while self.more().is_some() {}
        self.buf.clear();
    }
}
