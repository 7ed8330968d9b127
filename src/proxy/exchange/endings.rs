//! How an exchange ends: what is noted of it, which deadline is next, and whose fault it is that one passed.

use http::header;
use pingora::http::ResponseHeader;
use tokio::time::{Duration, Instant};

use super::{Broken, Context, Event, Exchange, Failed, Gone, Origin, Stage, Upload};
use crate::observe::log::UpstreamSent;
use crate::refusal::{Reason, Refusal};

/// A client may stall for this long before its rate counts: a network that loses packets does, and so does a stream that
/// shares a window with others.
const STALL: Duration = Duration::from_secs(3);

impl Exchange<'_, '_> {
    pub(super) fn on_gone(&mut self) -> Result<(), Failed> {
        self.cx.client_left = true;
        // Half a request is never made whole, and what nobody waits for is ended where asking again does no harm.
        let whole = matches!(self.upload, Upload::Done | Upload::Ending);
        if !whole || self.route.timeouts.on_client_close.cancels(&self.cx.method) {
            return Err(Reason::ClientLeft.into_refusal("").into());
        }
        Ok(())
    }

    pub(super) fn no_answer(&mut self, broken: &Broken) -> Failed {
        let Some(origin) = &mut self.origin else { return Reason::UpstreamReset.into_refusal("").into() };
        if broken.is_unsent() {
            origin.sent = UpstreamSent::None;
            return Failed::Unsent;
        }
        let nothing_came = matches!(
            broken.0.etype(),
            pingora::ErrorType::ConnectionClosed | pingora::ErrorType::ReadError | pingora::ErrorType::H2Error
        );
        if origin.reused() && nothing_came {
            return Failed::Stale;
        }
        Reason::UpstreamReset.into_refusal("before its answer").into()
    }

    /// Which deadline is next.
    pub(super) fn next_deadline(&mut self) -> Instant {
        if self.waits_for_client {
            let slowest = self.slowest_client();
            // Fixed when the wait begins: what waits shrinks with every byte that the client takes.
            let until = *self.client_until.get_or_insert_with(|| Instant::now() + slowest);
            if self.stage == Stage::End {
                // What the application answered in time is not taken from a client that keeps the least rate.
                return until;
            }
        } else {
            self.client_until = None;
        }
        let t = &self.route.timeouts;
        let limits = &self.cx.state.limits;
        let mut next = self.stream_until.unwrap_or(self.cx.deadline);
        match self.upload {
            Upload::Streaming if self.upload_waits_for_client => {
                next = next.min(self.upload_moved + limits.body_read_timeout)
            }
            Upload::Streaming | Upload::Ending => next = next.min(self.upload_moved + t.idle),
            Upload::Done | Upload::Stopped if self.stage == Stage::Head => {
                next = next.min(self.upload_moved + t.first_byte)
            }
            Upload::Done | Upload::Stopped => {}
        }
        match self.stage {
            Stage::Body if !self.waits_for_client => next = next.min(self.answer_moved + t.idle),
            Stage::Head | Stage::Body | Stage::End => {}
        }
        self.client_until.map_or(next, |until| next.min(until))
    }

    /// How long a client may take for what waits for it.
    pub(super) fn slowest_client(&self) -> Duration {
        Duration::from_secs(self.down.pending() as u64 / self.cx.state.limits.min_send_rate) + STALL
    }

    /// Whose fault it is that a deadline passed.
    pub(super) fn on_late(&self) -> Refusal {
        let upload_waits = matches!(self.upload, Upload::Streaming) && self.upload_waits_for_client;
        let silent = self.upload_moved + self.cx.state.limits.body_read_timeout <= Instant::now();
        if upload_waits && (self.stage == Stage::Head || silent) {
            return Refusal::new(Reason::RequestTimeout, "the body did not arrive in time");
        }
        if self.stage != Stage::Head && self.waits_for_client {
            return Refusal::new(Reason::RequestTimeout, "the answer was not read in time");
        }
        Refusal::new(Reason::UpstreamTimeout, "")
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
    cx.sent = origin.sent;
    cx.upstream_sent = origin.body_sent;
    cx.upstream_received = origin.body_received;
}

pub(super) fn is_event_stream(head: &ResponseHeader) -> bool {
    head.headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().get(..17).is_some_and(|t| t.eq_ignore_ascii_case(b"text/event-stream")))
}
