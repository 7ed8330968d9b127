//! The API server of the cluster, as a pod reaches it: by the address in its environment, with the CA and the token of its
//! service account.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode, request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::upstream::tls::{provider, roots};

/// Where Kubernetes puts what a pod needs to ask.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// For a whole request: a review has a few seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const LARGEST: usize = 16 << 20;

/// Why the API server gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// There is no connection to it.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// It did not answer in time.
    #[error("no answer in time")]
    Late,
    /// What came is no answer.
    #[error("no answer: {0}")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It said no.
    #[error("it says {0}: {1}")]
    Status(StatusCode, String),
    /// This process is in no pod, or its certificates cannot be read.
    #[error("{0}")]
    Setup(String),
}

impl ApiError {
    /// The object is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, ApiError::Status(StatusCode::NOT_FOUND, _))
    }

    /// Somebody else changed it meanwhile, or made it.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, ApiError::Status(StatusCode::CONFLICT, _))
    }
}

/// The API server.
pub(super) struct Api {
    address: String,
    name: ServerName<'static>,
    tls: TlsConnector,
    /// Read for each request: the kubelet renews it.
    token: PathBuf,
}

impl Api {
    /// That of the pod this runs in.
    pub(super) fn of_pod() -> std::result::Result<Api, ApiError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = variable("KUBERNETES_SERVICE_HOST");
        let host = host.ok_or_else(|| ApiError::Setup("KUBERNETES_SERVICE_HOST is not set: this is no pod".into()))?;
        let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".into());
        let account = variable("OUTBOARD_SERVICE_ACCOUNT").unwrap_or_else(|| ACCOUNT.into());
        Api::new(&host, &port, PathBuf::from(account))
    }

    fn new(host: &str, port: &str, account: PathBuf) -> std::result::Result<Api, ApiError> {
        let setup = |e: &dyn std::fmt::Display| ApiError::Setup(e.to_string());
        let ca = roots(Some(&account.join("ca.crt"))).map_err(|e| setup(&e))?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| setup(&e))?
            .with_root_certificates(ca)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).map_err(|e| setup(&e))?;
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Ok(Api { address, name, tls: TlsConnector::from(Arc::new(config)), token: account.join("token") })
    }

    /// GET.
    pub(super) async fn get(&self, path: &str) -> std::result::Result<Value, ApiError> {
        self.ask(Method::GET, path, "application/json", Bytes::new()).await
    }

    /// POST: makes an object.
    pub(super) async fn create(&self, path: &str, object: &Value) -> std::result::Result<Value, ApiError> {
        self.ask(Method::POST, path, "application/json", object.to_string().into()).await
    }

    /// PUT: replaces an object, if it is still of the version that the new one says.
    pub(super) async fn replace(&self, path: &str, object: &Value) -> std::result::Result<Value, ApiError> {
        self.ask(Method::PUT, path, "application/json", object.to_string().into()).await
    }

    /// PATCH, by JSON Patch.
    pub(super) async fn patch(&self, path: &str, patch: &Value) -> std::result::Result<Value, ApiError> {
        self.ask(Method::PATCH, path, "application/json-patch+json", patch.to_string().into()).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        body: Bytes,
    ) -> std::result::Result<Value, ApiError> {
        let asks = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind);
        tokio::time::timeout(PATIENCE, self.exchange(asks, body)).await.map_err(|_| ApiError::Late)?
    }

    /// A connection for each: what is asked here is asked a few times a minute.
    async fn exchange(&self, asks: request::Builder, body: Bytes) -> std::result::Result<Value, ApiError> {
        let http = |e: hyper::Error| ApiError::Http(Box::new(e));
        let token = tokio::fs::read_to_string(&self.token).await?;
        let stream = self.tls.connect(self.name.clone(), TcpStream::connect(&self.address).await?).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        let request = asks
            .header(HOST, &self.address)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", token.trim()))
            .body(Full::new(body))
            .map_err(|e| ApiError::Http(Box::new(e)))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(http)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(ApiError::Http)?.to_bytes();
            Ok::<_, ApiError>((status, body))
        };
        tokio::pin!(connection);
        let (status, body) = tokio::select! {
            answer = answer => answer?,
            ended = &mut connection => {
                return Err(ended.err().map_or(ApiError::Late, http));
            }
        };
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let said = value.get("message").and_then(Value::as_str).unwrap_or_default();
        Err(ApiError::Status(status, said.chars().take(300).collect()))
    }
}
