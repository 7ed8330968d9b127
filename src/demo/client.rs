//! One client: a connection that is kept, and made anew when the other side closed it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// After a connection failed.
const BEFORE_NEXT_CONNECTION: Duration = Duration::from_millis(50);

/// A client of one target.
pub(super) struct Client {
    target: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// A whole answer.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// As received, not decoded.
    pub(super) body: Bytes,
    /// From the request's first byte to the answer's last.
    pub(super) took: Duration,
}

/// No whole answer: the connection broke, or there was none.
#[derive(Debug)]
pub(super) struct Broken;

impl Client {
    /// Connects with the first request.
    pub(super) fn new(target: SocketAddr) -> Self {
        Client { target, connection: None }
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
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|_| Broken)?.to_bytes();
            self.connection = Some(connection);
            return Ok(Answered { status, body, took: began.elapsed() });
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
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Broken)?;
        // Ends when the sender is dropped; its errors reach us through the sender.
        tokio::spawn(connection);
        Ok(sender)
    }
}
