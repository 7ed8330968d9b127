//! The breaker as its callers see it: shared between threads, and a ticket that cannot be forgotten.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::call::Call;
use super::core::Core;
use super::{Mode, Outcome, Refused, Settings, Snapshot, State, Transition};

/// The time since some fixed moment. It never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Told of every transition, after it and outside the lock. Two of them that follow each other at once may be told in
/// the wrong order: who shows the state asks for it ([`Shared::state`]).
pub type Observer = Arc<dyn Fn(&Transition) + Send + Sync>;

/// A breaker that many threads share. A clone is the same breaker.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

struct Inner {
    core: Mutex<Core>,
    /// From which age on a call is slow; asked for each call, so it stands outside the lock.
    over: Option<Duration>,
    clock: Clock,
    observer: Observer,
}

impl Inner {
    /// Runs a step on the core and tells of the transition it led to.
    fn step<T>(&self, step: impl FnOnce(&mut Core, Duration) -> (T, Option<Transition>)) -> T {
        self.step_at((self.clock)(), step)
    }

    fn step_at<T>(&self, now: Duration, step: impl FnOnce(&mut Core, Duration) -> (T, Option<Transition>)) -> T {
        let (result, transition) = step(&mut self.core.lock(), now);
        if let Some(transition) = transition {
            (self.observer)(&transition);
        }
        result
    }
}

impl Shared {
    /// A breaker, closed.
    pub fn new(settings: &Settings, clock: Clock, observer: Observer) -> Shared {
        let now = clock();
        let over = settings.slow_call.map(|slow| slow.over.get());
        Shared(Arc::new(Inner { core: Mutex::new(Core::new(settings.clone(), now)), over, clock, observer }))
    }

    /// Whether a call would be admitted, without one: asked before a call waits in a queue. Half-open, a call that has to
    /// wait is to be admitted before, and held: more would wait otherwise than can be probes.
    pub fn check(&self) -> Result<State, Refused> {
        self.0.step(|core, now| core.check(core.mode(), now))
    }

    /// As [`Shared::check`], under another mode than the configured one.
    pub fn check_in(&self, mode: Mode) -> Result<State, Refused> {
        self.0.step(|core, now| core.check(mode, now))
    }

    /// A call is about to be made; its age begins. `lease` is the longest it can take, its own deadline: a probe of which
    /// nothing has been heard by then is lost, and another one may take its place.
    pub fn admit(&self, lease: Duration) -> Result<Ticket, Refused> {
        self.ticket(self.0.step(|core, now| core.admit(core.mode(), now.saturating_add(lease), now)))
    }

    /// As [`Shared::admit`], under another mode than the configured one, which is what a switch at run time says, and at a
    /// time that the caller knows already.
    pub fn admit_in(&self, mode: Mode, lease: Duration, now: Duration) -> Result<Ticket, Refused> {
        self.ticket(self.0.step_at(now, |core, now| core.admit(mode, now.saturating_add(lease), now)))
    }

    fn ticket(&self, call: Result<Call, Refused>) -> Result<Ticket, Refused> {
        call.map(|call| Ticket { breaker: Arc::clone(&self.0), call: Some(call), told_slow: false })
    }

    /// Opens it until [`Shared::close`] or [`Shared::reset`]; it then refuses even where its mode is observe.
    pub fn open(&self) {
        self.0.step(|core, now| ((), core.open(now)));
    }

    /// Closes it with an empty window, even where its mode is force_open. From there on it opens by itself again.
    pub fn close(&self) {
        self.0.step(|core, now| ((), core.close(now)));
    }

    /// Takes back what was done by hand: as configured, closed, with an empty window.
    pub fn reset(&self) {
        self.0.step(|core, now| ((), core.reset(now)));
    }

    /// The state at this moment.
    pub fn state(&self) -> State {
        self.0.step(|core, now| (core.state(now), None))
    }

    /// What an operator is shown.
    pub fn snapshot(&self) -> Snapshot {
        self.0.step(|core, now| (core.snapshot(now), None))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.snapshot()).finish()
    }
}

/// A call that was admitted. Dropped without an outcome, it counts as [`Outcome::ClientLeft`].
#[must_use = "a call whose ticket is dropped is taken for one whose client left"]
pub struct Ticket {
    breaker: Arc<Inner>,
    /// None once it is settled.
    call: Option<Call>,
    /// [`Ticket::slow`] was called since its age began.
    told_slow: bool,
}

impl Ticket {
    /// When its age passes `slow_call.over`, on the clock of the breaker: [`Ticket::slow`] is to be called then. None
    /// where slowness does not matter, was counted already, or cannot come because the call waits for its client.
    pub fn slow_at(&self) -> Option<Duration> {
        let since = self.call.as_ref().filter(|_| !self.told_slow)?.since()?;
        Some(since.saturating_add(self.breaker.over?))
    }

    /// The moment of [`Ticket::slow_at`] has come and the call has not ended: it counts as slow now. Once is enough.
    pub fn slow(&mut self) {
        self.told_slow = true;
        if let Some(call) = &mut self.call {
            self.breaker.step(|core, now| ((), core.slow(call, now)));
        }
    }

    /// From now on the call waits for something of ours: its age stands still until [`Ticket::resume`].
    pub fn hold(&mut self) {
        self.stand_still(false);
    }

    /// From now on it waits for its client, to send or to read, so that a slow client is never taken for a slow
    /// application. A probe leaves its place to another after a second of it; its outcome counts all the same.
    pub fn hold_for_client(&mut self) {
        self.stand_still(true);
    }

    fn stand_still(&mut self, for_client: bool) {
        let in_time = self.slow_at().is_none_or(|at| (self.breaker.clock)() < at);
        match &mut self.call {
            // Nothing has to be counted, and nobody has to know: no lock.
            Some(call) if in_time && !(for_client && call.is_probe()) => call.pause(),
            Some(call) => self.breaker.step(|core, now| ((), core.hold(call, for_client, now))),
            None => {}
        }
    }

    /// From now on the call waits for the application: its age begins anew.
    pub fn resume(&mut self) {
        self.told_slow = false;
        if let Some(call) = &mut self.call {
            self.breaker.step(|core, now| (core.resume(call, now), None));
        }
    }

    /// Whether its outcome still counts: the breaker has not changed its state since it was admitted.
    pub fn counts(&self) -> bool {
        self.call.as_ref().is_some_and(|call| self.breaker.core.lock().counts(call))
    }

    /// The refusal that the call would have met if the breaker did not merely observe.
    pub fn would_refuse(&self) -> Option<Refused> {
        self.call.as_ref().and_then(Call::would_refuse)
    }

    /// The call ended.
    pub fn settle(self, outcome: Outcome) {
        let now = (self.breaker.clock)();
        self.settle_at(outcome, now);
    }

    /// The call ended, at a time that the caller knows already.
    pub fn settle_at(mut self, outcome: Outcome, now: Duration) {
        self.end(outcome, now);
    }

    fn end(&mut self, outcome: Outcome, now: Duration) {
        if let Some(call) = self.call.take() {
            self.breaker.step_at(now, |core, now| ((), core.settle(call, outcome, now)));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.call.is_some() {
            let now = (self.breaker.clock)();
            self.end(Outcome::ClientLeft, now);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("call", &self.call).finish_non_exhaustive()
    }
}
