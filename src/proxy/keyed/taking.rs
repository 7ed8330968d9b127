//! The answer to a keyed request as its task takes it in: gathered whole, written down, and only then told the client.
//!
//! What is longer than is kept, or has no end that can be told, is handed on while it comes; that it was carried out is
//! written down before its first byte.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version, header};
use pingora::http::RequestHeader;
use tokio::time::Instant;

use super::records::counted;
use super::reservation::Reservation;
use crate::http1::{AnswerHead, is_chunked};
use crate::observe::log::UpstreamSent;
use crate::observe::metrics::{KeyedEnd, RouteKeys};
use crate::policy::idempotency::{self, End, Ended, Outcomes};
use crate::proxy::Proxy;
use crate::proxy::context::Context;
use crate::proxy::downstream::{Gone, is_bodiless};
use crate::proxy::exchange::is_event_stream;
use crate::proxy::hop;
use crate::proxy::pipe::Pipe;
use crate::proxy::upload::Held;
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::store::records::Answer;
use crate::timer::Timer;

/// This much of an answer that is handed on may wait for its client.
const ROOM: usize = 64 << 10;

/// What a task tells the client who began it.
pub(super) enum Told {
    /// The whole answer, and the memory of its body.
    Whole(Box<AnswerHead>, Bytes, Held),
    /// The head of an answer whose body follows.
    Head(Box<AnswerHead>),
}

/// What becomes of the answer.
enum Mode {
    /// Its head did not come yet.
    Head,
    /// It is gathered.
    Gather(Box<AnswerHead>),
    /// That it was carried out is being written down; then it is handed on.
    Closing(Box<AnswerHead>, Pin<Box<dyn Future<Output = KeyedEnd> + Send>>),
    /// It is handed on. `whole`: its end can be told.
    Pass { status: StatusCode, whole: bool },
}

/// A keyed request as its task takes in the answer.
pub(in crate::proxy) struct Taking {
    proxy: Arc<Proxy>,
    route: Arc<Route>,
    request: Box<RequestHeader>,
    pipe: Arc<Pipe<Told>>,
    /// None for a question of ours.
    reservation: Option<Reservation>,
    memory: Held,
    mode: Mode,
    body: BytesMut,
}

impl Taking {
    pub(super) fn new(
        proxy: &Arc<Proxy>,
        route: &Arc<Route>,
        request: Box<RequestHeader>,
        reservation: Option<Reservation>,
    ) -> Box<Self> {
        Box::new(Taking {
            proxy: proxy.clone(),
            route: route.clone(),
            request,
            pipe: Arc::default(),
            reservation,
            memory: proxy.buffered.begin(),
            mode: Mode::Head,
            body: BytesMut::new(),
        })
    }

    pub(super) fn pipe(&self) -> Arc<Pipe<Told>> {
        self.pipe.clone()
    }

    pub(in crate::proxy) fn request(&self) -> &RequestHeader {
        &self.request
    }

    /// The connection is up, and the first byte is about to be sent.
    ///
    /// # Errors
    /// Where it must not be.
    pub(in crate::proxy) async fn send(
        &mut self,
        endpoint: Arc<str>,
        deadline: Instant,
        timer: &mut Timer,
    ) -> Result<(), Refusal> {
        match (&mut self.reservation, &self.route.keyed) {
            (Some(reservation), Some(keyed)) => reservation.send(endpoint, (deadline, timer), &keyed.metrics).await,
            _ => Ok(()),
        }
    }

    /// Hands an informational head on.
    pub(in crate::proxy) fn inform(&self, head: &AnswerHead) {
        self.pipe.inform(head);
    }

    /// Takes the final head. Tells whether the client has it: then there is no way back.
    pub(in crate::proxy) fn write_head(&mut self, head: Box<AnswerHead>) -> bool {
        self.body.clear();
        let bodiless = is_bodiless(&self.request.method, head.status);
        let unbounded = !bodiless && !is_bounded(&head);
        let streams = !bodiless && (self.route.stream || is_event_stream(&head));
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        self.mode = Mode::Gather(head);
        if unbounded {
            self.pass(false);
        } else if streams || length.is_some_and(|length| length > self.max_response()) {
            self.hand_on();
        }
        matches!(self.mode, Mode::Pass { .. } | Mode::Closing(..))
    }

    fn max_response(&self) -> usize {
        self.route.keyed.as_ref().map_or(usize::MAX, |keyed| keyed.max_response)
    }

    /// It is not kept: that it was carried out is written down, and it is handed on.
    fn hand_on(&mut self) {
        let Mode::Gather(head) = &mut self.mode else { return };
        let (status, metrics) = (head.status.as_u16(), self.route.keyed.as_ref().map(|keyed| keyed.metrics.clone()));
        let answered = Ended::Answered { status, whole: true, fits: false };
        let is_over = self.outcomes().is_some_and(|outcomes| idempotency::end(answered, outcomes) == End::NotKept);
        let (true, Some(metrics), Some(mut reservation)) = (is_over, metrics, self.reservation.take_if(|_| is_over))
        else {
            return self.pass(true);
        };
        let done = Box::pin(async move { reservation.done(status, None, &metrics).await });
        if let Mode::Gather(head) = std::mem::replace(&mut self.mode, Mode::Head) {
            self.mode = Mode::Closing(head, done);
        }
    }

    fn outcomes(&self) -> Option<&Outcomes> {
        self.route.keyed.as_ref().map(|keyed| &keyed.outcomes)
    }

    /// Hands on what there is of it.
    fn pass(&mut self, whole: bool) {
        if let Mode::Gather(head) | Mode::Closing(head, _) = std::mem::replace(&mut self.mode, Mode::Head) {
            self.mode = Mode::Pass { status: head.status, whole };
            self.pipe.tell(Told::Head(head));
            if !self.body.is_empty() {
                self.pipe.push(self.body.split().freeze());
            }
            self.body = BytesMut::new();
        }
    }

    /// Takes a part of the body. One whose client has left is taken as well: what the application says decides what becomes
    /// of the record.
    pub(in crate::proxy) fn write(&mut self, chunk: Bytes) -> Result<(), Gone> {
        match &self.mode {
            Mode::Pass { .. } => self.pipe.push(chunk),
            Mode::Closing(..) => self.body.extend_from_slice(&chunk),
            Mode::Head => {}
            Mode::Gather(_) => {
                let too_long = self.body.len() + chunk.len() > self.max_response();
                let limit = self.proxy.state.load().limits.max_buffered;
                let no_room = self.memory.grow(chunk.len(), limit).is_err();
                self.body.extend_from_slice(&chunk);
                if too_long || no_room {
                    self.hand_on();
                }
            }
        }
        Ok(())
    }

    /// Ready when there is room for more of it.
    pub(in crate::proxy) fn poll_room(&mut self, cx: &mut Poller<'_>) -> Poll<Result<(), Gone>> {
        if let Mode::Closing(_, done) = &mut self.mode {
            let end = ready!(done.as_mut().poll(cx));
            self.count(end);
            self.pass(true);
        }
        match self.mode {
            Mode::Pass { .. } => self.pipe.poll_taken(cx, ROOM).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Bytes that wait for the client.
    pub(in crate::proxy) fn pending(&self) -> usize {
        if matches!(self.mode, Mode::Pass { .. }) { self.pipe.queued() } else { 0 }
    }

    fn count(&self, end: KeyedEnd) {
        if let Some(keyed) = &self.route.keyed {
            keyed.metrics.ended(end);
        }
    }

    /// The answer came to its end, or there is none: what becomes of the record is written down, and the client told.
    pub(super) async fn finish(mut self, result: Result<(), Refusal>, cx: &Context) {
        self.pipe.leave_trail(cx.trail());
        if let Mode::Closing(_, done) = &mut self.mode {
            let end = done.as_mut().await;
            self.count(end);
            self.pass(true);
        }
        let route = self.route.clone();
        let Some(keyed) = &route.keyed else { return self.pipe.end(Err(Reason::Internal.into())) };
        let (status, whole) = match &self.mode {
            Mode::Gather(head) => (Some(head.status), true),
            Mode::Pass { status, whole } => (Some(*status), *whole),
            Mode::Head | Mode::Closing(..) => (None, false),
        };
        let ended = match (&result, status) {
            (Ok(()), Some(status)) => Ended::Answered { status: status.as_u16(), whole, fits: true },
            (Err(_), Some(status)) => Ended::Answered { status: status.as_u16(), whole: false, fits: true },
            (Err(refusal), None) if is_unseen(refusal, cx) => Ended::Unseen,
            (_, None) => Ended::Unanswered,
        };
        let end = idempotency::end(ended, &keyed.outcomes);
        if let (Ok(()), Mode::Gather(head)) = (&result, &mut self.mode) {
            settle(head, &self.request, self.body.len());
        }
        let body = self.body.split().freeze();
        if let Some(reservation) = self.reservation.take() {
            let answer = match &self.mode {
                Mode::Gather(head) if end == End::Kept => Some(Answer { head: lines(head), body: body.clone() }),
                _ => None,
            };
            let status = status.map_or(0, |status| status.as_u16());
            close(reservation, end, (status, answer), &keyed.metrics, &self.pipe, (cx, &result)).await;
        }
        match (result, std::mem::replace(&mut self.mode, Mode::Head)) {
            (Ok(()), Mode::Gather(head)) => {
                let memory = std::mem::replace(&mut self.memory, self.proxy.buffered.begin());
                self.pipe.tell(Told::Whole(head, body, memory));
            }
            (Ok(()), Mode::Pass { .. }) => self.pipe.end(Ok(())),
            (Ok(()), _) => self.pipe.end(Err(Reason::Internal.into())),
            (Err(refusal), _) => self.pipe.end(Err(refusal)),
        }
    }
}

impl Drop for Taking {
    /// However it ends, nobody waits for ever.
    fn drop(&mut self) {
        self.pipe.end(Err(Reason::Internal.into()));
    }
}

/// Writes down what becomes of a record.
async fn close(
    mut reservation: Reservation,
    end: End,
    (status, answer): (u16, Option<Answer>),
    metrics: &RouteKeys,
    pipe: &Pipe<Told>,
    (cx, result): (&Context, &Result<(), Refusal>),
) {
    let (hash, was_sent) = (reservation.name(), reservation.is_sent());
    let end = match end {
        // A refusal of ours, before anything was sent.
        _ if !was_sent => return reservation.release().await,
        End::Kept | End::NotKept => reservation.done(status, answer, metrics).await,
        End::Released => {
            reservation.release().await;
            counted(end)
        }
        End::Unknown => {
            reservation.unknown(status, cx.sent).await;
            counted(end)
        }
    };
    metrics.ended(end);
    let route = cx.route.as_ref().map_or("-", |route| route.name.as_str());
    let endpoint = cx.endpoint.as_ref().map_or("-", |endpoint| &endpoint.label);
    let (outcome, reason) = (end.as_str(), result.as_ref().err().map_or("-", |refusal| refusal.reason.as_str()));
    if end == KeyedEnd::Unknown {
        tracing::warn!(
            event = "idempotency_unknown",
            hash,
            route,
            request_id = %cx.id,
            endpoint,
            status,
            reason,
            upstream_sent = cx.sent.as_str(),
        );
    } else if pipe.has_left() {
        // Its access line said that its client left, and nothing of how it ended.
        tracing::info!(event = "idempotency_outcome", hash, route, request_id = %cx.id, endpoint, status, outcome);
    }
}

/// Whether the application provably has nothing of a request that it was being sent.
fn is_unseen(refusal: &Refusal, cx: &Context) -> bool {
    // Of a defect of ours nothing is known, and what took too long was with the application.
    cx.sent == UpstreamSent::None && !matches!(refusal.reason, Reason::Internal | Reason::UpstreamTimeout)
}

/// Whether it can be told where an answer ends.
fn is_bounded(head: &AnswerHead) -> bool {
    head.headers.contains_key(header::CONTENT_LENGTH) || head.version == Version::HTTP_2 || is_chunked(&head.headers)
}

/// The head of an answer that is there as a whole: with its length, and a date that stays what it is.
fn settle(head: &mut AnswerHead, request: &RequestHeader, length: usize) {
    head.remove_header(&header::TRANSFER_ENCODING);
    head.remove_header(&header::CONTENT_LENGTH);
    if !is_bodiless(&request.method, head.status) {
        // Digits are a value.
        let _ = head.insert_header(header::CONTENT_LENGTH, length.to_string());
    }
    if !head.headers.contains_key(header::DATE) {
        let _ = head.insert_header(header::DATE, pingora::protocols::http::date::get_cached_date());
    }
}

/// What is kept of a head: all but what belongs to the connection, and the length, which is the body's.
fn lines(head: &AnswerHead) -> Bytes {
    let nominated = hop::nominated(&head.headers);
    let mut lines = Vec::with_capacity(256);
    head.each(|name, spelled, value| {
        let ours = hop::is_hop_by_hop(spelled) || *name == header::CONTENT_LENGTH || nominated.contains(name);
        if !ours {
            for part in [spelled, b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
    });
    lines.into()
}
