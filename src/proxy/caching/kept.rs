//! From an answer that came whole to one that is stored.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::fetch::{Progress, Told};
use super::fill::{Fill, NotKept, Why};
use super::{Stored, filing};
use crate::codec::{self, DecodeError};
use crate::http1::AnswerHead;
use crate::policy::cache::store::{self, storable};
use crate::policy::cache::{Times, fields as rules, merge};
use crate::policy::compression::Coding;
use crate::policy::compression::etag::{self, Served};
use crate::policy::compression::head::{Encoded, encoded};
use crate::policy::redact;
use crate::proxy::{coding, serve};
use crate::store::memory::Insert;
use crate::store::object::{Object, Parts, Selector};
use crate::timer;

/// An answer that came whole and may be kept.
pub(super) struct Kept {
    pub(super) head: Box<AnswerHead>,
    pub(super) stored: store::Stored,
    pub(super) body: Bytes,
    /// The client had it while it came.
    pub(super) streams: bool,
}

/// Stores an answer, and tells all who wait for it.
pub(super) async fn came(fill: Fill, kept: Kept) {
    let Kept { head, stored, body, streams } = kept;
    let unfit = unfit(&fill, &head, &body);
    if let (Why::Compare, Some(held)) = (fill.why, &fill.held) {
        let same = held.body() == &body[..] && held.status() == head.status.as_u16();
        fill.proxy.cache.metrics.compared(&fill.route.name, same);
    }
    let age = head.headers.get(header::AGE).cloned();
    let mut lines = Lines::default();
    head_lines(&head, &stored, &mut lines);
    let object = build(&fill, &stored, head.status, &lines, body, &head.headers);
    let kept = match (object, unfit) {
        (None, _) => Err((None, NotKept::TooLarge)),
        (Some(object), Some(why)) => Err((Some(Arc::new(object)), why)),
        (Some(object), None) => insert(&fill, object).await,
    };
    if streams {
        fill.fetch.pipe.end(Ok(()));
    }
    match kept {
        Ok(object) => {
            fill.proxy.cache.metrics.kept(&fill.route.name);
            fill.proxy.cache.uncacheable.forget(fill.hash);
            if !streams {
                fill.fetch.pipe.tell(Told::Whole { object: object.clone(), validated: false, kept: true, age });
            }
            fill.over(Progress::Stored(object));
        }
        Err((object, why)) => {
            fill.proxy.cache.metrics.not_kept(&fill.route.name, why.as_str());
            if why != NotKept::Raced {
                fill.drop_held();
                fill.proxy.cache.uncacheable.remember(fill.hash, timer::uptime());
            }
            match object {
                Some(object) if !streams => {
                    fill.fetch.pipe.tell(Told::Whole { object, validated: false, kept: false, age });
                }
                _ => fill.fetch.pipe.end(Err(crate::refusal::Reason::Internal.into())),
            }
            fill.over(if why == NotKept::Raced { Progress::Raced } else { Progress::NotStored });
        }
    }
}

/// What is stored still holds: it lives on with what the 304 says.
pub(super) async fn validated(fill: Fill, not_modified: &AnswerHead) {
    let (Some(held), Some(caching)) = (fill.held.clone(), &fill.route.caching) else { return };
    let mut head = fields(&held);
    merge::merge(&mut head, &not_modified.headers);
    let times = Times { sent: fill.sent, received: timer::unix_now().as_secs() };
    // Its age is that of the 304.
    if let Some(age) = not_modified.headers.get(header::AGE) {
        head.insert(header::AGE, age.clone());
    }
    if !not_modified.headers.contains_key(header::DATE) {
        head.insert(header::DATE, pingora::protocols::http::date::get_cached_date());
    }
    if !fill.tagged {
        // Whoever files it anew under fewer tags keeps a change from ending it. It stays as it was.
        fill.proxy.cache.metrics.not_kept(&fill.route.name, NotKept::TagMissing.as_str());
        fill.fetch.pipe.tell(Told::Whole { object: held, validated: true, kept: false, age: None });
        fill.over(Progress::NotStored);
        return;
    }
    let stored = match head.values().any(|value| redact::has_card_number(value.as_bytes())) {
        true => Err(NotKept::CardNumber),
        false => storable(&fill.asked, held.status(), &head, &caching.rules, times).map_err(NotKept::Rules),
    };
    let stored = match stored {
        Ok(stored) => stored,
        Err(why) => {
            // It may be served this once, and is not kept any longer.
            fill.proxy.cache.metrics.not_kept(&fill.route.name, why.as_str());
            fill.drop_held();
            fill.fetch.pipe.tell(Told::Whole { object: held, validated: true, kept: false, age: None });
            fill.over(Progress::NotStored);
            return;
        }
    };
    let mut lines = Lines::default();
    rules::kept(&head, &stored.drop).for_each(|(name, value)| lines.push(name.as_str().as_bytes(), value));
    let status = StatusCode::from_u16(held.status()).unwrap_or_default();
    let object = build(&fill, &stored, status, &lines, held.shared_body(), &head);
    let object = object.map(|object| with_forms(object, &held));
    let told = match object {
        None => Err(held),
        Some(object) => insert(&fill, object).await.map_err(|(object, _)| object.unwrap_or(held)),
    };
    match told {
        Ok(object) => {
            fill.fetch.pipe.tell(Told::Whole { object: object.clone(), validated: true, kept: true, age: None });
            fill.over(Progress::Stored(object));
        }
        Err(object) => {
            fill.fetch.pipe.tell(Told::Whole { object, validated: true, kept: false, age: None });
            fill.over(Progress::Raced);
        }
    }
}

/// The bytes did not change, and so neither did what they are in other codings.
fn with_forms(object: Stored, held: &Stored) -> Stored {
    Coding::ALL.into_iter().fold(object, |object, coding| match held.form(coding.index()) {
        Some(form) => object.with_form(coding.index(), form.clone()),
        None => object,
    })
}

/// Puts an object into the store, in steps that keep no request waiting.
async fn insert(fill: &Fill, object: Stored) -> Result<Arc<Stored>, (Option<Arc<Stored>>, NotKept)> {
    let object = Arc::new(object);
    let mut insert = fill.proxy.cache.memory.insert(object.clone());
    loop {
        insert = match insert {
            Insert::Kept => return Ok(object),
            Insert::Raced => return Err((Some(object), NotKept::Raced)),
            Insert::TooLarge => return Err((Some(object), NotKept::TooLarge)),
            Insert::More(pending) => {
                tokio::task::yield_now().await;
                pending.step()
            }
        }
    }
}

fn build(
    fill: &Fill,
    stored: &store::Stored,
    status: StatusCode,
    lines: &Lines,
    body: Bytes,
    head: &HeaderMap,
) -> Option<Stored> {
    let caching = fill.route.caching.as_ref()?;
    let names = filing::selecting(&fill.route, stored.vary.clone());
    let (joined, values) = match names.is_empty() {
        true => (Vec::new(), Box::default()),
        false => (names.joined(), names.selecting(&fill.request.headers)),
    };
    let generations = fill.proxy.cache.memory.generations();
    let mut slots = fill.fetch.filed.slots.clone();
    slots.extend(caching.named_tags(head).map(|tag| generations.slot(crate::store::generations::Kind::Tag, tag)));
    let compressible = coding::is_compressible(&fill.route, fill.request.uri.path(), status, head, body.len());
    let mut flags = if compressible { super::COMPRESSIBLE } else { 0 };
    let mut mark = |marked: bool, flag: u16| flags |= if marked { flag } else { 0 };
    mark(head.contains_key(header::CONTENT_ENCODING), super::ENCODED);
    mark(
        head.contains_key(header::ACCEPT_RANGES) || head.keys().any(|n| serve::is_digest(n.as_str().as_bytes())),
        super::DIGESTS,
    );
    mark(stored.vary.iter().any(|name| *name == header::ACCEPT_ENCODING), super::VARIES);
    let tag = lines.etag.clone().map_or(&b""[..], |etag| &lines.bytes[etag]);
    mark(matches!(etag::sent(tag, Served::AsItIs), Cow::Owned(_)), super::RETAGGED);
    Object::new(Parts {
        key: &fill.key,
        place: fill.fetch.filed.within.clone(),
        status: status.as_u16(),
        head: &lines.bytes,
        etag: lines.etag.clone(),
        last_modified: lines.last_modified.clone(),
        body,
        selector: Selector { names: &joined, values: &values },
        slots: &slots,
        filed_at: fill.fetch.filed.at,
        life: stored.life,
        flags,
    })
}

/// Field lines, and where in them the validators are.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    etag: Option<std::ops::Range<usize>>,
    last_modified: Option<std::ops::Range<usize>>,
}

impl Lines {
    fn push(&mut self, name: &[u8], value: &HeaderValue) {
        // The length is said of what is sent: a part, or an encoded body.
        if name.eq_ignore_ascii_case(b"content-length") {
            return;
        }
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let at = self.bytes.len();
        self.bytes.extend_from_slice(value.as_bytes());
        let place = at..self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        if name.eq_ignore_ascii_case(b"etag") {
            self.etag.get_or_insert(place);
        } else if name.eq_ignore_ascii_case(b"last-modified") {
            self.last_modified.get_or_insert(place);
        }
    }
}

/// The lines of a head that came, their names spelled as the application spells them.
fn head_lines(head: &AnswerHead, stored: &store::Stored, lines: &mut Lines) {
    let nominated = crate::proxy::hop::nominated(&head.headers);
    head.each(|name, spelled, value| {
        if !rules::is_never_kept(name) && !stored.drop.contains(name) && !nominated.contains(name) {
            lines.push(spelled, value);
        }
    });
    if !head.headers.contains_key(header::DATE) {
        let date = pingora::protocols::http::date::get_cached_date();
        lines.push(b"Date", &date);
    }
}

/// The fields of a stored answer.
pub(in crate::proxy) fn fields(object: &Stored) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in object.head().split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let value = line.get(colon + 2..).unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    fields
}

/// Why an answer that may be kept by its head is not after all: a card number stands in its fields, or in its body as its
/// reader sees it; or that cannot be told, since its reader sees too much.
fn unfit(fill: &Fill, head: &AnswerHead, body: &Bytes) -> Option<NotKept> {
    let most = fill.route.caching.as_ref().map_or(0, |caching| caching.max_object);
    let decoded = match encoded(&head.headers) {
        Encoded::As(coding) => match codec::decode(coding, body, most * 4) {
            Ok(decoded) => Some(decoded),
            Err(DecodeError::TooLong(_)) => return Some(NotKept::TooLarge),
            Err(DecodeError::Memory) => return Some(NotKept::Memory),
            // It is for its reader to make something of.
            Err(DecodeError::Corrupt | DecodeError::Truncated) => None,
        },
        Encoded::Not | Encoded::Otherwise => None,
    };
    let has_card = redact::has_card_number(decoded.as_deref().unwrap_or(body))
        || head.headers.values().any(|value| redact::has_card_number(value.as_bytes()));
    has_card.then_some(NotKept::CardNumber)
}
