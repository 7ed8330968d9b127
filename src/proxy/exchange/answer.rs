//! What an answer's head and its end mean.

use std::future::poll_fn;
use std::task::Poll;

use http::{HeaderMap, StatusCode, header};
use tokio::time::{Duration, Instant};

use super::super::coding::{self, Plan};
use super::endings::{is_event_stream, note};
use super::{Exchange, Failed, Reason, Refusal, Stage, Upload, is_bodiless};
use crate::http1::AnswerHead;
use crate::observe::metrics::AttemptOutcome;
use crate::policy::retry::Kind;

/// What follows a head.
pub(super) enum OnHead {
    /// The body, or another head.
    Next,
    /// The application switches protocols.
    Upgrade(Box<AnswerHead>),
    /// The answer is thrown away, and the request tried once more after this time.
    Again(Duration),
}

/// An answer that is thrown away is read this far to keep its connection.
const DISCARDED: usize = 64 << 10;

impl Exchange<'_, '_> {
    /// Sends a head on.
    pub(super) fn on_head(&mut self) -> Result<OnHead, Failed> {
        let Some(origin) = &mut self.origin else { return Ok(OnHead::Next) };
        let broken = |detail: &'static str| Failed::from(Refusal::new(Reason::UpstreamReset, detail));
        let head = origin.take_head().ok_or_else(|| broken("no head"))?;
        let status = head.status;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            // 100 was sent by us. The others are the client's, known here or not (RFC 9110, 15.2).
            if status != StatusCode::CONTINUE && !self.cx.client_left {
                self.down.inform(status, Some(&head));
            }
            return Ok(OnHead::Next);
        }
        let after = self.attempt_started.elapsed();
        self.cx.first_byte = Some(self.cx.started.elapsed());
        self.route.upstream.metrics.answered_after(after.as_secs_f64());
        if let Some(endpoint) = &self.cx.endpoint {
            self.route.upstream.answered(endpoint, after);
        }
        self.cx.watch.answered();
        self.cx.status = status.as_u16();
        self.answer_moved = Instant::now();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.websocket {
                return Err(broken("it switches protocols unasked"));
            }
            return Ok(OnHead::Upgrade(head));
        }
        if self.repeat.heeds(status) && !self.cx.client_left {
            // Told first: where this answer opens a breaker it is the last, and is passed on.
            self.cx.end_attempt(AttemptOutcome::of(status.as_u16()));
            let kind = Kind::Status(status.as_u16());
            if let Some(after) = self.repeat.again(self.cx, kind, retry_after(&head.headers)) {
                return Ok(OnHead::Again(after));
            }
        }
        let bodiless = is_bodiless(&self.cx.method, status);
        if !bodiless && (self.route.stream || is_event_stream(&head)) {
            self.streams = match self.proxy.event_streams.enter(self.cx.state.limits.max_event_streams) {
                Ok(stream) => Some(stream),
                // Its work is done: to be told that there was no room for the answer would be to be asked to do it again.
                Err(_) if !self.cx.method.is_safe() => None,
                Err(refusal) => return Err(refusal.into()),
            };
            self.stream_until = Some(Instant::now() + self.route.timeouts.stream_max);
            // It may last for hours: what it says of the application is said, and its place is for others.
            self.cx.end_attempt(AttemptOutcome::of(status.as_u16()));
            self.cx.leave_place();
        }
        self.stage = Stage::Body;
        if let Some(mut change) = self.cx.change.take() {
            change.answered((self.cx, &self.down.request().headers), status.as_u16(), &head.headers);
            self.cx.change = Some(change);
        }
        if self.cx.client_left {
            return Ok(OnHead::Next);
        }
        // An HTTP/1 client that is still sending has to be read to its end or left: it is left.
        self.down.close |= matches!(self.upload, Upload::Streaming | Upload::Stopped)
            || self.proxy.lifecycle.ends(self.cx.listener.direction);
        let changes = &self.route.response_headers;
        let plan = match (&self.cx.route, self.down.is_client()) {
            // What is kept is encoded when it is served.
            (Some(route), true) => coding::plan(self.proxy, self.cx, route, &self.down.request().headers, head),
            _ => Plan::AsItIs(head),
        };
        if plan.begin(self.down, changes, bodiless).is_err() {
            self.on_gone()?;
        }
        Ok(OnHead::Next)
    }

    /// The application's last byte was read by us: its connection and its place are free before the client has everything.
    pub(super) async fn on_answer_read(&mut self) {
        (self.stage, self.client_until) = (Stage::End, None);
        if let Some(change) = &self.cx.change {
            change.goes_on();
        }
        self.answer_moved = Instant::now();
        self.cx.end_attempt(AttemptOutcome::of(self.cx.status));
        self.cx.leave_place();
        self.free_origin();
    }

    /// Reads an answer that nobody gets, where it came whole already, so that its connection can be used again.
    pub(super) async fn discard_answer(&mut self) {
        let Some(origin) = &mut self.origin else { return };
        let whole = poll_fn(|cx| {
            let mut read = 0;
            loop {
                match origin.poll_body(cx) {
                    Poll::Ready(Ok(Some(chunk))) if read < DISCARDED => read += chunk.len(),
                    Poll::Ready(Ok(None)) => return Poll::Ready(true),
                    Poll::Ready(_) | Poll::Pending => return Poll::Ready(false),
                }
            }
        });
        if whole.await {
            self.free_origin();
        }
    }

    fn free_origin(&mut self) {
        let Some(origin) = self.origin.take() else { return };
        note(self.cx, &origin);
        match self.upload {
            Upload::Done => origin.release(&self.route.upstream),
            _ => {
                origin.abort();
                self.upload = Upload::Stopped;
            }
        }
    }
}

/// How long the application asks to be left alone: seconds, or a date, which is held against the answer's own.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
    let after = text(header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(after).ok()?;
    let now = httpdate::parse_http_date(text(header::DATE)?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_says_how_long_it_wants_to_be_left_alone() {
        let says = |after: &str, date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, after.parse().unwrap());
            headers.insert(header::DATE, date.parse().unwrap());
            retry_after(&headers)
        };
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(says("120", now), Some(Duration::from_secs(120)));
        assert_eq!(says("Sun, 06 Nov 1994 08:49:39 GMT", now), Some(Duration::from_secs(2)));
        assert_eq!(says("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(says("soon", now), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
