//! The access line: what one request was, what became of it, and whether the application saw it.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntCounter;

use super::line::Line;
use super::queue::Queue;
use crate::config::{Access, Level, LogFormat};
use crate::observe::trace::TraceContext;
use crate::refusal::Reason;

/// How much of a request was written to the application: whether it can have seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum UpstreamSent {
    /// Nothing: the application has not seen the request.
    #[default]
    None,
    /// The head, or a part of it.
    Head,
    /// A part of the body as well.
    Body,
    /// All of it: the application may have acted on it, whatever came back.
    All,
}

impl UpstreamSent {
    /// The word in the line.
    pub const fn as_str(self) -> &'static str {
        match self {
            UpstreamSent::None => "none",
            UpstreamSent::Head => "head",
            UpstreamSent::Body => "body",
            UpstreamSent::All => "all",
        }
    }
}

/// What is said of one request. Fields that are `None` do not stand in the line.
#[derive(Debug, Clone, Default)]
pub struct AccessRecord<'a> {
    /// The request's id, ours or the client's.
    pub request_id: &'a str,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
    /// The listener's name.
    pub listener: &'a str,
    /// The client: behind trusted proxies the one that they name. `None` on a Unix socket.
    pub client: Option<IpAddr>,
    /// The method as received.
    pub method: &'a str,
    /// The host as received.
    pub host: &'a [u8],
    /// The path as received.
    pub path: &'a [u8],
    /// The query as received, without its question mark.
    pub query: Option<&'a [u8]>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// The address of the last attempt.
    pub endpoint: Option<&'a str>,
    /// The status that was sent; 499 where the client left before one was.
    pub status: u16,
    /// Why outboard answered itself.
    pub reason: Option<Reason>,
    /// From the request's first byte to the answer's last.
    pub duration: Duration,
    /// How long it waited for a place at the application.
    pub queued: Duration,
    /// From the last attempt's start to the first byte of its answer.
    pub upstream_first_byte: Option<Duration>,
    /// Attempts at an endpoint.
    pub attempts: u32,
    /// Whether the last attempt was made on a connection that had been used before.
    pub reused: Option<bool>,
    /// Whether it got the answer of an earlier try: the application was not asked.
    pub replayed: bool,
    /// Bytes of the request's body, received from the client.
    pub request_bytes: u64,
    /// Bytes of the answer's body, sent to the client.
    pub response_bytes: u64,
    /// How much of the request was written to the application, over all attempts.
    pub upstream_sent: UpstreamSent,
    /// Bytes written to the application.
    pub upstream_bytes_sent: u64,
    /// Bytes read from the application.
    pub upstream_bytes_received: u64,
    /// Whether the client left before its answer was complete.
    pub client_left: bool,
    /// Whether the client came by TLS.
    pub tls: bool,
    /// Which configuration worked on it.
    pub config_hash: &'a str,
    /// The headers named in `logging.access.request_headers` that the request had.
    pub request_headers: &'a [(&'a str, &'a [u8])],
}

impl AccessRecord<'_> {
    /// Appends the line, without its end. Nothing is redacted here: that is done to every line where it is written.
    pub fn render(&self, out: &mut Vec<u8>, format: LogFormat) {
        let mut line = Line::start(out, format, Level::Info, "access");
        line.str("request_id", self.request_id);
        if let Some(trace) = &self.trace {
            line.hex("trace_id", trace.id());
        }
        line.str("listener", self.listener);
        match self.client {
            Some(IpAddr::V4(ip)) => line.ipv4("client", ip),
            Some(IpAddr::V6(ip)) => line.text("client", ip),
            None => {}
        }
        line.str("method", self.method);
        line.bytes("host", self.host);
        line.bytes("path", self.path);
        if let Some(query) = self.query {
            line.bytes("query", query);
        }
        line.str("protocol", self.protocol);
        line.opt_str("route", self.route);
        line.opt_str("upstream", self.upstream);
        line.opt_str("endpoint", self.endpoint);
        line.u64("status", u64::from(self.status));
        line.opt_str("reason", self.reason.map(Reason::as_str));
        line.millis("duration_ms", self.duration);
        if !self.queued.is_zero() {
            line.millis("queue_ms", self.queued);
        }
        if let Some(span) = self.upstream_first_byte {
            line.millis("upstream_ms", span);
        }
        line.u64("attempts", u64::from(self.attempts));
        line.opt_str("connection", self.reused.map(|reused| if reused { "reused" } else { "new" }));
        if self.replayed {
            line.bool("replayed", true);
        }
        line.u64("request_bytes", self.request_bytes);
        line.u64("response_bytes", self.response_bytes);
        line.str("upstream_sent", self.upstream_sent.as_str());
        line.u64("upstream_bytes_sent", self.upstream_bytes_sent);
        line.u64("upstream_bytes_received", self.upstream_bytes_received);
        line.bool("client_left", self.client_left);
        line.bool("tls", self.tls);
        line.str("config_hash", self.config_hash);
        line.object("request_headers", self.request_headers);
        line.end();
    }
}

/// Whether a request gets a line. `draw` is a random number in 0..1; errors, refusals and slow ones always get theirs.
pub fn wanted(settings: &Access, status: u16, refused: bool, duration: Duration, draw: f64) -> bool {
    settings.enabled && (refused || status >= 400 || duration >= settings.slow.get() || draw < settings.sample.get())
}

/// Where access lines go: past the subscriber, straight into the queue of the writer.
#[derive(Clone)]
pub struct AccessLog {
    pub(super) queue: Arc<Queue>,
    pub(super) format: LogFormat,
    pub(super) lost: IntCounter,
}

impl AccessLog {
    /// Renders and queues a line. Never waits for the output: a line without room is lost and counted.
    pub fn record(&self, record: &AccessRecord<'_>) {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            // A single huge head does not make the thread keep that much for ever.
            scratch.shrink_to(16 << 10);
            record.render(scratch, self.format);
            self.write(scratch);
        });
    }

    /// Queues a line that was rendered before.
    pub fn write(&self, line: &[u8]) {
        if !self.queue.push(line) {
            self.lost.inc();
        }
    }
}
