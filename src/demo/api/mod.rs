//! A sample payment API, as a team would have written it: correct, on SQL, and slow where its database is.
//!
//! What it stands for. Every statement is real and runs on SQLite; what a remote database adds is slept. At the default
//! 10 ms a round trip a row by its key takes 10 ms. A merchant's configuration takes 210 ms and its payment methods
//! 130 ms: they are put together by joins over tables that nobody dares to touch, and a checkout page asks for both.
//! A payment takes 20 ms, a list 30 ms; making one or giving it back takes 50 ms of the database and 100 ms of the
//! acquirer, for which no connection is held. There are ten connections, and what does not get one waits for it in
//! turn: that is all this application saturates on. It says nothing of caching and compresses nothing.

mod answer;
mod db;
mod merchants;
mod payments;
pub(super) mod schema;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::answer::{Answer, Problem, respond};
use self::db::Pool;
use self::payments::Acquirer;
use super::Error;

/// The acquirer takes as long as this many round trips to the database.
const ACQUIRER_ROUND_TRIPS: u32 = 10;

/// The largest request body it reads.
const MAX_BODY: usize = 64 << 10;

/// The running sample API. It stops when this is dropped; `stop` also waits for its end.
pub struct Api {
    address: SocketAddr,
    state: Arc<State>,
    leave: Arc<Notify>,
    serving: tokio::task::JoinHandle<()>,
}

/// What the API counted since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// SQL statements.
    pub queries: u64,
    /// Requests that reached it, whatever it answered.
    pub requests: [(Endpoint, u64); 8],
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endpoint {
    CreatePayment,
    GetPayment,
    ListPayments,
    RefundPayment,
    MerchantConfig,
    PaymentMethods,
    Health,
    Other,
}

impl Endpoint {
    const ALL: [Endpoint; 8] = [
        Endpoint::CreatePayment,
        Endpoint::GetPayment,
        Endpoint::ListPayments,
        Endpoint::RefundPayment,
        Endpoint::MerchantConfig,
        Endpoint::PaymentMethods,
        Endpoint::Health,
        Endpoint::Other,
    ];
}

struct State {
    db: Pool,
    acquirer: Acquirer,
    requests: [AtomicU64; 8],
}

impl Api {
    /// Serves on `listener`, on this runtime. A round trip to its database takes `db_latency`.
    pub async fn serve(listener: TcpListener, db_latency: Duration, seed: u64) -> Result<Api, Error> {
        let address = listener.local_addr().map_err(Error::Listener)?;
        let db = tokio::task::spawn_blocking(move || Pool::open(db_latency, seed)).await??;
        let acquirer = Acquirer { answers_after: db_latency * ACQUIRER_ROUND_TRIPS };
        let state = Arc::new(State { db, acquirer, requests: Default::default() });
        let leave = Arc::new(Notify::new());
        let serving = tokio::spawn(accept(listener, state.clone(), leave.clone()));
        Ok(Api { address, state, leave, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counted so far.
    pub fn counters(&self) -> Counters {
        let requests = Endpoint::ALL.map(|e| (e, self.state.requests[e as usize].load(Ordering::Relaxed)));
        Counters { queries: self.state.db.queries(), requests }
    }

    /// Puts the rows back to how they were at the start, once nobody has a connection of the database.
    pub async fn reset(&self) -> Result<(), Error> {
        self.state.db.reset().await
    }

    /// Closes every connection and removes the database. Without it a process that exits leaves the files behind.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.leave.notify_one();
        Ok((&mut self.serving).await?)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Accepts until it is told to leave, and then ends the connections.
async fn accept(listener: TcpListener, state: Arc<State>, leave: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = leave.notified() => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => _ = connections.spawn(serve(stream, state.clone())),
            // Out of file descriptors, most likely: others must end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service_fn(move |request| handle(state.clone(), request)))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "sample api connection ended");
    }
}

async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let found = endpoint(&head.method, &segments);
    let counted = *found.as_ref().unwrap_or(&Endpoint::Other);
    state.requests[counted as usize].fetch_add(1, Ordering::Relaxed);
    let result = match found {
        Ok(endpoint) => answer(&state, endpoint, &segments, &head, body).await,
        Err(problem) => Err(problem),
    };
    Ok(respond(result))
}

/// Which endpoint a request is for; 404 and 405 else.
fn endpoint(method: &Method, segments: &[&str]) -> Result<Endpoint, Problem> {
    let (allow, read, write): (&'static str, _, _) = match segments {
        ["v1", "payments"] => ("GET, HEAD, POST", Some(Endpoint::ListPayments), Some(Endpoint::CreatePayment)),
        ["v1", "payments", id] if !id.is_empty() => ("GET, HEAD", Some(Endpoint::GetPayment), None),
        ["v1", "payments", id, "refund"] if !id.is_empty() => ("POST", None, Some(Endpoint::RefundPayment)),
        ["v1", "merchants", _, "config"] => ("GET, HEAD", Some(Endpoint::MerchantConfig), None),
        ["v1", "merchants", _, "payment-methods"] => ("GET, HEAD", Some(Endpoint::PaymentMethods), None),
        ["healthz"] => ("GET, HEAD", Some(Endpoint::Health), None),
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "no such path")),
    };
    let found = match *method {
        Method::GET | Method::HEAD => read,
        Method::POST => write,
        _ => None,
    };
    found.ok_or_else(|| Problem {
        allow: Some(allow),
        ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("expected {allow}"))
    })
}

async fn answer(
    State { db, acquirer, .. }: &State,
    endpoint: Endpoint,
    segments: &[&str],
    head: &Parts,
    body: Incoming,
) -> Result<Answer, Problem> {
    let asking = head.headers.get("x-merchant-id").and_then(|v| v.to_str().ok());
    let id = segments.get(2).copied().unwrap_or_default();
    match endpoint {
        Endpoint::CreatePayment => payments::create(db, acquirer, &read(body).await?).await,
        Endpoint::GetPayment => payments::get(db, id, asking).await,
        Endpoint::ListPayments => payments::list(db, head.uri.query(), asking).await,
        Endpoint::RefundPayment => payments::refund(db, acquirer, id, &read(body).await?).await,
        Endpoint::MerchantConfig => merchants::config(db, id).await,
        Endpoint::PaymentMethods => merchants::payment_methods(db, id).await,
        Endpoint::Health | Endpoint::Other => Ok(Answer::ok(json!({ "status": "ok" }))),
    }
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("expected at most {MAX_BODY} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
        }
        Err(error) => Err(Problem::unreadable(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
