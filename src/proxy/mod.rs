//! A request's whole way, as one function read from top to bottom.
//!
//! ```text
//!  1 begin    id, trace, clock, deadline, in-flight guard · path checked · route
//!  2 admit    faults · rate limits · body limit, small body read or to be streamed
//!  3 reserve  the idempotency key: carried out once in a task of its own, or answered by what is kept
//!  4 look up  the cache: served from it, or fetched once for all who want the same
//!  5 enter    breakers · queue: a place at the application
//!  6 attempt  endpoint, connection, exchange; tried again where that is safe
//!  8 serve    from memory, or the application's answer: conditions, ranges, codings
//!  9 end      metrics, access line; guards drop
//! ```
//! Every refusal travels by `?` to one place that answers it.

mod access;
mod attempt;
mod breakers;
pub mod caching;
pub mod coding;
mod context;
mod downstream;
mod exchange;
mod fault;
mod forwarded;
mod hop;
pub mod keyed;
mod limits;
mod origin;
mod pipe;
mod place;
mod refuse;
mod repeat;
mod request;
pub mod requests;
mod serve;
mod session;
pub mod state;
mod streams;
mod tunnel;
mod upload;
mod wait;
mod watch;

use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::{Method, header};
use pingora::http::RequestHeader;
use tokio::time::Instant;

use crate::http1::AnswerHead;
use crate::io::Conn;
use crate::lifecycle::Lifecycle;
use crate::observe::log::AccessLog;
use crate::observe::metrics::{Metrics, RouteMetrics};
use crate::refusal::{Reason, Refusal};
use crate::route::matcher::{Found, Request, host_without_port};
use crate::route::path::check_path;
use crate::route::table::{Route, WHOLE};
use crate::timer::Timer;

use attempt::Attempts;
use caching::{Cache, Looked};
use coding::Codings;
use context::Context;
use downstream::Downstream;
use exchange::Ended;
use keyed::records::Records;
use origin::Origin;
use request::Framing;
use requests::{Entry, Requests};
pub use session::Session;
use state::{ListenerPolicy, State};
pub use streams::EventStreams;
pub use upload::Buffered;

pub(crate) use forwarded::is_trusted;

/// What all requests share.
pub struct Proxy {
    /// The configuration, swapped whole by a reload.
    pub state: ArcSwap<State>,
    /// The phases of the process, and what is in flight.
    pub lifecycle: Arc<Lifecycle>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What requests count into before they have a route.
    pub unrouted: Arc<RouteMetrics>,
    /// Where access lines go.
    pub access_log: AccessLog,
    /// Memory that bodies hold.
    pub buffered: Buffered,
    /// Event streams and WebSockets.
    pub event_streams: EventStreams,
    /// The requests in flight, for administration.
    pub requests: Requests,
    /// The response cache.
    pub cache: Cache,
    /// The idempotency records.
    pub records: Records,
    /// What bodies are encoded by.
    pub codings: Codings,
}

/// A client connection, as far as its requests need it.
pub struct Client {
    /// Where it connected.
    pub listener: Arc<ListenerPolicy>,
    /// Its address; none on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Its address as text, written once: each of its requests carries it twice.
    pub peer_text: Arc<str>,
    /// Whether it is believed.
    pub trusted: bool,
    /// The HTTP/1 connection ends after this request.
    pub last: bool,
}

/// What became of an HTTP/1 connection.
pub enum Next {
    /// The next request may follow; these bytes of it came already.
    Request(Box<Conn>, BytesMut),
    /// It ends, once the client had time to read.
    Close(Box<Conn>),
    /// It has ended.
    Ended,
}

/// How a request came: what its head says of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    framing: Framing,
    expects: bool,
    websocket: bool,
    /// A body of at most this length is read whole.
    whole: u64,
}

impl Received {
    fn new(head: &RequestHeader, body_ended: bool) -> Self {
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let framing = match length {
            _ if body_ended && length.is_none() => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        let expects = framing != Framing::None && head.headers.contains_key(header::EXPECT);
        let websocket = matches!(framing, Framing::None | Framing::Length(0))
            && head.version == http::Version::HTTP_11
            // By GET alone (RFC 6455 4.1): what a HEAD is answered with has nothing behind its head.
            && head.method == Method::GET
            && head.headers.contains_key(header::UPGRADE)
            && hop::is_websocket(&head.headers);
        Received { framing, expects, websocket, whole: WHOLE }
    }

    /// Whether the body is handed on while it comes.
    fn streams_body(&self) -> bool {
        match self.framing {
            Framing::None => false,
            Framing::Length(n) => n > self.whole,
            Framing::Chunked => true,
        }
    }

    /// Whether it is seen that the client leaves while nothing of its body is read. On HTTP/1 what would be read ahead of
    /// the body ends the watch; on HTTP/2 a stream is reset beside it.
    fn is_watched(&self, down: &Downstream<'_>) -> bool {
        !self.streams_body() || down.is_http2()
    }
}

impl Client {
    /// A connection at `listener` from `peer`.
    pub fn new(listener: Arc<ListenerPolicy>, peer: Option<IpAddr>) -> Self {
        let trusted = peer.is_some_and(|ip| is_trusted(&listener.trusted, ip));
        let peer_text = peer.map_or_else(|| Arc::from(""), |ip| ip.to_string().into());
        Client { listener, peer, peer_text, trusted, last: false }
    }
}

impl Proxy {
    /// Serves one request whose head was read; `state` holds for it to its end.
    pub async fn handle(
        self: &Arc<Self>,
        state: Arc<State>,
        client: &Client,
        timer: &mut Timer,
        mut session: Session,
    ) -> Next {
        let in_flight = self.lifecycle.request(client.listener.direction);
        if !client.trusted {
            forwarded::strip(session.request_mut(), &client.listener);
        }
        let spelling = session.take_spelling();
        let mut cx = Context::begin(state, client, session.request(), spelling, in_flight);
        let entry = Entry::new(&cx);
        let ((upgraded, _listed), close) = {
            let mut down = Downstream::new(&mut session);
            down.close = client.last;
            let upgraded = self.requests.listed(entry, pin!(self.serve(&mut cx, &mut down, timer))).await;
            (upgraded, down.close)
        };
        let next = match upgraded {
            Some((origin, head)) => self.tunnel(&mut cx, timer, session, origin, head).await,
            None => finish(session, close),
        };
        access::end(self, &cx);
        // Counted until here: the last byte of an HTTP/1 answer was handed to the socket.
        drop(cx.in_flight.take());
        next
    }

    /// Answers the request, with a refusal where it has to be. A defect of ours is a refusal too, never the process.
    async fn serve(
        self: &Arc<Self>,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
    ) -> Option<(Box<Origin>, Box<AnswerHead>)> {
        let body_ended = down.is_body_done();
        let request = Received::new(down.request(), body_ended);
        let result = caught(pin!(self.forward(cx, down, timer, &request))).await;
        match result {
            Ok(Ended::Answered) => None,
            Ok(Ended::Upgraded(origin, head)) => Some((origin, head)),
            Err(refusal) => {
                refuse::refuse(cx, down, timer, Some(&request), &refusal).await;
                None
            }
        }
    }

    /// The way of a request.
    async fn forward(
        self: &Arc<Self>,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        request: &Received,
    ) -> Result<Ended, Refusal> {
        // 1 begin
        let route = self.route(cx, down.request())?;
        cx.route = Some(route.clone());
        cx.deadline = cx.started + route.timeouts.total;
        self.shorten_when_leaving(cx, &route)?;
        let _in_flight = route.metrics.begin();
        let request = &Received { whole: route.whole, ..*request };
        // 2 admit
        self.inject(cx, &route, down, timer).await?;
        limits::admit(cx, &route, &down.request().headers)?;
        let tried = self.tried(cx, &route, down.request())?;
        if let Framing::Length(length) = request.framing
            && length > route.max_body
        {
            return Err(upload::too_large(route.max_body));
        }
        if request.expects {
            // Who asks before it sends is not told to send what nobody will take. What is kept is given to who shows the same
            // body, whatever the application does.
            match &tried {
                Some(tried) => tried.check(request.framing)?,
                None => drop(breakers::check(&route)?),
            }
            upload::go_on(down);
        }
        let (body, held) = match (&tried, request.framing) {
            (Some(tried), framing) => tried.read_body(self, cx, down, timer, framing).await?,
            (None, Framing::Length(length)) if length > 0 && !request.streams_body() => {
                let mut held = self.buffered.begin();
                (upload::read_whole(cx, down, timer, Some(length), length, &mut held).await?, Some(held))
            }
            (None, _) => (Bytes::new(), None),
        };
        // 3 reserve
        if let Some(tried) = tried {
            // Boxed: it would make the way of every other request longer.
            return Box::pin(self.keyed(cx, &route, down, timer, request, (body, held), &tried)).await;
        }
        let _held = held;
        // 4 look up
        if let Looked::Answered = self.look_up(cx, &route, down, timer, request).await? {
            return Ok(Ended::Answered);
        }
        cx.change = self.change(cx, &route, &down.request().headers);
        // 5 enter
        let tickets = place::enter(cx, &route, down, timer, request).await?;
        // 6 attempt
        let attempts = Attempts { proxy: self, route: &route, request, body };
        let ended = attempts.run(cx, down, timer, tickets).await;
        cx.leave_place();
        if let Some(change) = &mut cx.change {
            change.ended();
        }
        ended
    }

    fn route(&self, cx: &Context, head: &RequestHeader) -> Result<Arc<Route>, Refusal> {
        let path = cx.uri.path();
        if path == "*" && cx.method != Method::OPTIONS {
            return Err(Refusal::new(Reason::BadRequest, "the target * is for OPTIONS alone"));
        }
        let strict = check_path(path, false);
        let host = match &cx.host {
            Some(host) => Some(host_without_port(host.to_str().map_err(|_| Reason::BadRequest)?)),
            None => None,
        };
        let table = &cx.state.table;
        let found = table.matcher.find(&Request {
            listener: cx.listener.index,
            host,
            path,
            method: &cx.method,
            headers: &head.headers,
            query: cx.uri.query(),
        });
        let route = match &found {
            Found::Route(index) => table.routes.get(*index),
            Found::MethodNotAllowed(_) | Found::None => None,
        };
        if let Err(detail) = strict
            && !route.is_some_and(|r| r.allow_encoded_slash && check_path(path, true).is_ok())
        {
            return Err(Refusal::new(Reason::BadRequest, detail));
        }
        match (route, found) {
            (Some(route), _) => Ok(route.clone()),
            (None, Found::MethodNotAllowed(allow)) => {
                Err(Reason::MethodNotAllowed.into_refusal("").with_header(header::ALLOW, &allow))
            }
            (None, _) => Err(Reason::NoRoute.into()),
        }
    }

    /// A process that leaves has one deadline; what cannot end before it is not begun.
    fn shorten_when_leaving(&self, cx: &mut Context, route: &Route) -> Result<(), Refusal> {
        let Some(end) = self.lifecycle.deadline() else { return Ok(()) };
        let left = end.saturating_duration_since(Instant::now());
        if left < route.timeouts.connect + std::time::Duration::from_secs(1) {
            return Err(Reason::Draining.into());
        }
        cx.deadline = cx.deadline.min(end);
        Ok(())
    }
}

/// Runs a request's way to its end; a panic in it is a refusal. The panic hook has counted and logged it. Pinned where it
/// was made: moving it would copy kilobytes.
async fn caught<T>(mut way: Pin<&mut impl Future<Output = Result<T, Refusal>>>) -> Result<T, Refusal> {
    std::future::poll_fn(|cx| {
        std::panic::catch_unwind(AssertUnwindSafe(|| way.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(Reason::Internal.into())))
    })
    .await
}

/// Gives an HTTP/1 connection on to its next request.
fn finish(session: Session, close: bool) -> Next {
    let Session::Http1(http1) = session else { return Next::Ended };
    let close = close || !http1.keeps_alive() || !http1.is_body_done();
    let (conn, ahead) = http1.into_parts();
    if close { Next::Close(conn) } else { Next::Request(conn, ahead) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_request_is_a_refusal_and_nothing_more() {
        let panics = pin!(async {
            tokio::task::yield_now().await;
            if true { panic!("on purpose") } else { Ok(7) }
        });
        assert_eq!(caught(panics).await.unwrap_err().reason, Reason::Internal);
        assert_eq!(caught(pin!(async { Ok(7) })).await, Ok(7));
    }
}
