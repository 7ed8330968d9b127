//! Five times what the application can take, for half a minute of virtual time.
//!
//! Ten places of 50 ms make 200 answers a second. 1,000 requests a second come: 5% critical, 10% high, 60% normal, 25% low,
//! from ten tenants of which the first sends half.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::*;

const SERVICE: Duration = ms(50);
const SECONDS: u64 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends(u64),
    Timer(u64),
    Comes,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    ask: Ask,
    came: Duration,
}

#[derive(Default)]
struct Seen {
    /// When each request was answered, and what it was.
    answered: Vec<(Duration, Request)>,
    refused: Vec<(Duration, Request, Refused)>,
    came: Vec<Request>,
}

struct Script {
    core: Core,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    requests: HashMap<u64, Request>,
    waiters: HashMap<Handle, u64>,
    seed: u64,
    seen: Seen,
}

impl Script {
    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Arrivals at random, a millisecond apart on average.
    fn next_comes(&mut self, now: Duration) {
        let gap = Duration::from_secs_f64(-(1.0 - self.random()).ln() / 1000.0);
        self.events.push(Reverse((now + gap, Event::Comes)));
    }

    fn request(&mut self, now: Duration) -> Request {
        let priority = match self.random() {
            p if p < 0.05 => CRITICAL,
            p if p < 0.15 => Priority::High,
            p if p < 0.75 => NORMAL,
            _ => LOW,
        };
        let tenant = if self.random() < 0.5 { 0 } else { 1 + (self.random() * 9.0) as u64 };
        Request { ask: Ask { priority, tenant, cap: Cap::NONE, deadline: Some(now + ms(15_000)) }, came: now }
    }

    fn runs(&mut self, id: u64, now: Duration) {
        self.events.push(Reverse((now + SERVICE, Event::Ends(id))));
    }

    fn refused(&mut self, id: u64, why: Refused, now: Duration) {
        self.seen.refused.push((now, self.requests[&id], why));
    }

    fn look(&mut self, handle: Handle, now: Duration) {
        let Some(id) = self.waiters.get(&handle).copied() else { return };
        match self.core.look(handle, now) {
            Standing::Waits(until) => return self.events.push(Reverse((until, Event::Timer(id)))),
            Standing::Granted(_) => self.runs(id, now),
            Standing::Refused(why) => self.refused(id, why, now),
        }
        self.waiters.remove(&handle);
    }

    fn happens(&mut self, event: Event, id: u64, now: Duration) {
        match event {
            Event::Comes => {
                let request = self.request(now);
                self.requests.insert(id, request);
                self.seen.came.push(request);
                match self.core.enter(&request.ask, false, now) {
                    Entry::Granted(_) => self.runs(id, now),
                    Entry::Refused(why) => self.refused(id, why, now),
                    Entry::Waits(handle) => {
                        self.waiters.insert(handle, id);
                        self.events.push(Reverse((self.core.until(handle), Event::Timer(id))));
                    }
                }
                self.next_comes(now);
            }
            Event::Ends(id) => {
                self.seen.answered.push((now, self.requests[&id]));
                self.core.leave(Cap::NONE, Some(SERVICE), now);
            }
            Event::Timer(id) => {
                let handle = self.waiters.iter().find(|(_, waiter)| **waiter == id).map(|(handle, _)| *handle);
                handle.into_iter().for_each(|handle| self.look(handle, now));
            }
        }
        for handle in told(&mut self.core) {
            self.look(handle, now);
        }
    }
}

fn overload() -> Seen {
    let rules = Rules { max_queued: 1000, ..RULES };
    let mut script = Script {
        core: Core::new(rules, 10),
        events: BinaryHeap::new(),
        requests: HashMap::new(),
        waiters: HashMap::new(),
        seed: 7,
        seen: Seen::default(),
    };
    script.next_comes(ms(1000));
    let mut id = 0;
    while let Some(Reverse((now, event))) = script.events.pop() {
        if now >= ms(1000 + SECONDS * 1000) {
            break;
        }
        id += 1;
        script.happens(event, id, now);
    }
    script.seen
}

/// What each gets of `total` where nobody gets more than it asks for and the rest is shared evenly.
fn max_min(demands: &[f64], total: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_by(|a, b| demands[*a].total_cmp(&demands[*b]));
    let (mut shares, mut left) = (vec![0.0; demands.len()], total);
    for (at, tenant) in order.iter().enumerate() {
        shares[*tenant] = demands[*tenant].min(left / (demands.len() - at) as f64);
        left -= shares[*tenant];
    }
    shares
}

#[test]
fn five_times_what_the_application_can_take() {
    let seen = overload();
    let answered_in = |priority| seen.answered.iter().filter(move |(_, r)| r.ask.priority == priority);

    let goodput = seen.answered.len() as f64 / (SECONDS as f64 - SERVICE.as_secs_f64());
    assert!(goodput >= 0.95 * 200.0, "{goodput:.1} answers a second");

    let mut critical: Vec<Duration> = answered_in(CRITICAL).map(|(at, r)| *at - r.came).collect();
    critical.sort();
    let p99 = critical[critical.len() * 99 / 100];
    assert!(p99 <= SERVICE * 2, "critical: 99% within {p99:?}");
    for priority in [CRITICAL, Priority::High] {
        let out = seen.refused.iter().filter(|(_, r, _)| r.ask.priority == priority).count();
        assert_eq!(out, 0, "{priority:?} refused");
    }

    let count = |requests: &mut dyn Iterator<Item = &Request>| {
        let mut of = [0.0f64; 10];
        requests.filter(|r| r.ask.priority == NORMAL).for_each(|r| of[r.ask.tenant as usize] += 1.0);
        of
    };
    let demands = count(&mut seen.came.iter());
    let got = count(&mut seen.answered.iter().map(|(_, r)| r));
    let fair = max_min(&demands, got.iter().sum());
    for tenant in 0..10 {
        let share = got[tenant] / fair[tenant];
        assert!(share >= 0.8, "tenant {tenant} got {:.0} of {:.0}: {share:.2}", got[tenant], fair[tenant]);
    }

    let latest = seen.refused.iter().map(|(at, r, _)| *at - r.came).max().unwrap();
    assert!(latest <= ms(1200), "refused after {latest:?}");

    for second in 1..=SECONDS {
        let low = answered_in(LOW).filter(|(at, _)| at.as_secs() == second).count();
        assert!(low > 0, "low got nothing in second {second}");
    }
    let low = answered_in(LOW).count() as f64 / SECONDS as f64;
    assert!(low <= 0.05 * 200.0, "low got {low} a second while others wait");

    println!(
        "goodput {goodput:.1}/s, critical p99 {p99:?}, normal {got:?} of {fair:?}, low {low:.1}/s, refused {} the last after {latest:?}",
        seen.refused.len()
    );
}
