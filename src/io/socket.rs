//! The socket under a stream, and TLS on it.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use pingora::protocols::UniqueIDType;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A connected socket, with the bytes that were read from it too early.
#[derive(Debug)]
pub struct Socket {
    kind: Kind,
    unread: Bytes,
    /// Bytes that the kernel has taken.
    written: u64,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(s: TcpStream) -> Self {
        Socket { kind: Kind::Tcp(s), unread: Bytes::new(), written: 0 }
    }
}

impl From<UnixStream> for Socket {
    fn from(s: UnixStream) -> Self {
        Socket { kind: Kind::Unix(s), unread: Bytes::new(), written: 0 }
    }
}

impl Socket {
    /// Puts bytes back, to be read first.
    pub fn unread(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    fn took(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = written {
            self.written += n as u64;
        }
        written
    }

    pub(super) fn fd(&self) -> UniqueIDType {
        match &self.kind {
            Kind::Tcp(s) => s.as_raw_fd(),
            Kind::Unix(s) => s.as_raw_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.has_remaining() {
            let n = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(n));
            return Poll::Ready(Ok(()));
        }
        match &mut self.kind {
            Kind::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Kind::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.kind {
            Kind::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Kind::Unix(s) => Pin::new(s).poll_write(cx, buf),
        };
        self.took(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.kind {
            Kind::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Kind::Unix(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        };
        self.took(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Kind::Unix(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

#[derive(Debug)]
pub(super) enum Transport {
    Clear(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    pub(super) fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Send)> {
        match self {
            Transport::Clear(s) => {
                let s: Pin<&mut Socket> = Pin::new(s);
                s
            }
            Transport::Tls(s) => {
                let s: Pin<&mut TlsStream<Socket>> = Pin::new(s.as_mut());
                s
            }
        }
    }

    pub(super) fn written(&self) -> u64 {
        match self {
            Transport::Clear(s) => s.written,
            Transport::Tls(s) => s.get_ref().0.written,
        }
    }

    pub(super) fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send)> {
        match self {
            Transport::Clear(s) => {
                let s: Pin<&mut Socket> = Pin::new(s);
                s
            }
            Transport::Tls(s) => {
                let s: Pin<&mut TlsStream<Socket>> = Pin::new(s.as_mut());
                s
            }
        }
    }
}
