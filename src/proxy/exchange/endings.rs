//! How an exchange ends, and what is noted of it.

use http::header;
use pingora::http::ResponseHeader;

use tokio::time::Duration;

use super::{Broken, Context, Event, Exchange, Failed, Gone, Origin, Stage, Upload};
use crate::observe::log::UpstreamSent;
use crate::refusal::Reason;

/// A kept connection that was closed while it waited tells so within a round trip; this is more than any.
const STALE: Duration = Duration::from_secs(1);
/// An application is not blamed for breaking off what its client kept waiting for so long.
const KEPT_WAITING: Duration = Duration::from_secs(1);

impl Exchange<'_, '_> {
    pub(super) fn on_gone(&mut self) -> Result<(), Failed> {
        // It is there, but cannot be given the rest.
        if let Some(refusal) = self.down.broken() {
            self.note_broken();
            return Err(refusal.into());
        }
        self.cx.client_left = true;
        // Half a request is never made whole, and what nobody waits for is ended where asking again does no harm.
        let whole = matches!(self.upload, Upload::Done | Upload::Ending);
        if !whole || self.route.timeouts.on_client_close.cancels(&self.cx.method) {
            return Err(Reason::ClientLeft.into_refusal("").into());
        }
        Ok(())
    }

    /// Who is kept waiting by a client for long may break off: that is not held against the application.
    pub(super) fn note_broken(&mut self) {
        if self.kept_waiting() {
            self.cx.watch.says_nothing();
        }
    }

    /// Whether the client has kept the application waiting.
    pub(super) fn kept_waiting(&self) -> bool {
        self.client_time() >= KEPT_WAITING
    }

    /// How long the application has waited for the client: to send since the request began, to read since its answer did.
    fn client_time(&self) -> Duration {
        let sends = matches!(self.upload, Upload::Streaming) && self.upload_waits_for_client;
        let since = match (sends, self.stage == Stage::Body && self.waits_for_client) {
            (true, _) => self.upload_moved.elapsed(),
            (_, true) => self.answer_moved.elapsed(),
            _ => Duration::ZERO,
        };
        self.pace.took + since
    }

    pub(super) fn no_answer(&mut self, broken: &Broken) -> Failed {
        let Some(origin) = &mut self.origin else { return Reason::UpstreamReset.into_refusal("").into() };
        if broken.is_unsent() {
            origin.sent = UpstreamSent::None;
            return Failed::Unsent;
        }
        // A server that closed it while it waited has done so by now; one that worked on the request first broke it off.
        let at_once = self.attempt_started.elapsed() < STALE;
        // A connection of its own carries an unsafe request only a moment after its last one (pool.reuse_for_unsafe): that
        // the server closes it just then is rare, and an application that breaks off at every POST must be seen.
        let waited = self.cx.method.is_safe() || origin.is_http2();
        if origin.reused() && waited && at_once && broken.is_of_connection() && origin.nothing_came() {
            return Failed::Stale;
        }
        self.note_broken();
        Reason::UpstreamReset.into_refusal("before its answer").into()
    }
}

pub(super) fn sent(result: Result<(), Gone>) -> Event {
    match result {
        Ok(()) => Event::Sent,
        Err(Gone) => Event::Gone,
    }
}

/// Takes down what the application saw and said.
pub(super) fn note(cx: &mut Context, origin: &Origin) {
    // Of all attempts: what one of them showed the application cannot be taken back.
    cx.sent = cx.sent.max(origin.sent);
    cx.upstream_sent = origin.body_sent;
    cx.upstream_received = origin.body_received;
}

pub(in crate::proxy) fn is_event_stream(head: &ResponseHeader) -> bool {
    head.headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().get(..17).is_some_and(|t| t.eq_ignore_ascii_case(b"text/event-stream")))
}
