//! One request and its answer over one connection, both directions at once.
//!
//! A request whose body is at hand and a request that still streams go the same way: each side takes what it has room for,
//! so that neither waits for the other to read. One task, no channel: `poll` looks at both directions and says what
//! happened, `run` acts on it.

mod answer;
mod deadlines;
mod endings;
mod flow;

use std::future::poll_fn;
use std::task::{Context as Poller, Poll};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Duration, Instant};

use answer::OnHead;
pub(in crate::proxy) use endings::is_event_stream;
use endings::note;

use super::context::Context;
use super::downstream::{Downstream, Gone, is_bodiless};
use super::origin::{Broken, Origin};
use super::repeat::Repeat;
use super::streams::EventStream;
use super::{Proxy, upload};
use crate::http1::AnswerHead;
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
    Upgraded(Box<Origin>, Box<AnswerHead>),
}

/// Why an exchange failed.
pub(super) enum Failed {
    /// A connection that waited was closed just now: nothing of an answer came.
    Stale,
    /// Nobody began with it: not a byte of it left, or the application says so (REFUSED_STREAM, a GOAWAY that leaves it out).
    Unsent,
    /// It is tried once more after this time.
    Again(Duration),
    /// For this reason.
    Refused(Refusal),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Failed::Refused(refusal)
    }
}

impl Failed {
    /// What the client is told where it is not tried again.
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Failed::Refused(refusal) => refusal,
            Failed::Stale | Failed::Unsent | Failed::Again(_) => {
                Reason::UpstreamReset.into_refusal("before its answer")
            }
        }
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
    /// Whether it may be tried again.
    repeat: &'x Repeat<'x>,
    /// When it is given up for another try.
    per_attempt: Option<Instant>,
    /// The body came from the client while the application had its head already.
    streamed: bool,
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
    pace: Pace,
}

/// How fast the client is.
struct Pace {
    /// When one that sends its body has been slower than the least rate, and lends its place.
    lend_at: Instant,
    /// For how long the application has waited for it, in sum, but for the wait that lasts.
    took: Duration,
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
        repeat: &'x Repeat<'x>,
    ) -> Self {
        let now = Instant::now();
        let streamed = matches!(upload, Upload::Streaming);
        if streamed {
            cx.watch.waits_for_client();
        }
        Exchange {
            proxy,
            route,
            down,
            timer,
            origin: Some(origin),
            upload,
            websocket,
            per_attempt: repeat.per_attempt(cx).map(|time| now + time),
            repeat,
            streamed,
            cx,
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
            pace: Pace { lend_at: now + deadlines::LEND, took: Duration::ZERO },
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
                Event::Head(Ok(())) => match self.on_head()? {
                    OnHead::Next => {}
                    OnHead::Again(after) => {
                        self.discard_answer().await;
                        return Err(Failed::Again(after));
                    }
                    OnHead::Upgrade(head) => {
                        let Some(origin) = self.origin.take() else { return Ok(Ended::Answered) };
                        note(self.cx, &origin);
                        return Ok(Ended::Upgraded(origin, head));
                    }
                },
                Event::Head(Err(broken)) => return Err(self.no_answer(&broken)),
                Event::Answer(Ok(())) => self.on_answer_read().await,
                // The head is out: all that is left is to break off visibly.
                Event::Answer(Err(_)) => {
                    self.note_broken();
                    return Err(Reason::UpstreamReset.into_refusal("inside its answer").into());
                }
                Event::Sent => return Ok(Ended::Answered),
                Event::Gone => self.on_gone()?,
                Event::Upload(refusal) => return Err(refusal.into()),
                Event::Late => self.on_late()?,
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
}

/// Puts a whole body behind its head: it never waits.
pub(super) async fn hand_over(origin: &mut Origin, body: Bytes) -> Result<(), Broken> {
    poll_fn(|cx| Poll::Ready(origin.write(cx, body.clone()))).await
}
