//! Who is let in to wait, who makes room for whom, and with what word one is sent away.

use std::time::Duration;

use super::super::{Ask, Cap, Refused, Would};
use super::Core;

impl Core {
    /// Somebody of this priority cannot be let through at once. Hunger begins with the first that asks, not with the last
    /// that was served: an hour without requests is no hunger.
    pub(super) fn asks(&mut self, class: usize, now: Duration) {
        let waiting = self.line.waiting_in(class) > 0;
        let class = &mut self.classes[class];
        if !waiting && now > class.asked + self.rules.interval {
            class.hungry_since = now;
        }
        class.asked = now;
    }

    /// Who leaves a full queue for this one.
    pub(super) fn gives_way(&self, ask: &Ask, now: Duration) -> Option<u32> {
        let class = ask.priority.index();
        let any = |_: Cap| true;
        let mine = self.line.waiting_in(class);
        // The lowest priority first. The only waiter of a priority is left to it, so that ageing finds one, except for
        // a priority that has none itself.
        for lower in (class + 1..4).rev() {
            let waiting = self.line.waiting_in(lower);
            if waiting > 1 || (waiting == 1 && mine == 0) {
                return self.line.newest_of_most(lower, any).map(|(slot, _)| slot);
            }
        }
        if mine > 0 {
            // A tenant with clearly more waiters than this one's …
            let enough = self.line.waiting_of(class, ask.tenant) + 2;
            if self.line.most_at_most(class) >= enough
                && let Some((slot, most)) = self.line.newest_of_most(class, any)
                && most >= enough
            {
                return Some(slot);
            }
            // … or one that could not take a free place anyway, for one that could.
            let stuck = |cap: Cap| !self.caps[cap.index()].is_free();
            if !stuck(ask.cap) && self.line.any(class, stuck) {
                return self.line.newest_of_most(class, stuck).map(|(slot, _)| slot);
            }
            return None;
        }
        // Higher ones fill the queue. After an interval without a place this priority gets one to wait at.
        if now < self.classes[class].hungry_since + self.rules.interval {
            return None;
        }
        let higher = (0..class).rev().find(|higher| self.line.waiting_in(*higher) > 1)?;
        self.line.newest_of_most(higher, any).map(|(slot, _)| slot)
    }

    /// How long a request would wait at most. Its answer has to come before its deadline.
    pub(super) fn patience(&self, ask: &Ask, now: Duration) -> Duration {
        let timeout = now.saturating_add(self.rules.timeout);
        ask.deadline.map_or(timeout, |deadline| timeout.min(deadline.saturating_sub(self.service)))
    }

    /// What the rules say to a request that they do not hold back.
    pub(super) fn would(&self, ask: &Ask) -> Would {
        let waiting = self.line.waiting() + self.room.running.saturating_sub(self.room.limit);
        match waiting < self.rules.max_queued {
            true => Would::Wait,
            false => {
                Would::Refuse(if self.held_by_cap_alone(ask.cap) { Refused::Bulkhead } else { Refused::QueueFull })
            }
        }
    }

    pub(super) fn held_by_cap_alone(&self, cap: Cap) -> bool {
        self.room.is_free() && !self.caps[cap.index()].is_free()
    }

    pub(super) fn why_not(&self, cap: Cap) -> Refused {
        if self.held_by_cap_alone(cap) { Refused::Bulkhead } else { Refused::Timeout }
    }
}
