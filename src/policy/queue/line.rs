//! Those who wait: by priority, by tenant, by cap and by age, with constant time to leave from anywhere.

use std::collections::HashMap;
use std::time::Duration;

use super::list::{Links, List, NONE};
use super::turns::{Turn, Turns};
use super::{Ask, Cap, Refused};

/// A waiter, for whoever waits. The generation keeps it from being taken for a later one in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Handle {
    pub(super) slot: u32,
    generation: u32,
}

/// What has become of a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody has this slot.
    Free,
    Waiting,
    /// It has a place, after this wait, and does not know yet.
    Granted(Duration),
    /// It is out, and does not know yet.
    Refused(Refused),
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) state: State,
    pub(super) class: usize,
    pub(super) cap: Cap,
    pub(super) entered: Duration,
    /// When its wait is over, for its own reasons.
    pub(super) expires: Duration,
    generation: u32,
    tenant: u32,
    /// Its place in the order of arrival.
    number: u64,
    by_age: Links,
    in_lane: Links,
}

/// Who takes turns within a priority. Kept only while it has waiters.
#[derive(Debug)]
struct Tenant {
    key: (usize, u64),
    waiting: u32,
    /// Its waiters, one lane for each cap among them, so that a full cap holds up nobody else.
    lanes: Vec<Lane>,
    turn: Turn,
}

#[derive(Debug)]
struct Lane {
    cap: Cap,
    list: List,
}

#[derive(Debug)]
struct Class {
    by_age: List,
    turns: Turns,
    /// How many wait for each cap.
    by_cap: Vec<u32>,
}

/// All who wait.
#[derive(Debug)]
pub(super) struct Line {
    waiters: Vec<Waiter>,
    free: Vec<u32>,
    tenants: Vec<Tenant>,
    free_tenants: Vec<u32>,
    known: HashMap<(usize, u64), u32>,
    classes: [Class; 4],
    waiting: u32,
    arrivals: u64,
}

impl Line {
    pub(super) fn new() -> Line {
        Line {
            waiters: Vec::new(),
            free: Vec::new(),
            tenants: Vec::new(),
            free_tenants: Vec::new(),
            known: HashMap::new(),
            classes: std::array::from_fn(|_| Class { by_age: List::EMPTY, turns: Turns::new(), by_cap: Vec::new() }),
            waiting: 0,
            arrivals: 0,
        }
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    pub(super) fn waiting_in(&self, class: usize) -> u32 {
        self.classes[class].by_age.len
    }

    /// How many of one tenant wait in a priority.
    pub(super) fn waiting_of(&self, class: usize, tenant: u64) -> u32 {
        self.known.get(&(class, tenant)).map_or(0, |t| self.tenants[*t as usize].waiting)
    }

    /// Who has waited longest in a priority.
    pub(super) fn oldest(&self, class: usize) -> Option<u32> {
        some(self.classes[class].by_age.first)
    }

    pub(super) fn waiter(&self, slot: u32) -> &Waiter {
        &self.waiters[slot as usize]
    }

    /// The waiter of a handle; none if it is no longer that one's.
    pub(super) fn get(&self, handle: Handle) -> Option<&Waiter> {
        self.waiters.get(handle.slot as usize).filter(|w| w.generation == handle.generation && w.state != State::Free)
    }

    pub(super) fn handle(&self, slot: u32) -> Handle {
        Handle { slot, generation: self.waiters[slot as usize].generation }
    }

    /// Somebody begins to wait.
    pub(super) fn push(&mut self, ask: &Ask, expires: Duration, now: Duration) -> Handle {
        let class = ask.priority.index();
        let tenant = self.tenant(class, ask.tenant);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.waiters.push(Waiter {
                state: State::Free,
                class,
                cap: ask.cap,
                entered: now,
                expires,
                generation: 0,
                tenant,
                number: 0,
                by_age: Links::UNLINKED,
                in_lane: Links::UNLINKED,
            });
            (self.waiters.len() - 1) as u32
        });
        self.arrivals += 1;
        let waiter = &mut self.waiters[slot as usize];
        (waiter.state, waiter.class, waiter.cap, waiter.tenant) = (State::Waiting, class, ask.cap, tenant);
        (waiter.entered, waiter.expires, waiter.number) = (now, expires, self.arrivals);
        let class = &mut self.classes[class];
        class.by_age.push_back(&mut self.waiters, slot, |w| &mut w.by_age);
        if class.by_cap.len() <= ask.cap.index() {
            class.by_cap.resize(ask.cap.index() + 1, 0);
        }
        class.by_cap[ask.cap.index()] += 1;
        let tenant = &mut self.tenants[tenant as usize];
        tenant.waiting += 1;
        let lane = match tenant.lanes.iter().position(|lane| lane.cap == ask.cap) {
            Some(lane) => lane,
            None => {
                tenant.lanes.push(Lane { cap: ask.cap, list: List::EMPTY });
                tenant.lanes.len() - 1
            }
        };
        tenant.lanes[lane].list.push_back(&mut self.waiters, slot, |w| &mut w.in_lane);
        self.waiting += 1;
        self.handle(slot)
    }

    /// The tenant of this name.
    fn tenant(&mut self, class: usize, name: u64) -> u32 {
        let key = (class, name);
        if let Some(tenant) = self.known.get(&key) {
            return *tenant;
        }
        let tenant = match self.free_tenants.pop() {
            Some(tenant) => {
                self.tenants[tenant as usize].key = key;
                tenant
            }
            None => {
                self.tenants.push(Tenant { key, waiting: 0, lanes: Vec::new(), turn: Turn::NONE });
                (self.tenants.len() - 1) as u32
            }
        };
        self.known.insert(key, tenant);
        self.classes[class].turns.enter(&mut self.tenants, tenant, name, |t| &mut t.turn);
        tenant
    }

    /// A waiter waits no more. Its slot keeps what became of it until [`Line::forget`].
    pub(super) fn end(&mut self, slot: u32, state: State) {
        let waiter = &mut self.waiters[slot as usize];
        waiter.state = state;
        let (class, cap, tenant) = (waiter.class, waiter.cap, waiter.tenant);
        let class = &mut self.classes[class];
        class.by_age.remove(&mut self.waiters, slot, |w| &mut w.by_age);
        class.by_cap[cap.index()] -= 1;
        self.waiting -= 1;
        let of = &mut self.tenants[tenant as usize];
        of.waiting -= 1;
        if let Some(at) = of.lanes.iter().position(|lane| lane.cap == cap) {
            of.lanes[at].list.remove(&mut self.waiters, slot, |w| &mut w.in_lane);
            if of.lanes[at].list.len == 0 {
                of.lanes.swap_remove(at);
            }
        }
        if of.waiting == 0 {
            let (_, name) = of.key;
            self.known.remove(&of.key);
            class.turns.leave(&mut self.tenants, tenant, name, |t| &mut t.turn);
            self.free_tenants.push(tenant);
        }
    }

    /// Whoever waited knows, or has gone: the slot may be used again.
    pub(super) fn forget(&mut self, handle: Handle) {
        let waiter = &mut self.waiters[handle.slot as usize];
        waiter.state = State::Free;
        waiter.generation = waiter.generation.wrapping_add(1);
        self.free.push(handle.slot);
    }

    /// No tenant has more waiters than this: each of the others has one at least.
    pub(super) fn most_at_most(&self, class: usize) -> u32 {
        let Class { by_age, turns, .. } = &self.classes[class];
        (by_age.len + 1).saturating_sub(turns.tenants())
    }

    /// Whether anybody of a priority waits for such a cap.
    pub(super) fn any(&self, class: usize, such: impl Fn(Cap) -> bool) -> bool {
        let mut by_cap = self.classes[class].by_cap.iter().enumerate();
        by_cap.any(|(cap, waiting)| *waiting > 0 && such(Cap(cap as u32)))
    }

    /// Who is next in a priority among those whose cap has room. With [`Line::turn_over`] it was its tenant's turn.
    ///
    /// Tenants without such a waiter are passed over and keep their turn, so this takes as long as there are of them.
    pub(super) fn next(&self, class: usize, newest_first: bool, has_room: impl Fn(Cap) -> bool) -> Option<u32> {
        self.tenants_of(class).find_map(|of| {
            let lanes = of.lanes.iter().filter(|lane| has_room(lane.cap)).map(|lane| lane.list);
            let number = |slot: &u32| self.waiters[*slot as usize].number;
            match newest_first {
                true => lanes.map(|list| list.last).max_by_key(number),
                false => lanes.map(|list| list.first).min_by_key(number),
            }
        })
    }

    /// The tenants of a priority, in the order of their turns.
    fn tenants_of(&self, class: usize) -> impl Iterator<Item = &Tenant> {
        let lists = self.classes[class].turns.first().into_iter();
        let tenant = |id: u32| (id != NONE).then(|| &self.tenants[id as usize]);
        lists.flat_map(move |first| std::iter::successors(tenant(first), move |t| tenant(t.turn.links.next)))
    }

    /// The tenant of a waiter had its turn.
    pub(super) fn turn_over(&mut self, slot: u32) {
        let Waiter { tenant, class, .. } = self.waiters[slot as usize];
        self.classes[class].turns.over(&mut self.tenants, tenant, |t| &mut t.turn);
    }

    /// Whether nothing is kept of anybody.
    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        let classes = self
            .classes
            .iter()
            .all(|c| c.by_age.len == 0 && c.turns.tenants() == 0 && c.by_cap.iter().all(|n| *n == 0));
        let slots = self.free.len() == self.waiters.len() && self.free_tenants.len() == self.tenants.len();
        let lanes = self.tenants.iter().all(|t| t.lanes.is_empty());
        classes && slots && lanes && self.known.is_empty() && self.waiting == 0
    }

    /// The newest waiter of the tenant that has most of them, counting those alone whose cap `counts`, and how many.
    pub(super) fn newest_of_most(&self, class: usize, counts: impl Fn(Cap) -> bool) -> Option<(u32, u32)> {
        let mut most: Option<(u32, u32)> = None;
        for of in self.tenants_of(class) {
            let lanes = || of.lanes.iter().filter(|lane| counts(lane.cap)).map(|lane| lane.list);
            let waiting = lanes().map(|list| list.len).sum();
            if waiting > most.map_or(0, |(_, most)| most) {
                let newest = lanes().map(|list| list.last).max_by_key(|slot| self.waiters[*slot as usize].number);
                most = newest.map(|newest| (newest, waiting));
            }
        }
        most
    }
}

fn some(slot: u32) -> Option<u32> {
    (slot != NONE).then_some(slot)
}
