//! What is sent of a stored answer: all of it, a part, another coding of it, or nothing but that it has not changed.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::codec;
use crate::policy::cache::conditional::{self, Outcome, Validators};
use crate::policy::cache::range::{self, Wanted};
use crate::policy::compression::etag;
use crate::policy::compression::head::Encoded;
use crate::policy::compression::{Accepts, Coding, head as compression_head};
use crate::proxy::Proxy;
use crate::proxy::caching::{COMPRESSIBLE, ENCODED, Stored, kept, validators};
use crate::proxy::coding;
use crate::proxy::context::Context;
use crate::proxy::downstream::encode;
use crate::refusal::{Reason, Refusal};
use crate::route::compression::Compression;
use crate::route::table::Route;

/// What is sent of a stored answer.
pub(super) struct Shape {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// The coding that the body is in now; none: as it is stored.
    pub(super) coding: Option<Coding>,
    /// Another tag than the stored one.
    pub(super) tag: Option<Vec<u8>>,
    /// It is decoded for a client that cannot read how it is stored.
    pub(super) decoded: bool,
    /// Other clients may get it in another coding.
    pub(super) varies: bool,
    /// Content-Range, and the type of an answer with several parts.
    pub(super) range: Option<(Option<String>, Option<String>)>,
}

pub(super) async fn shape(
    proxy: &Arc<Proxy>,
    cx: &Context,
    route: &Arc<Route>,
    request: &HeaderMap,
    object: &Arc<Stored>,
) -> Result<Shape, Refusal> {
    let status = StatusCode::from_u16(object.status()).unwrap_or_default();
    let compression = coding::of(route);
    let varies = compression.is_some() && object.flags() & (COMPRESSIBLE | ENCODED) != 0;
    let mut shape = Shape { status, body: Bytes::new(), coding: None, tag: None, decoded: false, varies, range: None };
    if is_not_modified(request, object, varies) {
        shape.status = StatusCode::NOT_MODIFIED;
        // The tag of what the client has, in whichever coding.
        let asked = request.get(header::IF_NONE_MATCH).filter(|_| varies).zip(object.etag());
        shape.tag = asked.map(|(list, tag)| etag::as_sent(list.as_bytes(), tag).into_owned());
        return Ok(shape);
    }
    if cx.method == Method::GET && status == StatusCode::OK && conditional::range_applies(request, &validators(object))
    {
        return Ok(part_of(shape, request, object));
    }
    let accepts = Accepts::of(request);
    if object.flags() & ENCODED != 0 && compression.is_some() {
        let stored = kept::fields(object);
        let coding = match compression_head::encoded(&stored) {
            Encoded::As(coding) if !accepts.takes(coding) && accepts.takes_identity() => Some(coding),
            _ => None,
        };
        if let Some(coding) = coding {
            let most = route.caching.as_ref().map_or(0, |caching| caching.max_object) * 16;
            let plain = codec::decode(coding, object.body(), most).map_err(|_| Refusal::from(Reason::UpstreamReset))?;
            (shape.body, shape.decoded) = (plain.into(), true);
            return Ok(shape);
        }
    }
    let Some(coding) = chosen(compression, cx, request, object) else {
        shape.body = object.shared_body();
        return Ok(shape);
    };
    match form(proxy, route, object, coding).await {
        Some(body) => (shape.body, shape.coding) = (body, Some(coding)),
        None => shape.body = object.shared_body(),
    }
    Ok(shape)
}

/// The coding that a client gets a stored answer in.
fn chosen(compression: Option<&Compression>, cx: &Context, request: &HeaderMap, object: &Stored) -> Option<Coding> {
    let compression = compression.filter(|_| object.flags() & COMPRESSIBLE != 0 && cx.method == Method::GET)?;
    if compression.rules.skips_request(request) {
        return None;
    }
    compression.choose(request)
}

/// The body of a stored answer in a coding: encoded once, and kept with it.
async fn form(proxy: &Arc<Proxy>, route: &Arc<Route>, object: &Arc<Stored>, coding: Coding) -> Option<Bytes> {
    if let Some(form) = object.form(coding.index()) {
        return (!form.is_empty()).then(|| form.clone());
    }
    let compression = route.compression.as_ref()?;
    let (level, metrics) = (compression.level(coding, &proxy.codings.effort), proxy.codings.of(coding));
    let body = object.shared_body();
    let length = body.len();
    let encoded = if length <= coding::WHOLE {
        encode(coding, level, &body, &metrics)
    } else {
        // It would keep the other requests of this thread waiting.
        tokio::task::spawn_blocking(move || encode(coding, level, &body, &metrics)).await.ok().flatten()
    };
    // An empty one says that encoding does not make it shorter.
    let form = encoded.filter(|encoded| encoded.len() < length).unwrap_or_default();
    let with_form = Arc::new(object.with_form(coding.index(), form.clone()));
    proxy.cache.memory.replace(object, &with_form);
    (!form.is_empty()).then_some(form)
}

/// Whether the client has what is stored.
fn is_not_modified(request: &HeaderMap, object: &Stored, varies: bool) -> bool {
    let validators = validators(object);
    let conditions = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    if !conditions.iter().any(|name| request.contains_key(name)) {
        return false;
    }
    if conditional::evaluate(request, &validators) == Outcome::NotModified {
        return true;
    }
    varies && matches_coded(request, &validators)
}

/// Whether the client names the tag of an encoded form.
fn matches_coded(request: &HeaderMap, validators: &Validators<'_>) -> bool {
    let mut plain = HeaderMap::new();
    for line in request.get_all(header::IF_NONE_MATCH) {
        if let Ok(line) = HeaderValue::from_bytes(&etag::received(line.as_bytes())) {
            plain.append(header::IF_NONE_MATCH, line);
        }
    }
    !plain.is_empty() && conditional::evaluate(&plain, validators) == Outcome::NotModified
}

/// A part of a stored answer.
fn part_of(mut shape: Shape, request: &HeaderMap, object: &Stored) -> Shape {
    let whole = object.shared_body();
    let length = whole.len() as u64;
    let mut lines = request.get_all(header::RANGE).iter();
    let wanted = match (lines.next(), lines.next()) {
        (Some(line), None) => range::wanted(line.as_bytes(), length),
        _ => Wanted::Whole,
    };
    match wanted {
        Wanted::Whole => shape.body = whole,
        Wanted::One(part) => {
            shape.status = StatusCode::PARTIAL_CONTENT;
            shape.range = Some((Some(range::content_range(&part, length)), None));
            let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(whole.len());
            shape.body = whole.slice(at(part.start)..at(part.end));
        }
        Wanted::Several(parts) => {
            let boundary = format!("{:032x}", fastrand::u128(..));
            let fields = kept::fields(object);
            let kind = fields.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
            shape.status = StatusCode::PARTIAL_CONTENT;
            shape.body = range::multipart(&whole, &parts, kind, &boundary).into();
            shape.range = Some((None, Some(range::multipart_type(&boundary))));
        }
        Wanted::Unsatisfiable => {
            shape.status = StatusCode::RANGE_NOT_SATISFIABLE;
            shape.range = Some((Some(range::unsatisfied(length)), None));
        }
    }
    shape
}
