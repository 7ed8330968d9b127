//! The small client with which commands ask a running process: `outboard health`, `outboard drain`, `outboard purge`.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer above this is not one of ours.
const LARGEST: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("cannot connect to the admin address {0}")]
    Connect(String, #[source] io::Error),
    /// Whoever listens did not answer in time.
    #[error("no answer from {0} within {1:?}")]
    Timeout(String, Duration),
    /// What came back is no answer.
    #[error("no answer from {0}")]
    Http(String, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// A client of one administration address.
#[derive(Clone)]
pub struct Client {
    address: String,
    token: Option<String>,
    timeout: Duration,
}

impl Client {
    /// Asks at `address` as the configuration has it. `timeout` bounds a whole request.
    pub fn new(address: &str, token: Option<String>, timeout: Duration) -> Self {
        // What listens everywhere is asked on loopback.
        let address = match address.rsplit_once(':') {
            Some(("0.0.0.0" | "", port)) => format!("127.0.0.1:{port}"),
            Some(("[::]", port)) => format!("[::1]:{port}"),
            _ => address.to_owned(),
        };
        Client { address, token, timeout }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// POST of a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, ClientError> {
        self.ask(Method::POST, path, body.to_string().into()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let late = |_| ClientError::Timeout(self.address.clone(), self.timeout);
        timeout(self.timeout, self.exchange(method, path, body)).await.map_err(late)?
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let connect = |e| ClientError::Connect(self.address.clone(), e);
        let stream = TcpStream::connect(&self.address).await.map_err(connect)?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|e| self.http(e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.http(e))?;
        // Ends with the sender.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| self.http(e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|e| self.http(e))?.to_bytes();
        Ok(Answer { status, body })
    }

    fn http(&self, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Http(self.address.clone(), e.into())
    }
}
