//! The answer of the application as a fetch takes it in: judged by its head, gathered where it may be kept, handed on where
//! it may not.

use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version, header};
use pingora::http::RequestHeader;

use super::fetch::{Fetch, Told};
use super::kept::{self, Kept};
use super::task::Order;
use super::{Asking, Stored};
use crate::http1::{AnswerHead, is_chunked};
use crate::policy::cache::store::{self, Asked, Unstorable};
use crate::policy::cache::{Partition, Times, merge};
use crate::proxy::coding::WHOLE;
use crate::proxy::downstream::Gone;
use crate::proxy::upload::Held;
use crate::proxy::{Proxy, context::Trail};
use crate::route::caching::Caching;
use crate::route::table::Route;
use crate::timer;

/// This much of an answer that is not kept may wait for its client.
const ROOM: usize = 64 << 10;

/// Why a fetch is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Why {
    /// A client waits for it.
    Client,
    /// What is stored is stale, or not there yet; nobody waits.
    Refresh,
    /// What is stored is compared with it.
    Compare,
}

/// Why an answer is handed on and not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum NotKept {
    /// By the rules of the cache.
    Rules(Unstorable),
    /// Its body is too long.
    TooLarge,
    /// Where it ends is told by the end of its connection, and so whether it is whole is not known.
    Unbounded,
    /// A card number stands in it.
    CardNumber,
    /// Too much is held in memory already.
    Memory,
    /// What it shows has changed while it was fetched.
    Raced,
    /// The request lacks a part of a tag.
    TagMissing,
    /// It answers HEAD.
    Head,
}

impl NotKept {
    /// The word in metrics and in Cache-Status.
    pub(in crate::proxy) const fn as_str(self) -> &'static str {
        match self {
            NotKept::Rules(why) => why.as_str(),
            NotKept::TooLarge => "too_large",
            NotKept::Unbounded => "unbounded",
            NotKept::CardNumber => "card_number",
            NotKept::Memory => "memory",
            NotKept::Raced => "raced",
            NotKept::TagMissing => "tag_missing",
            NotKept::Head => "head",
        }
    }
}

/// What becomes of the answer.
enum Mode {
    /// Its head did not come yet.
    Head,
    /// It is kept. `streams`: the client gets it while it comes.
    Keep { head: Box<AnswerHead>, stored: Box<store::Stored>, streams: bool },
    /// It is handed on.
    Pass,
    /// What is stored still holds.
    Validated(Box<AnswerHead>),
    /// What is stored is not what the application speaks of.
    Unmatched,
    /// The application failed.
    Failed(StatusCode),
}

/// A fetch as it takes in the answer.
pub(in crate::proxy) struct Fill {
    pub(super) proxy: Arc<Proxy>,
    pub(super) route: Arc<Route>,
    pub(super) fetch: Arc<Fetch>,
    pub(super) request: Box<RequestHeader>,
    /// The primary key.
    pub(super) key: Vec<u8>,
    pub(super) hash: u64,
    pub(super) asked: Asked,
    pub(super) why: Why,
    /// The answer that is stored, where there is one: to be validated, or to be compared with.
    pub(super) held: Option<Arc<Stored>>,
    /// The request asks whether that one still holds.
    pub(super) validates: bool,
    /// It may be served where the application fails.
    pub(super) stale_on_error: bool,
    /// It is a HEAD, which tells whether what is stored still holds.
    pub(super) head: bool,
    /// The request can be filed under all its tags.
    pub(super) tagged: bool,
    pub(super) sent: u64,
    pub(super) memory: Held,
    mode: Mode,
    body: BytesMut,
}

impl Fill {
    pub(super) fn new(
        proxy: &Arc<Proxy>,
        asking: &Asking<'_>,
        order: Order,
        request: Box<RequestHeader>,
        (key, hash): (Vec<u8>, u64),
        (validates, head): (bool, bool),
    ) -> Self {
        let Order { fetch, why, held, stale_on_error, tagged } = order;
        Fill {
            proxy: proxy.clone(),
            route: asking.route.clone(),
            fetch,
            request,
            key,
            hash,
            asked: asking.asked,
            why,
            held,
            validates,
            stale_on_error,
            head,
            tagged,
            sent: timer::unix_now().as_secs(),
            memory: proxy.buffered.begin(),
            mode: Mode::Head,
            body: BytesMut::new(),
        }
    }

    pub(in crate::proxy) fn request(&self) -> &RequestHeader {
        &self.request
    }

    pub(in crate::proxy) fn fetch(&self) -> &Arc<Fetch> {
        &self.fetch
    }

    fn caching(&self) -> Option<&Caching> {
        self.route.caching.as_ref()
    }

    /// Hands an informational head on.
    pub(in crate::proxy) fn inform(&self, head: &AnswerHead) {
        self.fetch.pipe.inform(head);
    }

    /// Takes the final head. Tells whether the client has it: then there is no way back.
    pub(in crate::proxy) fn write_head(&mut self, head: Box<AnswerHead>) -> bool {
        self.body.clear();
        let (mode, passes) = match self.judge(&head) {
            Ok(mode) => (mode, None),
            Err(why) => (Mode::Pass, Some(why)),
        };
        self.mode = mode;
        if let Some(why) = passes {
            // A failure passes, and says nothing of what comes after it.
            let lasts = !head.status.is_server_error();
            if lasts && matches!(why, NotKept::Rules(_) | NotKept::TooLarge | NotKept::Unbounded) {
                // What the application says now is not to be stored, and what it said before holds no more.
                self.drop_held();
            }
            self.passes(why, lasts);
        }
        let streams = matches!(self.mode, Mode::Pass | Mode::Keep { streams: true, .. });
        if streams {
            self.fetch.pipe.tell(Told::Head(head));
        }
        streams
    }

    /// Others need not wait for an answer that is not theirs.
    fn passes(&self, why: NotKept, lasts: bool) {
        let cache = &self.proxy.cache;
        cache.metrics.not_kept(&self.route.name, why.as_str());
        if lasts && !matches!(why, NotKept::Raced | NotKept::Head) {
            cache.uncacheable.remember(self.hash, timer::uptime());
        }
        cache.fetches.remove(self.hash, &self.fetch);
        self.fetch.tell_all(super::fetch::Progress::NotStored);
    }

    fn judge(&mut self, head: &AnswerHead) -> Result<Mode, NotKept> {
        let status = head.status;
        if self.validates && status == StatusCode::NOT_MODIFIED {
            let selects = self.held.as_ref().is_some_and(|held| merge::selects(&kept::fields(held), &head.headers));
            return Ok(if selects { Mode::Validated(Box::new(head.clone())) } else { Mode::Unmatched });
        }
        if let (true, Some(held)) = (self.head, &self.held) {
            let mut stored = kept::fields(held);
            stored.insert(header::CONTENT_LENGTH, held.body().len().into());
            let standard = self.caching().is_some_and(|c| c.rules.partition == Partition::Standard && !c.rules.replace);
            let by_the_letter = standard && !self.asked.credential && !self.asked.authorization;
            return match merge::of_head(held.status(), &stored, status.as_u16(), &head.headers, by_the_letter) {
                merge::Head::Update => Ok(Mode::Validated(Box::new(head.clone()))),
                merge::Head::Nothing => Err(NotKept::Head),
                merge::Head::Stale => {
                    self.drop_held();
                    Err(NotKept::Head)
                }
            };
        }
        let failed = matches!(status.as_u16(), 500 | 502..=504);
        let refused = self.why == Why::Refresh && !status.is_success();
        if refused || failed && self.stale_on_error {
            return Ok(Mode::Failed(status));
        }
        let Some(caching) = self.caching() else { return Err(NotKept::TagMissing) };
        let times = Times { sent: self.sent, received: timer::unix_now().as_secs() };
        let stored = store::storable(&self.asked, status.as_u16(), &head.headers, &caching.rules, times);
        let stored = stored.map_err(NotKept::Rules)?;
        if !self.tagged {
            return Err(NotKept::TagMissing);
        }
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        // The public suite takes an unknown coding of a transfer for a whole answer. Who asks for the standard, all of it,
        // gets that.
        let standard = caching.rules.partition == Partition::Standard;
        let bounded = length.is_some()
            || bodiless
            || head.version == Version::HTTP_2
            || is_chunked(&head.headers)
            || standard && head.headers.contains_key(header::TRANSFER_ENCODING);
        if !bounded {
            return Err(NotKept::Unbounded);
        }
        if length.is_some_and(|length| length > caching.max_object) {
            return Err(NotKept::TooLarge);
        }
        // Fields that are not kept are for the one who asked.
        let streams = (length.is_none_or(|length| length > WHOLE) && !bodiless) || !stored.drop.is_empty();
        Ok(Mode::Keep { head: Box::new(head.clone()), stored: Box::new(stored), streams })
    }

    /// Takes a part of the body.
    pub(in crate::proxy) fn write(&mut self, chunk: Bytes) -> Result<(), Gone> {
        match &mut self.mode {
            Mode::Pass if self.fetch.pipe.has_left() => return Err(Gone),
            Mode::Pass => self.fetch.pipe.push(chunk),
            Mode::Keep { streams, .. } => {
                let streams = *streams;
                if let Err(why) = self.gather(&chunk) {
                    if let Mode::Keep { head, streams: false, .. } = std::mem::replace(&mut self.mode, Mode::Pass) {
                        self.fetch.pipe.tell(Told::Head(head));
                        self.fetch.pipe.push(self.body.split().freeze());
                    }
                    self.body = BytesMut::new();
                    self.passes(why, true);
                }
                if streams || matches!(self.mode, Mode::Pass) {
                    self.fetch.pipe.push(chunk);
                }
            }
            Mode::Head | Mode::Validated(_) | Mode::Unmatched | Mode::Failed(_) => {}
        }
        Ok(())
    }

    fn gather(&mut self, chunk: &Bytes) -> Result<(), NotKept> {
        let most = self.caching().map_or(0, |caching| caching.max_object);
        if self.body.len() + chunk.len() > most {
            return Err(NotKept::TooLarge);
        }
        let limit = self.proxy.state.load().limits.max_buffered;
        self.memory.grow(chunk.len(), limit).map_err(|_| NotKept::Memory)?;
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    /// Ready when there is room for more.
    pub(in crate::proxy) fn poll_room(&mut self, cx: &mut Poller<'_>) -> Poll<Result<(), Gone>> {
        match self.mode {
            Mode::Pass => self.fetch.pipe.poll_taken(cx, ROOM).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Bytes that wait for the client.
    pub(in crate::proxy) fn pending(&self) -> usize {
        if matches!(self.mode, Mode::Pass) { self.fetch.pipe.queued() } else { 0 }
    }

    /// The answer came to its end, or there is none.
    pub(super) async fn finish(mut self, result: Result<(), crate::refusal::Refusal>, trail: Trail) {
        use super::fetch::Progress;
        self.fetch.pipe.leave_trail(trail);
        if let Err(refusal) = result {
            self.fetch.pipe.end(Err(refusal.clone()));
            self.over(Progress::Failed(refusal));
            return;
        }
        match std::mem::replace(&mut self.mode, Mode::Head) {
            Mode::Head => {
                let refusal: crate::refusal::Refusal = crate::refusal::Reason::Internal.into();
                self.fetch.pipe.end(Err(refusal.clone()));
                self.over(Progress::Failed(refusal));
            }
            Mode::Pass => self.fetch.pipe.end(Ok(())),
            Mode::Failed(status) => {
                if self.why == Why::Refresh && matches!(status.as_u16(), 401 | 403) {
                    self.drop_held();
                }
                self.fetch.pipe.tell(Told::Stale(status.as_u16()));
                self.over(Progress::Stale);
            }
            Mode::Unmatched => {
                self.drop_held();
                self.fetch.pipe.tell(Told::Again);
                self.over(Progress::Raced);
            }
            Mode::Validated(head) => kept::validated(self, &head).await,
            Mode::Keep { head, stored, streams } => {
                let body = self.body.split().freeze();
                kept::came(self, Kept { head, stored: *stored, body, streams }).await;
            }
        }
    }

    /// What was stored goes.
    pub(super) fn drop_held(&self) {
        if let Some(held) = &self.held {
            self.proxy.cache.memory.remove_variant(held);
        }
    }

    /// Ends the fetch for all who wait.
    pub(super) fn over(&self, progress: super::fetch::Progress) {
        self.proxy.cache.fetches.remove(self.hash, &self.fetch);
        self.fetch.tell_all(progress);
    }
}

impl Drop for Fill {
    /// However it ends, nobody waits for ever.
    fn drop(&mut self) {
        let refusal: crate::refusal::Refusal = crate::refusal::Reason::Internal.into();
        self.fetch.pipe.end(Err(refusal.clone()));
        if !self.fetch.is_over() {
            self.over(super::fetch::Progress::Failed(refusal));
        }
    }
}
