//! An HTTP/1 client that sends what it is told, byte for byte, and reads answers as RFC 9112 frames them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::is_timeout;
use super::{Tls, Wire, patience};

/// A connection to the proxy.
pub struct Client {
    pub wire: Wire,
    /// Read and not yet taken.
    buf: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub version: String,
    pub status: u16,
    /// The phrase behind the status.
    pub phrase: String,
    /// Fields in their order, names as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The informational answers before it: 100, 103.
    pub informational: Vec<Response>,
}

impl Response {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All fields of this name.
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Why the proxy answered itself; empty where it did not.
    pub fn reason(&self) -> &str {
        self.header("x-outboard-reason").unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

impl Client {
    /// Connects; reads and writes wait as long as patience lasts, twice.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(Wire::Tcp(stream))
    }

    /// Connects to a Unix socket.
    #[track_caller]
    pub fn unix(path: &Path) -> Client {
        Client::over(Wire::Unix(UnixStream::connect(path).unwrap()))
    }

    /// Connects with TLS and offers `alpn`; the certificate has to be good for `name`.
    #[track_caller]
    pub fn tls(addr: SocketAddr, tls: &Tls, name: &str, alpn: &[&str]) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let config = Arc::new(tls.client_config(alpn));
        let connection = rustls::ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
        Client::over(Wire::TlsClient(Box::new(rustls::StreamOwned::new(connection, stream))))
    }

    /// On a socket that is connected already.
    pub fn over(wire: Wire) -> Client {
        wire.set_read_timeout(Some(patience() * 2));
        Client { wire, buf: Vec::new() }
    }

    /// Sends bytes; panics when they cannot be sent.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write_all(bytes.as_ref())?;
        self.wire.flush()
    }

    /// Sends a request with Host and, where it has a body, Content-Length. Reads nothing.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut out = format!("{method} {target} HTTP/1.1\r\nHost: test.example\r\n").into_bytes();
        for (name, value) in headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        self.send(out);
    }

    /// GET, and its answer.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"");
        self.read_response()
    }

    /// POST, and its answer.
    #[track_caller]
    pub fn post(&mut self, target: &str, body: &[u8]) -> Response {
        self.request("POST", target, &[], body);
        self.read_response()
    }

    /// Reads an answer to anything but HEAD.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.try_read_response("GET").unwrap()
    }

    /// Reads an answer to a request with this method.
    pub fn try_read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut informational = Vec::new();
        loop {
            let mut response = self.read_head()?;
            if response.status == 101 || !(100..200).contains(&response.status) {
                response.informational = informational;
                response.body = self.read_body(method, &response)?;
                return Ok(response);
            }
            informational.push(response);
        }
    }

    /// Reads one head, informational ones too, and leaves the body.
    pub fn read_head(&mut self) -> io::Result<Response> {
        let end = loop {
            match self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.more()?,
            }
        };
        let head = String::from_utf8_lossy(&self.buf[..end]).into_owned();
        self.buf.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut line = lines.next().unwrap_or("").splitn(3, ' ').map(str::to_owned);
        let mut word = || line.next().unwrap_or_default();
        let (version, status, phrase) = (word(), word(), word());
        let status = status.parse().map_err(|_| invalid(format!("a head: {head:?}")))?;
        let field = |line: &str| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
        Ok(Response { version, status, phrase, headers: lines.filter_map(field).collect(), ..Response::default() })
    }

    fn read_body(&mut self, method: &str, head: &Response) -> io::Result<Vec<u8>> {
        if method == "HEAD" || matches!(head.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        if head.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            while let Some(chunk) = self.read_chunk()? {
                body.extend_from_slice(&chunk);
            }
            return Ok(body);
        }
        match head.header("content-length") {
            Some(length) => self.read_exact(length.parse().map_err(|_| invalid("a length"))?),
            None => Ok(self.read_to_end()),
        }
    }

    /// Reads one chunk of a body; none at its end.
    pub fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.read_line()?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or(""), 16).map_err(|_| invalid("a chunk"))?;
        if size == 0 {
            while !self.read_line()?.is_empty() {}
            return Ok(None);
        }
        let chunk = self.read_exact(size)?;
        if !self.read_line()?.is_empty() {
            return Err(invalid("a chunk's end"));
        }
        Ok(Some(chunk))
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buf.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buf[..end]).into_owned();
                self.buf.drain(..end + 2);
                return Ok(line);
            }
            self.more()?;
        }
    }

    /// Reads so many bytes.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buf.len() < count {
            self.more()?;
        }
        Ok(self.buf.drain(..count).collect())
    }

    /// Reads what comes until the end, a reset, or the end of patience.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.more().is_ok() {}
        std::mem::take(&mut self.buf)
    }

    fn more(&mut self) -> io::Result<()> {
        let mut part = [0; 16 << 10];
        match self.wire.read(&mut part)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buf.extend_from_slice(&part[..n]);
                Ok(())
            }
        }
    }

    /// Whether the proxy ends the connection within this time; what it still sends is read and thrown away.
    pub fn is_closed(&mut self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        self.buf.clear();
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.wire.set_read_timeout(Some(left));
            let read = self.more();
            self.buf.clear();
            let closed = match read {
                Ok(()) if Instant::now() < until => continue,
                Ok(()) => false,
                Err(e) => !is_timeout(&e),
            };
            self.wire.set_read_timeout(Some(patience() * 2));
            return closed;
        }
    }

    /// Ends our side.
    pub fn shutdown_write(&mut self) {
        self.wire.shutdown_write();
    }

    /// Leaves with a reset.
    pub fn reset(self) {
        self.wire.reset();
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
