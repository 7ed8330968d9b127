//! A connected socket of either kind, in clear or under TLS, that can be read, written, half-closed and reset.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

/// A connected socket.
pub enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    TlsServer(Box<StreamOwned<ServerConnection, TcpStream>>),
    TlsClient(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// The TCP socket under it; panics on a Unix socket.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Wire::Tcp(s) => s,
            Wire::TlsServer(s) => &s.sock,
            Wire::TlsClient(s) => &s.sock,
            Wire::Unix(_) => panic!("a Unix socket"),
        }
    }

    /// How long a read may take; none: for ever.
    pub fn set_read_timeout(&self, limit: Option<Duration>) {
        let set = match self {
            Wire::Unix(s) => s.set_read_timeout(limit),
            _ => self.tcp().set_read_timeout(limit),
        };
        set.unwrap();
    }

    /// Ends our side; the other may go on.
    pub fn shutdown_write(&mut self) {
        match self {
            Wire::TlsServer(s) => s.conn.send_close_notify(),
            Wire::TlsClient(s) => s.conn.send_close_notify(),
            Wire::Tcp(_) | Wire::Unix(_) => {}
        }
        let _ = self.flush();
        let _ = match self {
            Wire::Unix(s) => s.shutdown(Shutdown::Write),
            _ => self.tcp().shutdown(Shutdown::Write),
        };
    }

    /// Ends both sides.
    pub fn close(&mut self) {
        self.shutdown_write();
        let _ = match self {
            Wire::Unix(s) => s.shutdown(Shutdown::Both),
            _ => self.tcp().shutdown(Shutdown::Both),
        };
    }

    /// Breaks the connection: the peer sees a reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(s) => s.read(buf),
            Wire::Unix(s) => s.read(buf),
            Wire::TlsServer(s) => s.read(buf),
            Wire::TlsClient(s) => s.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(s) => s.write(buf),
            Wire::Unix(s) => s.write(buf),
            Wire::TlsServer(s) => s.write(buf),
            Wire::TlsClient(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Tcp(s) => s.flush(),
            Wire::Unix(s) => s.flush(),
            Wire::TlsServer(s) => s.flush(),
            Wire::TlsClient(s) => s.flush(),
        }
    }
}

/// Whether an error says that a read took too long.
pub fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
