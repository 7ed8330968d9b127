//! How an exchange ends, and what is noted of it.

use http::header;
use pingora::http::ResponseHeader;

use super::{Broken, Context, Event, Exchange, Failed, Gone, Origin, Upload};
use crate::observe::log::UpstreamSent;
use crate::refusal::Reason;

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

pub(super) fn is_event_stream(head: &ResponseHeader) -> bool {
    head.headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().get(..17).is_some_and(|t| t.eq_ignore_ascii_case(b"text/event-stream")))
}
