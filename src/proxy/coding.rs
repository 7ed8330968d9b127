//! Step 8, its coding: whether the body of an answer is encoded for its client, and what that does to the head.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;

use super::Proxy;
use super::context::Context;
use super::downstream::{Coder, Decode, Encode, Gather};
use super::exchange::is_event_stream;
use super::serve::Turns;
use crate::observe::metrics::{CodingMetrics, Metrics};
use crate::policy::compression::etag::{self, Served};
use crate::policy::compression::head::{self, Encoded};
use crate::policy::compression::{Accepts, Coding, Effort, Exchange, vary};
use crate::policy::switch::{Policy, Switch};
use crate::route::compression::Compression;
use crate::route::table::Route;
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
    /// As it came.
    AsItIs,
    /// With another head: other clients may get another body.
    Head(Box<ResponseHeader>),
    /// Once it is there as a whole.
    Gathered(Coder),
    /// Through a coder.
    Coded(Box<ResponseHeader>, Coder),
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
    head: &ResponseHeader,
) -> Plan {
    // Also while it is switched off: clients still have the tags that they were sent before.
    if route.compression.is_none() {
        return Plan::AsItIs;
    }
    let plan = of(route).map_or(Plan::AsItIs, |compression| chosen(proxy, cx, route, compression, request, head));
    let tag = match plan {
        Plan::AsItIs | Plan::Head(_) => tag(request, head),
        Plan::Gathered(_) | Plan::Coded(..) => None,
    };
    let Some(tag) = tag else { return plan };
    let mut changed = match plan {
        Plan::Head(changed) => changed,
        _ => Box::new(head.clone()),
    };
    if changed.insert_header(header::ETAG, tag).is_err() {
        return Plan::AsItIs;
    }
    Plan::Head(changed)
}

/// The tag that goes with a body as it came, where it is not the application's.
fn tag(request: &HeaderMap, head: &ResponseHeader) -> Option<HeaderValue> {
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
fn chosen(
    proxy: &Proxy,
    cx: &Context,
    route: &Arc<Route>,
    compression: &Compression,
    request: &HeaderMap,
    head: &ResponseHeader,
) -> Plan {
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
        if compression.rules.leaves_alone(&exchange) {
            return Plan::AsItIs;
        }
        let decodes = has_body && Accepts::of(request).needs_decoded(coding);
        let decoder =
            if decodes { Decode::new(coding).zip(changed(Box::new(head.clone()), Served::Decoded)) } else { None };
        if let Some((decoder, plain)) = decoder {
            return Plan::Coded(plain, Coder::Decode(Box::new(decoder)));
        }
        // Others get it decoded.
        let varied = if vary::is_said(&head.headers) { None } else { varied(Box::new(head.clone())) };
        return varied.map_or(Plan::AsItIs, Plan::Head);
    }
    if let Some(skip) = compression.rules.skip(&exchange) {
        let varied = if skip.varies() { varied(Box::new(head.clone())) } else { None };
        return varied.map_or(Plan::AsItIs, Plan::Head);
    }
    let Some(coding) = compression.choose(request) else {
        return varied(Box::new(head.clone())).map_or(Plan::AsItIs, Plan::Head);
    };
    let level = compression.level(coding, &proxy.codings.effort);
    let metrics = proxy.codings.of(coding);
    // A stream is not held back, whatever it says of its length.
    let gathers = !route.stream && !is_event_stream(head);
    let length = length.and_then(|length| usize::try_from(length).ok());
    if let Some(length) = length.filter(|length| gathers && *length <= WHOLE) {
        let (plain, route) = (Box::new(head.clone()), route.clone());
        let (first, body) = (Bytes::new(), BytesMut::new());
        return Plan::Gathered(Coder::Gather(Box::new(Gather {
            plain,
            route,
            coding,
            level,
            metrics,
            first,
            body,
            length,
        })));
    }
    let encoder = Encode::new(coding, level, metrics).zip(changed(Box::new(head.clone()), Served::Encoded(coding)));
    encoder.map_or(Plan::AsItIs, |(encoder, coded)| Plan::Coded(coded, Coder::Encode(Box::new(encoder))))
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

/// The head for a body that is encoded or decoded, without its length; none where that cannot be said.
pub(super) fn changed(head: Box<ResponseHeader>, served: Served) -> Option<Box<ResponseHeader>> {
    let mut changed = with_vary(head)?;
    match served {
        Served::Encoded(coding) => changed.insert_header(header::CONTENT_ENCODING, coding.as_str()).ok()?,
        Served::Decoded | Served::AsItIs => {
            changed.remove_header(&header::CONTENT_ENCODING);
        }
    }
    changed.remove_header(&header::CONTENT_LENGTH);
    retag(&mut changed, served)?;
    // The application's ranges count its own bytes.
    if changed.headers.contains_key(header::ACCEPT_RANGES) {
        changed.insert_header(header::ACCEPT_RANGES, "none").ok()?;
    }
    let digests: Vec<_> = changed.headers.keys().filter(|name| head::is_digest(name)).cloned().collect();
    for name in digests {
        changed.remove_header(&name);
    }
    Some(changed)
}

/// The head of a body that is sent as it came, where others may get another; none where that cannot be said.
pub(super) fn varied(head: Box<ResponseHeader>) -> Option<Box<ResponseHeader>> {
    let mut varied = with_vary(head)?;
    retag(&mut varied, Served::AsItIs)?;
    Some(varied)
}

fn retag(head: &mut ResponseHeader, served: Served) -> Option<()> {
    let tag = head.headers.get(header::ETAG).map(|tag| etag::sent(tag.as_bytes(), served));
    if let Some(Cow::Owned(tag)) = tag {
        let tag = HeaderValue::from_bytes(&tag).ok()?;
        head.insert_header(header::ETAG, tag).ok()?;
    }
    Some(())
}

/// With Accept-Encoding in Vary.
fn with_vary(mut head: Box<ResponseHeader>) -> Option<Box<ResponseHeader>> {
    if vary::is_said(&head.headers) {
        return Some(head);
    }
    if !head.headers.contains_key(header::VARY) {
        head.insert_header(header::VARY, HeaderValue::from_static(vary::NAME)).ok()?;
        return Some(head);
    }
    let mut lines = HeaderMap::new();
    for line in head.headers.get_all(header::VARY) {
        lines.append(header::VARY, line.clone());
    }
    vary::on_accept_encoding(&mut lines);
    head.insert_header(header::VARY, lines.remove(header::VARY)?).ok()?;
    Some(head)
}
