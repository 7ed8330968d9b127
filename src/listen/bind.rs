//! Listening sockets: opened, or taken over from the process before.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Endpoint;

/// A listening socket.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// A connection that was accepted.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP, with its peer.
    Tcp(TcpStream, std::net::SocketAddr),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

impl Bound {
    /// Opens a listening socket. Within a runtime.
    ///
    /// # Errors
    /// When the address is in use, or may not be used.
    pub fn open(address: &Endpoint) -> io::Result<Self> {
        match address {
            Endpoint::Tcp { host, port } => {
                let addr = resolve(host, *port)?;
                let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                socket.bind(&addr.into())?;
                socket.listen(BACKLOG)?;
                Ok(Bound::Tcp(TcpListener::from_std(socket.into())?))
            }
            Endpoint::Unix(path) => {
                remove_stale(path)?;
                Ok(Bound::Unix(UnixListener::bind(path)?))
            }
        }
    }

    /// A socket that another process opened.
    ///
    /// # Errors
    /// When it is no listening socket of this kind.
    pub fn adopt(address: &Endpoint, fd: OwnedFd) -> io::Result<Self> {
        match address {
            Endpoint::Tcp { .. } => {
                let listener = std::net::TcpListener::from(fd);
                listener.set_nonblocking(true)?;
                Ok(Bound::Tcp(TcpListener::from_std(listener)?))
            }
            Endpoint::Unix(_) => {
                let listener = std::os::unix::net::UnixListener::from(fd);
                listener.set_nonblocking(true)?;
                Ok(Bound::Unix(UnixListener::from_std(listener)?))
            }
        }
    }

    /// The address it listens on, as text; the port where the system chose one.
    pub fn address(&self) -> String {
        match self {
            Bound::Tcp(l) => l.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Bound::Unix(l) => {
                let path = l.local_addr().ok().and_then(|a| a.as_pathname().map(|p| p.display().to_string()));
                format!("unix:{}", path.unwrap_or_default())
            }
        }
    }

    /// Accepts the next connection.
    ///
    /// # Errors
    /// When the process has no descriptor left, or the connection was gone before it was accepted.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Bound::Tcp(l) => l.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Bound::Unix(l) => l.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }

    /// The socket, to be handed over.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Bound::Tcp(l) => l.as_fd(),
            Bound::Unix(l) => l.as_fd(),
        }
    }
}

/// Listening addresses are looked up once, at start.
fn resolve(host: &str, port: u16) -> io::Result<std::net::SocketAddr> {
    use std::net::ToSocketAddrs;
    (host, port).to_socket_addrs()?.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such address"))
}

/// A socket file that nobody listens on is what a process left that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(file) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file stands there that is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(_) => std::fs::remove_file(path),
    }
}
