//! One client: a connection that is kept, and made anew when the other side closed it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// After a connection failed.
const BEFORE_NEXT_CONNECTION: Duration = Duration::from_millis(50);

/// A client of one target.
pub(super) struct Client {
    target: SocketAddr,
    /// Every byte that came over its connections: heads, bodies, frames of chunks.
    received: Arc<AtomicU64>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// A whole answer.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// As received, not decoded.
    pub(super) body: Bytes,
    /// From the request's first byte to the answer's last.
    pub(super) took: Duration,
}

/// No whole answer: the connection broke, or there was none.
#[derive(Debug)]
pub(super) struct Broken;

impl Client {
    /// Connects with the first request; counts what it receives in `received`.
    pub(super) fn new(target: SocketAddr, received: Arc<AtomicU64>) -> Self {
        Client { target, received, connection: None }
    }

    /// Sends a request and reads its whole answer. A kept connection that turns out closed before anything was
    /// written is replaced once; nothing that may have been sent is sent again.
    pub(super) async fn send(&mut self, request: &Request<Full<Bytes>>) -> Result<Answered, Broken> {
        loop {
            let (mut connection, fresh) = match self.connection.take() {
                Some(mut kept) => match kept.ready().await {
                    Ok(()) => (kept, false),
                    Err(_) => (self.connect().await?, true),
                },
                None => (self.connect().await?, true),
            };
            let began = Instant::now();
            let response = match connection.send_request(request.clone()).await {
                Ok(response) => response,
                Err(error) if error.is_canceled() && !fresh => continue,
                Err(_) => return Err(Broken),
            };
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
            self.connection = Some(connection);
            return Ok(Answered { status: head.status, headers: head.headers, body, took: began.elapsed() });
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Broken> {
        let connected = self.try_connect().await;
        if connected.is_err() {
            tokio::time::sleep(BEFORE_NEXT_CONNECTION).await;
        }
        connected
    }

    async fn try_connect(&self) -> Result<SendRequest<Full<Bytes>>, Broken> {
        let stream = TcpStream::connect(self.target).await.map_err(|_| Broken)?;
        let _ = stream.set_nodelay(true);
        let counted = Counted { stream, received: self.received.clone() };
        let (sender, connection) = handshake(TokioIo::new(counted)).await.map_err(|_| Broken)?;
        // Ends when the sender is dropped; its errors reach us through the sender.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// A stream that counts what is read from it.
struct Counted {
    stream: TcpStream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
