//! An application that speaks HTTP/2 in clear by prior knowledge, on the `h2` crate.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response, request};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// An application. Dropped, it ends.
pub struct H2Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Received>>,
    connections: AtomicUsize,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub authority: String,
    pub headers: HeaderMap,
    /// On which connection, from 0.
    pub connection: usize,
}

impl H2Origin {
    /// Runs `story` for every request, side by side.
    pub fn serve<F>(story: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static) -> H2Origin
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = super::http2::runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (told, story) = (shared.clone(), Arc::new(story));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (told, story) = (told.clone(), story.clone());
                let connection = told.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let Ok(mut h2) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = h2.accept().await {
                        told.requests.lock().unwrap().push(received(&request, connection));
                        tokio::spawn(story(request, respond));
                    }
                });
            }
        });
        H2Origin { address, shared, runtime: Some(runtime) }
    }

    /// Reads every body, and answers 200 with its length and the request's trailers as JSON and, as trailers, the
    /// request's trailers.
    pub fn echo() -> H2Origin {
        H2Origin::serve(|request, mut respond| async move {
            let (head, mut body) = request.into_parts();
            let length = read(&mut body).await.len();
            let trailers = body.trailers().await.ok().flatten();
            let json = describe(&head, length, trailers.as_ref());
            let answer = Response::builder().status(200).header("content-type", "application/json");
            let Ok(mut send) = respond.send_response(answer.body(()).unwrap(), false) else { return };
            let _ = send.send_data(json.into(), trailers.is_none());
            if let Some(trailers) = trailers {
                let _ = send.send_trailers(trailers);
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request whose head came, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl fmt::Display for H2Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads a whole body and gives its window back.
pub async fn read(body: &mut RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        all.extend_from_slice(&chunk);
    }
    all
}

fn received(request: &Request<RecvStream>, connection: usize) -> Received {
    let uri = request.uri();
    Received {
        method: request.method().to_string(),
        target: uri.path_and_query().map_or_else(String::new, ToString::to_string),
        authority: uri.authority().map_or_else(String::new, ToString::to_string),
        headers: request.headers().clone(),
        connection,
    }
}

fn describe(head: &request::Parts, body: usize, trailers: Option<&HeaderMap>) -> String {
    let pairs = |map: &HeaderMap| -> Vec<(String, String)> {
        map.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
    };
    serde_json::json!({
        "method": head.method.as_str(),
        "target": head.uri.path_and_query().map(ToString::to_string),
        "authority": head.uri.authority().map(ToString::to_string),
        "headers": pairs(&head.headers),
        "body": body,
        "trailers": trailers.map(pairs),
    })
    .to_string()
}
