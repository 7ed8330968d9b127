//! What an endpoint is to requests now, and how that changes: the shell around `policy::rotation`.
//!
//! What a choice needs of an endpoint stands in atomics beside it. The rotation itself is behind a lock that is taken where
//! something changes: a check's result, failures in a row, an ejection whose time is over, a look-up that found others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::endpoint::{Counted, Endpoint};
use super::{Set, Upstream};
use crate::config;
use crate::observe::metrics::OutBy;
use crate::policy::balance::slow_start;
use crate::policy::outlier::{Failures, Outcome};
use crate::policy::rotation::{Change, Ejections, Rotation, Rules, State};

/// Has not been out: there is nothing to start slowly from.
const NEVER: u64 = u64::MAX;

/// The part of an endpoint that its rotation writes and a choice reads.
pub(super) struct Standing {
    /// A number that no other endpoint of the process has.
    pub(super) id: u64,
    state: AtomicU8,
    /// When it came back, in microseconds of the upstream's clock.
    returned: AtomicU64,
    failures: Failures,
    /// Counts it in the gauge of those that are out.
    out: Mutex<Option<Counted>>,
}

impl Standing {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Standing {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            state: AtomicU8::new(State::Healthy as u8),
            returned: AtomicU64::new(NEVER),
            failures: Failures::default(),
            out: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Relaxed))
    }

    /// Its share of the requests, in percent.
    pub(super) fn share(&self, now: Duration) -> u8 {
        match self.returned.load(Ordering::Relaxed) {
            NEVER => slow_start::WHOLE,
            at => slow_start::share(Duration::from_micros(at), now),
        }
    }

    /// Counts it no more: it is no endpoint of its upstream any longer, or its upstream is none of the configuration.
    pub(super) fn forget(&self) {
        drop(self.out.lock().take());
    }
}

/// Who is in rotation, of one upstream.
pub(super) struct Watched {
    rotation: Mutex<Rotation>,
    /// Attempts in a row that failed; none: they are not counted.
    failures: Option<u32>,
    news: watch::Sender<News>,
}

/// What the tasks of an upstream wait for. They also end when the upstream is dropped, and this with it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct News {
    /// When the next ejection ends.
    next: Option<Instant>,
    /// The configuration has no such upstream any more.
    pub(super) retired: bool,
}

impl Watched {
    /// None where the configuration asks for nothing of it.
    pub(super) fn new(settings: &config::Upstream) -> Option<Self> {
        let checks = settings.health_check.as_ref().map(|h| h.thresholds());
        let outlier = settings.outlier_detection.as_ref().map(|o| Ejections {
            consecutive_failures: o.consecutive_failures,
            eject_for: o.eject_for.get(),
            max_ejected: o.max_ejected,
        });
        let rules = Rules { checks, outlier };
        (checks.is_some() || outlier.is_some()).then(|| Watched {
            rotation: Mutex::new(Rotation::new(rules)),
            failures: outlier.map(|o| o.consecutive_failures),
            news: watch::Sender::default(),
        })
    }
}

impl Upstream {
    /// Takes down what an attempt says about its endpoint; to be called once at the end of each.
    pub fn outcome(&self, endpoint: &Endpoint, outcome: Outcome) {
        let Some(most) = self.watched.as_ref().and_then(|w| w.failures) else { return };
        if endpoint.standing.failures.record(outcome, most) {
            self.change(|rotation, now| rotation.failed(endpoint.standing.id, now), "");
        }
    }

    /// Takes down the result of a check; `cause` says why it failed.
    pub(super) fn checked(&self, id: u64, passed: bool, cause: &str) {
        self.change(|rotation, now| rotation.checked(id, passed, now), cause);
    }

    /// Makes this the set of endpoints. Together with the rotation, so that nobody sees one without the other.
    pub(super) fn replace(&self, set: Set) {
        let Some(watched) = &self.watched else { return self.set.store(Arc::new(set)) };
        let mut rotation = watched.rotation.lock();
        let ids: Vec<u64> = set.endpoints.iter().map(|e| e.standing.id).collect();
        self.set.store(Arc::new(set));
        if self.is_retired() {
            return;
        }
        let changes = rotation.set(&ids, self.epoch.elapsed());
        self.publish(watched, &rotation, &changes, "");
    }

    /// What a configuration without this upstream means: its endpoints are not asked and not counted any more, and its
    /// queue is another one's. Requests that are in flight end as they began.
    pub fn retire(&self) {
        // Under the lock: what is published after it was not retired before.
        let rotation = self.watched.as_ref().map(|watched| watched.rotation.lock());
        self.retired.store(true, Ordering::Release);
        let (Some(watched), Some(_)) = (&self.watched, rotation) else { return };
        watched.news.send_replace(News { next: None, retired: true });
        self.set.load().endpoints.iter().for_each(|e| e.standing.forget());
    }

    /// Whether the configuration has it no more.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// What the tasks of this upstream wait for; none where it has none.
    pub(super) fn news(&self) -> Option<watch::Receiver<News>> {
        self.watched.as_ref().map(|w| w.news.subscribe())
    }

    fn change(&self, what: impl FnOnce(&mut Rotation, Duration) -> Vec<Change>, cause: &str) {
        let Some(watched) = &self.watched else { return };
        let mut rotation = watched.rotation.lock();
        if self.is_retired() {
            return;
        }
        let changes = what(&mut rotation, self.epoch.elapsed());
        self.publish(watched, &rotation, &changes, cause);
    }

    /// Writes changes where choices read them, counts and logs them. Under the lock, so that they come in their order.
    fn publish(&self, watched: &Watched, rotation: &Rotation, changes: &[Change], cause: &str) {
        let set = self.set.load();
        for change in changes {
            let Some(endpoint) = set.endpoints.iter().find(|e| e.standing.id == change.id) else { continue };
            let standing = &endpoint.standing;
            if !change.old.is_in() && change.new.is_in() {
                let now = self.epoch.elapsed().as_micros() as u64;
                standing.returned.store(now.min(NEVER - 1), Ordering::Relaxed);
            }
            if change.new == State::Healthy {
                standing.failures.clear();
            }
            standing.state.store(change.new as u8, Ordering::Relaxed);
            let by = match change.new {
                State::Healthy | State::Kept => None,
                State::Unhealthy => Some(OutBy::HealthCheck),
                State::Ejected => Some(OutBy::Outlier),
            };
            *standing.out.lock() = by.map(|by| Counted::new(self.metrics.taken_out(by)));
            tracing::info!(
                event = "endpoint_health",
                upstream = %self.name,
                endpoint = %endpoint.label,
                old = change.old.as_str(),
                new = change.new.as_str(),
                why = %change.why,
                cause = (!cause.is_empty()).then_some(cause),
            );
        }
        let next = rotation.next().map(|at| self.epoch + at);
        watched.news.send_if_modified(|news| std::mem::replace(&mut news.next, next) != next);
    }
}

/// Ends ejections at their time, for as long as the upstream is used.
pub async fn keep_returning(upstream: Arc<Upstream>) {
    let Some(mut news) = upstream.news() else { return };
    let weak = Arc::downgrade(&upstream);
    drop(upstream);
    loop {
        let News { next, retired } = *news.borrow_and_update();
        if retired {
            return;
        }
        let over = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = news.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = over => {
                let Some(upstream) = weak.upgrade() else { return };
                upstream.change(Rotation::tick, "");
            }
        }
    }
}
