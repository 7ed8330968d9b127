//! An HTTP/2 client on the `h2` crate. Its runtime lives inside, so tests call it without `async`.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

use super::{Tls, patience};

/// A connection to the proxy.
pub struct Client {
    runtime: Arc<Runtime>,
    send: SendRequest<Bytes>,
    /// How the connection ended, once it has.
    ended: Arc<Mutex<Option<Result<(), String>>>>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Why the proxy answered itself; empty where it did not.
    pub fn reason(&self) -> &str {
        self.header("x-outboard-reason").unwrap_or("")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A stream whose request is still being sent.
pub struct Stream {
    runtime: Arc<Runtime>,
    pub send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
}

impl Client {
    /// Connects in clear, by prior knowledge.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Client {
        Client::over(TcpStream::connect(addr).unwrap())
    }

    /// In clear, by prior knowledge, on a connection that stands.
    #[track_caller]
    pub fn over(tcp: TcpStream) -> Client {
        Client::with(tcp, None, &h2::client::Builder::new())
    }

    /// Connects in clear with these settings.
    #[track_caller]
    pub fn with_settings(addr: SocketAddr, builder: &h2::client::Builder) -> Client {
        Client::with(TcpStream::connect(addr).unwrap(), None, builder)
    }

    /// Connects under TLS; ALPN agrees on h2.
    #[track_caller]
    pub fn tls(addr: SocketAddr, tls: &Tls, name: &str) -> Client {
        Client::with(TcpStream::connect(addr).unwrap(), Some((tls, name)), &h2::client::Builder::new())
    }

    #[track_caller]
    fn with(tcp: TcpStream, tls: Option<(&Tls, &str)>, builder: &h2::client::Builder) -> Client {
        let runtime = Arc::new(runtime());
        let ended = Arc::new(Mutex::new(None));
        let send = runtime.block_on(async {
            tcp.set_nonblocking(true).unwrap();
            let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
            tcp.set_nodelay(true).unwrap();
            match tls {
                None => start(tcp, builder, ended.clone()).await,
                Some((tls, name)) => {
                    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls.client_config(&["h2"])));
                    let stream = connector.connect(name.to_owned().try_into().unwrap(), tcp).await.unwrap();
                    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "ALPN");
                    start(stream, builder, ended.clone()).await
                }
            }
        });
        Client { runtime, send, ended }
    }

    /// A request for `http://test.example/path`.
    pub fn build(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(format!("http://test.example{path}")).body(()).unwrap()
    }

    /// GET, and its answer.
    pub fn get(&self, path: &str) -> Result<Answer, h2::Error> {
        self.stream(Client::build("GET", path), true)?.answer()
    }

    /// POST with Content-Length, and its answer.
    pub fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<Answer, h2::Error> {
        let body = body.into();
        let mut head = Client::build("POST", path);
        head.headers_mut().insert(http::header::CONTENT_LENGTH, body.len().into());
        let mut stream = self.stream(head, false)?;
        // What the proxy does not take any more must not keep its answer from being read.
        let _ = stream.send_all(body, true);
        stream.answer()
    }

    /// Opens a stream with this head; `end`: no body follows.
    pub fn stream(&self, head: Request<()>, end: bool) -> Result<Stream, h2::Error> {
        let (runtime, mut send) = (self.runtime.clone(), self.send.clone());
        self.runtime.block_on(async move {
            send = limited(send.ready()).await?;
            let (response, send) = send.send_request(head, end)?;
            Ok(Stream { runtime, send, response: Some(response), body: None })
        })
    }

    /// How the connection ended: `Some(Ok)` after a GOAWAY whose streams are done, `None` while it lives.
    pub fn ended(&self) -> Option<Result<(), String>> {
        self.ended.lock().unwrap().clone()
    }

    /// Whether the connection ends within this time.
    pub fn is_closed(&self, limit: Duration) -> bool {
        super::within(limit, || self.ended().is_some())
    }

    /// Whether no new stream can be opened: a GOAWAY came, or the connection ended.
    pub fn is_leaving(&self) -> bool {
        let mut send = self.send.clone();
        self.runtime.block_on(async move {
            let ready = std::future::poll_fn(|cx| send.poll_ready(cx));
            !matches!(tokio::time::timeout(Duration::from_millis(50), ready).await, Ok(Ok(())))
        })
    }
}

impl Stream {
    /// Sends a part of the body, waiting for the window; an error where the stream was reset.
    pub fn send_all(&mut self, body: Bytes, end: bool) -> Result<(), h2::Error> {
        let send = &mut self.send;
        self.runtime.block_on(limited(async {
            let mut left = body;
            while !left.is_empty() {
                send.reserve_capacity(left.len());
                let Some(room) = std::future::poll_fn(|cx| send.poll_capacity(cx)).await else {
                    return Err(h2::Reason::CANCEL.into());
                };
                let part = left.split_to(room?.min(left.len()));
                send.send_data(part, end && left.is_empty())?;
            }
            Ok(())
        }))
    }

    /// Sends a part of the body whether there is a window or not.
    pub fn send(&mut self, body: impl Into<Bytes>, end: bool) -> Result<(), h2::Error> {
        self.send.send_data(body.into(), end)
    }

    /// Ends the request with trailers.
    pub fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), h2::Error> {
        self.send.send_trailers(trailers)
    }

    /// Resets the stream.
    pub fn reset(&mut self, reason: h2::Reason) {
        self.send.send_reset(reason);
    }

    /// Waits for the answer's head.
    pub fn head(&mut self) -> Result<(u16, HeaderMap), h2::Error> {
        let response = self.response.take().expect("the head was read");
        let response = self.runtime.block_on(limited(response))?;
        let (parts, body) = response.into_parts();
        self.body = Some(body);
        Ok((parts.status.as_u16(), parts.headers))
    }

    /// Reads a part of the answer's body and gives its window back; none at its end.
    pub fn chunk(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let body = self.body.as_mut().expect("the head was not read");
        let chunk = self.runtime.block_on(limited(async { body.data().await.transpose() })).transpose();
        if let Some(Ok(chunk)) = &chunk {
            let _ = body.flow_control().release_capacity(chunk.len());
        }
        chunk
    }

    /// The trailers, behind the body.
    pub fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        let body = self.body.as_mut().expect("the head was not read");
        self.runtime.block_on(limited(body.trailers()))
    }

    /// Reads the whole answer.
    pub fn answer(mut self) -> Result<Answer, h2::Error> {
        let (status, headers) = self.head()?;
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk() {
            body.extend_from_slice(&chunk?);
        }
        let trailers = self.trailers()?;
        Ok(Answer { status, headers, body, trailers })
    }
}

/// As long as patience lasts, twice; then the test fails.
async fn limited<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(patience() * 2, work).await.expect("an HTTP/2 answer within patience")
}

async fn start(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    builder: &h2::client::Builder,
    ended: Arc<Mutex<Option<Result<(), String>>>>,
) -> SendRequest<Bytes> {
    let (send, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let result = connection.await.map_err(|e| e.to_string());
        *ended.lock().unwrap() = Some(result);
    });
    send
}

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
