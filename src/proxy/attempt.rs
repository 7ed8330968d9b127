//! Step 6: an endpoint, a connection, an exchange; what came of it; and whether it is tried again.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Duration, Instant};

use super::breakers::Tickets;
use super::context::Context;
use super::downstream::Downstream;
use super::exchange::{self, Ended, Exchange, Failed, Upload};
use super::origin::{self, Origin};
use super::repeat::Repeat;
use super::request::{Framing, Outgoing};
use super::wait::{Supervised, Waited, supervise, wait};
use super::{Proxy, Received, breakers, place};
use crate::observe::metrics::{AttemptOutcome, RetryOutcome};
use crate::policy::outlier;
use crate::policy::retry::Kind;
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::timer::Timer;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::{Lease, NoEndpoint};

/// Endpoints that are tried for one attempt before it is given up: what cannot be connected to was sent nothing.
const ENDPOINTS: usize = 3;

/// A request that waits for longer than this before it is tried again gives its place at the application back.
const HELD: Duration = Duration::from_millis(100);

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

/// Steps 5 and 6 of a request that a task makes: its answer is taken in by `down`.
pub(super) async fn ask(
    proxy: &Arc<Proxy>,
    cx: &mut Context,
    route: &Arc<Route>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    request: &Received,
    body: Bytes,
) -> Result<(), Refusal> {
    let tickets = place::enter(cx, route, down, timer, request).await?;
    let attempts = Attempts { proxy, route, request, body };
    match attempts.run(cx, down, timer, tickets).await? {
        Ended::Answered => Ok(()),
        Ended::Upgraded(..) => Err(Reason::UpstreamReset.into_refusal("it switches protocols unasked")),
    }
}

/// What the attempts before leave to the next.
#[derive(Default)]
struct Before {
    /// Endpoints that are passed over.
    tried: Vec<Arc<Endpoint>>,
    /// Connections that waited are not used: one of them was closed under the request.
    fresh: bool,
}

impl Attempts<'_> {
    /// Tries until the request was answered, or has to be refused.
    pub(super) async fn run(
        &self,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        mut tickets: Option<Tickets>,
    ) -> Result<Ended, Refusal> {
        let keyed = down.as_taking().is_some();
        let repeat = Repeat::new(self.proxy, self.route, self.request, &down.request().headers, keyed);
        let mut before = Before::default();
        loop {
            (cx.tries, cx.status) = (cx.tries + 1, 0);
            // What was gathered of an answer that broke off is no part of the next.
            down.forget();
            cx.watch = breakers::admit(self.route, tickets.take())?;
            let result = self.attempt(cx, down, timer, &mut before, &repeat).await;
            if matches!(result, Err(Failed::Stale | Failed::Unsent)) {
                cx.watch.says_nothing();
            }
            cx.end_attempt(outcome(&result, cx));
            if cx.tries > 1 {
                let good = result.is_ok() && cx.status < 500;
                self.route.metrics.retried(if good { RetryOutcome::Ok } else { RetryOutcome::Failed });
            }
            let failed = match result {
                Ok(ended) => return Ok(ended),
                Err(failed) => failed,
            };
            before.fresh |= matches!(failed, Failed::Stale | Failed::Unsent);
            let again = match &failed {
                Failed::Again(after) => Some(*after),
                _ if down.head_written || cx.client_left => None,
                _ => kind(&failed).and_then(|kind| repeat.again(cx, kind, None)),
            };
            let Some(after) = again else { return Err(failed.into_refusal()) };
            if after > Duration::ZERO {
                // The application has nothing to do for it meanwhile; what is tried after so long takes its turn again.
                let gives_back = after > HELD && cx.place.is_some();
                if gives_back {
                    cx.leave_place();
                }
                self.wait(cx, down, timer, after).await?;
                if gives_back {
                    tickets = place::enter(cx, self.route, down, timer, self.request).await?;
                }
            }
        }
    }

    /// One attempt: its connection, then its exchange.
    async fn attempt(
        &self,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        before: &mut Before,
        repeat: &Repeat<'_>,
    ) -> Result<Ended, Failed> {
        let lease = self.connect(cx, down, timer, before).await?;
        let endpoint = lease.attempt.endpoint.clone();
        let result = self.exchange(cx, down, timer, lease, repeat).await;
        // The next attempt goes elsewhere, where there is an elsewhere; a connection that was closed while it waited says
        // nothing of its endpoint.
        if matches!(result, Err(Failed::Again(_) | Failed::Refused(_))) {
            before.tried.push(endpoint);
        }
        result
    }

    /// Waits before the next attempt; a client that leaves ends it.
    async fn wait(
        &self,
        cx: &Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        after: Duration,
    ) -> Result<(), Refusal> {
        let until = (Instant::now() + after).min(cx.deadline);
        let leaves = self.request.is_watched(down);
        match wait(down, timer, until, leaves).await {
            Waited::Left => Err(Reason::ClientLeft.into()),
            Waited::Until => Ok(()),
        }
    }

    /// A connection to an endpoint. One that cannot be reached is passed over: nothing was sent to it.
    async fn connect(
        &self,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        before: &mut Before,
    ) -> Result<Lease, Refusal> {
        let upstream = &self.route.upstream;
        let key = self.key(cx, &down.request().headers);
        let mut unreachable = 0;
        // The one that was passed over last: it is told so once another is there to be tried, or else by the attempt's end.
        let mut passed_over: Option<Arc<Endpoint>> = None;
        loop {
            let chosen = upstream.choose(key, &before.tried);
            let attempt = match chosen {
                Ok(attempt) => attempt,
                // All were tried, some of them by the attempts before this one: then those may have another.
                Err(NoEndpoint::Busy) if before.tried.len() > unreachable => {
                    before.tried.drain(..before.tried.len() - unreachable);
                    continue;
                }
                Err(NoEndpoint::Busy) if unreachable == 0 => {
                    return Err(Refusal::new(Reason::Overloaded, "all connections are in use"));
                }
                Err(NoEndpoint::Busy) => return Err(Reason::UpstreamConnect.into_refusal(UNREACHABLE)),
                Err(NoEndpoint::Unresolved) => return Err(Reason::UpstreamConnect.into_refusal("no endpoint is known")),
            };
            if let Some(endpoint) = passed_over.take() {
                upstream.metrics.attempt(AttemptOutcome::Connect);
                upstream.outcome(&endpoint, outlier::Outcome::Failed);
            }
            cx.attempts += 1;
            let endpoint = attempt.endpoint.clone();
            cx.endpoint = Some(endpoint.clone());
            let repeatable = cx.method.is_safe();
            let deadline = (Instant::now() + self.route.timeouts.connect).min(cx.deadline);
            let connecting = upstream.connect(attempt, repeatable, before.fresh);
            let leaves = self.route.timeouts.on_client_close.cancels(&cx.method) && self.request.is_watched(down);
            let cause = match supervise(connecting, down, timer, deadline, leaves).await {
                Supervised::Done(Ok(lease)) => {
                    cx.reused = Some(lease.reused);
                    return Ok(lease);
                }
                Supervised::Left => {
                    cx.client_left = true;
                    return Err(Reason::ClientLeft.into());
                }
                // A host that is gone answers nothing at all: the next endpoint has its own time, within the total.
                Supervised::Late => io::Error::from(io::ErrorKind::TimedOut),
                Supervised::Done(Err(e)) => e,
            };
            tracing::debug!(event = "connect_failed", upstream = %upstream.name, endpoint = %endpoint.label, cause = %cause);
            before.tried.push(endpoint.clone());
            unreachable += 1;
            if unreachable >= ENDPOINTS || Instant::now() >= cx.deadline {
                return Err(Reason::UpstreamConnect.into_refusal(UNREACHABLE));
            }
            passed_over = Some(endpoint);
        }
    }

    async fn exchange(
        &self,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        lease: Lease,
        repeat: &Repeat<'_>,
    ) -> Result<Ended, Failed> {
        let endpoint = lease.attempt.endpoint.clone();
        // Before the application can have any of it.
        if let Some(taking) = down.as_taking() {
            taking.send(endpoint.label.clone(), cx.deadline, timer).await?;
        }
        if let Some(change) = &mut cx.change {
            change.sent();
        }
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
            marked: self.route.compression.is_some() && down.is_client(),
        };
        // An empty body is none: the head's write tells then whether the connection still stood.
        let bodiless = matches!(self.request.framing, Framing::None | Framing::Length(0));
        let mut written = origin.write_head(&outgoing, bodiless).await;
        if written.is_ok() && !self.body.is_empty() {
            written = exchange::hand_over(&mut origin, self.body.clone()).await.map_err(|_| origin::Failed::Broken);
        }
        if let Err(failed) = written {
            let unsent = origin.reused() && origin.nothing_left();
            cx.sent = cx.sent.max(origin.sent);
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
        Exchange::new(self.proxy, cx, self.route, down, timer, origin, upload, websocket, repeat).run().await
    }

    fn key(&self, cx: &Context, headers: &HeaderMap) -> Option<u64> {
        let key = self.route.hash_on.as_ref()?;
        Some(cx.with_source(self.route, headers, |source| key.hash(source)))
    }
}

fn outcome(result: &Result<Ended, Failed>, cx: &Context) -> AttemptOutcome {
    match result {
        Ok(_) if cx.client_left && cx.status == 0 => AttemptOutcome::ClientLeft,
        Ok(_) if cx.status >= 500 => AttemptOutcome::Error,
        Ok(_) => AttemptOutcome::Ok,
        Err(Failed::Stale | Failed::Unsent) => AttemptOutcome::Reset,
        // An answer was thrown away, or waited for too long.
        Err(Failed::Again(_)) if cx.status != 0 => AttemptOutcome::Error,
        Err(Failed::Again(_)) => AttemptOutcome::Timeout,
        Err(Failed::Refused(refusal)) => match refusal.reason {
            Reason::ClientLeft => AttemptOutcome::ClientLeft,
            Reason::UpstreamConnect => AttemptOutcome::Connect,
            Reason::UpstreamTimeout => AttemptOutcome::Timeout,
            Reason::UpstreamReset => AttemptOutcome::Reset,
            _ => AttemptOutcome::Neutral,
        },
    }
}

/// What kind of failure it is that might be tried again.
fn kind(failed: &Failed) -> Option<Kind> {
    match failed {
        Failed::Stale => Some(Kind::Stale),
        Failed::Unsent => Some(Kind::Unsent),
        Failed::Again(_) => None,
        Failed::Refused(refusal) => match refusal.reason {
            Reason::UpstreamConnect => Some(Kind::Connect),
            Reason::UpstreamReset => Some(Kind::Reset),
            Reason::UpstreamTimeout => Some(Kind::Timeout),
            _ => None,
        },
    }
}
