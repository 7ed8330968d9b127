//! Whose turn it is among the tenants of a priority: rounds, in each of which a tenant is served once.
//!
//! A tenant that was served is due in the next round. One that begins to wait is due in this round, unless it was served in
//! it already: who was served is remembered even after its last waiter left. Without that memory a tenant that always has
//! somebody waiting would come before those whose few waiters leave unserved and come back. In terms of start-time fair
//! queueing (Goyal, Vin and Cheng, 1996): a request's tag is the virtual time or its tenant's last tag plus one, whichever
//! is later, and the virtual time is the tag of what was served last.

use std::collections::HashSet;

use super::list::{Links, List};

/// Tenants that were served in a round and wait no more: more than this are not remembered.
const REMEMBERED: usize = 1024;

/// A tenant's place in the rounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// The round in which it is due.
    due: u64,
    pub(super) links: Links,
}

impl Turn {
    pub(super) const NONE: Turn = Turn { due: 0, links: Links::UNLINKED };
}

/// The rounds of one priority.
#[derive(Debug)]
pub(super) struct Turns {
    round: u64,
    /// Due in this round, whose turn it is first.
    now: List,
    /// Due in the next one.
    later: List,
    /// Served in this round, and not waiting any more.
    served: HashSet<u64>,
}

impl Turns {
    pub(super) fn new() -> Turns {
        Turns { round: 1, now: List::EMPTY, later: List::EMPTY, served: HashSet::new() }
    }

    /// How many tenants wait.
    pub(super) fn tenants(&self) -> u32 {
        self.now.len + self.later.len
    }

    /// The first of those due in this round, and of those due in the next.
    pub(super) fn first(&self) -> [u32; 2] {
        [self.now.first, self.later.first]
    }

    /// A tenant of this name begins to wait.
    pub(super) fn enter<T>(&mut self, items: &mut [T], id: u32, name: u64, turn: impl Fn(&mut T) -> &mut Turn) {
        let was_served = self.served.remove(&name);
        self.push(items, id, self.round + u64::from(was_served), turn);
    }

    /// It waits no more.
    pub(super) fn leave<T>(&mut self, items: &mut [T], id: u32, name: u64, turn: impl Fn(&mut T) -> &mut Turn) {
        let due = self.remove(items, id, turn);
        if due > self.round && self.served.len() < REMEMBERED {
            self.served.insert(name);
        }
    }

    /// It was served: it is due in the next round. Who is served although it was due in the next round already begins that
    /// round, unless somebody of this one still waits, for a cap.
    pub(super) fn over<T>(&mut self, items: &mut [T], id: u32, turn: impl Fn(&mut T) -> &mut Turn) {
        let due = self.remove(items, id, &turn);
        if due > self.round && self.now.len == 0 {
            self.round = due;
            self.now = std::mem::replace(&mut self.later, List::EMPTY);
            self.served.clear();
        }
        self.push(items, id, self.round + 1, turn);
    }

    fn push<T>(&mut self, items: &mut [T], id: u32, due: u64, turn: impl Fn(&mut T) -> &mut Turn) {
        turn(&mut items[id as usize]).due = due;
        let list = if due > self.round { &mut self.later } else { &mut self.now };
        list.push_back(items, id, |item| &mut turn(item).links);
    }

    fn remove<T>(&mut self, items: &mut [T], id: u32, turn: impl Fn(&mut T) -> &mut Turn) -> u64 {
        let due = turn(&mut items[id as usize]).due;
        let list = if due > self.round { &mut self.later } else { &mut self.now };
        list.remove(items, id, |item| &mut turn(item).links);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tenants 0 to 3 by their names.
    struct Four {
        turns: Turns,
        items: [Turn; 4],
    }

    impl Four {
        fn new() -> Four {
            Four { turns: Turns::new(), items: [Turn::NONE; 4] }
        }

        fn enter(&mut self, id: u32) {
            self.turns.enter(&mut self.items, id, u64::from(id), |t| t);
        }

        fn leave(&mut self, id: u32) {
            self.turns.leave(&mut self.items, id, u64::from(id), |t| t);
        }

        /// Serves whoever is first.
        fn serve(&mut self) -> u32 {
            let id = self.turns.first().into_iter().find(|id| *id != super::super::list::NONE).unwrap();
            self.turns.over(&mut self.items, id, |t| t);
            id
        }
    }

    #[test]
    fn each_is_served_once_a_round() {
        let mut four = Four::new();
        (0..4).for_each(|id| four.enter(id));
        let served: Vec<u32> = (0..8).map(|_| four.serve()).collect();
        assert_eq!(served, [0, 1, 2, 3, 0, 1, 2, 3]);
    }

    #[test]
    fn who_leaves_unserved_and_comes_back_is_not_overtaken_by_who_was_served() {
        let mut four = Four::new();
        four.enter(0);
        four.enter(1);
        assert_eq!(four.serve(), 0);
        four.leave(1);
        four.enter(1);
        assert_eq!(four.serve(), 1, "0 had its turn in this round");
        assert_eq!(four.serve(), 0);
    }

    #[test]
    fn who_leaves_served_and_comes_back_has_had_its_turn() {
        let mut four = Four::new();
        four.enter(0);
        four.enter(1);
        assert_eq!(four.serve(), 0);
        four.leave(0);
        four.enter(0);
        assert_eq!(four.serve(), 1);
        assert_eq!(four.serve(), 0, "the next round");
    }

    #[test]
    fn one_that_comes_while_the_others_are_done_is_first() {
        let mut four = Four::new();
        four.enter(0);
        assert_eq!((four.serve(), four.serve()), (0, 0));
        four.enter(3);
        assert_eq!((four.serve(), four.serve(), four.serve()), (3, 0, 3));
    }
}
