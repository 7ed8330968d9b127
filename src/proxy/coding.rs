//! Step 8, its coding: whether the body of an answer is encoded for its client, and what that does to the head.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::Proxy;
use super::context::Context;
use super::downstream::{Coder, Decode, Downstream, Encode, Gather, Gone};
use super::exchange::is_event_stream;
use super::serve::Turns;
use crate::http1::AnswerHead;
use crate::observe::metrics::{CodingMetrics, Metrics};
use crate::policy::compression::etag::{self, Served};
use crate::policy::compression::head::{self, Encoded};
use crate::policy::compression::{Accepts, Coding, Effort, Exchange, vary};
use crate::policy::switch::{Policy, Switch};
use crate::route::compression::Compression;
use crate::route::table::{Changes, Route};
use crate::timer;

/// A body of known length up to this is gathered and encoded in one go.
pub(super) const WHOLE: usize = 64 << 10;

/// What all routes share of their coders.
pub struct Codings {
    metrics: [Arc<CodingMetrics>; Coding::ALL.len()],
    /// How hard they try while the CPU is short.
    pub effort: Arc<Effort>,
    /// Stored bodies that are being encoded.
    pub(super) turns: Turns,
}

impl Codings {
    /// What they count stands in `metrics`.
    pub fn new(metrics: &Metrics, effort: Arc<Effort>) -> Self {
        Codings { metrics: Coding::ALL.map(|coding| metrics.coding(coding.as_str())), effort, turns: Turns::default() }
    }

    /// What a coding counts into.
    pub(super) fn of(&self, coding: Coding) -> Arc<CodingMetrics> {
        self.metrics[coding.index()].clone()
    }
}

/// How an answer is sent.
pub(super) enum Plan {
    /// With its body as it came.
    AsItIs(Box<AnswerHead>),
    /// Once it is there as a whole.
    Gathered(Coder),
    /// Through a coder.
    Coded(Box<AnswerHead>, Coder),
}

impl Plan {
    /// Writes the head, or holds it back until the whole body is there. `bodiless`: no body follows.
    pub(super) fn begin(self, down: &mut Downstream<'_>, changes: &Changes, bodiless: bool) -> Result<(), Gone> {
        match self {
            Plan::AsItIs(head) => down.write_head(head, changes, bodiless),
            Plan::Coded(head, coder) => down.write_coded(head, changes, coder),
            Plan::Gathered(coder) => {
                down.gather(coder);
                Ok(())
            }
        }
    }
}

/// What becomes of a body.
enum Choice {
    /// It is sent as it came, to everybody.
    AsItIs,
    /// It is sent as it came; others may get another.
    Varies,
    /// It is so long, and is encoded as a whole.
    Gather(Coding, u32, usize),
    /// It is encoded as it comes.
    Encode(Coding, u32),
    /// It is decoded as it comes.
    Decode(Coding),
}

/// The section of a route whose answers are encoded now.
pub(super) fn of(route: &Route) -> Option<&Compression> {
    let compression = route.compression.as_ref()?;
    (route.switches.get(Policy::Compression, timer::uptime) != Switch::Off).then_some(compression)
}

/// Decides how an answer of the application is sent.
pub(super) fn plan(
    proxy: &Proxy,
    cx: &Context,
    route: &Arc<Route>,
    request: &HeaderMap,
    mut head: Box<AnswerHead>,
) -> Plan {
    // Also while it is switched off: clients still have the tags that they were sent before.
    if route.compression.is_none() {
        return Plan::AsItIs(head);
    }
    let choice = of(route).map_or(Choice::AsItIs, |compression| choose(proxy, cx, route, compression, request, &head));
    let coder = match choice {
        Choice::AsItIs => return Plan::AsItIs(tagged(request, head, false)),
        Choice::Varies => None,
        Choice::Gather(coding, level, length) => {
            let (route, metrics) = (route.clone(), proxy.codings.of(coding));
            let (first, body) = (Bytes::new(), BytesMut::new());
            let gather = Gather { plain: head, route, coding, level, metrics, first, body, length };
            return Plan::Gathered(Coder::Gather(Box::new(gather)));
        }
        Choice::Encode(coding, level) => Encode::new(coding, level, proxy.codings.of(coding))
            .map(|encoder| (Coder::Encode(Box::new(encoder)), Served::Encoded(coding))),
        Choice::Decode(coding) => {
            Decode::new(coding).map(|decoder| (Coder::Decode(Box::new(decoder)), Served::Decoded))
        }
    };
    let Some((coder, served)) = coder else { return Plan::AsItIs(tagged(request, head, true)) };
    changed(&mut head, served);
    Plan::Coded(head, coder)
}

/// The head of a body that is sent as it came, with the tag that goes with it.
fn tagged(request: &HeaderMap, mut head: Box<AnswerHead>, varies: bool) -> Box<AnswerHead> {
    let tag = tag(request, &head);
    if varies {
        varied(&mut head);
    }
    if let Some(tag) = tag {
        set(&mut head, header::ETAG, tag);
    }
    head
}

/// The tag that goes with a body as it came, where it is not the application's.
fn tag(request: &HeaderMap, head: &AnswerHead) -> Option<HeaderValue> {
    let tag = head.headers.get(header::ETAG)?.as_bytes();
    let sent = match head.status {
        StatusCode::NOT_MODIFIED => etag::as_sent(&named(request), tag).into_owned(),
        _ => match etag::sent(tag, Served::AsItIs) {
            Cow::Borrowed(_) => return None,
            Cow::Owned(sent) => sent,
        },
    };
    if sent == tag { None } else { HeaderValue::from_bytes(&sent).ok() }
}

/// The tags of `If-None-Match`, of all its lines.
pub(super) fn named(request: &HeaderMap) -> Cow<'_, [u8]> {
    let mut lines = request.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
    let first = lines.next().unwrap_or_default();
    lines.fold(Cow::Borrowed(first), |all, line| Cow::Owned([&all, &b", "[..], line].concat()))
}

/// Decides whether the body goes through a coder.
fn choose(
    proxy: &Proxy,
    cx: &Context,
    route: &Route,
    compression: &Compression,
    request: &HeaderMap,
    head: &AnswerHead,
) -> Choice {
    let has_body = cx.method != Method::HEAD && !matches!(head.status.as_u16(), 204 | 206 | 304);
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let exchange = Exchange {
        method: &cx.method,
        path: cx.uri.path(),
        request,
        status: head.status,
        response: &head.headers,
        length,
    };
    if let Encoded::As(coding) = head::encoded(&head.headers) {
        return match () {
            () if compression.rules.leaves_alone(&exchange) => Choice::AsItIs,
            () if has_body && Accepts::of(request).needs_decoded(coding) => Choice::Decode(coding),
            // Others get it decoded.
            () if vary::is_said(&head.headers) => Choice::AsItIs,
            () => Choice::Varies,
        };
    }
    if let Some(skip) = compression.rules.skip(&exchange) {
        return if skip.varies() { Choice::Varies } else { Choice::AsItIs };
    }
    let Some(coding) = compression.choose(request) else { return Choice::Varies };
    let level = compression.level(coding, &proxy.codings.effort);
    // A stream is not held back, whatever it says of its length.
    let gathers = !route.stream && !is_event_stream(head);
    match length.and_then(|length| usize::try_from(length).ok()) {
        Some(length) if gathers && length <= WHOLE => Choice::Gather(coding, level, length),
        _ => Choice::Encode(coding, level),
    }
}

/// Whether an answer that is stored may be encoded for a client that takes it so.
pub(super) fn is_compressible(
    route: &Route,
    path: &str,
    status: StatusCode,
    response: &HeaderMap,
    length: usize,
) -> bool {
    let Some(compression) = &route.compression else { return false };
    // What the request says counts when it is served.
    let request = HeaderMap::new();
    let length = Some(length as u64);
    let exchange = Exchange { method: &Method::GET, path, request: &request, status, response, length };
    compression.rules.skip(&exchange).is_none()
}

/// Changes the head for a body that is encoded or decoded: it says nothing of the length, nor of other bytes than those.
pub(super) fn changed(head: &mut AnswerHead, served: Served) {
    with_vary(head);
    match served {
        Served::Encoded(coding) => set(head, header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str())),
        Served::Decoded | Served::AsItIs => drop(head.remove_header(&header::CONTENT_ENCODING)),
    }
    head.remove_header(&header::CONTENT_LENGTH);
    retag(head, served);
    // The application's ranges count its own bytes.
    if head.headers.contains_key(header::ACCEPT_RANGES) {
        set(head, header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    }
    let digests: Vec<_> = head.headers.keys().filter(|name| head::is_digest(name)).cloned().collect();
    for name in digests {
        head.remove_header(&name);
    }
}

/// Changes the head of a body that is sent as it came, where others may get another.
pub(super) fn varied(head: &mut AnswerHead) {
    with_vary(head);
    retag(head, Served::AsItIs);
}

fn retag(head: &mut AnswerHead, served: Served) {
    let tag = head.headers.get(header::ETAG).map(|tag| etag::sent(tag.as_bytes(), served));
    if let Some(Cow::Owned(tag)) = tag {
        match HeaderValue::from_bytes(&tag) {
            Ok(tag) => set(head, header::ETAG, tag),
            // No tag rather than that of other bytes.
            Err(_) => drop(head.remove_header(&header::ETAG)),
        }
    }
}

/// Adds Accept-Encoding to Vary.
fn with_vary(head: &mut AnswerHead) {
    if vary::is_said(&head.headers) {
        return;
    }
    if !head.headers.contains_key(header::VARY) {
        return set(head, header::VARY, HeaderValue::from_static(vary::NAME));
    }
    let mut lines = HeaderMap::new();
    for line in head.headers.get_all(header::VARY) {
        lines.append(header::VARY, line.clone());
    }
    vary::on_accept_encoding(&mut lines);
    if let Some(line) = lines.remove(header::VARY) {
        set(head, header::VARY, line);
    }
}

fn set(head: &mut AnswerHead, name: HeaderName, value: HeaderValue) {
    // A name that is one is never refused.
    let _ = head.insert_header(name, value);
}
