//! Whatever happens in whatever order.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Enter { priority: usize, tenant: u64, cap: u32, deadline: Option<u64> },
    Leave(prop::sample::Index, bool),
    Look(prop::sample::Index),
    Abandon(prop::sample::Index),
    Suspend(prop::sample::Index),
    Resume(prop::sample::Index),
    Advance(u64),
    Limit(u32),
    CapLimit(u32, u32),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        12 => (0usize..4, 0u64..4, 0u32..3, prop::option::weighted(0.2, 0u64..1500))
            .prop_map(|(priority, tenant, cap, deadline)| Step::Enter { priority, tenant, cap, deadline }),
        8 => (index(), any::<bool>()).prop_map(|(which, heard)| Step::Leave(which, heard)),
        3 => index().prop_map(Step::Look),
        2 => index().prop_map(Step::Abandon),
        1 => index().prop_map(Step::Suspend),
        1 => index().prop_map(Step::Resume),
        6 => (0u64..120).prop_map(Step::Advance),
        1 => (1u32..6).prop_map(Step::Limit),
        1 => (1u32..3, 1u32..4).prop_map(|(cap, limit)| Step::CapLimit(cap, limit)),
        1 => Just(Step::Flush),
    ]
}

/// What the outside knows of the core.
struct Model {
    core: Core,
    now: Duration,
    limit: u32,
    caps: [u32; 3],
    max_queued: u32,
    /// Places that are held, by their caps, and those of them that are lent back.
    held: Vec<Cap>,
    lent: Vec<Cap>,
    /// Those who wait or have not heard yet that they do not.
    waiters: Vec<(Handle, Ask)>,
    /// Those of them that have a place.
    granted: Vec<(Handle, Ask)>,
    served: [Option<Duration>; 4],
    since_aged: u32,
}

const INTERVAL: Duration = ms(200);

impl Model {
    fn new(limit: u32, max_queued: u32) -> Model {
        let rules = Rules { max_queued, timeout: ms(400), target: ms(30), interval: INTERVAL, observe: false };
        let mut core = Core::new(rules, limit);
        core.add_cap(1);
        core.add_cap(2);
        let (held, lent, waiters, granted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let caps = [NO_LIMIT, 1, 2];
        let (now, served) = (ms(1000), [None; 4]);
        Model { core, now, limit, caps, max_queued, held, lent, waiters, granted, served, since_aged: 9 }
    }

    fn running(&self, cap: Option<Cap>) -> u32 {
        let granted = self.granted.iter().map(|(_, ask)| ask.cap);
        self.held.iter().copied().chain(granted).filter(|c| cap.is_none_or(|cap| cap == *c)).count() as u32
    }

    fn has_room(&self, cap: Cap) -> bool {
        self.running(Some(cap)) < self.caps[cap.index()]
    }

    /// Who waits still, as the core has it.
    fn waiting(&self) -> Vec<Ask> {
        let granted = |handle: &Handle| self.granted.iter().any(|(g, _)| g == handle);
        let waits = |(handle, _): &&(Handle, Ask)| !granted(handle) && self.core.is_waiting(*handle);
        self.waiters.iter().filter(waits).map(|(_, ask)| *ask).collect()
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let before = (self.running(None), [1, 2].map(|cap| self.running(Some(Cap(cap)))));
        match step {
            Step::Enter { priority, tenant, cap, deadline } => {
                let deadline = deadline.map(|after| self.now + ms(after));
                let ask = Ask { priority: Priority::ALL[*priority], tenant: *tenant, cap: Cap(*cap), deadline };
                match self.core.enter(&ask, false, self.now) {
                    Entry::Granted(would) => {
                        prop_assert_eq!(would, None);
                        prop_assert!(self.running(None) < self.limit && self.has_room(ask.cap));
                        self.held.push(ask.cap);
                        self.served[*priority] = Some(self.now);
                    }
                    Entry::Waits(handle) => self.waiters.push((handle, ask)),
                    Entry::Refused(why) => {
                        let alone = self.running(None) < self.limit && !self.has_room(ask.cap);
                        prop_assert!((why == Refused::Bulkhead) == (alone && why != Refused::Late), "{:?}", why);
                    }
                }
            }
            Step::Leave(which, heard) if !self.held.is_empty() => {
                let cap = self.held.swap_remove(which.index(self.held.len()));
                self.core.leave(cap, heard.then_some(ms(40)), self.now);
            }
            Step::Look(which) if !self.waiters.is_empty() => self.look(which.index(self.waiters.len())),
            Step::Abandon(which) if !self.waiters.is_empty() => {
                let (handle, _) = self.waiters.swap_remove(which.index(self.waiters.len()));
                self.granted.retain(|(granted, _)| *granted != handle);
                self.core.abandon(handle, self.now);
            }
            Step::Suspend(which) if !self.held.is_empty() => {
                let cap = self.held.swap_remove(which.index(self.held.len()));
                self.lent.push(cap);
                self.core.give_back(cap, self.now);
            }
            Step::Resume(which) if !self.lent.is_empty() => {
                let cap = self.lent.swap_remove(which.index(self.lent.len()));
                self.held.push(cap);
                self.core.take(cap);
                return self.check();
            }
            Step::Advance(millis) => self.now += ms(*millis),
            Step::Limit(limit) => {
                self.limit = *limit;
                self.core.set_limit(*limit, self.now);
            }
            Step::CapLimit(cap, limit) => {
                self.caps[*cap as usize] = *limit;
                self.core.set_cap(Cap(*cap), *limit, self.now);
            }
            Step::Flush => {
                self.core.flush(Refused::Breaker);
                prop_assert_eq!(self.core.waiting(), 0);
            }
            _ => {}
        }
        self.hear()?;
        prop_assert!(self.running(None) <= self.limit.max(before.0), "more run than may");
        for (cap, before) in [1, 2].into_iter().zip(before.1) {
            prop_assert!(self.running(Some(Cap(cap))) <= self.caps[cap as usize].max(before), "more than cap {cap}");
        }
        self.check()
    }

    fn look(&mut self, at: usize) {
        let (handle, ask) = self.waiters[at];
        let standing = self.core.look(handle, self.now);
        // What this look led to is heard in the order in which it happened: a grant was told before.
        if !matches!(standing, Standing::Waits(_)) {
            self.waiters.swap_remove(at);
        }
        if matches!(standing, Standing::Granted(_)) {
            self.granted.retain(|(granted, _)| *granted != handle);
            self.held.push(ask.cap);
        }
    }

    /// Those who were told something: the granted ones in their order.
    fn hear(&mut self) -> Result<(), TestCaseError> {
        for handle in told(&mut self.core) {
            let Some((_, ask)) = self.waiters.iter().find(|(waiter, _)| *waiter == handle).copied() else { continue };
            if !self.core.is_granted(handle) {
                continue;
            }
            self.granted.push((handle, ask));
            let class = ask.priority.index();
            let passed_over = self.waiting().iter().any(|w| w.priority < ask.priority && self.has_room(w.cap));
            if passed_over {
                let hungry = self.served[class].is_none_or(|served| self.now >= served + INTERVAL);
                prop_assert!(hungry, "{ask:?} went before a higher one");
                prop_assert!(self.since_aged >= 9, "ageing after {} in order", self.since_aged);
                self.since_aged = 0;
            } else {
                self.since_aged += 1;
            }
            self.served[class] = Some(self.now);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.core.running(), self.running(None), "places");
        prop_assert!(self.core.waiting() <= self.max_queued);
        let waiting = self.waiting();
        prop_assert_eq!(self.core.waiting(), waiting.len() as u32);
        for ask in waiting {
            prop_assert!(!(self.running(None) < self.limit && self.has_room(ask.cap)), "{ask:?} waits beside a place");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_and_nothing_is_lost(
        limit in 1u32..5,
        max_queued in 0u32..9,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut model = Model::new(limit, max_queued);
        for step in &steps {
            model.step(step)?;
        }
        // Every waiter ends, by its own timer at the latest.
        model.now += ms(400);
        while !model.waiters.is_empty() {
            let before = model.waiters.len();
            model.look(before - 1);
            prop_assert!(model.waiters.len() < before, "still waiting after its timeout");
        }
        prop_assert_eq!(model.core.waiting(), 0);
        for cap in std::mem::take(&mut model.held) {
            model.core.leave(cap, None, model.now);
        }
        prop_assert!(model.core.is_clean());
    }
}

#[test]
fn threads_that_enter_wait_and_go_lose_no_place() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
    use std::task::{Context, Poll, Waker};

    let ticks = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&ticks);
    let clock: Clock = Arc::new(move || Duration::from_micros(clock.fetch_add(1, Relaxed)));
    let settings = Settings { max_queued: 4, ..Settings::with_limit(MaxConcurrent::Fixed(3)) };
    let queue = Shared::new(Some(&settings), Arc::clone(&clock));
    let cap = queue.cap("route", 2, clock());
    let inside = AtomicU32::new(0);
    let run = |permit: Permit, i: u32| {
        assert!(inside.fetch_add(1, Relaxed) < 3, "more than three at once");
        std::thread::yield_now();
        inside.fetch_sub(1, Relaxed);
        permit.settle(if i.is_multiple_of(3) { Outcome::Neutral } else { Outcome::Ok });
    };
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (queue, clock, run) = (&queue, &clock, &run);
            scope.spawn(move || {
                for i in 0..2000 {
                    let priority = Priority::ALL[(thread + i) as usize % 4];
                    let cap = if i.is_multiple_of(2) { cap } else { Cap::NONE };
                    let ask = Ask { priority, tenant: u64::from(thread), cap, deadline: None };
                    match queue.enter(&ask, clock()) {
                        Entered::Permit(permit) => run(permit, i),
                        Entered::Refused(why) => assert!(matches!(why, Refused::QueueFull | Refused::Bulkhead)),
                        Entered::Wait(mut waiting) => {
                            // Some lose patience, and perhaps just when their turn has come.
                            for _ in 0..(i % 50) {
                                if let Poll::Ready(ready) =
                                    waiting.poll(&mut Context::from_waker(Waker::noop()), clock())
                                {
                                    ready.into_iter().for_each(|permit| run(permit, i));
                                    break;
                                }
                                std::thread::yield_now();
                            }
                        }
                    }
                }
            });
        }
    });
    assert_eq!(queue.running(), 0);
    assert!(Priority::ALL.iter().all(|priority| queue.depth(*priority) == 0));
}
