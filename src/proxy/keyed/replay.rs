//! The answer that is kept, as a later try gets it: as the first did, per coding byte for byte, and marked.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderName, StatusCode, header};

use crate::http1::AnswerHead;
use crate::observe::metrics::KeyedResult;
use crate::policy::idempotency::Claim;
use crate::proxy::context::Context;
use crate::proxy::downstream::{Downstream, is_bodiless};
use crate::proxy::{Proxy, serve};
use crate::refusal::{Reason, Refusal};
use crate::route::keyed::Keyed;
use crate::route::table::Route;
use crate::store::records::Record;
use crate::timer::Timer;

/// Says that an answer is the first one's.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Serves what is kept, or refuses where that is nothing.
#[allow(clippy::too_many_arguments)]
pub(super) async fn serve(
    proxy: &Arc<Proxy>,
    cx: &mut Context,
    route: &Arc<Route>,
    keyed: &Keyed,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    record: &Record,
    claim: &Claim,
) -> Result<(), Refusal> {
    let Some(answer) = &record.answer else {
        keyed.metrics.count(KeyedResult::NotKept);
        let detail = match record.status {
            0 => "the application says that it carried it out".to_owned(),
            status => format!("it was answered with {status}"),
        };
        return Err(Refusal::new(Reason::IdempotencyNotKept, detail));
    };
    // What many clients read slowly is held as often.
    let mut held = proxy.buffered.begin();
    held.grow(answer.body.len(), cx.state.limits.max_buffered)?;
    keyed.metrics.count(KeyedResult::Replayed);
    cx.replayed = true;
    let status = StatusCode::from_u16(record.status).map_err(|_| Reason::Internal)?;
    let mut head = serve::head_of(status, answer.head.clone())?;
    let failed = |_| Refusal::from(Reason::Internal);
    if !is_bodiless(&cx.method, status) {
        head.insert_header(header::CONTENT_LENGTH, answer.body.len().to_string()).map_err(failed)?;
    }
    // A session was given to who asked first, and to nobody else.
    if record.claim.credential != claim.credential {
        head.remove_header(&header::SET_COOKIE);
    }
    head.insert_header(REPLAYED, "true").map_err(failed)?;
    whole(proxy, cx, route, down, timer, head, answer.body.clone()).await
}

/// Sends an answer that is there as a whole.
pub(super) async fn whole(
    proxy: &Arc<Proxy>,
    cx: &mut Context,
    route: &Arc<Route>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    head: Box<AnswerHead>,
    body: Bytes,
) -> Result<(), Refusal> {
    let mut rest = if is_bodiless(&cx.method, head.status) { Bytes::new() } else { body };
    serve::head(proxy, cx, route, down, head)?;
    serve::body(cx, down, timer, |_| {
        let part = rest.split_to(rest.len().min(serve::PART));
        Poll::Ready(Ok((!part.is_empty()).then_some(part)))
    })
    .await
}
