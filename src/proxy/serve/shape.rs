//! What is sent of a stored answer: all of it, a part, another coding of it, or nothing but that it has not changed.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::forms;
use crate::codec::{self, DecodeError};
use crate::policy::cache::conditional::{self, Outcome};
use crate::policy::cache::range::{self, Wanted};
use crate::policy::compression::etag::{self, Served};
use crate::policy::compression::head::Encoded;
use crate::policy::compression::{Accepts, Coding, Exchange, head as compression_head};
use crate::proxy::Proxy;
use crate::proxy::caching::{COMPRESSIBLE, ENCODED, Stored, kept, validators};
use crate::proxy::coding;
use crate::proxy::context::Context;
use crate::proxy::downstream::Decode;
use crate::refusal::{Reason, Refusal};
use crate::route::compression::Compression;
use crate::route::table::Route;

/// What is sent of a stored answer.
pub(super) struct Shape {
    pub(super) status: StatusCode,
    /// The body; none: as it is stored.
    pub(super) body: Option<Bytes>,
    /// The coding that the body is in now; none: as it is stored.
    pub(super) coding: Option<Coding>,
    /// It is decoded for a client that cannot read how it is stored.
    pub(super) decoded: bool,
    /// Other clients may get it in another coding.
    pub(super) varies: bool,
    /// What decodes it while it is sent; its length is not known then.
    pub(super) decoder: Option<Box<Decode>>,
    pub(super) streams: bool,
    /// The tag that is sent, where it is not the stored one.
    pub(super) tag: Option<Vec<u8>>,
    /// Content-Range, and the type of an answer with several parts.
    pub(super) range: Option<(Option<String>, Option<String>)>,
}

impl Shape {
    /// The body that is sent.
    pub(super) fn body<'a>(&'a self, object: &'a Stored) -> &'a [u8] {
        self.body.as_deref().unwrap_or_else(|| object.body())
    }

    /// The body that is sent, to be kept while it is.
    pub(super) fn into_body(self, object: &Stored) -> Bytes {
        self.body.unwrap_or_else(|| object.shared_body())
    }
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
    let mut shape = Shape {
        status,
        body: None,
        coding: None,
        decoded: false,
        varies,
        decoder: None,
        streams: false,
        tag: None,
        range: None,
    };
    // Also while it is switched off: clients still have the tags that they were sent before.
    let marked = route.compression.is_some();
    let conditional = conditional::has_any(request);
    let own = if conditional && marked { own_conditions(request) } else { None };
    let conditions = own.as_ref().unwrap_or(request);
    if conditional && is_not_modified(conditions, object) {
        shape.status = StatusCode::NOT_MODIFIED;
        let told =
            object.etag().filter(|_| marked).map(|tag| (tag, etag::as_sent(&coding::named(request), tag).into_owned()));
        shape.tag = told.and_then(|(tag, told)| (told != tag).then_some(told));
        return Ok(shape);
    }
    let needs_decoded = compression.and_then(|compression| needs_decoded(compression, cx, request, object));
    if conditional
        && cx.method == Method::GET
        && status == StatusCode::OK
        && needs_decoded.is_none()
        && conditional::range_applies(conditions, &validators(object))
    {
        let shape = part_of(shape, conditions, object);
        return Ok(if marked { shape.tagged(object, Served::AsItIs) } else { shape });
    }
    if let Some(coding) = needs_decoded {
        decode(&mut shape, coding, object)?;
        return Ok(shape.tagged(object, Served::Decoded));
    }
    let Some(coding) = chosen(compression, cx, request, object) else {
        return Ok(if marked { shape.tagged(object, Served::AsItIs) } else { shape });
    };
    match forms::form(proxy, route, object, coding).await {
        Some(body) => {
            (shape.body, shape.coding) = (Some(body), Some(coding));
            Ok(shape.tagged(object, Served::Encoded(coding)))
        }
        None => Ok(shape.tagged(object, Served::AsItIs)),
    }
}

/// The coding that has to be taken off for this client.
fn needs_decoded(compression: &Compression, cx: &Context, request: &HeaderMap, object: &Stored) -> Option<Coding> {
    if object.flags() & ENCODED == 0 {
        return None;
    }
    let response = kept::fields(object);
    let Encoded::As(coding) = compression_head::encoded(&response) else { return None };
    let status = StatusCode::from_u16(object.status()).unwrap_or_default();
    let exchange =
        Exchange { method: &cx.method, path: cx.uri.path(), request, status, response: &response, length: None };
    let needs = Accepts::of(request).needs_decoded(coding) && !compression.rules.leaves_alone(&exchange);
    needs.then_some(coding)
}

/// Decodes a stored body: at once where that makes a short one, else while it is sent.
fn decode(shape: &mut Shape, coding: Coding, object: &Stored) -> Result<(), Refusal> {
    shape.decoded = true;
    match codec::decode(coding, object.body(), coding::WHOLE) {
        // There are applications that say of nothing, too, that it is encoded.
        _ if object.body().is_empty() => {}
        Ok(plain) => shape.body = Some(plain.into()),
        Err(DecodeError::TooLong(_)) => {
            shape.decoder = Some(Box::new(Decode::new(coding).ok_or(Reason::Internal)?));
            shape.streams = true;
        }
        Err(_) => return Err(Reason::UpstreamReset.into_refusal("its body is not what its coding says")),
    }
    Ok(())
}

/// The coding that a client gets a stored answer in.
fn chosen(compression: Option<&Compression>, cx: &Context, request: &HeaderMap, object: &Stored) -> Option<Coding> {
    let compression = compression.filter(|_| object.flags() & COMPRESSIBLE != 0 && cx.method == Method::GET)?;
    if compression.rules.skips_request(request) {
        return None;
    }
    compression.choose(request)
}

/// Whether the client has what is stored.
fn is_not_modified(request: &HeaderMap, object: &Stored) -> bool {
    conditional::evaluate(request, &validators(object)) == Outcome::NotModified
}

/// The conditions of a request, with the application's own tags; none where they are as they came.
fn own_conditions(request: &HeaderMap) -> Option<HeaderMap> {
    let marked = |name| request.get_all(name).iter().any(|value| value.as_bytes().contains(&b'~'));
    if !marked(header::IF_NONE_MATCH) && !marked(header::IF_RANGE) {
        return None;
    }
    let mut own = HeaderMap::new();
    for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE] {
        for value in request.get_all(&name) {
            let value = match name {
                header::IF_NONE_MATCH => Some(etag::received(value.as_bytes())),
                header::IF_RANGE => etag::if_range(value.as_bytes()),
                _ => Some(value.as_bytes().into()),
            };
            match value.map(|value| HeaderValue::from_bytes(&value)) {
                Some(Ok(value)) => drop(own.append(&name, value)),
                // It has a part of another body, and gets the whole of one.
                _ => drop(own.remove(header::RANGE)),
            }
        }
    }
    Some(own)
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
        Wanted::Whole => {}
        Wanted::One(part) => {
            shape.status = StatusCode::PARTIAL_CONTENT;
            shape.range = Some((Some(range::content_range(&part, length)), None));
            let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(whole.len());
            shape.body = Some(whole.slice(at(part.start)..at(part.end)));
        }
        Wanted::Several(parts) => {
            let boundary = format!("{:032x}", fastrand::u128(..));
            let fields = kept::fields(object);
            let kind = fields.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
            shape.status = StatusCode::PARTIAL_CONTENT;
            shape.body = Some(range::multipart(&whole, &parts, kind, &boundary).into());
            shape.range = Some((None, Some(range::multipart_type(&boundary))));
        }
        Wanted::Unsatisfiable => {
            shape.status = StatusCode::RANGE_NOT_SATISFIABLE;
            shape.body = Some(Bytes::new());
            shape.range = Some((Some(range::unsatisfied(length)), None));
        }
    }
    shape
}
