//! What is known of one request, from its head to its access line.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use pingora::http::RequestHeader;
use tokio::time::Instant;

use super::caching::changes::Change;
use super::place::Place;
use super::state::{ListenerPolicy, State};
use super::watch::Watch;
use super::{Client, forwarded};
use crate::http1::Spelling;
use crate::lifecycle::InFlight;
use crate::observe::log::UpstreamSent;
use crate::observe::trace::{RequestId, TraceContext, request_id};
use crate::refusal::Reason;
use crate::route::key::Source;
use crate::route::table::Route;
use crate::timer;
use crate::upstream::endpoint::Endpoint;

/// One request.
pub(super) struct Context {
    /// The configuration that holds for it to its end.
    pub(super) state: Arc<State>,
    pub(super) listener: Arc<ListenerPolicy>,
    pub(super) started: Instant,
    pub(super) id: RequestId,
    pub(super) trace: Option<TraceContext>,
    /// The traceparent that came, to be passed on as it is.
    pub(super) traced: bool,
    pub(super) peer: Option<IpAddr>,
    pub(super) peer_text: Arc<str>,
    pub(super) client_ip: Option<IpAddr>,
    /// The peer is believed what it says of itself.
    pub(super) trusted: bool,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) host: Option<HeaderValue>,
    /// How the names of the request's fields are spelled.
    pub(super) spelling: Spelling,
    pub(super) protocol: &'static str,
    pub(super) route: Option<Arc<Route>>,
    /// When it must be answered; streams give it up with their head.
    pub(super) deadline: Instant,
    pub(super) status: u16,
    pub(super) reason: Option<Reason>,
    /// Attempts, the first included; an attempt may have passed over endpoints that could not be reached.
    pub(super) tries: u32,
    /// Endpoints that were tried.
    pub(super) attempts: u32,
    /// How long it waited for its place.
    pub(super) queued: Duration,
    /// Its place at the application.
    pub(super) place: Option<Place>,
    /// Who is told how the attempt that runs goes.
    pub(super) watch: Watch,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    pub(super) reused: Option<bool>,
    pub(super) sent: UpstreamSent,
    pub(super) first_byte: Option<Duration>,
    pub(super) upstream_sent: u64,
    pub(super) upstream_received: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    pub(super) client_left: bool,
    /// It got the answer of an earlier try of its key.
    pub(super) replayed: bool,
    /// The values of `logging.access.request_headers`, by their position.
    pub(super) logged: Vec<Option<HeaderValue>>,
    /// What of the stored answers it ends.
    pub(super) change: Option<Change>,
    /// Counts it until its last byte left.
    pub(super) in_flight: Option<InFlight>,
}

/// What an exchange with the application was like, for the log.
#[derive(Clone)]
pub(super) struct Trail {
    tries: u32,
    attempts: u32,
    queued: Duration,
    endpoint: Option<Arc<Endpoint>>,
    reused: Option<bool>,
    sent: UpstreamSent,
    first_byte: Option<Duration>,
    upstream_sent: u64,
    upstream_received: u64,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Before a route is known, a request has this long.
const UNROUTED: Duration = Duration::from_secs(15);

impl Context {
    /// Step 1: who asks, under which id, since when.
    pub(super) fn begin(
        state: Arc<State>,
        client: &Client,
        head: &RequestHeader,
        spelling: Spelling,
        in_flight: InFlight,
    ) -> Self {
        let started = Instant::now();
        let trace = TraceContext::parse(head.headers.get(TRACEPARENT).map(HeaderValue::as_bytes));
        let host = match head.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => head.headers.get(header::HOST).cloned(),
        };
        let listener = client.listener.clone();
        Context {
            id: request_id(head.headers.get(REQUEST_ID).map(HeaderValue::as_bytes), || fastrand::u128(..)),
            traced: trace.is_some(),
            trace: trace.or_else(|| Some(TraceContext::new(fastrand::u128(..).to_be_bytes(), false))),
            peer: client.peer,
            peer_text: client.peer_text.clone(),
            client_ip: forwarded::client_ip(client.peer, client.trusted, &listener.trusted, &head.headers),
            method: head.method.clone(),
            uri: head.uri.clone(),
            host,
            protocol: match head.version {
                http::Version::HTTP_2 => "HTTP/2",
                http::Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            logged: state.logged_headers.iter().map(|n| head.headers.get(n).cloned()).collect(),
            spelling,
            state,
            trusted: client.trusted,
            listener,
            started,
            deadline: started + UNROUTED,
            route: None,
            status: 0,
            reason: None,
            tries: 0,
            attempts: 0,
            queued: Duration::ZERO,
            place: None,
            watch: Watch::default(),
            endpoint: None,
            reused: None,
            sent: UpstreamSent::None,
            first_byte: None,
            upstream_sent: 0,
            upstream_received: 0,
            request_bytes: 0,
            response_bytes: 0,
            client_left: false,
            replayed: false,
            change: None,
            in_flight: Some(in_flight),
        }
    }

    /// What a fetch knows of the request that began it. It is not in flight: no client waits for its end.
    pub(super) fn detached(&self) -> Self {
        Context {
            state: self.state.clone(),
            listener: self.listener.clone(),
            started: self.started,
            id: self.id.clone(),
            trace: self.trace,
            traced: self.traced,
            peer: self.peer,
            peer_text: self.peer_text.clone(),
            client_ip: self.client_ip,
            trusted: self.trusted,
            method: self.method.clone(),
            uri: self.uri.clone(),
            host: self.host.clone(),
            spelling: self.spelling.clone(),
            protocol: self.protocol,
            route: self.route.clone(),
            deadline: self.deadline,
            status: 0,
            reason: None,
            tries: 0,
            attempts: 0,
            queued: Duration::ZERO,
            place: None,
            watch: Watch::default(),
            endpoint: None,
            reused: None,
            sent: UpstreamSent::None,
            first_byte: None,
            upstream_sent: 0,
            upstream_received: 0,
            request_bytes: 0,
            response_bytes: 0,
            client_left: false,
            replayed: false,
            logged: Vec::new(),
            change: None,
            in_flight: None,
        }
    }

    /// What its exchange was like.
    pub(super) fn trail(&self) -> Trail {
        Trail {
            tries: self.tries,
            attempts: self.attempts,
            queued: self.queued,
            endpoint: self.endpoint.clone(),
            reused: self.reused,
            sent: self.sent,
            first_byte: self.first_byte,
            upstream_sent: self.upstream_sent,
            upstream_received: self.upstream_received,
        }
    }

    /// Takes over what the exchange was like that a fetch made for it.
    pub(super) fn follow(&mut self, trail: Trail) {
        self.tries += trail.tries;
        self.attempts += trail.attempts;
        self.queued += trail.queued;
        (self.endpoint, self.reused, self.first_byte) = (trail.endpoint, trail.reused, trail.first_byte);
        self.sent = self.sent.max(trail.sent);
        (self.upstream_sent, self.upstream_received) = (trail.upstream_sent, trail.upstream_received);
    }

    /// What keys are taken from.
    pub(super) fn with_source<T>(&self, route: &Route, headers: &HeaderMap, take: impl FnOnce(&Source<'_>) -> T) -> T {
        let params = |name: &str| {
            let mut params = self.state.table.matcher.params(route.index, self.uri.path());
            params.find(|(n, _)| *n == name).map(|(_, value)| value)
        };
        // A token is verified at most once, and only where a key asks for one of its claims.
        let token = OnceCell::new();
        let claims = |name: &str| {
            let verifier = route.jwt.as_ref()?;
            let claims = token.get_or_init(|| verifier.claims(headers, timer::unix_now())).as_ref()?;
            verifier.value(claims, name)
        };
        take(&Source { client: self.client_ip, headers, query: self.uri.query(), params: &params, claims: &claims })
    }
}
