//! A try that has a key to itself: each step is written down before anybody acts upon it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::time::{Duration, Instant, sleep};

use super::records::{Store, refusal};
use crate::config::Direction;
use crate::lifecycle::InFlight;
use crate::observe::log::UpstreamSent;
use crate::observe::metrics::{KeyedEnd, RouteKeys};
use crate::policy::idempotency::{Claim, Hash, Terms, hex};
use crate::proxy::Proxy;
use crate::refusal::{Reason, Refusal};
use crate::store::records::shared::Kept;
use crate::store::records::{About, Answer, Seen, StoreError};
use crate::timer::Timer;

/// For how long an answer that could not be written down is tried again, and after which pauses.
const LATER: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(1);

/// So many bytes of such answers are held in memory.
const MOST: usize = 16 << 20;

/// Memory of an answer that could not be written down yet. The drain waits for it as for a request.
struct LateBytes {
    proxy: Arc<Proxy>,
    bytes: usize,
    _in_flight: InFlight,
}

impl Drop for LateBytes {
    fn drop(&mut self) {
        self.proxy.records.late.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A try that has its key to itself. Dropped before its end, the key is free where nothing was sent, and its outcome is
/// unknown where it was.
pub(in crate::proxy) struct Reservation {
    proxy: Arc<Proxy>,
    direction: Direction,
    store: Store,
    hash: Hash,
    fence: u64,
    claim: Claim,
    terms: Terms,
    about: About,
    sent: bool,
    over: bool,
}

impl Reservation {
    /// A key that `store` gave to this try, under this fence.
    pub(super) fn new(
        store: Store,
        (hash, fence): (Hash, u64),
        claim: Claim,
        (terms, about): (Terms, About),
        (proxy, direction): (Arc<Proxy>, Direction),
    ) -> Self {
        Reservation { proxy, direction, store, hash, fence, claim, terms, about, sent: false, over: false }
    }

    /// Whether its request was sent, or may have been.
    pub(in crate::proxy) fn is_sent(&self) -> bool {
        self.sent
    }

    /// The first byte is about to be sent: written down before it is.
    ///
    /// # Errors
    /// Where nothing may be sent: another try has the key by now, it cannot be written down, or no time is left.
    pub(in crate::proxy) async fn send(
        &mut self,
        endpoint: Arc<str>,
        (deadline, timer): (Instant, &mut Timer),
        metrics: &RouteKeys,
    ) -> Result<(), Refusal> {
        if self.sent {
            return Ok(());
        }
        let begun = Instant::now();
        self.about.endpoint = endpoint;
        let about = self.about.clone();
        let sent = {
            let mut step = pin!(async {
                match &self.store {
                    Store::Local(local) => local.sent(&self.hash, self.fence, &self.terms, about).await,
                    Store::Redis(shared) => shared.sent(&self.hash, self.fence, self.claim, &self.terms, about).await,
                }
            });
            poll_fn(|cx| {
                if let Poll::Ready(sent) = step.as_mut().poll(cx) {
                    return Poll::Ready(Some(sent));
                }
                timer.set(deadline);
                timer.poll(cx).map(|()| None)
            })
            .await
        };
        let Some(sent) = sent else {
            // A disk that hangs: the step may yet be made, and is undone then.
            self.over = true;
            self.failed(&StoreError::because("it does not answer"), "sent");
            self.release_later();
            return Err(Refusal::new(Reason::IdempotencyStore, "they took too long to write"));
        };
        metrics.sent_after(begun.elapsed().as_secs_f64());
        match sent {
            Ok(true) => self.sent = true,
            Ok(false) => {
                self.over = true;
                return Err(Refusal::new(Reason::IdempotencyInFlight, "it waited for longer than its lease"));
            }
            Err(cause) => {
                self.failed(&cause, "sent");
                // It may have been done all the same, and is undone then.
                self.free();
                return Err(refusal(Some(&cause)));
            }
        }
        // A disk may take its time. Whoever waits for the answer has been told that there is none.
        if Instant::now() >= deadline {
            return Err(Refusal::new(Reason::IdempotencyStore, "they took too long to write"));
        }
        Ok(())
    }

    /// Nothing was sent, or nothing was carried out: the key is free.
    pub(super) async fn release(mut self) {
        self.over = true;
        let done = match &self.store {
            Store::Local(local) if !self.sent => {
                local.release(&self.hash, self.fence);
                Ok(())
            }
            Store::Local(local) => local.forget(&self.hash, self.fence).await,
            Store::Redis(shared) => shared.release(&self.hash, self.fence).await.map(|_| ()),
        };
        if let Err(cause) = done {
            self.failed(&cause, "released");
            self.release_later();
        }
    }

    /// It was carried out: `answer` is what later tries get, or none where that is not kept. Tells what became of it.
    pub(super) async fn done(&mut self, status: u16, answer: Option<Answer>, metrics: &RouteKeys) -> KeyedEnd {
        self.over = true;
        let begun = Instant::now();
        let kept = if answer.is_some() { KeyedEnd::Kept } else { KeyedEnd::NotKept };
        let again = answer.clone();
        let done = self.finish(status, answer).await;
        metrics.kept_after(begun.elapsed().as_secs_f64());
        match done {
            Ok(Kept::Yes) => kept,
            Ok(Kept::Alone) => {
                self.warns("no replica has it yet: after a failover its outcome may be unknown");
                kept
            }
            Ok(Kept::Lost) => {
                self.warns("the record is another's by now: it expired, was resolved, or the store has lost it");
                KeyedEnd::Unknown
            }
            Err(cause) => {
                self.failed(&cause, kept.as_str());
                self.later(status, again);
                KeyedEnd::Unknown
            }
        }
    }

    async fn finish(&self, status: u16, answer: Option<Answer>) -> Result<Kept, StoreError> {
        match &self.store {
            Store::Local(local) => {
                let done = local.finish(&self.hash, self.fence, status, answer).await;
                done.map(|done| if done { Kept::Yes } else { Kept::Lost })
            }
            Store::Redis(shared) => {
                let about = self.about.clone();
                shared.finish(&self.hash, self.fence, self.claim, about, (status, answer)).await
            }
        }
    }

    /// The same, which does nothing when it is dropped.
    fn over(&self) -> Reservation {
        let (proxy, store, about) = (self.proxy.clone(), self.store.clone(), self.about.clone());
        let Reservation { direction, hash, fence, claim, terms, sent, .. } = *self;
        Reservation { proxy, direction, store, hash, fence, claim, terms, about, sent, over: true }
    }

    /// What could not be written down at once is tried again, beside the request: its client has its answer, and until then
    /// other tries are told that the outcome is unknown.
    fn later(&self, status: u16, answer: Option<Answer>) {
        let length = answer.as_ref().map_or(0, |answer| answer.head.len() + answer.body.len());
        let Some(held) = self.hold(length) else { return };
        let again = self.over();
        let tries = async move {
            let (until, mut pause) = (Instant::now() + LATER, FIRST);
            while Instant::now() < until {
                sleep(pause).await;
                pause = (pause * 2).min(LAST);
                match again.finish(status, answer.clone()).await {
                    Ok(Kept::Yes | Kept::Alone) => {
                        let (hash, request) = (again.name(), &again.about.request);
                        tracing::info!(event = "idempotency_outcome", hash, request_id = %request, status, outcome = "kept");
                        break;
                    }
                    Ok(Kept::Lost) => break,
                    Err(_) => {}
                }
            }
            drop(held);
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tries);
        }
    }

    /// Memory for an answer, where there is any left.
    fn hold(&self, bytes: usize) -> Option<LateBytes> {
        let (proxy, bytes) = (self.proxy.clone(), bytes + 1);
        let add = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= MOST);
        proxy.records.late.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add).ok()?;
        let in_flight = proxy.lifecycle.request(self.direction);
        Some(LateBytes { proxy, bytes, _in_flight: in_flight })
    }

    /// Nobody knows how it ended: it may have been answered with this status, and have had so much of the request.
    pub(super) async fn unknown(mut self, status: u16, sent: UpstreamSent) {
        self.over = true;
        match &self.store {
            Store::Local(local) => local.unknown(&self.hash, self.fence, status, seen(sent)),
            Store::Redis(shared) => {
                // Its time tells it as well.
                if let Err(cause) = shared.unknown(&self.hash, self.fence).await {
                    self.failed(&cause, "unknown");
                }
            }
        }
    }

    /// What a person can find it by.
    pub(super) fn name(&self) -> String {
        hex(&self.hash)
    }

    fn failed(&self, cause: &StoreError, step: &str) {
        let (hash, request) = (self.name(), &self.about.request);
        tracing::error!(event = "idempotency_store", step, hash, request_id = %request, cause = %cause);
    }

    fn warns(&self, cause: &str) {
        let (hash, request) = (self.name(), &self.about.request);
        tracing::warn!(event = "idempotency_store", step = "done", hash, request_id = %request, cause);
    }

    /// Nothing was sent: the key is free, as far as that can be told where nobody waits for it.
    fn free(&mut self) {
        self.over = true;
        match &self.store {
            Store::Local(local) => local.release(&self.hash, self.fence),
            Store::Redis(_) => self.release_later(),
        }
    }

    /// Frees the key beside the request, for as long as that can be of use: what was sent is unknown after that time.
    fn release_later(&self) {
        let (store, hash, fence) = (self.store.clone(), self.hash, self.fence);
        let until = Instant::now() + self.terms.within;
        let tries = async move {
            let mut pause = FIRST;
            loop {
                let done = match &store {
                    Store::Local(local) => local.forget(&hash, fence).await,
                    Store::Redis(shared) => shared.release(&hash, fence).await.map(|_| ()),
                };
                if done.is_ok() || Instant::now() >= until {
                    break;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LAST);
            }
        };
        // Without a runtime the process ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tries);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match (&self.store, self.over, self.sent) {
            (_, true, _) => {}
            (_, false, false) => self.free(),
            (Store::Local(local), false, true) => local.unknown(&self.hash, self.fence, 0, Seen::Untold),
            // Its time tells it.
            (Store::Redis(_), false, true) => {}
        }
    }
}

fn seen(sent: UpstreamSent) -> Seen {
    match sent {
        UpstreamSent::None => Seen::Untold,
        UpstreamSent::Head => Seen::Head,
        UpstreamSent::Body => Seen::Body,
        UpstreamSent::All => Seen::All,
    }
}
