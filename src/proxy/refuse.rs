//! The one place that answers a refusal.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderName, Method, header};
use pingora::http::ResponseHeader;
use tokio::time::{Duration, Instant};

use super::context::{Context, REQUEST_ID};
use super::downstream::Downstream;
use super::request::Framing;
use super::{Client, Proxy, Received};
use crate::observe::log::AccessRecord;
use crate::observe::metrics::MethodLabel;
use crate::observe::trace::{RequestId, request_id};
use crate::refusal::{Reason, Refusal};
use crate::route::table::{Changes, WHOLE};
use crate::timer::Timer;

/// How long a refused client may take to send the rest of a small body, so that its connection can be kept.
const REST: Duration = Duration::from_secs(2);

/// Answers a refusal, or breaks off where an answer has begun.
pub(super) async fn refuse(
    cx: &mut Context,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    request: Option<&Received>,
    refusal: &Refusal,
) {
    cx.reason = Some(refusal.reason);
    if refusal.reason == Reason::ClientLeft {
        cx.client_left = true;
        cx.status = if down.head_written { cx.status } else { 499 };
        down.abort();
        return;
    }
    if down.head_written {
        down.abort();
        return;
    }
    // An answer that was gathered and broke off is not sent.
    down.forget();
    cx.status = refusal.status().as_u16();
    let keep = keeps_connection(down, timer, request, refusal).await;
    down.close |= !keep;
    let body = Bytes::from(refusal.problem(&cx.id));
    let Ok(head) = head(cx, refusal, body.len()) else { return down.abort() };
    let bodiless = cx.method == Method::HEAD;
    if down.write_head(Box::new(head.into()), &Changes::default(), bodiless).is_err() {
        return;
    }
    let mut body = (!bodiless).then_some(body);
    let deadline = Instant::now() + REST;
    let answered = poll_fn(|poller| {
        if let Some(body) = body.take()
            && down.write(poller, body).is_err()
        {
            return Poll::Ready(false);
        }
        if let Poll::Ready(sent) = down.poll_end(poller, &mut None) {
            return Poll::Ready(sent.is_ok());
        }
        timer.set(deadline);
        timer.poll(poller).map(|()| false)
    });
    if !answered.await {
        down.close = true;
    }
    cx.response_bytes = down.body_bytes;
    // An HTTP/2 client whose body was not read is told so by the library behind the answer, once its stream is dropped; a
    // reset of ours would overtake the answer.
}

fn head(cx: &Context, refusal: &Refusal, length: usize) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(refusal.status(), Some(6))?;
    head.insert_header(header::CONTENT_TYPE, "application/problem+json")?;
    head.insert_header(header::CONTENT_LENGTH, length.to_string())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(HeaderName::from_static("x-outboard-reason"), refusal.reason.as_str())?;
    head.insert_header(REQUEST_ID, &*cx.id)?;
    if matches!(
        refusal.reason,
        Reason::Overloaded | Reason::Draining | Reason::IdempotencyStore | Reason::IdempotencyInFlight
    ) {
        head.insert_header(header::RETRY_AFTER, "1")?;
    }
    for (name, value) in &refusal.headers {
        head.insert_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

/// Whether the rest of the body is small and comes soon, so that the next request can follow on the same connection.
/// A client that waits to be told to send its body, and one that broke the protocol, is not waited for.
async fn keeps_connection(
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    request: Option<&Received>,
    refusal: &Refusal,
) -> bool {
    if down.is_http2() {
        return true;
    }
    let Some(request) = request else { return false };
    if matches!(refusal.reason, Reason::BadRequest | Reason::RequestTimeout | Reason::Internal) {
        return false;
    }
    let rest = match request.framing {
        Framing::None => return true,
        Framing::Length(n) if n <= WHOLE && !request.expects => n,
        Framing::Length(_) | Framing::Chunked => return false,
    };
    let deadline = Instant::now() + REST;
    let mut read = 0;
    poll_fn(|poller| {
        loop {
            match down.poll_read(poller) {
                Poll::Ready(Ok(Some(part))) if read <= rest => read += part.len() as u64,
                Poll::Ready(Ok(None)) => return Poll::Ready(true),
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => break,
            }
        }
        timer.set(deadline);
        timer.poll(poller).map(|()| false)
    })
    .await
}

impl Proxy {
    /// Counts and logs a head that never became a request. Returns the id and the body of its answer.
    pub fn refuse_head(&self, client: &Client, refusal: &Refusal, protocol: &'static str) -> (RequestId, Vec<u8>) {
        let id = request_id(None, || fastrand::u128(..));
        let status = refusal.reason.status();
        self.unrouted.finish(MethodLabel::Other, status, 0.0);
        self.unrouted.refused(refusal.reason);
        let state = self.state.load();
        if state.access.enabled {
            self.access_log.record(&AccessRecord {
                request_id: &id,
                listener: &client.listener.name,
                client: client.peer,
                method: "-",
                protocol,
                status: status.as_u16(),
                reason: Some(refusal.reason),
                tls: client.listener.tls,
                config_hash: &state.hash,
                ..AccessRecord::default()
            });
        }
        let body = refusal.problem(&id);
        (id, body)
    }
}
