//! One test for each rule.

use super::*;

#[test]
fn so_many_run_so_many_wait_and_the_next_is_refused() {
    let mut core = Core::new(Rules { max_queued: 2, ..RULES }, 2);
    granted(&mut core, &ask(NORMAL), ms(0));
    granted(&mut core, &ask(NORMAL), ms(0));
    let first = waits(&mut core, &ask(NORMAL), ms(1));
    waits(&mut core, &ask(NORMAL), ms(2));
    assert_eq!(refused(&mut core, &ask(NORMAL), ms(3)), Refused::QueueFull);
    assert_eq!((core.running(), core.waiting()), (2, 2));
    assert_eq!(leave(&mut core, ms(10)), [first]);
    assert_eq!(core.look(first, ms(11)), Standing::Granted(ms(9)));
    assert_eq!((core.running(), core.waiting()), (2, 1));
}

#[test]
fn a_higher_priority_goes_first_and_the_rest_in_order() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let order = [LOW, NORMAL, CRITICAL, Priority::High, NORMAL];
    let handles: Vec<Handle> = order.iter().map(|p| waits(&mut core, &ask(*p), ms(0))).collect();
    let served: Vec<Handle> = (0..5).flat_map(|_| leave(&mut core, ms(1))).collect();
    assert_eq!(served, [2, 3, 1, 4, 0].map(|i: usize| handles[i]));
}

#[test]
fn tenants_take_turns_whoever_has_most() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let many: Vec<Handle> = (0..4).map(|_| waits(&mut core, &of_tenant(1), ms(0))).collect();
    let few: Vec<Handle> = (0..2).map(|_| waits(&mut core, &of_tenant(2), ms(0))).collect();
    let served: Vec<Handle> = (0..6).flat_map(|_| leave(&mut core, ms(1))).collect();
    assert_eq!(served, [many[0], few[0], many[1], few[1], many[2], many[3]]);
}

#[test]
fn who_meets_a_full_cap_waits_and_others_pass() {
    let mut core = Core::new(RULES, 3);
    let cap = core.add_cap(1);
    let capped = Ask { cap, ..ask(CRITICAL) };
    granted(&mut core, &capped, ms(0));
    let first = waits(&mut core, &capped, ms(0));
    granted(&mut core, &ask(LOW), ms(1));
    granted(&mut core, &ask(LOW), ms(1));
    let low = waits(&mut core, &ask(LOW), ms(2));
    assert_eq!(leave(&mut core, ms(3)), [low], "a place that the higher priority cannot use");
    core.leave(cap, None, ms(4));
    assert_eq!(told(&mut core), [first]);
    assert_eq!(core.running(), 3);
}

#[test]
fn a_tenant_that_cannot_use_its_turn_keeps_it() {
    let mut core = Core::new(RULES, 2);
    let cap = core.add_cap(1);
    let of = |tenant, cap| Ask { tenant, cap, ..ask(NORMAL) };
    granted(&mut core, &of(9, cap), ms(0));
    granted(&mut core, &of(9, Cap::NONE), ms(0));
    let stuck = [waits(&mut core, &of(1, cap), ms(0)), waits(&mut core, &of(1, cap), ms(0))];
    let passes: Vec<Handle> = (0..4).map(|_| waits(&mut core, &of(2, Cap::NONE), ms(0))).collect();
    assert_eq!(leave(&mut core, ms(1)), [passes[0]]);
    assert_eq!(leave(&mut core, ms(2)), [passes[1]]);
    core.leave(cap, None, ms(3));
    assert_eq!(told(&mut core), [stuck[0]], "its turn, and one place of it only");
    assert_eq!(leave(&mut core, ms(4)), [passes[2]], "then the other's");
}

#[test]
fn a_lower_priority_gets_a_place_once_an_interval() {
    let mut core = Core::new(Rules { timeout: ms(60_000), target: ms(30_000), ..RULES }, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let low: Vec<Handle> = (0..4).map(|_| waits(&mut core, &ask(LOW), ms(0))).collect();
    let mut when = Vec::new();
    for i in 1..=200 {
        waits(&mut core, &ask(CRITICAL), ms(i * 10));
        let next = leave(&mut core, ms(i * 10));
        when.extend(low.contains(&next[0]).then_some(i * 10));
    }
    assert_eq!(when, [500, 1000, 1500, 2000]);
}

#[test]
fn ageing_takes_at_most_a_tenth_where_the_application_is_slow() {
    let mut core = Core::new(Rules { timeout: ms(600_000), target: ms(300_000), ..RULES }, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let order = [LOW, NORMAL, LOW, NORMAL, LOW, NORMAL];
    let lower: Vec<Handle> = order.iter().map(|p| waits(&mut core, &ask(*p), ms(0))).collect();
    let mut aged = Vec::new();
    for i in 1..=50 {
        waits(&mut core, &ask(CRITICAL), ms(i * 1000));
        let next = leave(&mut core, ms(i * 1000));
        aged.extend(lower.iter().position(|l| *l == next[0]).map(|which| (i, order[which])));
    }
    assert_eq!(aged, [(1, NORMAL), (11, LOW), (21, NORMAL), (31, LOW), (41, NORMAL)], "two that starve take turns");
}

#[test]
fn hunger_begins_with_asking() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    // An hour later: low was never served, but nobody asked.
    let low = waits(&mut core, &ask(LOW), ms(3_600_000));
    let normal = waits(&mut core, &ask(NORMAL), ms(3_600_000));
    assert_eq!(leave(&mut core, ms(3_600_001)), [normal]);
    assert_eq!(leave(&mut core, ms(3_600_002)), [low]);
}

#[test]
fn a_wait_ends_with_its_timeout() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let handle = waits(&mut core, &ask(NORMAL), ms(10));
    assert_eq!(core.until(handle), ms(1010));
    // Nobody was served for an interval, but the only waiter is not refused for its age.
    assert_eq!(core.look(handle, ms(1009)), Standing::Waits(ms(1010)));
    assert_eq!(core.look(handle, ms(1010)), Standing::Refused(Refused::Timeout));
    assert_eq!(core.waiting(), 0);
}

#[test]
fn who_has_expired_gets_no_place_even_if_its_timer_is_late() {
    let mut core = Core::new(Rules { target: ms(5000), ..RULES }, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let late = waits(&mut core, &ask(NORMAL), ms(0));
    let next = waits(&mut core, &Ask { priority: LOW, ..ask(NORMAL) }, ms(900));
    assert_eq!(leave(&mut core, ms(1000)), [late, next]);
    assert_eq!(core.look(late, ms(1001)), Standing::Refused(Refused::Timeout));
    assert_eq!(core.look(next, ms(1001)), Standing::Granted(ms(100)));
}

#[test]
fn a_wait_leaves_time_for_the_answer() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    core.leave(Cap::NONE, Some(ms(200)), ms(200));
    granted(&mut core, &ask(NORMAL), ms(200));
    let by = |deadline| Ask { deadline: Some(ms(deadline)), ..ask(NORMAL) };
    assert_eq!(refused(&mut core, &by(400), ms(200)), Refused::Late);
    let handle = waits(&mut core, &by(500), ms(200));
    assert_eq!(core.until(handle), ms(300));
    assert_eq!(core.look(handle, ms(300)), Standing::Refused(Refused::Timeout));
    // A free place is worth a try: what is typical is no promise, and without it we would never learn that it changed.
    leave(&mut core, ms(350));
    granted(&mut core, &by(360), ms(350));
}

#[test]
fn one_that_hangs_does_not_make_all_typical() {
    let mut core = Core::new(RULES, 100);
    (0..20).for_each(|_| granted(&mut core, &ask(NORMAL), ms(0)));
    (0..10).for_each(|_| core.leave(Cap::NONE, Some(ms(50)), ms(50)));
    core.leave(Cap::NONE, Some(ms(15_000)), ms(15_000));
    assert!(core.service() < ms(54), "{:?}", core.service());
    let before = core.service();
    core.leave(Cap::NONE, None, ms(15_000));
    assert_eq!(core.service(), before, "what is neutral says nothing");
}

/// A queue of one place in which the least wait of an interval was 300 ms: it is overloaded from 600 ms on.
fn overloaded() -> Core {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let first = waits(&mut core, &ask(NORMAL), ms(100));
    waits(&mut core, &ask(NORMAL), ms(150));
    assert_eq!(leave(&mut core, ms(400)), [first], "in order until the interval is over");
    core
}

#[test]
fn under_overload_the_old_leave_and_the_newest_go_first() {
    let mut core = overloaded();
    let middle = waits(&mut core, &ask(NORMAL), ms(520));
    let newest = waits(&mut core, &ask(NORMAL), ms(560));
    let served = leave(&mut core, ms(600));
    assert_eq!((served.len(), served[1]), (2, newest), "the one of 150 ms is out, the newest runs");
    assert_eq!(core.look(served[0], ms(600)), Standing::Refused(Refused::Timeout));
    assert_eq!(core.look(newest, ms(600)), Standing::Granted(ms(40)));
    let last = waits(&mut core, &ask(NORMAL), ms(610));
    assert_eq!(core.until(middle), ms(620));
    assert_eq!(core.look(middle, ms(619)), Standing::Waits(ms(620)));
    assert_eq!(core.look(middle, ms(620)), Standing::Refused(Refused::Timeout));
    assert_eq!(told(&mut core), [middle]);
    assert_eq!(core.until(last), ms(1610), "the last one is not refused for its age");
    assert_eq!(leave(&mut core, ms(1000)), [last]);
}

#[test]
fn it_recovers_when_nobody_waits_long() {
    let mut core = overloaded();
    let (third, fourth) = (waits(&mut core, &ask(NORMAL), ms(590)), waits(&mut core, &ask(NORMAL), ms(600)));
    assert_eq!(leave(&mut core, ms(610))[1..], [fourth]);
    assert_eq!(leave(&mut core, ms(620)), [third]);
    for i in 0..200 {
        let now = ms(1000 + i * 10);
        waits(&mut core, &ask(NORMAL), now);
        assert_eq!(leave(&mut core, now + ms(5)).len(), 1);
    }
    let first = waits(&mut core, &ask(NORMAL), ms(3500));
    waits(&mut core, &ask(NORMAL), ms(3501));
    assert_eq!(leave(&mut core, ms(3502)), [first], "in order");
}

#[test]
fn one_priority_under_overload_does_not_change_another() {
    let mut core = overloaded();
    let high: Vec<Handle> = (0..2).map(|i| waits(&mut core, &ask(Priority::High), ms(590 + i))).collect();
    assert!(leave(&mut core, ms(610)).contains(&high[0]), "the oldest first");
}

#[test]
fn a_full_queue_gives_way_to_a_higher_priority() {
    let mut core = Core::new(Rules { max_queued: 3, ..RULES }, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let low = |tenant| Ask { tenant, ..ask(LOW) };
    let first = waits(&mut core, &low(1), ms(0));
    let second = waits(&mut core, &low(1), ms(1));
    let third = waits(&mut core, &low(2), ms(2));
    waits(&mut core, &ask(CRITICAL), ms(3));
    assert_eq!(told(&mut core), [second], "the newest of who has most");
    assert_eq!(core.look(second, ms(3)), Standing::Refused(Refused::QueueFull));
    assert_eq!(refused(&mut core, &low(3), ms(4)), Refused::QueueFull, "low against low");
    waits(&mut core, &ask(CRITICAL), ms(5));
    assert_eq!(told(&mut core), [first], "one each: the one whose turn is first");
    assert_eq!(refused(&mut core, &ask(CRITICAL), ms(6)), Refused::QueueFull, "the last of low stays");
    waits(&mut core, &ask(NORMAL), ms(7));
    assert_eq!(told(&mut core), [third], "but not against a priority of which nobody waits");
}

#[test]
fn one_tenant_cannot_fill_the_queue_against_others() {
    let mut core = Core::new(Rules { max_queued: 5, ..RULES }, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let flood: Vec<Handle> = (0..5).map(|i| waits(&mut core, &of_tenant(1), ms(i))).collect();
    for out in [4, 3] {
        waits(&mut core, &of_tenant(2), ms(10));
        assert_eq!(told(&mut core), [flood[out]]);
    }
    assert_eq!(refused(&mut core, &of_tenant(2), ms(20)), Refused::QueueFull, "3 and 2: none has two more");
    assert_eq!(refused(&mut core, &of_tenant(1), ms(20)), Refused::QueueFull);
    waits(&mut core, &of_tenant(3), ms(21));
    assert_eq!(told(&mut core), [flood[2]]);
}

#[test]
fn who_waits_for_a_full_cap_cannot_fill_the_queue_against_those_who_could_run() {
    let mut core = Core::new(Rules { max_queued: 2, ..RULES }, 2);
    let cap = core.add_cap(1);
    let capped = Ask { cap, ..ask(NORMAL) };
    granted(&mut core, &capped, ms(0));
    granted(&mut core, &ask(NORMAL), ms(0));
    waits(&mut core, &capped, ms(1));
    let newest = waits(&mut core, &capped, ms(2));
    waits(&mut core, &ask(NORMAL), ms(3));
    assert_eq!(told(&mut core), [newest]);
    assert_eq!(refused(&mut core, &capped, ms(4)), Refused::QueueFull);
}

#[test]
fn a_full_queue_of_higher_ones_lets_one_of_a_starved_priority_in() {
    let mut core = Core::new(Rules { max_queued: 3, timeout: ms(60_000), target: ms(30_000), ..RULES }, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let higher: Vec<Handle> = (0..3).map(|i| waits(&mut core, &ask(NORMAL), ms(i))).collect();
    for i in 0..5 {
        assert_eq!(refused(&mut core, &ask(LOW), ms(100 * i)), Refused::QueueFull);
    }
    let low = waits(&mut core, &ask(LOW), ms(500));
    assert_eq!(told(&mut core), [higher[2]]);
    assert_eq!(refused(&mut core, &ask(NORMAL), ms(501)), Refused::QueueFull, "it stays");
    assert_eq!(leave(&mut core, ms(510)), [low], "the next place is its by age");
}

#[test]
fn the_reason_is_bulkhead_where_the_cap_alone_stood_in_the_way() {
    let mut core = Core::new(Rules { max_queued: 1, ..RULES }, 2);
    let cap = core.add_cap(1);
    let capped = Ask { cap, ..ask(NORMAL) };
    granted(&mut core, &capped, ms(0));
    let waiting = waits(&mut core, &capped, ms(0));
    assert_eq!(refused(&mut core, &capped, ms(1)), Refused::Bulkhead);
    assert_eq!(core.look(waiting, ms(1000)), Standing::Refused(Refused::Bulkhead));
    let waiting = waits(&mut core, &capped, ms(1000));
    granted(&mut core, &ask(NORMAL), ms(1001));
    assert_eq!(refused(&mut core, &capped, ms(1002)), Refused::QueueFull);
    assert_eq!(core.look(waiting, ms(2000)), Standing::Refused(Refused::Timeout));
}

#[test]
fn without_a_queue_caps_alone_refuse_and_at_once() {
    let mut core = Core::new(Rules { max_queued: 0, timeout: ms(0), ..RULES }, NO_LIMIT);
    let cap = core.add_cap(2);
    let capped = Ask { cap, ..ask(NORMAL) };
    granted(&mut core, &capped, ms(0));
    granted(&mut core, &capped, ms(0));
    assert_eq!(refused(&mut core, &capped, ms(0)), Refused::Bulkhead);
    (0..10_000).for_each(|_| granted(&mut core, &ask(NORMAL), ms(0)));
    core.leave(cap, None, ms(1));
    granted(&mut core, &capped, ms(1));
}

#[test]
fn a_flush_ends_every_wait() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let handles: Vec<Handle> = Priority::ALL.iter().map(|p| waits(&mut core, &ask(*p), ms(0))).collect();
    core.flush(Refused::Breaker);
    assert_eq!(told(&mut core), handles);
    assert_eq!(core.waiting(), 0);
    for handle in handles {
        assert_eq!(core.look(handle, ms(1)), Standing::Refused(Refused::Breaker));
    }
    assert_eq!(core.running(), 1, "what runs goes on");
}

#[test]
fn a_limit_that_rises_lets_more_in_and_one_that_falls_waits_for_them_to_end() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let _three = [(); 3].map(|()| waits(&mut core, &ask(NORMAL), ms(0)));
    core.set_limit(3, ms(1));
    assert_eq!((told(&mut core).len(), core.running()), (2, 3));
    core.set_limit(1, ms(2));
    assert_eq!(leave(&mut core, ms(3)), []);
    assert_eq!(leave(&mut core, ms(4)), []);
    assert_eq!(leave(&mut core, ms(5)).len(), 1);
    let cap = core.add_cap(1);
    let capped = Ask { cap, ..ask(NORMAL) };
    core.set_limit(5, ms(6));
    granted(&mut core, &capped, ms(6));
    waits(&mut core, &capped, ms(6));
    core.set_cap(cap, 2, ms(7));
    assert_eq!(told(&mut core).len(), 1);
}

#[test]
fn a_place_that_is_lent_back_is_given_away_and_taken_again_over_the_limit() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let first = waits(&mut core, &ask(NORMAL), ms(0));
    waits(&mut core, &ask(NORMAL), ms(0));
    core.give_back(Cap::NONE, ms(1));
    assert_eq!(told(&mut core), [first]);
    core.take(Cap::NONE);
    assert_eq!(core.running(), 2);
    assert_eq!(leave(&mut core, ms(2)), [], "two ran at a limit of one");
    assert_eq!(leave(&mut core, ms(3)).len(), 1);
}

#[test]
fn observe_lets_all_pass_and_says_what_it_would_have_done() {
    let mut core = Core::new(Rules { max_queued: 1, observe: true, ..RULES }, 1);
    assert_eq!(core.enter(&ask(NORMAL), true, ms(0)), Entry::Granted(None));
    assert_eq!(core.enter(&ask(NORMAL), true, ms(0)), Entry::Granted(Some(Would::Wait)));
    assert_eq!(core.enter(&ask(NORMAL), true, ms(0)), Entry::Granted(Some(Would::Refuse(Refused::QueueFull))));
    assert_eq!(core.running(), 3);
    let mut core = Core::new(Rules { max_queued: 0, ..RULES }, 5);
    let capped = Ask { cap: core.add_cap(1), ..ask(NORMAL) };
    assert_eq!(core.enter(&capped, true, ms(0)), Entry::Granted(None));
    assert_eq!(core.enter(&capped, true, ms(0)), Entry::Granted(Some(Would::Refuse(Refused::Bulkhead))));
}

#[test]
fn nobody_waits_on_where_rules_are_only_observed_from_now_on() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let handle = waits(&mut core, &ask(NORMAL), ms(0));
    core.set_rules(Rules { observe: true, ..RULES }, ms(5));
    assert_eq!(core.look(handle, ms(5)), Standing::Granted(ms(5)));
    assert_eq!((core.running(), core.limit()), (2, 1));
}

#[test]
fn a_handle_is_not_taken_for_a_later_one() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let gone = waits(&mut core, &ask(NORMAL), ms(0));
    core.abandon(gone, ms(1));
    let later = waits(&mut core, &ask(NORMAL), ms(1));
    assert_eq!(gone.slot, later.slot);
    core.abandon(gone, ms(2));
    assert_eq!(core.look(gone, ms(2)), Standing::Refused(Refused::Timeout));
    assert_eq!(core.look(later, ms(2)), Standing::Waits(ms(1001)));
}

#[test]
fn who_goes_in_the_moment_of_its_grant_gives_the_place_to_the_next() {
    let mut core = Core::new(RULES, 1);
    granted(&mut core, &ask(NORMAL), ms(0));
    let (first, second) = (waits(&mut core, &ask(NORMAL), ms(0)), waits(&mut core, &ask(NORMAL), ms(0)));
    assert_eq!(leave(&mut core, ms(1)), [first]);
    core.abandon(first, ms(2));
    assert_eq!(told(&mut core), [second]);
    assert_eq!(core.look(second, ms(2)), Standing::Granted(ms(2)));
}
