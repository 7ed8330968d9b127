//! Step 8: answers the client from memory, or from what comes of a fetch. Conditions, ranges, HEAD and codings are judged
//! here, by the rules of `policy::cache` and `policy::compression`.

use std::future::poll_fn;
use std::io::Write;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use tokio::time::{Duration, Instant};

use super::Proxy;
use super::caching::{COMPRESSIBLE, ENCODED, Stored, kept, validators};
use super::coding::{self, Plan};
use super::context::Context;
use super::downstream::{Downstream, encode, is_bodiless};
use crate::codec;
use crate::policy::cache::conditional::{self, Outcome, Validators};
use crate::policy::cache::range::{self, Wanted};
use crate::policy::cache::status::{self, Forward, Handled};
use crate::policy::compression::etag::{self, Served};
use crate::policy::compression::head::Encoded;
use crate::policy::compression::{Accepts, Coding, head as compression_head};
use crate::refusal::{Reason, Refusal};
use crate::route::compression::Compression;
use crate::route::table::Route;
use crate::timer::{self, Timer};

/// A client may stall for this long before its rate counts.
const STALL: Duration = Duration::from_secs(3);

/// A body of more than this is handed on in parts, as far as the client takes it.
const PART: usize = 64 << 10;

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
            // Writing to memory cannot fail.
            _ => drop(write!(out, "Age: {}\r\n", object.life().age(now))),
        }
    }
}

/// Answers from a stored answer.
pub(super) async fn object(
    proxy: &Arc<Proxy>,
    cx: &mut Context,
    route: &Arc<Route>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    object: &Arc<Stored>,
    how: &How,
) -> Result<(), Refusal> {
    object.hit();
    let shape = shape(proxy, cx, route, &down.request().headers, object).await?;
    cx.status = shape.status.as_u16();
    let bodiless = cx.method == Method::HEAD || shape.status == StatusCode::NOT_MODIFIED;
    down.close |= proxy.lifecycle.ends(cx.listener.direction);
    let now = timer::unix_now().as_secs();
    let written = if down.is_plain_http1() && route.response_headers.is_empty() {
        down.write_stored(shape.status, bodiless, |out| shape.write(object, how, now, out))
    } else {
        let mut lines = Vec::with_capacity(512);
        shape.write(object, how, now, &mut lines);
        let head = head_of(shape.status, &lines)?;
        down.write_head(&head, &route.response_headers, bodiless)
    };
    written.map_err(|_| Refusal::from(Reason::ClientLeft))?;
    let mut rest = if bodiless { Bytes::new() } else { shape.body };
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
    head: &ResponseHeader,
) -> Result<(), Refusal> {
    cx.status = head.status.as_u16();
    down.close |= proxy.lifecycle.ends(cx.listener.direction);
    let bodiless = is_bodiless(&cx.method, head.status);
    let written = match coding::plan(proxy, cx, route, &down.request().headers, head) {
        Plan::AsItIs => down.write_head(head, &route.response_headers, bodiless),
        Plan::Head(head) => down.write_head(&head, &route.response_headers, bodiless),
        Plan::Coded(head, coder) => down.write_coded(&head, &route.response_headers, coder),
        Plan::Gathered(coder) => {
            down.gather(coder);
            Ok(())
        }
    };
    written.map_err(|_| Reason::ClientLeft.into())
}

/// Hands a body on to the client, as far as it takes it. `next` gives a part, or none at its end.
pub(super) async fn body(
    cx: &mut Context,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    mut next: impl FnMut(&mut Poller<'_>) -> Poll<Result<Option<Bytes>, Refusal>>,
) -> Result<(), Refusal> {
    let left = || Refusal::from(Reason::ClientLeft);
    let rate = cx.state.limits.min_send_rate;
    let (deadline, mut ended, mut until) = (cx.deadline, false, None::<Instant>);
    let sent = poll_fn(|poller| {
        loop {
            let room = if ended { down.poll_end(poller, &mut None) } else { down.poll_room(poller) };
            match room {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(left())),
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
            match next(poller) {
                Poll::Ready(Ok(Some(part))) => {
                    if down.write(poller, part).is_err() {
                        return Poll::Ready(Err(left()));
                    }
                }
                Poll::Ready(Ok(None)) => ended = true,
                Poll::Ready(Err(refusal)) => return Poll::Ready(Err(refusal)),
                Poll::Pending => {
                    if down.flush(poller).is_err() || down.poll_gone(poller).is_ready() {
                        return Poll::Ready(Err(left()));
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

/// What is sent of a stored answer.
struct Shape {
    status: StatusCode,
    body: Bytes,
    /// The coding that the body is in now; none: as it is stored.
    coding: Option<Coding>,
    /// Another tag than the stored one.
    tag: Option<Vec<u8>>,
    /// It is decoded for a client that cannot read how it is stored.
    decoded: bool,
    /// Other clients may get it in another coding.
    varies: bool,
    /// Content-Range, and the type of an answer with several parts.
    range: Option<(Option<String>, Option<String>)>,
}

async fn shape(
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

impl Shape {
    /// Writes the field lines of the head.
    fn write(&self, object: &Stored, how: &How, now: u64, out: &mut Vec<u8>) {
        let is_304 = self.status == StatusCode::NOT_MODIFIED;
        let as_it_is = self.coding.is_none() && !self.decoded && !is_304 && self.range.is_none();
        match (as_it_is, self.coding, object.etag()) {
            (true, ..) => out.extend_from_slice(object.head()),
            // The usual head, with another tag in it.
            (false, Some(coding), tag) if !is_304 && self.is_simple(object) => {
                let head = object.head();
                match tag {
                    None => out.extend_from_slice(head),
                    Some(tag) => {
                        let at = tag.as_ptr().addr() - head.as_ptr().addr();
                        out.extend_from_slice(&head[..at]);
                        out.extend_from_slice(&etag::sent(tag, Served::Encoded(coding)));
                        out.extend_from_slice(&head[at + tag.len()..]);
                    }
                }
            }
            _ => self.write_changed(object, out),
        }
        if let Some(coding) = self.coding.filter(|_| !is_304) {
            field(out, b"Content-Encoding", coding.as_str().as_bytes());
        }
        // Of several lines of Vary all hold.
        if self.varies && !names_accept_encoding(object) {
            out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        if let Some((range, kind)) = &self.range {
            if let Some(range) = range {
                field(out, b"Content-Range", range.as_bytes());
            }
            if let Some(kind) = kind {
                field(out, b"Content-Type", kind.as_bytes());
            }
        }
        let bodiless = is_304 || self.status == StatusCode::NO_CONTENT;
        if !bodiless {
            // Writing to memory cannot fail.
            let _ = write!(out, "Content-Length: {}\r\n", self.body.len());
        }
        how.write_age(object, now, out);
        out.extend_from_slice(b"Cache-Status: ");
        let (handled, detail) = how.handled();
        status::write(&handled, detail, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Whether nothing of the head speaks of the bytes of the body but its tag.
    fn is_simple(&self, object: &Stored) -> bool {
        object.flags() & super::caching::DIGESTS == 0
    }

    fn write_changed(&self, object: &Stored, out: &mut Vec<u8>) {
        let is_304 = self.status == StatusCode::NOT_MODIFIED;
        let changed = self.coding.is_some() || self.decoded;
        let several = matches!(&self.range, Some((_, Some(_)))) || self.status == StatusCode::RANGE_NOT_SATISFIABLE;
        for line in object.head().split_inclusive(|b| *b == b'\n') {
            let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
            let (name, is) = (&line[..colon], |other: &[u8]| line[..colon].eq_ignore_ascii_case(other));
            // A 304 has no body that these could speak of (RFC 9110, 15.4.5).
            let of_body = is(b"content-type") || is(b"content-encoding") || is(b"content-language");
            let of_bytes = is_digest(name) || is(b"accept-ranges");
            if is_304 && of_body || several && is(b"content-type") || self.decoded && is(b"content-encoding") {
                continue;
            }
            if changed && of_bytes {
                continue;
            }
            match (is(b"etag"), self.coding, object.etag()) {
                (true, ..) if let Some(tag) = &self.tag => field(out, b"ETag", tag),
                (true, Some(coding), Some(tag)) => field(out, b"ETag", &etag::sent(tag, Served::Encoded(coding))),
                (true, None, Some(tag)) if self.decoded => field(out, b"ETag", &etag::sent(tag, Served::Decoded)),
                _ => out.extend_from_slice(line),
            }
        }
    }
}

/// Whether a field speaks of the bytes of a body.
pub(super) fn is_digest(name: &[u8]) -> bool {
    let names = [&b"content-md5"[..], b"digest", b"content-digest", b"repr-digest"];
    names.iter().any(|digest| name.eq_ignore_ascii_case(digest))
}

fn names_accept_encoding(object: &Stored) -> bool {
    object.flags() & super::caching::VARIES != 0
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A head of field lines, for those who need it as fields.
fn head_of(status: StatusCode, lines: &[u8]) -> Result<ResponseHeader, Refusal> {
    let failed = || Refusal::from(Reason::Internal);
    let mut head = ResponseHeader::build(status, Some(16)).map_err(|_| failed())?;
    for line in lines.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (&line[..colon], line.get(colon + 2..).unwrap_or_default());
        let name = String::from_utf8_lossy(name).into_owned();
        if HeaderName::from_bytes(name.as_bytes()).is_ok() {
            let value = HeaderValue::from_bytes(value).map_err(|_| failed())?;
            head.append_header(name, value).map_err(|_| failed())?;
        }
    }
    Ok(head)
}
