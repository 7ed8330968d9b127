//! What a request holds: a place, or the hope for one. Dropping either gives it up.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::core::Standing;
use super::line::Handle;
use super::shared::Inner;
use super::{Cap, Outcome, Refused, Would};

/// A place among those that run. Dropping it gives it back.
pub struct Permit {
    queue: Arc<Inner>,
    cap: Cap,
    wait: Duration,
    would: Option<Would>,
    /// When it was taken, moved on by the time for which it was lent back.
    since: Duration,
    lent_since: Option<Duration>,
    outcome: Outcome,
}

impl Permit {
    pub(super) fn new(queue: Arc<Inner>, cap: Cap, wait: Duration, would: Option<Would>, now: Duration) -> Permit {
        Permit { queue, cap, wait, would, since: now, lent_since: None, outcome: Outcome::Neutral }
    }

    /// How long was waited for it.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// Under `observe`: what would have happened to this request. None: nothing.
    pub fn would(&self) -> Option<Would> {
        self.would
    }

    /// Lends the place back while the application is not what is waited for, such as a client that stalls in its upload.
    pub fn suspend(&mut self, now: Duration) {
        if self.lent_since.is_none() {
            self.lent_since = Some(now);
            self.queue.step(|inside| inside.core.give_back(self.cap, now));
        }
    }

    /// Takes the place again, without a wait: more than the limit may run for a moment, and nobody gets a place until it
    /// is fewer again.
    pub fn resume(&mut self, now: Duration) {
        if let Some(since) = self.lent_since.take() {
            self.since += now.saturating_sub(since);
            self.queue.step(|inside| inside.core.take(self.cap));
        }
    }

    /// Gives the place back and says how it went. One that is dropped without a word counts as neutral.
    pub fn settle(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.lent_since.is_some() {
            return;
        }
        let now = (self.queue.clock)();
        let held = now.saturating_sub(self.since);
        self.queue.step(|inside| {
            let in_flight = inside.core.running();
            let heard = (self.outcome != Outcome::Neutral).then_some(held);
            inside.core.leave(self.cap, heard, now);
            // A limit that holds nobody back cannot be learnt from.
            if !inside.core.observes()
                && let Some(adaptive) = &mut inside.adaptive
                && let Some(limit) = adaptive.sample(held, in_flight, self.outcome, now)
            {
                inside.core.set_limit(limit, now);
            }
        });
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("wait", &self.wait).field("would", &self.would).finish_non_exhaustive()
    }
}

/// A request that waits. Dropping it leaves the queue, and gives back the place that it may have been given just then.
pub struct Waiting {
    queue: Arc<Inner>,
    /// None once it was told something.
    handle: Option<Handle>,
    cap: Cap,
    until: Duration,
}

impl Waiting {
    pub(super) fn new(queue: Arc<Inner>, handle: Handle, cap: Cap, until: Duration) -> Waiting {
        Waiting { queue, handle: Some(handle), cap, until }
    }

    /// When to poll again if nothing was heard before, on the clock of `now`. It may change with every poll.
    pub fn until(&self) -> Duration {
        self.until
    }

    /// Whether there is a place. It wakes when there is one or when it is refused, but not when its time is over: whoever
    /// polls arms a timer for [`Waiting::until`]. Not to be polled again after it is ready: it would say [`Refused::Timeout`].
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Duration) -> Poll<Result<Permit, Refused>> {
        let Some(handle) = self.handle else { return Poll::Ready(Err(Refused::Timeout)) };
        // A waker that is not needed any more is dropped outside the lock: it may be the last that holds a task.
        let (standing, _old) = self.queue.step(|inside| {
            let standing = inside.core.look(handle, now);
            let slot = handle.slot as usize;
            if inside.wakers.len() <= slot {
                inside.wakers.resize(slot + 1, None);
            }
            let waker = &mut inside.wakers[slot];
            let old = match standing {
                Standing::Waits(_) if waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) => None,
                Standing::Waits(_) => waker.replace(cx.waker().clone()),
                _ => waker.take(),
            };
            (standing, old)
        });
        match standing {
            Standing::Waits(until) => {
                self.until = until;
                Poll::Pending
            }
            Standing::Granted(wait) => {
                self.handle = None;
                Poll::Ready(Ok(Permit::new(Arc::clone(&self.queue), self.cap, wait, None, now)))
            }
            Standing::Refused(why) => {
                self.handle = None;
                Poll::Ready(Err(why))
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            let now = (self.queue.clock)();
            let _old = self.queue.step(|inside| {
                inside.core.abandon(handle, now);
                inside.wakers.get_mut(handle.slot as usize).and_then(Option::take)
            });
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("until", &self.until).finish_non_exhaustive()
    }
}
