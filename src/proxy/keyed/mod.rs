//! Step 3: a request with an idempotency key is carried out once, and every try of it gets the same answer.
//!
//! ```text
//!  claim ── no record ───────────────▶ carry out, in a task of its own   (first)
//!    │  └── done ─────────────────────▶ the answer that is kept          (replayed)
//!    ├─ at work ─▶ wait ─▶ look again, or 409                           (in_flight)
//!    ├─ unknown ─▶ ask the application, or 409                          (unknown)
//!    └─ another payload, another credential ─▶ 422, 409
//! ```
//! Which is which is decided in `policy::idempotency`; `records` is where it is written down; `task` carries a request out
//! whoever leaves; `taking` takes its answer in; `replay` serves one that is kept; `ask` asks the application.

mod ask;
pub mod records;
mod replay;
mod reservation;
pub(super) mod taking;
mod task;

use std::sync::Arc;

use bytes::Bytes;
use pingora::http::RequestHeader;
use tokio::time::{Duration, Instant, sleep};

use super::context::Context;
use super::downstream::Downstream;
use super::exchange::Ended;
use super::request::Framing;
use super::upload::{self, Held};
use super::wait::{Supervised, supervise};
use super::{Proxy, Received};
use crate::observe::metrics::KeyedResult;
use crate::policy::idempotency::{self, Asked, Claim, Hash, UnknownOutcome, Verdict, judge};
use crate::refusal::{Reason, Refusal};
use crate::route::keyed::{Keyed, Unidentified};
use crate::route::table::Route;
use crate::store::records::{About, Record, Reserve, StoreError};
use crate::timer::Timer;

use records::Store;
use reservation::Reservation;

/// How often a record is looked at again that nobody tells the changes of: more seldom the longer it takes.
const LOOKS: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(250);

/// A request with a key, before its body is known.
pub(super) struct Tried {
    key: Box<[u8]>,
    hash: Hash,
    owner: [u8; 8],
    credential: Hash,
    /// The longest body that it may have.
    max_request: u64,
}

/// What a try has become.
enum Claimed {
    /// It was answered.
    Answered,
    /// It is the first.
    First(Reservation),
}

impl Proxy {
    /// The key of a request; none where it is sent on without one.
    pub(super) fn tried(&self, cx: &Context, route: &Route, head: &RequestHeader) -> Result<Option<Tried>, Refusal> {
        let Some(keyed) = route.keyed.as_ref().filter(|keyed| keyed.takes(&cx.method)) else { return Ok(None) };
        let identity = cx.with_source(route, &head.headers, |source| {
            keyed.identify(&head.headers, source).map_err(|why| unidentified(keyed, &why))
        })?;
        Ok(identity.map(|identity| Tried {
            hash: identity.hash,
            owner: identity.owner,
            credential: identity.credential,
            key: identity.key.into_owned().into(),
            max_request: keyed.max_request.min(route.max_body),
        }))
    }

    /// Answers a request with a key: by carrying it out, or by what is known of it.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn keyed(
        self: &Arc<Self>,
        cx: &mut Context,
        route: &Arc<Route>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        request: &Received,
        (body, held): (Bytes, Option<Held>),
        tried: &Tried,
    ) -> Result<Ended, Refusal> {
        let Some(keyed) = &route.keyed else { return Err(Reason::Internal.into()) };
        let claim = tried.claim(cx, down.request(), &body);
        match self.claim(cx, route, keyed, down, timer, tried, claim).await? {
            Claimed::Answered => Ok(Ended::Answered),
            Claimed::First(reservation) => {
                keyed.metrics.count(KeyedResult::First);
                self.carry_out(cx, route, down, timer, request, (body, held), reservation).await
            }
        }
    }

    /// Takes the key, or answers by what is known of it.
    #[allow(clippy::too_many_arguments)]
    async fn claim(
        self: &Arc<Self>,
        cx: &mut Context,
        route: &Arc<Route>,
        keyed: &Keyed,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        tried: &Tried,
        claim: Claim,
    ) -> Result<Claimed, Refusal> {
        let store = self.records.of(keyed.store).ok_or_else(|| unavailable(keyed, None))?;
        let patience = (Instant::now() + keyed.in_flight.wait.get()).min(cx.deadline);
        let mut look = *LOOKS.start();
        let mut waiting = None;
        let about = About {
            route: keyed.name.clone(),
            request: Arc::from(&*cx.id),
            owner: tried.owner,
            endpoint: keyed.nowhere.clone(),
        };
        let fence = loop {
            let reserved = store.reserve(&tried.hash, claim, &keyed.terms, &about).await;
            let found = match reserved.map_err(|cause| unavailable(keyed, Some(&cause)))? {
                Reserve::Mine(fence) => break fence,
                Reserve::Found(found) => found,
            };
            let asked = Asked { record: &found.claim, try_: &claim, replay_to: keyed.replay_to };
            match (judge(found.state, &asked), found.record) {
                (Verdict::CredentialChanged, _) => {
                    keyed.metrics.count(KeyedResult::CredentialChanged);
                    return Err(Reason::IdempotencyCredentialChanged.into());
                }
                (Verdict::Mismatch, _) => {
                    keyed.metrics.count(KeyedResult::Mismatch);
                    return Err(Reason::IdempotencyMismatch.into());
                }
                (Verdict::Replay, Some(record)) => {
                    replay::serve(self, cx, route, keyed, down, timer, &record, &claim).await?;
                    return Ok(Claimed::Answered);
                }
                (Verdict::Unknown, Some(record)) => {
                    match self.unknown(cx, route, keyed, down, timer, (tried, claim), &store, &record).await? {
                        Some(fence) => break fence,
                        None => continue,
                    }
                }
                (Verdict::Wait | Verdict::Replay | Verdict::Unknown, _) => {}
            }
            if waiting.is_none() {
                waiting = self.records.waits(&tried.hash, keyed.in_flight.max_waiters);
            }
            if waiting.is_none() || Instant::now() >= patience {
                keyed.metrics.count(KeyedResult::InFlight);
                return Err(Reason::IdempotencyInFlight.into());
            }
            let changed = changed(found.changed, look);
            match supervise(changed, down, timer, patience, true).await {
                Supervised::Left => {
                    cx.client_left = true;
                    return Err(Reason::ClientLeft.into());
                }
                Supervised::Done(()) | Supervised::Late => {}
            }
            look = (look * 2).min(*LOOKS.end());
        };
        let (key, terms) = ((tried.hash, fence), (keyed.terms, about));
        let beside = (self.clone(), cx.listener.direction);
        Ok(Claimed::First(Reservation::new(store, key, claim, terms, beside)))
    }

    /// What a try is told of an unknown outcome: a refusal; or the key is its own, under this fence; or it is known by now.
    #[allow(clippy::too_many_arguments)]
    async fn unknown(
        self: &Arc<Self>,
        cx: &mut Context,
        route: &Arc<Route>,
        keyed: &Keyed,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        (tried, claim): (&Tried, Claim),
        store: &Store,
        record: &Record,
    ) -> Result<Option<u64>, Refusal> {
        let refused = |detail: &'static str| {
            keyed.metrics.count(KeyedResult::Unknown);
            Err(Refusal::new(Reason::IdempotencyUnknown, detail))
        };
        match &keyed.unknown {
            UnknownOutcome::Refuse => return refused(""),
            UnknownOutcome::Forward => {}
            UnknownOutcome::Ask(ask) => {
                let Some(since) = self.records.now_ms().checked_sub(record.sent) else { return refused("") };
                match self.ask_application(cx, route, Box::new(down.request().clone()), timer, ask, &tried.key).await {
                    ask::Told::Found => {
                        let done = store.resolve(&tried.hash, record, Some((0, None))).await;
                        done.map_err(|cause| unavailable(keyed, Some(&cause)))?;
                        return Ok(None);
                    }
                    // What it does not find it may still be at work on.
                    ask::Told::NotFound if Duration::from_millis(since) < keyed.terms.within + keyed.settled => {
                        return refused("the application does not know it yet; try again later");
                    }
                    ask::Told::NotFound => {}
                    ask::Told::Nothing => return refused("the application could not be asked"),
                }
            }
        }
        let taken = store.retake(&tried.hash, record, claim, &keyed.terms).await;
        taken.map_err(|cause| unavailable(keyed, Some(&cause)))
    }
}

impl Tried {
    /// What the record of the request is held against.
    fn claim(&self, cx: &Context, head: &RequestHeader, body: &[u8]) -> Claim {
        let field = |name| head.headers.get(name).map(|value: &http::HeaderValue| value.as_bytes());
        let (kind, coding) = (field(http::header::CONTENT_TYPE), field(http::header::CONTENT_ENCODING));
        let target = cx.uri.path_and_query().map_or("/", |target| target.as_str());
        let fingerprint = idempotency::fingerprint(cx.method.as_str(), target, kind, coding, body);
        Claim { fingerprint, credential: self.credential }
    }

    /// Refuses a body that says that it is too long.
    pub(super) fn check(&self, framing: Framing) -> Result<(), Refusal> {
        match framing {
            Framing::Length(length) if length > self.max_request => Err(upload::too_large(self.max_request)),
            _ => Ok(()),
        }
    }

    /// Reads the body, whole: what it is held against.
    pub(super) async fn read_body(
        &self,
        proxy: &Proxy,
        cx: &mut Context,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        framing: Framing,
    ) -> Result<(Bytes, Option<Held>), Refusal> {
        self.check(framing)?;
        let most = self.max_request;
        let length = match framing {
            Framing::None | Framing::Length(0) => return Ok((Bytes::new(), None)),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let mut held = proxy.buffered.begin();
        let body = upload::read_whole(cx, down, timer, length, most, &mut held).await?;
        Ok((body, Some(held)))
    }
}

/// Waits until a record has changed, or until it is to be looked at again.
async fn changed(changed: Option<tokio::sync::watch::Receiver<()>>, look: Duration) {
    match changed {
        // An error: it is gone, which is a change.
        Some(mut changed) => drop(changed.changed().await),
        None => sleep(look).await,
    }
}

fn unidentified(keyed: &Keyed, why: &Unidentified<'_>) -> Refusal {
    let header = &keyed.header;
    match why {
        Unidentified::Missing => {
            keyed.metrics.count(KeyedResult::Missing);
            Refusal::new(Reason::IdempotencyKeyMissing, format!("expected the header {header}"))
        }
        Unidentified::Malformed(why) => {
            keyed.metrics.count(KeyedResult::Malformed);
            Refusal::new(Reason::IdempotencyKeyMalformed, format!("{header}: {why}"))
        }
        Unidentified::Owner(part) => {
            keyed.metrics.count(KeyedResult::Malformed);
            Refusal::new(Reason::IdempotencyOwnerMissing, format!("expected {part}, once and not empty"))
        }
        Unidentified::Credential => {
            keyed.metrics.count(KeyedResult::Malformed);
            Refusal::new(Reason::IdempotencyOwnerMissing, "expected a credential")
        }
    }
}

/// The refusal where the records cannot be had: nothing is sent on blindly.
fn unavailable(keyed: &Keyed, cause: Option<&StoreError>) -> Refusal {
    keyed.metrics.count(KeyedResult::Store);
    records::refusal(cause)
}
