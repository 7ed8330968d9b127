//! What a place in the queue costs, with nobody waiting and with a thousand; and what the adaptive limit adds.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use outboard::policy::adaptive::{self, Adaptive, Outcome};
use outboard::policy::priority::Priority;
use outboard::policy::queue::{Ask, Cap, Entered, MaxConcurrent, Permit, Settings, Shared, Waiting};

const NOW: Duration = Duration::from_secs(1);

fn queue(max_concurrent: MaxConcurrent, max_queued: u32) -> Shared {
    let settings = Settings { max_queued, ..Settings::with_limit(max_concurrent) };
    Shared::new(Some(&settings), Arc::new(|| NOW))
}

fn ask(tenant: u64) -> Ask {
    Ask { priority: Priority::Normal, tenant, cap: Cap::NONE, deadline: Some(NOW * 16) }
}

fn permit(entered: Entered) -> Option<Permit> {
    match entered {
        Entered::Permit(permit) => Some(permit),
        _ => None,
    }
}

fn nobody_waits(c: &mut Criterion) {
    let fixed = queue(MaxConcurrent::Fixed(64), 1000);
    let adaptive = queue(MaxConcurrent::Adaptive(adaptive::Settings::default()), 1000);
    let none = Shared::new(None, Arc::new(|| NOW));
    for (name, queue) in
        [("without a queue", none), ("with a fixed limit", fixed), ("with an adaptive limit", adaptive)]
    {
        c.bench_function(&format!("enter and leave {name}, nobody waits"), |b| {
            b.iter(|| {
                if let Some(permit) = permit(queue.enter(black_box(&ask(7)), NOW)) {
                    permit.settle(Outcome::Ok);
                }
            })
        });
    }
}

/// One comes and waits, one leaves, and the one whose turn it is takes its place.
fn a_thousand_wait(c: &mut Criterion) {
    for tenants in [1u64, 1000] {
        let queue = queue(MaxConcurrent::Fixed(1), 2000);
        let mut running = permit(queue.enter(&ask(0), NOW));
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut come = 0;
        let mut enter = |waiting: &mut VecDeque<Waiting>| {
            come += 1;
            if let Entered::Wait(new) = queue.enter(&ask(come % tenants), NOW) {
                waiting.push_back(new);
            }
        };
        (0..1000).for_each(|_| enter(&mut waiting));
        c.bench_function(&format!("enter, wait and leave among 1000 of {tenants} tenants"), |b| {
            b.iter(|| {
                enter(&mut waiting);
                drop(running.take());
                let mut next = waiting.pop_front();
                let polled = next.as_mut().map(|next| next.poll(&mut Context::from_waker(Waker::noop()), NOW));
                assert!(matches!(polled, Some(Poll::Ready(Ok(_)))), "not whose turn it is");
                if let Some(Poll::Ready(Ok(permit))) = polled {
                    running = Some(permit);
                }
            })
        });
        assert_eq!(queue.depth(Priority::Normal), 1000);
    }
}

fn the_queue_is_full(c: &mut Criterion) {
    for tenants in [1u64, 500, 1000] {
        let queue = queue(MaxConcurrent::Fixed(1), 1000);
        let _running = queue.enter(&ask(0), NOW);
        let _waiting: Vec<Entered> = (0..1000).map(|i| queue.enter(&ask(i % tenants), NOW)).collect();
        c.bench_function(&format!("refuse one more than 1000 of {tenants} tenants"), |b| {
            b.iter(|| queue.enter(black_box(&ask(0)), NOW))
        });
    }
}

fn adaptive_sample(c: &mut Criterion) {
    let mut limit = Adaptive::new(adaptive::Settings::default());
    let mut now = NOW;
    c.bench_function("a sample of the adaptive limit", |b| {
        b.iter(|| {
            now += Duration::from_micros(500);
            limit.sample(black_box(Duration::from_millis(20)), limit.limit(), Outcome::Ok, now)
        })
    });
}

criterion_group!(benches, nobody_waits, a_thousand_wait, the_queue_is_full, adaptive_sample);
criterion_main!(benches);
