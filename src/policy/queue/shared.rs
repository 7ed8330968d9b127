//! A queue that many threads share.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use super::core::{Core, Entry, NO_LIMIT, Rules};
use super::line::Handle;
use super::permit::{Permit, Waiting};
use super::{Ask, Cap, MaxConcurrent, Refused, Settings};
use crate::policy::adaptive::Adaptive;
use crate::policy::mode::Mode;
use crate::policy::priority::Priority;

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// The time since some fixed moment. It never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The queue of one upstream. A clone is the same queue.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

pub(super) struct Inner {
    state: Mutex<Inside>,
    pub(super) clock: Clock,
}

pub(super) struct Inside {
    pub(super) core: Core,
    pub(super) adaptive: Option<Adaptive>,
    /// By the slot of the waiter.
    pub(super) wakers: Vec<Option<Waker>>,
    /// The names of the caps, from cap 1 on.
    caps: Vec<String>,
    max_concurrent: Option<MaxConcurrent>,
}

/// What becomes of a request that comes.
#[derive(Debug)]
pub enum Entered {
    /// It goes on.
    Permit(Permit),
    /// It waits.
    Wait(Waiting),
    /// It is out.
    Refused(Refused),
}

impl Shared {
    /// The queue as it is configured; None: nobody waits, and only the caps of routes hold requests back.
    ///
    /// The clock is asked when something is dropped, which cannot be told the time.
    pub fn new(settings: Option<&Settings>, clock: Clock) -> Shared {
        let (rules, limit, adaptive) = compile(settings);
        let max_concurrent = settings.map(|s| s.max_concurrent);
        let core = Core::new(rules, limit);
        let inside = Inside { core, adaptive, wakers: Vec::new(), caps: Vec::new(), max_concurrent };
        Shared(Arc::new(Inner { state: Mutex::new(inside), clock }))
    }

    /// Other settings, after a reload, or other bounds, as endpoints come and go. What runs and waits goes on, and an
    /// adaptive limit keeps what it learnt.
    pub fn configure(&self, settings: Option<&Settings>, now: Duration) {
        let (rules, limit, adaptive) = compile(settings);
        self.0.step(|inside| {
            inside.core.set_rules(rules, now);
            let max_concurrent = settings.map(|s| s.max_concurrent);
            if max_concurrent == inside.max_concurrent {
                return;
            }
            inside.max_concurrent = max_concurrent;
            let limit = match (&mut inside.adaptive, max_concurrent) {
                (Some(learnt), Some(MaxConcurrent::Adaptive(bounds))) => {
                    learnt.bound(bounds, now);
                    learnt.limit()
                }
                _ => {
                    inside.adaptive = adaptive;
                    limit
                }
            };
            inside.core.set_limit(limit, now);
        });
    }

    /// The cap of a route, by the route's name: asked again under the same name it is the same cap with another limit.
    pub fn cap(&self, route: &str, limit: u32, now: Duration) -> Cap {
        self.0.step(|inside| match inside.caps.iter().position(|name| name == route) {
            Some(at) => {
                let cap = Cap(at as u32 + 1);
                inside.core.set_cap(cap, limit, now);
                cap
            }
            None => {
                inside.caps.push(route.to_owned());
                inside.core.add_cap(limit)
            }
        })
    }

    /// A request comes.
    pub fn enter(&self, ask: &Ask, now: Duration) -> Entered {
        self.enter_with(ask, now, |core| core.observes())
    }

    /// As [`Shared::enter`], under another mode than the configured one: what a switch at run time says.
    pub fn enter_in(&self, mode: Mode, ask: &Ask, now: Duration) -> Entered {
        self.enter_with(ask, now, |_| mode == Mode::Observe)
    }

    fn enter_with(&self, ask: &Ask, now: Duration, observe: impl FnOnce(&Core) -> bool) -> Entered {
        let (entry, until) = self.0.step(|inside| {
            let observe = observe(&inside.core);
            let entry = inside.core.enter(ask, observe, now);
            let until = match entry {
                Entry::Waits(handle) => inside.core.until(handle),
                _ => Duration::ZERO,
            };
            (entry, until)
        });
        let inner = || Arc::clone(&self.0);
        match entry {
            Entry::Granted(would) => Entered::Permit(Permit::new(inner(), ask.cap, Duration::ZERO, would, now)),
            Entry::Waits(handle) => Entered::Wait(Waiting::new(inner(), handle, ask.cap, until)),
            Entry::Refused(why) => Entered::Refused(why),
        }
    }

    /// All who wait are refused, for this reason.
    pub fn flush(&self, why: Refused) {
        self.0.step(|inside| inside.core.flush(why));
    }

    /// How many of a priority wait.
    pub fn depth(&self, priority: Priority) -> u32 {
        self.0.state.lock().core.waiting_in(priority.index())
    }

    /// How many run.
    pub fn running(&self) -> u32 {
        self.0.state.lock().core.running()
    }

    /// How many may run; None: as many as come.
    pub fn limit(&self) -> Option<u32> {
        Some(self.0.state.lock().core.limit()).filter(|limit| *limit != NO_LIMIT)
    }

    /// How long a place is typically held.
    pub fn typical_service(&self) -> Duration {
        self.0.state.lock().core.service()
    }
}

impl Inner {
    /// Runs a step under the lock, and wakes outside of it those who have something to hear.
    pub(super) fn step<T>(&self, step: impl FnOnce(&mut Inside) -> T) -> T {
        let mut state = self.state.lock();
        let result = step(&mut state);
        if !state.core.has_told() {
            return result;
        }
        let Inside { core, wakers, .. } = &mut *state;
        let mut first = None;
        let mut others = Vec::new();
        for Handle { slot, .. } in core.told() {
            let waker = wakers.get_mut(slot as usize).and_then(Option::take);
            match first {
                None => first = waker,
                Some(_) => others.extend(waker),
            }
        }
        drop(state);
        first.into_iter().chain(others).for_each(Waker::wake);
        result
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("running", &self.running()).field("limit", &self.limit()).finish_non_exhaustive()
    }
}

fn compile(settings: Option<&Settings>) -> (Rules, u32, Option<Adaptive>) {
    let Some(settings) = settings else {
        // Nobody begins to wait. Who waited when the section was taken away is let through, or goes at its own time.
        let rules = Rules { max_queued: 0, timeout: Duration::ZERO, target: NEVER, interval: NEVER, observe: false };
        return (rules, NO_LIMIT, None);
    };
    let rules = Rules {
        max_queued: settings.max_queued,
        timeout: settings.timeout.get(),
        target: settings.target_delay.get(),
        interval: settings.interval.get(),
        observe: settings.mode == Mode::Observe,
    };
    match settings.max_concurrent {
        MaxConcurrent::Fixed(limit) => (rules, limit, None),
        MaxConcurrent::Adaptive(adaptive) => {
            let adaptive = Adaptive::new(adaptive);
            (rules, adaptive.limit(), Some(adaptive))
        }
    }
}
