//! What a client does while what it wants is fetched.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::fetch::{Fetch, Joined, Leader, Progress, Told};
use super::fill::Why;
use super::task::{Order, fetch_key};
use super::{Asking, Stored, selects};
use crate::http1::AnswerHead;
use crate::observe::metrics::CacheResult;
use crate::policy::cache::Life;
use crate::policy::cache::freshness::{Verdict, decide};
use crate::policy::cache::status::Forward;
use crate::proxy::context::Context;
use crate::proxy::downstream::Downstream;
use crate::proxy::serve::{self, How};
use crate::proxy::wait::{Supervised, supervise};
use crate::proxy::{Proxy, place};
use crate::refusal::{Reason, Refusal};
use crate::timer::{self, Timer};

/// What came of following a fetch.
pub(super) enum Followed {
    /// The client was answered.
    Answered,
    /// It has to ask by itself: the answer is for who asks alone.
    SendOn,
    /// It has to look again: what was fetched has changed meanwhile.
    Again,
}

/// What is stored, with its life.
type Held = Option<(Arc<Stored>, Life)>;

impl Proxy {
    /// Fetches, or waits for who fetches.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        cx: &mut Context,
        asking: &Asking<'_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        (held, like): (Held, Option<Arc<Stored>>),
        why: Forward,
    ) -> Result<Followed, Refusal> {
        let received = down.request();
        let (filed, tagged) = asking.filing.file(cx, asking.route, asking.caching, &received.headers, &self.cache);
        let priority = place::priority(cx, asking.route, &received.headers);
        let key = fetch_key(asking, received, like.as_ref());
        let hash = self.cache.memory.key(&asking.filing.key).hash();
        // Who wants the origin's word, not another's, and who compares, goes alone. So does who asks for what is as stale
        // as ever when it comes: of those who wait each had to ask after all, one behind the other.
        let alone = asking.observes
            || held.as_ref().is_some_and(|(object, _)| object.life().is_for_one_request())
            || cx.method == http::Method::HEAD
            || asking.control.no_cache
            || asking.control.max_age == Some(0);
        let new = |key: &[u8]| Arc::new(Fetch::new(key, filed.clone(), priority));
        let joined = if alone {
            Joined::Leads(new(&[]))
        } else {
            let generations = self.cache.memory.generations();
            let may_join = |running: &Fetch| {
                let filed = &running.filed;
                generations.may_join(filed.slots.iter().copied(), filed.at, &filed.place)
            };
            self.cache.fetches.join(hash, &key, may_join, || new(&key))
        };
        match joined {
            // Another's fetch ended between the look and this.
            Joined::Leads(fetch) if !alone && self.is_outdated(asking, &received.headers, held.as_ref()) => {
                self.call_off(hash, &fetch);
                Ok(Followed::Again)
            }
            Joined::Leads(fetch) => {
                let leader = Leader(fetch.clone());
                let stale = held.as_ref().is_some_and(|held| may_serve(asking, held));
                let kept = held.as_ref().map(|(object, _)| object.clone());
                let why_fetched = if asking.observes { Why::Compare } else { Why::Client };
                let order = Order { fetch, why: why_fetched, held: kept, stale_on_error: stale, tagged };
                self.begin(cx, asking, received, order);
                self.lead(cx, asking, down, timer, leader, held, why).await
            }
            Joined::Waits(fetch) => {
                let progress = fetch.join(priority);
                drop(fetch);
                self.wait(cx, asking, down, timer, progress, held).await
            }
        }
    }

    /// Follows the fetch that it began.
    #[allow(clippy::too_many_arguments)]
    async fn lead(
        self: &Arc<Self>,
        cx: &mut Context,
        asking: &Asking<'_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        leader: Leader,
        held: Held,
        why: Forward,
    ) -> Result<Followed, Refusal> {
        // The fetch has the same deadline, and says which part of it was too slow.
        let deadline = cx.deadline + std::time::Duration::from_secs(1);
        let told = match leader.0.pipe.told(down, timer, deadline).await {
            Supervised::Done(told) => told,
            Supervised::Left => {
                cx.client_left = true;
                return Err(Reason::ClientLeft.into());
            }
            Supervised::Late => Err(Reason::UpstreamTimeout.into()),
        };
        match told {
            Ok(Told::Whole { object, validated, kept, age }) => {
                self.note(cx, &leader);
                asking.route.cached.count(if validated { CacheResult::Revalidated } else { CacheResult::Miss });
                let how = How::Fetched { why, validated, kept, age };
                let now = timer::unix_now().as_secs();
                serve::object(self, cx, asking.route, down, timer, &object, (&how, now)).await?;
                Ok(Followed::Answered)
            }
            Ok(Told::Head(head)) => {
                asking.route.cached.count(CacheResult::Miss);
                let sent = self.stream(cx, asking, down, timer, &leader, head).await;
                self.note(cx, &leader);
                sent.map(|()| Followed::Answered)
            }
            Ok(Told::Again) => Ok(Followed::Again),
            Ok(Told::Stale(status)) => {
                self.note(cx, &leader);
                let refusal = Refusal::new(Reason::UpstreamReset, "it failed");
                self.stale_or(cx, asking, down, timer, held, Some(status), refusal).await
            }
            Err(refusal) => {
                self.note(cx, &leader);
                self.stale_or(cx, asking, down, timer, held, None, refusal).await
            }
        }
    }

    /// Waits for the fetch of another.
    async fn wait(
        self: &Arc<Self>,
        cx: &mut Context,
        asking: &Asking<'_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        mut progress: watch::Receiver<Progress>,
        held: Held,
    ) -> Result<Followed, Refusal> {
        let deadline = (Instant::now() + asking.caching.wait).min(cx.deadline);
        let over = async {
            match progress.wait_for(|progress| !matches!(progress, Progress::Running)).await {
                Ok(progress) => progress.clone(),
                Err(_) => Progress::Failed(Reason::Internal.into()),
            }
        };
        let progress = match supervise(over, down, timer, deadline, true).await {
            Supervised::Done(progress) => progress,
            Supervised::Left => {
                cx.client_left = true;
                return Err(Reason::ClientLeft.into());
            }
            Supervised::Late => Progress::Failed(Reason::CoalesceTimeout.into()),
        };
        match progress {
            Progress::Stored(object) => {
                if !self.is_for(asking, down, &object) {
                    return Ok(Followed::Again);
                }
                asking.route.cached.count(CacheResult::Coalesced);
                let now = timer::unix_now().as_secs();
                serve::object(self, cx, asking.route, down, timer, &object, (&How::Coalesced, now)).await?;
                Ok(Followed::Answered)
            }
            Progress::NotStored => Ok(Followed::SendOn),
            Progress::Raced | Progress::Running => Ok(Followed::Again),
            Progress::Stale => {
                let refusal = Refusal::new(Reason::UpstreamReset, "it failed");
                self.stale_or(cx, asking, down, timer, held, None, refusal).await
            }
            // It was the one who began it that left.
            Progress::Failed(refusal) if refusal.reason == Reason::ClientLeft => Ok(Followed::Again),
            Progress::Failed(refusal) => self.stale_or(cx, asking, down, timer, held, None, refusal).await,
        }
    }

    /// Whether an answer that was fetched for another may be served to this one.
    fn is_for(&self, asking: &Asking<'_>, down: &Downstream<'_>, object: &Stored) -> bool {
        use crate::store::generations::State;
        let selects = selects(object, &down.request().headers);
        let now = timer::unix_now().as_secs();
        let life = object.life();
        let fresh = life.is_fresh(now) && decide(&life, &asking.control, now) == Verdict::Fresh;
        selects && fresh && self.cache.memory.state(object) == State::Valid
    }

    /// Serves what is stored although it is stale, or refuses.
    #[allow(clippy::too_many_arguments)]
    async fn stale_or(
        self: &Arc<Self>,
        cx: &mut Context,
        asking: &Asking<'_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        held: Held,
        status: Option<u16>,
        refusal: Refusal,
    ) -> Result<Followed, Refusal> {
        let now = timer::unix_now().as_secs();
        // It may have been ended while the application was asked.
        let gone = |object: &Stored| self.cache.memory.state(object) == crate::store::generations::State::Gone;
        let held = held.filter(|held| may_serve(asking, held) && !gone(&held.0) && !asking.observes);
        let Some((object, life)) = held else { return Err(refusal) };
        asking.route.cached.count(CacheResult::Stale);
        let how = How::StaleOnError { left: life.left(now), status };
        serve::object(self, cx, asking.route, down, timer, &object, (&how, now)).await?;
        Ok(Followed::Answered)
    }

    /// Hands an answer on while it comes.
    async fn stream(
        &self,
        cx: &mut Context,
        asking: &Asking<'_>,
        down: &mut Downstream<'_>,
        timer: &mut Timer,
        leader: &Leader,
        head: Box<AnswerHead>,
    ) -> Result<(), Refusal> {
        serve::head(self, cx, asking.route, down, head)?;
        serve::body(cx, down, timer, |poller| leader.0.pipe.poll_chunk(poller)).await
    }

    /// Takes over what the exchange was like.
    fn note(&self, cx: &mut Context, leader: &Leader) {
        if let Some(trail) = leader.0.pipe.trail() {
            cx.follow(trail);
        }
    }
}

fn may_serve(asking: &Asking<'_>, (_, life): &(Arc<Stored>, Life)) -> bool {
    life.may_serve_on_error(&asking.control, timer::unix_now().as_secs())
}
