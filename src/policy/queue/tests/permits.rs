//! What requests hold, with wakers that count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::policy::adaptive;
use crate::policy::mode::Mode;

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Rig {
    queue: Shared,
    now: Arc<AtomicU64>,
    bell: Arc<Bell>,
}

impl Rig {
    fn new(settings: Option<&Settings>) -> Rig {
        let now = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now);
        let clock: Clock = Arc::new(move || ms(clock.load(Ordering::Relaxed)));
        Rig { queue: Shared::new(settings, clock), now, bell: Arc::default() }
    }

    fn at(&self, millis: u64) -> Duration {
        self.now.store(millis, Ordering::Relaxed);
        ms(millis)
    }

    fn now(&self) -> Duration {
        ms(self.now.load(Ordering::Relaxed))
    }

    fn permit(&self) -> Permit {
        match self.queue.enter(&ask(NORMAL), self.now()) {
            Entered::Permit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(&self) -> Waiting {
        match self.queue.enter(&ask(NORMAL), self.now()) {
            Entered::Wait(waiting) => waiting,
            other => panic!("{other:?}"),
        }
    }

    fn poll(&self, waiting: &mut Waiting) -> Poll<Result<Permit, Refused>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        waiting.poll(&mut Context::from_waker(&waker), self.now())
    }

    fn rung(&self) -> usize {
        self.bell.0.load(Ordering::Relaxed)
    }

    /// As many at once as may be, again and again, 10 ms each.
    fn answer(&self, rounds: u64) {
        for i in 1..=rounds {
            let permits: Vec<Permit> = (0..self.queue.limit().unwrap()).map(|_| self.permit()).collect();
            self.at(i * 10);
            permits.into_iter().for_each(|permit| permit.settle(Outcome::Ok));
        }
    }
}

fn of(limit: u32) -> Settings {
    Settings::with_limit(MaxConcurrent::Fixed(limit))
}

fn adaptive_from(initial: u32) -> Settings {
    Settings::with_limit(MaxConcurrent::Adaptive(adaptive::Settings { initial, min: 1, max: 64 }))
}

#[test]
fn a_permit_that_is_dropped_wakes_the_next() {
    let rig = Rig::new(Some(&of(1)));
    let permit = rig.permit();
    let mut waiting = rig.waiting();
    assert_eq!(waiting.until(), ms(1000));
    assert!(rig.poll(&mut waiting).is_pending());
    rig.at(30);
    drop(permit);
    assert_eq!(rig.rung(), 1);
    let Poll::Ready(Ok(permit)) = rig.poll(&mut waiting) else { panic!("no permit") };
    assert_eq!((permit.wait(), permit.would()), (ms(30), None));
    drop(waiting);
    assert_eq!(rig.queue.running(), 1, "who was told holds nothing but the permit");
    drop(permit);
    assert_eq!((rig.queue.running(), rig.rung()), (0, 1));
}

#[test]
fn who_stops_waiting_leaves_no_trace_before_and_after_the_grant() {
    let rig = Rig::new(Some(&of(1)));
    let permit = rig.permit();
    let (mut first, mut second) = (rig.waiting(), rig.waiting());
    assert!(rig.poll(&mut first).is_pending() && rig.poll(&mut second).is_pending());
    assert_eq!(rig.queue.depth(NORMAL), 2);
    drop(permit);
    assert_eq!(rig.rung(), 1, "the first has the place");
    drop(first);
    assert_eq!(rig.rung(), 2, "and gives it on, without having heard of it");
    let Poll::Ready(Ok(permit)) = rig.poll(&mut second) else { panic!("no permit") };
    drop(rig.waiting());
    assert_eq!((rig.queue.running(), rig.queue.depth(NORMAL)), (1, 0));
    drop(permit);
    assert_eq!(rig.queue.running(), 0);
}

#[test]
fn a_flush_wakes_all_who_wait() {
    let rig = Rig::new(Some(&of(1)));
    let _permit = rig.permit();
    let mut waiting: Vec<Waiting> = (0..3).map(|_| rig.waiting()).collect();
    assert!(waiting.iter_mut().all(|w| rig.poll(w).is_pending()));
    rig.queue.flush(Refused::Breaker);
    assert_eq!(rig.rung(), 3);
    for waiting in &mut waiting {
        assert!(matches!(rig.poll(waiting), Poll::Ready(Err(Refused::Breaker))));
    }
}

#[test]
fn a_wait_ends_when_it_is_polled_at_its_time() {
    let rig = Rig::new(Some(&of(1)));
    let _permit = rig.permit();
    let mut waiting = rig.waiting();
    rig.at(999);
    assert!(rig.poll(&mut waiting).is_pending());
    rig.at(1000);
    assert!(matches!(rig.poll(&mut waiting), Poll::Ready(Err(Refused::Timeout))));
    assert_eq!(rig.queue.depth(NORMAL), 0);
    assert!(matches!(rig.poll(&mut waiting), Poll::Ready(Err(Refused::Timeout))), "polled once too often");
}

#[test]
fn a_permit_is_lent_back_and_taken_again_and_given_back_once() {
    let rig = Rig::new(Some(&of(1)));
    let mut permit = rig.permit();
    permit.suspend(rig.at(10));
    permit.suspend(rig.at(11));
    assert_eq!(rig.queue.running(), 0);
    let mut other = rig.permit();
    permit.resume(rig.at(5000));
    permit.resume(rig.at(5001));
    assert_eq!(rig.queue.running(), 2);
    rig.at(5040);
    permit.settle(Outcome::Ok);
    assert_eq!(rig.queue.typical_service(), ms(50), "the time of the loan does not count");
    other.suspend(rig.at(5050));
    other.settle(Outcome::Ok);
    assert_eq!((rig.queue.running(), rig.queue.typical_service()), (0, ms(50)));
}

#[test]
fn only_what_the_application_did_says_how_long_it_takes() {
    let rig = Rig::new(Some(&of(4)));
    let [dropped, neutral, ok] = [rig.permit(), rig.permit(), rig.permit()];
    rig.at(80);
    drop(dropped);
    neutral.settle(Outcome::Neutral);
    assert_eq!(rig.queue.typical_service(), ms(0));
    ok.settle(Outcome::Ok);
    assert_eq!(rig.queue.typical_service(), ms(80));
}

#[test]
fn an_adaptive_limit_moves_with_what_settles_and_stays_while_it_is_only_observed() {
    let observed = Settings { mode: Mode::Observe, ..adaptive_from(4) };
    for (settings, moves) in [(adaptive_from(4), true), (observed, false)] {
        let rig = Rig::new(Some(&settings));
        assert_eq!(rig.queue.limit(), Some(4));
        rig.answer(100);
        assert_eq!(rig.queue.limit().unwrap() > 4, moves);
    }
}

#[test]
fn a_reload_keeps_what_was_learnt() {
    let rig = Rig::new(Some(&adaptive_from(4)));
    rig.answer(100);
    let learnt = rig.queue.limit();
    assert!(learnt > Some(4));
    rig.queue.configure(Some(&Settings { max_queued: 7, ..adaptive_from(4) }), rig.now());
    assert_eq!(rig.queue.limit(), learnt);
    // As it is with twice as many endpoints, and with fewer.
    let bounded = |max| Settings::with_limit(MaxConcurrent::Adaptive(adaptive::Settings { initial: 2, min: 2, max }));
    rig.queue.configure(Some(&bounded(128)), rig.now());
    assert!(rig.queue.limit() > Some(4), "but for the step that was being tried: {:?}", rig.queue.limit());
    rig.queue.configure(Some(&bounded(3)), rig.now());
    assert_eq!(rig.queue.limit(), Some(3));
    rig.queue.configure(Some(&of(9)), rig.now());
    assert_eq!(rig.queue.limit(), Some(9));
}

#[test]
fn a_reload_changes_the_rules_and_keeps_who_runs_and_waits() {
    let rig = Rig::new(Some(&of(1)));
    let _first = rig.permit();
    let mut waiting = rig.waiting();
    assert!(rig.poll(&mut waiting).is_pending());
    rig.queue.configure(Some(&of(2)), rig.at(5));
    assert_eq!((rig.queue.limit(), rig.rung()), (Some(2), 1));
    assert!(matches!(rig.poll(&mut waiting), Poll::Ready(Ok(_))));
    rig.queue.configure(None, rig.at(6));
    assert_eq!(rig.queue.limit(), None);
    let more: Vec<Permit> = (0..100).map(|_| rig.permit()).collect();
    assert_eq!(rig.queue.running(), more.len() as u32 + 1);
}

/// Who had to wait has a place now: nobody is refused because it waited long.
#[test]
fn a_reload_without_a_queue_lets_all_through_who_wait() {
    let rig = Rig::new(Some(&of(1)));
    let _first = rig.permit();
    let mut waiting: Vec<Waiting> = (0..10).map(|_| rig.waiting()).collect();
    assert!(waiting.iter_mut().all(|w| rig.poll(w).is_pending()));
    rig.queue.configure(None, rig.at(700));
    let permits = waiting.iter_mut().map(|w| match rig.poll(w) {
        Poll::Ready(Ok(permit)) => permit,
        other => panic!("{other:?}"),
    });
    assert_eq!(permits.collect::<Vec<_>>().len(), 10);
}

/// Its cap still holds it back: it waits for as long as it was told.
#[test]
fn a_reload_without_a_queue_leaves_who_waits_for_a_cap_its_time() {
    let rig = Rig::new(Some(&of(9)));
    let cap = rig.queue.cap("create-payment", 1, ms(0));
    let capped = Ask { cap, ..ask(NORMAL) };
    let Entered::Permit(first) = rig.queue.enter(&capped, ms(0)) else { panic!("no place") };
    let mut waiting: Vec<Waiting> = (0..2)
        .map(|_| match rig.queue.enter(&capped, ms(0)) {
            Entered::Wait(waiting) => waiting,
            other => panic!("{other:?}"),
        })
        .collect();
    rig.queue.configure(None, rig.at(700));
    assert!(waiting.iter_mut().all(|w| rig.poll(w).is_pending()));
    rig.at(800);
    drop(first);
    let told: Vec<_> = waiting.iter_mut().map(|w| rig.poll(w)).collect();
    assert_eq!(told.iter().filter(|t| matches!(t, Poll::Ready(Ok(_)))).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|t| t.is_pending()).count(), 1, "{told:?}");
}

#[test]
fn a_cap_is_known_by_its_route_and_moves_with_a_reload() {
    let rig = Rig::new(None);
    let cap = rig.queue.cap("create-payment", 1, ms(0));
    assert_ne!(cap, rig.queue.cap("another", 1, ms(0)));
    let capped = Ask { cap, ..ask(NORMAL) };
    let _first = rig.queue.enter(&capped, ms(0));
    assert!(matches!(rig.queue.enter(&capped, ms(0)), Entered::Refused(Refused::Bulkhead)));
    assert_eq!(rig.queue.cap("create-payment", 2, ms(0)), cap);
    assert!(matches!(rig.queue.enter(&capped, ms(0)), Entered::Permit(_)));
}

#[test]
fn a_switch_lets_one_request_pass_that_the_rules_would_hold_back() {
    let rig = Rig::new(Some(&of(1)));
    let _first = rig.permit();
    let Entered::Permit(permit) = rig.queue.enter_in(Mode::Observe, &ask(NORMAL), ms(0)) else { panic!("held back") };
    assert_eq!((permit.would(), rig.queue.running()), (Some(Would::Wait), 2));
    let observed = Rig::new(Some(&Settings { mode: Mode::Observe, ..of(1) }));
    let _both = [observed.permit(), observed.permit()];
    assert!(matches!(observed.queue.enter_in(Mode::Enforce, &ask(NORMAL), ms(0)), Entered::Wait(_)));
}
