use proptest::prelude::*;

use super::*;

mod simulation;

const SETTINGS: Settings = Settings { initial: 32, min: 8, max: 512 };

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many requests, one each millisecond from `from` on, each of 10 ms.
fn many(adaptive: &mut Adaptive, count: u64, in_flight: u32, outcome: Outcome, from: Duration) -> Duration {
    for i in 1..=count {
        adaptive.sample(ms(10), in_flight, outcome, from + ms(i));
    }
    from + ms(count)
}

/// As many in flight as are let through.
fn busy(adaptive: &mut Adaptive, count: u64, outcome: Outcome, from: Duration) -> Duration {
    for i in 1..=count {
        adaptive.sample(ms(10), adaptive.limit(), outcome, from + ms(i));
    }
    from + ms(count)
}

#[test]
fn it_begins_inside_its_bounds() {
    assert_eq!(Adaptive::new(SETTINGS).limit(), 32);
    assert_eq!(Adaptive::new(Settings { initial: 2, ..SETTINGS }).limit(), 8);
    assert_eq!(Adaptive::new(Settings { initial: 9000, ..SETTINGS }).limit(), 512);
    assert_eq!(Adaptive::new(Settings { initial: 0, min: 0, max: 0 }).limit(), 1);
}

#[test]
fn it_tries_a_step_up_and_stays_where_the_latency_does_not_grow() {
    let mut adaptive = Adaptive::new(SETTINGS);
    let now = busy(&mut adaptive, 20, Outcome::Ok, ms(0));
    assert_eq!(adaptive.limit(), 34);
    busy(&mut adaptive, 20 + 30, Outcome::Ok, now);
    assert_eq!(adaptive.limit, 34, "as many answers as more are in flight");
}

#[test]
fn it_takes_a_step_back_that_brings_nothing_and_tries_the_other_way() {
    let mut adaptive = Adaptive::new(SETTINGS);
    // Ten answers in ten milliseconds, however many are in flight.
    let mut now = ms(0);
    for _ in 0..10_000 {
        now += ms(1);
        adaptive.sample(ms(u64::from(adaptive.limit())), adaptive.limit(), Outcome::Ok, now);
    }
    assert_eq!(adaptive.limit, 8, "the same throughput with less latency");
}

#[test]
fn a_limit_that_is_not_reached_is_kept() {
    let mut adaptive = Adaptive::new(SETTINGS);
    many(&mut adaptive, 120_000, 28, Outcome::Ok, ms(0));
    assert_eq!(adaptive.limit(), 32);
}

#[test]
fn a_step_that_nobody_comes_to_try_is_taken_back() {
    let mut adaptive = Adaptive::new(SETTINGS);
    let now = busy(&mut adaptive, 20, Outcome::Ok, ms(0));
    assert_eq!(adaptive.limit(), 34);
    many(&mut adaptive, 3500, 20, Outcome::Ok, now);
    assert_eq!((adaptive.limit(), adaptive.limit), (32, 32));
}

#[test]
fn a_request_that_began_under_another_limit_does_not_count() {
    let mut adaptive = Adaptive::new(SETTINGS);
    let now = busy(&mut adaptive, 20, Outcome::Ok, ms(0));
    assert_eq!(adaptive.limit(), 34);
    // They took seconds, but they began before.
    for i in 1..=1000 {
        adaptive.sample(ms(2000), 34, Outcome::Ok, now + ms(i));
    }
    assert_eq!(adaptive.limit(), 34, "still measured");
}

#[test]
fn failures_take_it_down_once_a_second() {
    let mut adaptive = Adaptive::new(SETTINGS);
    let now = busy(&mut adaptive, 999, Outcome::Failed, ms(0));
    assert_eq!(adaptive.limit(), 32, "not before a second of them");
    let now = busy(&mut adaptive, 1, Outcome::Failed, now);
    assert_eq!(adaptive.limit(), 25);
    let now = busy(&mut adaptive, 1000, Outcome::Failed, now);
    assert_eq!(adaptive.limit(), 20);
    busy(&mut adaptive, 60_000, Outcome::Failed, now);
    assert_eq!(adaptive.limit(), 8, "never below min");
}

#[test]
fn a_few_failures_do_not() {
    let mut adaptive = Adaptive::new(Settings { min: 32, ..SETTINGS });
    let mut now = ms(0);
    for _ in 0..300 {
        now = busy(&mut adaptive, 1, Outcome::Failed, now);
        now = busy(&mut adaptive, 9, Outcome::Ok, now);
    }
    assert!(adaptive.limit() >= 32, "one in ten");
}

#[test]
fn failures_of_an_application_that_is_hardly_asked_say_nothing_about_the_limit() {
    let mut adaptive = Adaptive::new(SETTINGS);
    many(&mut adaptive, 10_000, 15, Outcome::Failed, ms(0));
    assert_eq!(adaptive.limit(), 32);
}

#[test]
fn what_is_neutral_does_not_count() {
    let mut adaptive = Adaptive::new(SETTINGS);
    assert!((0..100_000).all(|i| adaptive.sample(ms(10), 32, Outcome::Neutral, ms(i)).is_none()));
}

#[test]
fn bounds_that_are_the_same_are_a_fixed_limit() {
    let mut adaptive = Adaptive::new(Settings { initial: 16, min: 16, max: 16 });
    for outcome in [Outcome::Ok, Outcome::Failed] {
        for i in 0..100_000 {
            assert_eq!(adaptive.sample(ms(i % 77), 16, outcome, ms(i)), None);
        }
    }
}

#[derive(Debug, Clone)]
struct Event {
    latency: u64,
    after: u64,
    share: f64,
    outcome: u8,
}

fn event() -> impl Strategy<Value = Event> {
    (0u64..5_000_000, 0u64..200_000, 0.0f64..1.3, 0u8..8).prop_map(|(latency, after, share, outcome)| Event {
        latency,
        after,
        share,
        outcome,
    })
}

proptest! {
    #[test]
    fn it_stays_in_its_bounds_and_tells_every_change(
        bounds in (1u32..600, 1u32..600, 1u32..600),
        events in prop::collection::vec(event(), 1..3000),
    ) {
        let settings = Settings { initial: bounds.0, min: bounds.1.min(bounds.2), max: bounds.1.max(bounds.2) };
        let mut adaptive = Adaptive::new(settings);
        let (mut known, mut now) = (adaptive.limit(), Duration::ZERO);
        for event in events {
            now += Duration::from_micros(event.after);
            let outcome = match event.outcome { 0 => Outcome::Failed, 1 => Outcome::Neutral, _ => Outcome::Ok };
            let in_flight = (f64::from(known) * event.share) as u32;
            let told = adaptive.sample(Duration::from_micros(event.latency), in_flight, outcome, now);
            prop_assert_eq!(told.unwrap_or(known), adaptive.limit());
            prop_assert_ne!(told, Some(known));
            known = adaptive.limit();
            prop_assert!((settings.min..=settings.max).contains(&known));
        }
    }
}
