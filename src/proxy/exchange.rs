//! One request and its answer over one connection, both directions at once.
//!
//! A request whose body is at hand and a request that still streams go the same way: each side takes what it has room for,
//! so that neither waits for the other to read. One task, no channel: `poll` looks at both directions and says what
//! happened, `run` acts on it.

mod endings;

use std::future::poll_fn;
use std::task::{Context as Poller, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use endings::{is_event_stream, note, sent};

use super::context::Context;
use super::downstream::{Downstream, Gone, is_bodiless};
use super::origin::{Broken, Origin};
use super::streams::EventStream;
use super::{Proxy, upload};
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::timer::Timer;

/// The request's body as an exchange finds it.
pub(super) enum Upload {
    /// It was handed over whole; the connection may still have to take it.
    Ending,
    /// It still comes from the client.
    Streaming,
    /// The application has it all.
    Done,
    /// The application takes no more of it, or the client is gone.
    Stopped,
}

/// How an exchange ended without a refusal.
pub(super) enum Ended {
    /// The answer was sent, or thrown away because its client left.
    Answered,
    /// The application switches protocols: a tunnel follows.
    Upgraded(Box<Origin>),
}

/// Why an exchange failed.
pub(super) enum Failed {
    /// A connection that waited was closed just now: nothing of an answer came.
    Stale,
    /// Nobody began with it: not a byte of it left, or the application says so (REFUSED_STREAM, a GOAWAY that leaves it out).
    Unsent,
    /// For this reason.
    Refused(Refusal),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Refused(refusal)
    }
}

/// What happened.
enum Event {
    /// A head came from the application.
    Head(Result<(), Broken>),
    /// Its answer is over.
    Answer(Result<(), Broken>),
    /// The client took the last byte.
    Sent,
    /// The client is gone.
    Gone,
    /// The client's body is wrong, or too large.
    Upload(Refusal),
    /// A deadline passed.
    Late,
}

/// Where the answer stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    End,
}

/// An exchange.
pub(super) struct Exchange<'x, 's> {
    pub(super) proxy: &'x Proxy,
    pub(super) cx: &'x mut Context,
    pub(super) route: &'x Route,
    pub(super) down: &'x mut Downstream<'s>,
    pub(super) timer: &'x mut Timer,
    /// Boxed: it is handed on several times and is large.
    pub(super) origin: Option<Box<Origin>>,
    pub(super) upload: Upload,
    pub(super) websocket: bool,
    stage: Stage,
    trailers: Option<HeaderMap>,
    /// A stream: `total` does not hold.
    streams: Option<EventStream>,
    /// The last time that anything moved, by direction.
    upload_moved: Instant,
    answer_moved: Instant,
    /// What the answer waits for: the client to read, or the application to write.
    waits_for_client: bool,
    /// When a client that keeps the least rate has taken what waits for it.
    client_until: Option<Instant>,
    /// What the upload waits for.
    upload_waits_for_client: bool,
    stream_until: Option<Instant>,
    attempt_started: Instant,
}

/// Chunks handed on in one go before other tasks have their turn.
const BURST: usize = 32;

impl<'x, 's> Exchange<'x, 's> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        proxy: &'x Proxy,
        cx: &'x mut Context,
        route: &'x Route,
        down: &'x mut Downstream<'s>,
        timer: &'x mut Timer,
        origin: Box<Origin>,
        upload: Upload,
        websocket: bool,
    ) -> Self {
        let now = Instant::now();
        Exchange {
            proxy,
            cx,
            route,
            down,
            timer,
            origin: Some(origin),
            upload,
            websocket,
            stage: Stage::Head,
            trailers: None,
            streams: None,
            upload_moved: now,
            answer_moved: now,
            waits_for_client: false,
            client_until: None,
            upload_waits_for_client: false,
            stream_until: None,
            attempt_started: now,
        }
    }

    /// Runs it to its end.
    pub(super) async fn run(mut self) -> Result<Ended, Failed> {
        let ended = self.drive().await;
        if let Some(origin) = &self.origin {
            note(self.cx, origin);
        }
        if ended.is_err()
            && let Some(origin) = self.origin.take()
        {
            origin.abort();
        }
        self.cx.response_bytes = self.down.body_bytes;
        ended
    }

    async fn drive(&mut self) -> Result<Ended, Failed> {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Event::Head(Ok(())) => {
                    if self.on_head()? {
                        let Some(origin) = self.origin.take() else { return Ok(Ended::Answered) };
                        note(self.cx, &origin);
                        return Ok(Ended::Upgraded(origin));
                    }
                }
                Event::Head(Err(broken)) => return Err(self.no_answer(&broken)),
                Event::Answer(Ok(())) => self.on_answer_read().await,
                // The head is out: all that is left is to break off visibly.
                Event::Answer(Err(_)) => return Err(Reason::UpstreamReset.into_refusal("inside its answer").into()),
                Event::Sent => return Ok(Ended::Answered),
                Event::Gone => self.on_gone()?,
                Event::Upload(refusal) => return Err(refusal.into()),
                Event::Late => return Err(self.on_late().into()),
            }
        }
    }

    fn poll(&mut self, cx: &mut Poller<'_>) -> Poll<Event> {
        if let Poll::Ready(event) = self.poll_upload(cx) {
            return Poll::Ready(event);
        }
        // While the body is read, reading tells when the client leaves.
        if !matches!(self.upload, Upload::Streaming) && !self.cx.client_left && self.down.poll_gone(cx).is_ready() {
            return Poll::Ready(Event::Gone);
        }
        if let Poll::Ready(event) = self.poll_answer(cx) {
            return Poll::Ready(event);
        }
        let deadline = self.next_deadline();
        self.timer.set(deadline);
        self.timer.poll(cx).map(|()| Event::Late)
    }

    /// From the client to the application.
    fn poll_upload(&mut self, cx: &mut Poller<'_>) -> Poll<Event> {
        let Some(origin) = &mut self.origin else { return Poll::Pending };
        if matches!(self.upload, Upload::Streaming) {
            for _ in 0..BURST {
                match origin.poll_room(cx) {
                    Poll::Ready(Ok(())) => {}
                    // It may have answered before it closed: what it wrote is still read.
                    Poll::Ready(Err(_)) => {
                        self.upload = Upload::Stopped;
                        return Poll::Pending;
                    }
                    Poll::Pending => {
                        self.upload_waits_for_client = false;
                        return Poll::Pending;
                    }
                }
                match upload::poll_read(self.down.session(), cx) {
                    Poll::Ready(Ok(Some(chunk))) => {
                        self.upload_moved = Instant::now();
                        self.cx.request_bytes += chunk.len() as u64;
                        if self.cx.request_bytes > self.route.max_body {
                            return Poll::Ready(Event::Upload(upload::too_large(self.route.max_body)));
                        }
                        if origin.write(cx, chunk).is_err() {
                            self.upload = Upload::Stopped;
                            return Poll::Pending;
                        }
                    }
                    Poll::Ready(Ok(None)) => {
                        self.upload = Upload::Ending;
                        break;
                    }
                    Poll::Ready(Err(refusal)) => {
                        if refusal.reason == Reason::ClientLeft {
                            self.upload = Upload::Stopped;
                            return Poll::Ready(Event::Gone);
                        }
                        return Poll::Ready(Event::Upload(refusal));
                    }
                    Poll::Pending => {
                        self.upload_waits_for_client = true;
                        return Poll::Pending;
                    }
                }
            }
            if matches!(self.upload, Upload::Streaming) {
                cx.waker().wake_by_ref();
            }
        }
        if matches!(self.upload, Upload::Ending) {
            match origin.poll_end(cx) {
                Poll::Ready(Ok(())) => {
                    self.upload = Upload::Done;
                    self.upload_moved = Instant::now();
                    self.answer_moved = self.upload_moved;
                }
                Poll::Ready(Err(_)) => self.upload = Upload::Stopped,
                Poll::Pending => self.upload_waits_for_client = false,
            }
        }
        Poll::Pending
    }

    /// From the application to the client.
    fn poll_answer(&mut self, cx: &mut Poller<'_>) -> Poll<Event> {
        if self.stage == Stage::End {
            if self.cx.client_left {
                return Poll::Ready(Event::Sent);
            }
            self.waits_for_client = true;
            return self.down.poll_end(cx, &mut self.trailers).map(sent);
        }
        let Some(origin) = &mut self.origin else { return Poll::Pending };
        if self.stage == Stage::Head {
            self.waits_for_client = false;
            return origin.poll_head(cx).map(Event::Head);
        }
        for _ in 0..BURST {
            if !self.cx.client_left {
                match self.down.poll_room(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Event::Gone),
                    Poll::Pending => {
                        if !self.waits_for_client {
                            self.waits_for_client = true;
                            self.answer_moved = Instant::now();
                        }
                        return Poll::Pending;
                    }
                }
            }
            if self.waits_for_client {
                self.waits_for_client = false;
                self.answer_moved = Instant::now();
            }
            let Poll::Ready(read) = origin.poll_body(cx) else {
                // Nothing more comes at once: what is there goes to the client now.
                if !self.cx.client_left && self.down.flush(cx).is_err() {
                    return Poll::Ready(Event::Gone);
                }
                return Poll::Pending;
            };
            match read {
                Ok(Some(chunk)) => {
                    self.answer_moved = Instant::now();
                    if !self.cx.client_left && self.down.write(cx, chunk).is_err() {
                        return Poll::Ready(Event::Gone);
                    }
                }
                Ok(None) if self.down.is_http2() && origin.is_http2() => {
                    return origin.poll_trailers(cx).map(|trailers| match trailers {
                        Ok(trailers) => {
                            self.trailers = trailers;
                            Event::Answer(Ok(()))
                        }
                        Err(broken) => Event::Answer(Err(broken)),
                    });
                }
                Ok(None) => return Poll::Ready(Event::Answer(Ok(()))),
                Err(broken) => return Poll::Ready(Event::Answer(Err(broken))),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends a head on. True: the application switches protocols.
    fn on_head(&mut self) -> Result<bool, Failed> {
        let Some(origin) = &mut self.origin else { return Ok(false) };
        let broken = |detail: &'static str| Failed::from(Refusal::new(Reason::UpstreamReset, detail));
        let head = origin.head().ok_or_else(|| broken("no head"))?;
        let status = head.status;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            // 100 was sent by us; what else there may be is for those who understand it.
            if status.as_u16() == 103 && !self.cx.client_left {
                self.down.inform(status, Some(head));
            }
            return Ok(false);
        }
        let after = self.attempt_started.elapsed();
        self.cx.first_byte = Some(self.cx.started.elapsed());
        self.route.upstream.metrics.answered_after(after.as_secs_f64());
        if let Some(endpoint) = &self.cx.endpoint {
            self.route.upstream.answered(endpoint, after);
        }
        self.cx.status = status.as_u16();
        self.answer_moved = Instant::now();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.websocket {
                return Err(broken("it switches protocols unasked"));
            }
            return Ok(true);
        }
        let bodiless = is_bodiless(&self.cx.method, status);
        if !bodiless && (self.route.stream || is_event_stream(head)) {
            self.streams = Some(self.proxy.event_streams.enter(self.cx.state.limits.max_event_streams)?);
            self.stream_until = Some(Instant::now() + self.route.timeouts.stream_max);
        }
        self.stage = Stage::Body;
        if self.cx.client_left {
            return Ok(false);
        }
        // An HTTP/1 client that is still sending has to be read to its end or left: it is left.
        self.down.close |= matches!(self.upload, Upload::Streaming | Upload::Stopped)
            || self.proxy.lifecycle.ends(self.cx.listener.direction);
        let written = self.down.write_head(head, &self.route.response_headers, bodiless);
        if written.is_err() {
            self.on_gone()?;
        }
        Ok(false)
    }

    /// The application's last byte was read by us: its connection is free before the client has everything.
    async fn on_answer_read(&mut self) {
        (self.stage, self.client_until) = (Stage::End, None);
        self.answer_moved = Instant::now();
        let Some(origin) = self.origin.take() else { return };
        note(self.cx, &origin);
        match self.upload {
            Upload::Done => origin.release(&self.route.upstream).await,
            _ => {
                origin.abort();
                self.upload = Upload::Stopped;
            }
        }
    }
}

/// Puts a whole body behind its head: it never waits.
pub(super) async fn hand_over(origin: &mut Origin, body: Bytes) -> Result<(), Broken> {
    poll_fn(|cx| Poll::Ready(origin.write(cx, body.clone()))).await
}
