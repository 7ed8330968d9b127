//! Step 8: answers the client from memory, or from what comes of a fetch. Conditions, ranges, HEAD and codings are judged
//! here, by the rules of `policy::cache` and `policy::compression`.

mod forms;
mod lines;
mod shape;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use tokio::time::{Duration, Instant};

use super::Proxy;
use super::caching::Stored;
use super::coding;
use super::context::Context;
use super::downstream::{Coder, Downstream, is_bodiless};
use super::exchange::is_event_stream;
use crate::http1::AnswerHead;
use crate::policy::cache::status::{Forward, Handled};
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::timer::Timer;
pub(super) use forms::Turns;
use lines::field;
pub(super) use lines::head_of;
pub(super) use lines::is_digest;
use shape::shape;

/// A client may stall for this long before its rate counts.
const STALL: Duration = Duration::from_secs(3);

/// A body of more than this is handed on in parts, as far as the client takes it.
pub(super) const PART: usize = 64 << 10;

/// How an answer was come by.
pub(super) enum How {
    /// From the store; fresh for so many seconds yet, or stale for so many.
    Hit { left: i64 },
    /// From the store, although it is stale: the application failed, with this status where it gave one.
    StaleOnError { left: i64, status: Option<u16> },
    /// Fetched for this request; `age` as it came.
    Fetched { why: Forward, validated: bool, kept: bool, age: Option<HeaderValue> },
    /// Fetched for another.
    Coalesced,
}

impl How {
    fn handled(&self) -> (Handled, Option<&'static str>) {
        match self {
            How::Hit { left } => (Handled::Hit { ttl: *left }, None),
            How::StaleOnError { left, status: None } => (Handled::Hit { ttl: *left }, Some("stale_if_error")),
            How::StaleOnError { status, .. } => (
                Handled::Forward { why: Forward::Stale, status: *status, stored: false, collapsed: false },
                Some("stale_if_error"),
            ),
            How::Fetched { why, validated, kept, .. } => {
                let status = validated.then_some(304);
                (Handled::Forward { why: *why, status, stored: *kept, collapsed: false }, None)
            }
            How::Coalesced => {
                (Handled::Forward { why: Forward::UriMiss, status: None, stored: false, collapsed: true }, None)
            }
        }
    }

    /// Writes how old the answer is: as it came, or as old as it has become.
    fn write_age(&self, object: &Stored, now: u64, out: &mut Vec<u8>) {
        match self {
            How::Fetched { validated: false, age: None, .. } => {}
            How::Fetched { validated: false, age: Some(age), .. } => field(out, b"Age", age.as_bytes()),
            _ => field(out, b"Age", itoa::Buffer::new().format(object.life().age(now)).as_bytes()),
        }
    }
}

/// Answers from a stored answer; `now` in seconds since 1970.
pub(super) async fn object(
    proxy: &Arc<Proxy>,
    cx: &mut Context,
    route: &Arc<Route>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    object: &Arc<Stored>,
    (how, now): (&How, u64),
) -> Result<(), Refusal> {
    object.hit();
    let mut shape = shape(proxy, cx, route, &down.request().headers, object).await?;
    cx.status = shape.status.as_u16();
    let bodiless = cx.method == Method::HEAD || shape.status == StatusCode::NOT_MODIFIED;
    down.close |= proxy.lifecycle.ends(cx.listener.direction);
    let mut sent = 0;
    let decoder = shape.decoder.take().filter(|_| !bodiless);
    let written = if let Some(decoder) = decoder {
        let mut lines = Vec::with_capacity(512);
        shape.write(object, how, now, &mut lines);
        let head = head_of(shape.status, lines.into())?;
        down.write_coded(head, &route.response_headers, Coder::Decode(decoder))
    } else if down.is_plain_http1() && route.response_headers.is_empty() {
        let part = (!bodiless).then(|| shape.body(object)).map(|body| &body[..body.len().min(PART)]);
        sent = part.map_or(0, <[u8]>::len);
        poll_fn(|poller| {
            let lines = |out: &mut Vec<u8>| shape.write(object, how, now, out);
            Poll::Ready(down.write_stored(poller, shape.status, lines, part))
        })
        .await
    } else {
        let mut lines = Vec::with_capacity(512);
        shape.write(object, how, now, &mut lines);
        let head = head_of(shape.status, lines.into())?;
        down.write_head(head, &route.response_headers, bodiless)
    };
    cx.response_bytes = down.body_bytes;
    written.map_err(|_| Refusal::from(Reason::ClientLeft))?;
    let whole = bodiless || sent == shape.body(object).len();
    let mut rest = if whole { Bytes::new() } else { shape.into_body(object).split_off(sent) };
    body(cx, down, timer, |_| {
        let part = rest.split_to(rest.len().min(PART));
        Poll::Ready(Ok((!part.is_empty()).then_some(part)))
    })
    .await
}

/// Writes the head of an answer that is fetched.
pub(super) fn head(
    proxy: &Proxy,
    cx: &mut Context,
    route: &Arc<Route>,
    down: &mut Downstream<'_>,
    head: Box<AnswerHead>,
) -> Result<(), Refusal> {
    cx.status = head.status.as_u16();
    down.close |= proxy.lifecycle.ends(cx.listener.direction);
    let bodiless = is_bodiless(&cx.method, head.status);
    if !bodiless && (route.stream || is_event_stream(&head)) {
        cx.deadline = Instant::now() + route.timeouts.stream_max;
    }
    let plan = coding::plan(proxy, cx, route, &down.request().headers, head);
    plan.begin(down, &route.response_headers, bodiless).map_err(|_| Reason::ClientLeft.into())
}

/// Hands a body on to the client, as far as it takes it. `next` gives a part, or none at its end.
pub(super) async fn body(
    cx: &mut Context,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    mut next: impl FnMut(&mut Poller<'_>) -> Poll<Result<Option<Bytes>, Refusal>>,
) -> Result<(), Refusal> {
    let left = |down: &Downstream<'_>| down.broken().unwrap_or(Reason::ClientLeft.into());
    let rate = cx.state.limits.min_send_rate;
    let (deadline, mut ended, mut until) = (cx.deadline, false, None::<Instant>);
    let sent = poll_fn(|poller| {
        loop {
            let room = if ended { down.poll_end(poller, &mut None) } else { down.poll_room(poller) };
            match room {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(left(down))),
                Poll::Ready(Ok(())) if ended => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => until = None,
                Poll::Pending => {
                    // Fixed when the wait begins: what waits shrinks with every byte that the client takes.
                    let slowest = Duration::from_secs(down.pending() as u64 / rate) + STALL;
                    timer.set(*until.get_or_insert_with(|| Instant::now() + slowest));
                    let late = || Refusal::new(Reason::RequestTimeout, "the answer was not read in time");
                    return timer.poll(poller).map(|()| Err(late()));
                }
            }
            match down.write_more(poller) {
                Ok(false) => {}
                Ok(true) => continue,
                Err(_) => return Poll::Ready(Err(left(down))),
            }
            match next(poller) {
                Poll::Ready(Ok(Some(part))) => {
                    if down.write(poller, part).is_err() {
                        return Poll::Ready(Err(left(down)));
                    }
                }
                Poll::Ready(Ok(None)) => ended = true,
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
                Poll::Pending => {
                    if down.flush(poller).is_err() || down.poll_gone(poller).is_ready() {
                        return Poll::Ready(Err(left(down)));
                    }
                    timer.set(deadline + STALL);
                    return timer.poll(poller).map(|()| Err(Reason::UpstreamTimeout.into()));
                }
            }
        }
    });
    let sent = sent.await;
    cx.response_bytes = down.body_bytes;
    sent
}
