//! The state of a queue and its rules: who gets the next place, who has to go.

use std::time::Duration;

use super::codel::{Codel, Delay};
use super::line::{Handle, Line, State};
use super::{Ask, Cap, Refused, Would};

mod door;

/// Between two places given by age lie at least this many given in order.
const IN_ORDER: u32 = 9;
/// How much one request moves the typical service time: one that was quicker, and one that was slower.
const QUICKER: u32 = 4;
const SLOWER: u32 = 64;
/// The limit where there is none.
pub(super) const NO_LIMIT: u32 = u32::MAX;

/// What a queue goes by; the limit stands beside it, because it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) max_queued: u32,
    pub(super) timeout: Duration,
    pub(super) target: Duration,
    pub(super) interval: Duration,
    /// Nobody is held back.
    pub(super) observe: bool,
}

/// What becomes of a request that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It has a place; `Some`: against the rules, because they are only observed.
    Granted(Option<Would>),
    Waits(Handle),
    Refused(Refused),
}

/// How a waiter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits, at most until then.
    Waits(Duration),
    /// It has a place, after this wait.
    Granted(Duration),
    Refused(Refused),
}

#[derive(Debug, Clone, Copy)]
struct Room {
    limit: u32,
    running: u32,
}

/// One priority over time.
#[derive(Debug)]
struct Class {
    codel: Codel,
    /// Since when it has been wanting, or last got something.
    hungry_since: Duration,
    /// When somebody of it was last not let through at once.
    asked: Duration,
}

#[derive(Debug)]
pub(super) struct Core {
    rules: Rules,
    room: Room,
    caps: Vec<Room>,
    line: Line,
    classes: [Class; 4],
    /// Places given in order since the last one given by age.
    in_order: u32,
    /// The typical time a place is held.
    service: Duration,
    /// Waiters of which something has become, to be woken.
    told: Vec<Handle>,
}

impl Room {
    fn is_free(self) -> bool {
        self.running < self.limit
    }
}

impl Core {
    pub(super) fn new(rules: Rules, limit: u32) -> Core {
        Core {
            rules,
            room: Room { limit: limit.max(1), running: 0 },
            caps: vec![Room { limit: NO_LIMIT, running: 0 }],
            line: Line::new(),
            classes: std::array::from_fn(|_| Class {
                codel: Codel::new(),
                hungry_since: Duration::ZERO,
                asked: Duration::ZERO,
            }),
            in_order: IN_ORDER,
            service: Duration::ZERO,
            told: Vec::new(),
        }
    }

    pub(super) fn running(&self) -> u32 {
        self.room.running
    }

    pub(super) fn limit(&self) -> u32 {
        self.room.limit
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> u32 {
        self.line.waiting()
    }

    #[cfg(test)]
    pub(super) fn is_waiting(&self, handle: Handle) -> bool {
        self.line.get(handle).is_some_and(|w| w.state == State::Waiting)
    }

    #[cfg(test)]
    pub(super) fn is_granted(&self, handle: Handle) -> bool {
        self.line.get(handle).is_some_and(|w| matches!(w.state, State::Granted(_)))
    }

    /// Whether nobody runs or waits, and nothing is kept of those who did.
    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        self.room.running == 0 && self.caps.iter().all(|cap| cap.running == 0) && self.line.is_clean()
    }

    pub(super) fn waiting_in(&self, class: usize) -> u32 {
        self.line.waiting_in(class)
    }

    pub(super) fn service(&self) -> Duration {
        self.service
    }

    /// Whether anything has become of any waiter.
    pub(super) fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    /// The waiters of which something has become since this was last asked.
    pub(super) fn told(&mut self) -> std::vec::Drain<'_, Handle> {
        self.told.drain(..)
    }

    /// A new cap.
    pub(super) fn add_cap(&mut self, limit: u32) -> Cap {
        self.caps.push(Room { limit: limit.max(1), running: 0 });
        Cap((self.caps.len() - 1) as u32)
    }

    pub(super) fn set_cap(&mut self, cap: Cap, limit: u32, now: Duration) {
        self.caps[cap.index()].limit = limit.max(1);
        self.give_places(now);
    }

    pub(super) fn set_limit(&mut self, limit: u32, now: Duration) {
        self.room.limit = limit.max(1);
        self.give_places(now);
    }

    /// Other rules; who waits keeps the time it was given. Where they are only observed from now on nobody waits on.
    pub(super) fn set_rules(&mut self, rules: Rules, now: Duration) {
        self.rules = rules;
        if rules.observe {
            for class in 0..4 {
                while let Some(slot) = self.line.oldest(class) {
                    self.grant(slot, now);
                }
            }
        }
    }

    /// Whether nobody is held back.
    pub(super) fn observes(&self) -> bool {
        self.rules.observe
    }

    /// A request comes. `observe`: this one is not held back.
    pub(super) fn enter(&mut self, ask: &Ask, observe: bool, now: Duration) -> Entry {
        let class = ask.priority.index();
        // Free places and a waiter that could take one never meet (`give_places`), so nobody is overtaken here.
        if self.room.is_free() && self.caps[ask.cap.index()].is_free() {
            self.take(ask.cap);
            self.served(class, Duration::ZERO, Duration::ZERO, now);
            return Entry::Granted(None);
        }
        if observe {
            let would = self.would(ask);
            self.take(ask.cap);
            return Entry::Granted(Some(would));
        }
        self.asks(class, now);
        let expires = self.patience(ask, now);
        if expires <= now && self.rules.max_queued > 0 {
            return Entry::Refused(Refused::Late);
        }
        self.refuse_the_old(now);
        if self.line.waiting() >= self.rules.max_queued {
            match self.gives_way(ask, now) {
                Some(slot) => self.refuse(slot, Refused::QueueFull),
                None if self.held_by_cap_alone(ask.cap) => return Entry::Refused(Refused::Bulkhead),
                None => return Entry::Refused(Refused::QueueFull),
            }
        }
        if self.line.waiting_in(class) == 0 {
            let delay = self.delay();
            self.classes[class].codel.begins(delay, now);
        }
        Entry::Waits(self.line.push(ask, expires, now))
    }

    /// How a waiter stands. What is told once is forgotten.
    pub(super) fn look(&mut self, handle: Handle, now: Duration) -> Standing {
        self.refuse_the_old(now);
        // A handle is held by one waiter, which looks until it is told something and then no more.
        let Some(waiter) = self.line.get(handle) else { return Standing::Refused(Refused::Timeout) };
        let standing = match waiter.state {
            State::Granted(wait) => Standing::Granted(wait),
            State::Refused(why) => Standing::Refused(why),
            State::Waiting | State::Free if waiter.expires > now => return Standing::Waits(self.until(handle)),
            State::Waiting | State::Free => {
                let why = self.why_not(waiter.cap);
                self.line.end(handle.slot, State::Refused(why));
                Standing::Refused(why)
            }
        };
        self.line.forget(handle);
        standing
    }

    /// Until when a waiter waits, as it looks now. Overload ends it earlier.
    pub(super) fn until(&self, handle: Handle) -> Duration {
        let Some(waiter) = self.line.get(handle) else { return Duration::ZERO };
        match self.classes[waiter.class].codel.overloaded() && self.line.waiting_in(waiter.class) > 1 {
            true => waiter.expires.min(waiter.entered + self.delay().too_old()),
            false => waiter.expires,
        }
    }

    /// A waiter goes, whatever has become of it.
    pub(super) fn abandon(&mut self, handle: Handle, now: Duration) {
        let Some(waiter) = self.line.get(handle) else { return };
        let (state, cap) = (waiter.state, waiter.cap);
        if state == State::Waiting {
            self.line.end(handle.slot, State::Free);
        }
        self.line.forget(handle);
        if matches!(state, State::Granted(_)) {
            self.give_back(cap, now);
        }
    }

    /// A place that was held for so long comes back; None: how long says nothing about the application.
    pub(super) fn leave(&mut self, cap: Cap, held: Option<Duration>, now: Duration) {
        if let Some(held) = held {
            self.learn(held);
        }
        self.give_back(cap, now);
    }

    /// A place comes back, to stay or until [`Core::take`].
    pub(super) fn give_back(&mut self, cap: Cap, now: Duration) {
        self.room.running -= 1;
        self.caps[cap.index()].running -= 1;
        self.give_places(now);
    }

    /// Takes a place, free or not.
    pub(super) fn take(&mut self, cap: Cap) {
        self.room.running += 1;
        self.caps[cap.index()].running += 1;
    }

    /// Nobody waits any more.
    pub(super) fn flush(&mut self, why: Refused) {
        for class in 0..4 {
            while let Some(slot) = self.line.oldest(class) {
                self.refuse(slot, why);
            }
        }
    }

    /// Gives away the free places. Afterwards either no place is free, or nobody waits who could take it.
    fn give_places(&mut self, now: Duration) {
        if self.line.waiting() == 0 {
            return;
        }
        self.refuse_the_old(now);
        while self.room.is_free() {
            let Some((class, by_age)) = self.next_class(now) else { break };
            let newest_first = self.classes[class].codel.overloaded();
            let Some(slot) = self.line.next(class, newest_first, |cap| self.caps[cap.index()].is_free()) else { break };
            let waiter = self.line.waiter(slot);
            if waiter.expires <= now {
                self.refuse(slot, self.why_not(waiter.cap));
                continue;
            }
            self.in_order = if by_age { 0 } else { self.in_order.saturating_add(1) };
            self.line.turn_over(slot);
            self.grant(slot, now);
        }
    }

    /// The priority that is served next, and whether it is because of its age.
    fn next_class(&self, now: Duration) -> Option<(usize, bool)> {
        let can_be_served = |class: &usize| {
            self.line.waiting_in(*class) > 0 && self.line.any(*class, |c| self.caps[c.index()].is_free())
        };
        let first = (0..4).find(can_be_served)?;
        if self.in_order >= IN_ORDER {
            let hungry = |class: &usize| now >= self.classes[*class].hungry_since + self.rules.interval;
            let lower = (first + 1..4).filter(|class| hungry(class) && can_be_served(class));
            if let Some(class) = lower.min_by_key(|class| self.classes[*class].hungry_since) {
                return Some((class, true));
            }
        }
        Some((first, false))
    }

    fn grant(&mut self, slot: u32, now: Duration) {
        let waiter = self.line.waiter(slot);
        let (class, cap, wait) = (waiter.class, waiter.cap, now.saturating_sub(waiter.entered));
        let oldest = self.line.oldest(class).map_or(wait, |s| now.saturating_sub(self.line.waiter(s).entered));
        self.line.end(slot, State::Granted(wait));
        self.told.push(self.line.handle(slot));
        self.take(cap);
        self.served(class, wait, oldest, now);
    }

    #[inline]
    fn served(&mut self, class: usize, wait: Duration, oldest: Duration, now: Duration) {
        let delay = self.delay();
        let waiting = self.line.waiting_in(class) > 0;
        let class = &mut self.classes[class];
        class.codel.look(waiting, delay, now);
        class.codel.served(wait, oldest);
        class.hungry_since = now;
    }

    fn refuse(&mut self, slot: u32, why: Refused) {
        self.line.end(slot, State::Refused(why));
        self.told.push(self.line.handle(slot));
    }

    /// Under overload the old leave, but for the last one.
    fn refuse_the_old(&mut self, now: Duration) {
        let delay = self.delay();
        for class in 0..4 {
            if self.line.waiting_in(class) == 0 {
                continue;
            }
            self.classes[class].codel.look(true, delay, now);
            while self.classes[class].codel.overloaded() && self.line.waiting_in(class) > 1 {
                let Some(slot) = self.line.oldest(class) else { break };
                let waiter = self.line.waiter(slot);
                if waiter.entered + delay.too_old() > now {
                    break;
                }
                self.refuse(slot, self.why_not(waiter.cap));
            }
        }
    }

    /// Quick ones teach more than slow ones: who is refused because its time would not suffice must have none even if it
    /// is one of the quick. One that hangs may not teach us that all do: what is much longer than usual counts as twice
    /// the usual.
    fn learn(&mut self, held: Duration) {
        self.service = match self.service {
            Duration::ZERO => held,
            usual if held < usual => (usual * (QUICKER - 1) + held) / QUICKER,
            usual => (usual * (SLOWER - 1) + held.min(usual * 2)) / SLOWER,
        };
    }

    fn delay(&self) -> Delay {
        Delay { target: self.rules.target, interval: self.rules.interval }
    }
}
