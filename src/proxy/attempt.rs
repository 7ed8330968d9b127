//! Step 6: an endpoint, a connection, an exchange; and what came of it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::context::Context;
use super::downstream::Downstream;
use super::exchange::{self, Ended, Exchange, Failed, Upload};
use super::origin::{self, Origin};
use super::request::{Framing, Outgoing};
use super::{Proxy, Received};
use crate::observe::metrics::AttemptOutcome;
use crate::policy::outlier::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::route::key::Source;
use crate::route::table::Route;
use crate::timer::Timer;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::{Lease, NoEndpoint};

/// Endpoints that are tried for one request before it is given up. Only what was never sent goes on to the next.
const ENDPOINTS: usize = 3;

/// What a client is told when no connection could be opened.
const UNREACHABLE: &str = "no endpoint could be reached";

/// What an attempt works on.
pub(super) struct Attempts<'x> {
    pub(super) proxy: &'x Proxy,
    pub(super) route: &'x Arc<Route>,
    pub(super) request: &'x Received,
    /// The body, where it is at hand.
    pub(super) body: Bytes,
}

impl Attempts<'_> {
    /// Tries until the request was answered, or has to be refused.
    pub(super) async fn run(
        &self,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
    ) -> Result<Ended, Refusal> {
        let mut tried: Vec<Arc<Endpoint>> = Vec::new();
        let mut fresh = false;
        loop {
            let lease = self.connect(cx, down, timer, &mut tried, fresh).await?;
            let metrics = &self.route.upstream.metrics;
            let result = self.exchange(cx, down, timer, lease).await;
            metrics.attempt(outcome(&result, cx));
            if let Some(endpoint) = &cx.endpoint {
                self.route.upstream.outcome(endpoint, verdict(&result, cx));
            }
            match result {
                Ok(ended) => return Ok(ended),
                Err(Failed::Refused(refusal)) => return Err(refusal),
                // The connection was closed while it waited. Nothing of an answer came, and asking again does no harm;
                // but of a body that streams a part is gone.
                Err(Failed::Stale) if !fresh && cx.method.is_safe() && !self.request.streams_body() => {
                    fresh = true;
                }
                // Once more, whatever the method: nothing was begun with.
                Err(Failed::Unsent) if !fresh && !self.request.streams_body() => fresh = true,
                Err(Failed::Stale | Failed::Unsent) => {
                    return Err(Reason::UpstreamReset.into_refusal("before its answer"));
                }
            }
        }
    }

    /// A connection to an endpoint. One that cannot be reached is passed over: nothing was sent to it.
    async fn connect(
        &self,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        tried: &mut Vec<Arc<Endpoint>>,
        fresh: bool,
    ) -> Result<Lease, Refusal> {
        let upstream = &self.route.upstream;
        let key = self.key(cx, &down.request().headers);
        loop {
            let attempt = upstream.choose(key, tried).map_err(|none| match none {
                NoEndpoint::Busy if tried.is_empty() => Refusal::new(Reason::Overloaded, "all connections are in use"),
                NoEndpoint::Busy => Reason::UpstreamConnect.into_refusal(UNREACHABLE),
                NoEndpoint::Unresolved => Reason::UpstreamConnect.into_refusal("no endpoint is known"),
            })?;
            cx.attempts += 1;
            let endpoint = attempt.endpoint.clone();
            cx.endpoint = Some(endpoint.clone());
            let repeatable = cx.method.is_safe();
            let deadline = (Instant::now() + self.route.timeouts.connect).min(cx.deadline);
            let connecting = upstream.connect(attempt, repeatable, fresh);
            let leaves = self.route.timeouts.on_client_close.cancels(&cx.method) && !self.request.streams_body();
            let cause = match supervise(connecting, down, timer, deadline, leaves).await {
                Supervised::Done(Ok(lease)) => {
                    cx.reused = Some(lease.reused);
                    return Ok(lease);
                }
                Supervised::Left => {
                    cx.client_left = true;
                    upstream.metrics.attempt(AttemptOutcome::ClientLeft);
                    return Err(Reason::ClientLeft.into());
                }
                // A host that is gone answers nothing at all: the next endpoint has its own time, within the total.
                Supervised::Late => io::Error::from(io::ErrorKind::TimedOut),
                Supervised::Done(Err(e)) => e,
            };
            upstream.metrics.attempt(AttemptOutcome::Connect);
            upstream.outcome(&endpoint, Outcome::Failed);
            tracing::debug!(event = "connect_failed", upstream = %upstream.name, endpoint = %endpoint.label, cause = %cause);
            tried.push(endpoint);
            if tried.len() >= ENDPOINTS || Instant::now() >= cx.deadline {
                return Err(Reason::UpstreamConnect.into_refusal(UNREACHABLE));
            }
        }
    }

    async fn exchange(
        &self,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        lease: Lease,
    ) -> Result<Ended, Failed> {
        let endpoint = lease.attempt.endpoint.clone();
        let mut origin = Box::new(Origin::new(lease));
        let to_http2 = origin.is_http2();
        let websocket = self.request.websocket && !to_http2;
        let outgoing = Outgoing {
            received: down.request(),
            cx,
            route: self.route,
            endpoint: &endpoint,
            framing: self.request.framing,
            websocket,
        };
        let bodiless = self.request.framing == Framing::None;
        let mut written = origin.write_head(&outgoing, bodiless).await;
        if written.is_ok() && !self.body.is_empty() {
            written = exchange::hand_over(&mut origin, self.body.clone()).await.map_err(|_| origin::Failed::Broken);
        }
        if let Err(failed) = written {
            let unsent = origin.reused() && origin.nothing_left();
            cx.sent = origin.sent;
            return Err(match failed {
                origin::Failed::Refused(refusal) => refusal.into(),
                origin::Failed::Broken if unsent => Failed::Unsent,
                origin::Failed::Broken => Reason::UpstreamReset.into_refusal("before its answer").into(),
            });
        }
        let upload = match self.request.framing {
            Framing::None | Framing::Length(0) => Upload::Ending,
            Framing::Length(_) if !self.request.streams_body() => Upload::Ending,
            Framing::Length(_) | Framing::Chunked => Upload::Streaming,
        };
        Exchange::new(self.proxy, cx, self.route, down, timer, origin, upload, websocket).run().await
    }

    fn key(&self, cx: &Context, headers: &HeaderMap) -> Option<u64> {
        let key = self.route.hash_on.as_ref()?;
        let path = cx.uri.path();
        let table = &cx.state.table;
        let params = |name: &str| {
            let index = table.routes.iter().position(|r| Arc::ptr_eq(r, self.route))?;
            table.matcher.params(index, path).find(|(n, _)| *n == name).map(|(_, value)| value)
        };
        let source = Source { client: cx.client_ip, headers, query: cx.uri.query(), params: &params };
        Some(key.hash(&source))
    }
}

fn outcome(result: &Result<Ended, Failed>, cx: &Context) -> AttemptOutcome {
    match result {
        Ok(_) if cx.client_left && cx.status == 0 => AttemptOutcome::ClientLeft,
        Ok(_) if cx.status >= 500 => AttemptOutcome::Error,
        Ok(_) => AttemptOutcome::Ok,
        Err(Failed::Stale | Failed::Unsent) => AttemptOutcome::Reset,
        Err(Failed::Refused(refusal)) => match refusal.reason {
            Reason::ClientLeft => AttemptOutcome::ClientLeft,
            Reason::UpstreamConnect => AttemptOutcome::Connect,
            Reason::UpstreamTimeout => AttemptOutcome::Timeout,
            Reason::UpstreamReset => AttemptOutcome::Reset,
            _ => AttemptOutcome::Neutral,
        },
    }
}

/// What the attempt says about its endpoint.
fn verdict(result: &Result<Ended, Failed>, cx: &Context) -> Outcome {
    // A kept connection that was closed while it waited, and a stream that was not begun with, are no failures.
    if matches!(result, Err(Failed::Stale | Failed::Unsent)) {
        return Outcome::Neutral;
    }
    match outcome(result, cx) {
        AttemptOutcome::Error if !matches!(cx.status, 500 | 502 | 503 | 504) => Outcome::Ok,
        AttemptOutcome::Ok => Outcome::Ok,
        // Behind a good head it may be a stream that is silent, or at the end of its time.
        AttemptOutcome::Timeout if (1..500).contains(&cx.status) => Outcome::Neutral,
        AttemptOutcome::Error | AttemptOutcome::Connect | AttemptOutcome::Timeout | AttemptOutcome::Reset => {
            Outcome::Failed
        }
        AttemptOutcome::ClientLeft | AttemptOutcome::Neutral => Outcome::Neutral,
    }
}

enum Supervised<T> {
    Done(T),
    Left,
    Late,
}

/// Waits for `work`, a deadline, or the client to leave where that ends it.
async fn supervise<T>(
    work: impl Future<Output = io::Result<T>>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    deadline: Instant,
    leaves: bool,
) -> Supervised<io::Result<T>> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Supervised::Done(done));
        }
        if leaves && down.poll_gone(cx).is_ready() {
            return Poll::Ready(Supervised::Left);
        }
        timer.set(deadline);
        timer.poll(cx).map(|()| Supervised::Late)
    })
    .await
}
