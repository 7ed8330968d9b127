//! The byte stream under an HTTP session, on both sides of the proxy.
//!
//! One type for TCP, Unix sockets and TLS, because three things are needed that no ready stream offers:
//! - What is written is taken at once and leaves when the peer takes it, and how much still waits can be asked. A body can
//!   then be read from one side while the other side blocks, with one task and no channel.
//! - A head and the body behind it leave in one system call.
//! - Bytes that were read too far can be put back.
//!
//! An idle stream holds no buffer.

mod socket;
mod traits;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use pingora::protocols::UniqueIDType;
use tokio::io::ReadBuf;
use tokio_rustls::TlsStream;

pub use socket::Socket;
use socket::Transport;

/// An idle stream keeps no write buffer larger than this: a head and a short body, which is what most answers are.
const KEPT: usize = 4 << 10;

/// Sees what the owner reads.
struct Watch(Box<Look>);

type Look = dyn FnMut(&[u8]) + Send + Sync;

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    /// Bytes read and not yet taken.
    ahead: BytesMut,
    /// Bytes accepted and not yet written.
    waiting: Vec<u8>,
    waiting_at: usize,
    /// TLS holds records that were not written yet.
    unflushed: bool,
    failed: Option<io::ErrorKind>,
    watch: Option<Watch>,
    bytes_in: u64,
    bytes_out: u64,
    /// Shows `bytes_out` to whoever gave the stream away.
    meter: Option<Arc<AtomicU64>>,
}

/// The stream under a session.
#[derive(Debug)]
pub struct Conn {
    inner: Mutex<Inner>,
    fd: UniqueIDType,
}

impl Conn {
    /// A stream in clear.
    pub fn clear(socket: Socket) -> Self {
        let fd = socket.fd();
        Conn::new(Transport::Clear(socket), fd)
    }

    /// A stream over TLS whose handshake is done.
    pub fn tls(stream: TlsStream<Socket>) -> Self {
        let fd = stream.get_ref().0.fd();
        Conn::new(Transport::Tls(Box::new(stream)), fd)
    }

    fn new(transport: Transport, fd: UniqueIDType) -> Self {
        let inner = Inner {
            transport,
            ahead: BytesMut::new(),
            waiting: Vec::new(),
            waiting_at: 0,
            unflushed: false,
            failed: None,
            watch: None,
            bytes_in: 0,
            bytes_out: 0,
            meter: None,
        };
        Conn { inner: Mutex::new(inner), fd }
    }

    /// What shows the bytes written so far, for an owner who gives the stream away.
    pub fn meter(&mut self) -> Arc<AtomicU64> {
        self.inner.get_mut().meter.get_or_insert_default().clone()
    }

    /// Shows `watch` every byte that the owner reads from now on.
    pub fn watch(&mut self, watch: impl FnMut(&[u8]) + Send + Sync + 'static) {
        self.inner.get_mut().watch = Some(Watch(Box::new(watch)));
    }

    /// Bytes read and written so far, as the application layer saw them.
    pub fn bytes(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.bytes_in, inner.bytes_out)
    }

    /// Bytes that the socket has taken so far, those of TLS itself among them.
    pub fn on_wire(&self) -> u64 {
        self.inner.lock().transport.written()
    }

    /// Puts bytes back, to be read first. Only before anything was read ahead.
    pub fn unread(&mut self, bytes: &[u8]) {
        let inner = self.inner.get_mut();
        let mut ahead = BytesMut::from(bytes);
        ahead.extend_from_slice(&inner.ahead);
        inner.bytes_in = inner.bytes_in.saturating_sub(bytes.len() as u64);
        inner.ahead = ahead;
    }

    /// Gives the buffers back where they are empty: what an idle connection does.
    pub fn release_buffers(&mut self) {
        let inner = self.inner.get_mut();
        if inner.ahead.is_empty() && inner.ahead.capacity() > 0 {
            inner.ahead = BytesMut::new();
        }
        if inner.waiting_at == inner.waiting.len() && inner.waiting.capacity() > KEPT {
            (inner.waiting, inner.waiting_at) = (Vec::new(), 0);
        }
    }

    /// Accepts bytes; they leave with the next poll.
    pub fn send(&self, bytes: &[u8]) {
        self.inner.lock().keep(bytes);
    }

    /// Accepts bytes through the buffer's own writer; they leave with the next poll.
    pub fn send_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner.lock();
        inner.compact();
        write(&mut inner.waiting);
    }

    /// Writes `bytes` and what waited before them as far as the peer takes them; keeps the rest.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        self.inner.lock().send(cx, bytes)
    }

    /// Writes what `write` appends to what waited, and `bytes` behind it, as far as the peer takes them; keeps the rest.
    pub fn poll_send_with(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Vec<u8>),
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.compact();
        write(&mut inner.waiting);
        inner.send(cx, bytes)
    }

    /// Ready when at most `most` bytes wait; an error when the peer is gone.
    pub fn poll_sent(&self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        self.inner.lock().poll_sent(cx, most)
    }

    /// Bytes that the peer has not taken yet.
    pub fn pending(&self) -> usize {
        let inner = self.inner.lock();
        inner.waiting.len() - inner.waiting_at
    }

    /// Ends our side of the stream once everything was taken; the other side may go on.
    pub fn poll_half_close(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.lock();
        ready!(inner.poll_sent(cx, 0))?;
        inner.transport.writer().poll_shutdown(cx)
    }

    /// Ready when the peer is gone: it ended its side, or the connection broke. Bytes that come are kept, to be read
    /// later, and end the watch: a peer that still sends is there.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if inner.failed.is_some() {
            return Poll::Ready(());
        }
        if !inner.ahead.is_empty() {
            return Poll::Pending;
        }
        let mut scratch = [MaybeUninit::<u8>::uninit(); 512];
        let mut buf = ReadBuf::uninit(&mut scratch);
        match inner.transport.reader().poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                inner.ahead.extend_from_slice(buf.filled());
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether nothing came and nothing ended: what an idle connection must be to be used again.
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        // The budget of a task must not make a closed connection look alive.
        let mut probe = std::pin::pin!(tokio::task::unconstrained(std::future::poll_fn(|cx| self.poll_gone(cx))));
        let gone = std::future::Future::poll(probe.as_mut(), &mut cx).is_ready();
        let inner = self.inner.lock();
        !gone && inner.ahead.is_empty() && inner.waiting_at == inner.waiting.len()
    }

    /// Reads through a shared reference: what a tunnel does.
    pub fn poll_read_shared(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner.lock().poll_read(cx, buf)
    }

    /// Reads and throws away; the number of bytes, 0 at the end.
    pub fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut inner = self.inner.lock();
        let ahead = inner.ahead.len();
        if ahead > 0 {
            inner.ahead.clear();
            return Poll::Ready(Ok(ahead));
        }
        let mut scratch = [0u8; 4096];
        let mut buf = ReadBuf::new(&mut scratch);
        ready!(inner.transport.reader().poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl Inner {
    fn pending(&self) -> usize {
        self.waiting.len() - self.waiting_at
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(self.transport.reader().poll_read(cx, buf))?;
            self.bytes_in += (buf.filled().len() - before) as u64;
            return Poll::Ready(Ok(()));
        }
        let n = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..n]);
        self.ahead.advance(n);
        self.bytes_in += n as u64;
        Poll::Ready(Ok(()))
    }

    fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn fail(&mut self, e: io::Error) -> io::Error {
        self.failed = Some(e.kind());
        (self.waiting, self.waiting_at) = (Vec::new(), 0);
        e
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.compact();
        self.waiting.extend_from_slice(bytes);
    }

    /// Forgets what was written once it is more than what still waits: a peer that never takes everything must not make
    /// the buffer grow with all it ever took.
    fn compact(&mut self) {
        if self.waiting_at >= self.pending() {
            self.waiting.drain(..self.waiting_at);
            self.waiting_at = 0;
        }
    }

    /// Writes what waits and then `bytes`, in one call where the socket allows it.
    fn send(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        while self.pending() + bytes.len() > 0 {
            let waiting = &self.waiting[self.waiting_at..];
            let writer = self.transport.writer();
            let written = match (waiting, bytes) {
                // The plain call is the cheaper one.
                ([], only) | (only, []) => writer.poll_write(cx, only),
                (first, second) => writer.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]),
            };
            match written {
                Poll::Ready(Ok(0)) => return Err(self.fail(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.bytes_out += n as u64;
                    if let Some(meter) = &self.meter {
                        meter.store(self.bytes_out, Ordering::Relaxed);
                    }
                    self.unflushed |= matches!(self.transport, Transport::Tls(_));
                    let from_waiting = n.min(waiting.len());
                    self.waiting_at += from_waiting;
                    bytes = &bytes[n - from_waiting..];
                    if self.waiting_at == self.waiting.len() {
                        self.waiting.clear();
                        self.waiting_at = 0;
                    }
                }
                Poll::Ready(Err(e)) => return Err(self.fail(e)),
                Poll::Pending => break,
            }
        }
        self.keep(bytes);
        if self.unflushed {
            match self.transport.writer().poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(e)) => return Err(self.fail(e)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        self.check()?;
        if self.pending() > 0 || self.unflushed {
            self.send(cx, &[])?;
        }
        let sent = if most == 0 { self.pending() == 0 && !self.unflushed } else { self.pending() <= most };
        if sent { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests;
