use super::*;

/// Half-open, with nothing told.
fn half_open(settings: &Settings) -> Bench {
    let bench = Bench::opened(settings);
    bench.wait(30_000);
    bench.breaker.check().unwrap();
    assert_eq!(bench.told(), [(State::Open, State::HalfOpen, Why::Waited)]);
    bench
}

#[test]
fn so_many_probes_and_no_more() {
    let bench = half_open(&Settings::default());
    let probes: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    assert_eq!(refused(&bench.breaker), Refused { retry_after: LEASE, state: State::HalfOpen });
    assert!(bench.breaker.check().is_err());
    bench.wait(1000);
    assert_eq!(refused(&bench.breaker).retry_after, Duration::from_secs(14));
    assert_eq!(bench.breaker.snapshot().probes, 5);
    drop(probes);
}

#[test]
fn a_probe_that_waits_for_its_turn_counts_until_the_state_changes() {
    let bench = half_open(&Settings::default());
    assert_eq!(bench.breaker.check(), Ok(State::HalfOpen));
    let mut probes: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    probes.iter_mut().for_each(Ticket::hold);
    bench.wait(5000);
    assert!(bench.breaker.check().is_err(), "its place is taken while it waits");
    assert!(probes.iter().all(Ticket::counts));
    probes.pop().unwrap().settle(Outcome::ClientLeft);
    assert_eq!(bench.breaker.check(), Ok(State::HalfOpen), "it was refused elsewhere, and was never slow");
    (0..3).for_each(|_| probes.pop().unwrap().settle(FAILED));
    assert_eq!(bench.state(), State::Open);
    assert!(!probes[0].counts(), "it was admitted before it opened again");
}

#[test]
fn an_outcome_frees_no_place_for_a_sixth() {
    let bench = half_open(&Settings::default());
    let mut probes: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    probes.pop().unwrap().settle(Outcome::Success);
    assert_eq!((refused(&bench.breaker).state, bench.figures()), (State::HalfOpen, (1, 0, 0)));
}

#[test]
fn good_probes_close_it_as_soon_as_the_rest_cannot_change_it() {
    let bench = half_open(&Settings::default());
    bench.calls(2, Outcome::Success);
    assert_eq!(bench.state(), State::HalfOpen, "three to come could be 60%");
    bench.call(Outcome::Success);
    assert_eq!(bench.told(), [(State::HalfOpen, State::Closed, Why::ProbesGood)]);
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (0, 0, 0)));
}

#[test]
fn bad_probes_reopen_it_as_soon_as_the_rest_cannot_change_it() {
    let bench = half_open(&Settings::default());
    let rest: Vec<Ticket> = (0..3).map(|_| bench.admit()).collect();
    bench.calls(2, FAILED);
    assert_eq!(bench.state(), State::HalfOpen, "two of five are 40%");
    let mut rest = rest.into_iter();
    rest.next().unwrap().settle(FAILED);
    assert_eq!(bench.told(), [(State::HalfOpen, State::Open, Why::ProbesFailed)]);
    assert_eq!(refused(&bench.breaker).retry_after, Duration::from_secs(30), "for its whole time again");
    rest.for_each(|probe| probe.settle(Outcome::Success));
    assert_eq!(bench.state(), State::Open);
}

#[test]
fn slow_probes_reopen_it_when_they_become_slow() {
    let bench = half_open(&Settings::default());
    let mut probes: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    bench.wait(2000);
    for (slow, probe) in (1..).zip(probes.iter_mut().take(4)) {
        assert_eq!(bench.state(), State::HalfOpen);
        probe.slow();
        let expected = if slow < 4 { State::HalfOpen } else { State::Open };
        assert_eq!(bench.state(), expected, "{slow} of 5");
    }
    assert_eq!(bench.told(), [(State::HalfOpen, State::Open, Why::ProbesSlow)]);
}

#[test]
fn a_slow_probe_that_fails_or_succeeds_is_one_probe() {
    let bench = half_open(&Settings::default());
    let mut slow = bench.admit();
    bench.wait(2000);
    slow.slow();
    assert_eq!(bench.figures(), (1, 0, 1));
    slow.settle(FAILED);
    assert_eq!((bench.figures(), bench.state()), ((1, 1, 1), State::HalfOpen));
    bench.slow(Outcome::Success);
    assert_eq!(bench.figures(), (2, 1, 2));
    bench.calls(1, Outcome::Success);
    assert_eq!(bench.state(), State::HalfOpen, "of two more both could fail");
    bench.call(Outcome::Success);
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn a_probe_that_shows_nothing_gives_its_place_back() {
    let bench = half_open(&Settings::default());
    for _ in 0..20 {
        let mut probes: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
        bench.wait(2000);
        // One is slow first, the others wait for their clients: none of it counts in the end.
        probes[0].slow();
        probes[1..].iter_mut().for_each(|probe| probe.resume());
        probes.remove(0).settle(Outcome::Neutral);
        probes.remove(0).settle(Outcome::Neutral);
        probes.remove(0).settle(Outcome::ClientLeft);
        drop(probes);
        assert_eq!((bench.state(), bench.figures()), (State::HalfOpen, (0, 0, 0)));
    }
    assert_eq!(bench.told(), []);
}

#[test]
fn a_probe_whose_client_left_late_was_slow() {
    let bench = half_open(&Settings::default());
    let probes: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    bench.wait(2000);
    drop(probes);
    assert_eq!(bench.told(), [(State::HalfOpen, State::Open, Why::ProbesSlow)]);
}

#[test]
fn a_lost_probe_frees_its_place_when_its_lease_is_over() {
    let bench = half_open(&Settings::default());
    let lost: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    bench.wait(14_999);
    assert_eq!(refused(&bench.breaker).retry_after, Duration::from_millis(1));
    bench.wait(1);
    assert_eq!(bench.breaker.check().map(drop), Ok(()));
    bench.calls(3, Outcome::Success);
    assert_eq!(bench.told(), [(State::HalfOpen, State::Closed, Why::ProbesGood)]);
    drop(lost);
    assert_eq!(bench.figures(), (0, 0, 0));
}

#[test]
fn an_outcome_that_comes_after_its_lease_still_counts() {
    // An application that hangs, and attempts whose deadline is noticed a moment late.
    let bench = half_open(&with(|s| s.slow_call = None));
    let lost: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    bench.wait(15_001);
    let _next = bench.admit();
    lost.into_iter().for_each(|probe| probe.settle(Outcome::Failure(Failure::Timeout)));
    assert_eq!(bench.told(), [(State::HalfOpen, State::Open, Why::ProbesFailed)]);
}

#[test]
fn slow_probes_that_are_lost_wedge_nothing() {
    let bench = half_open(&Settings::default());
    let mut lost: Vec<Ticket> = (0..3).map(|_| bench.admit()).collect();
    bench.wait(2000);
    lost.iter_mut().for_each(Ticket::slow);
    let mut others: Vec<Ticket> = (0..2).map(|_| bench.admit()).collect();
    others.pop().unwrap().settle(Outcome::Success);
    bench.wait(15_000);
    // Three were slow and are lost, one was good: the fifth decides, and there is room for it.
    assert_eq!(bench.breaker.check().map(drop), Ok(()));
    let fifth = bench.admit();
    assert_eq!(bench.figures(), (4, 0, 3));
    fifth.settle(Outcome::Success);
    assert_eq!(bench.told(), [(State::HalfOpen, State::Closed, Why::ProbesGood)]);
    drop((lost, others));
    assert_eq!(bench.figures(), (0, 0, 0));
}

#[test]
fn time_alone_may_decide() {
    // Two of three are good and one is slow and lost: nothing is to come, and nobody ends.
    let settings = with(|s| {
        s.half_open_probes = 3;
        s.failure_rate = Ratio::percent(20.0);
    });
    let bench = half_open(&settings);
    let mut lost = bench.admit();
    bench.calls(2, Outcome::Success);
    bench.wait(2000);
    lost.slow();
    assert_eq!((bench.state(), refused(&bench.breaker).state), (State::HalfOpen, State::HalfOpen));
    bench.wait(13_000);
    assert_eq!(bench.breaker.check().map(drop), Ok(()));
    assert_eq!(bench.told(), [(State::HalfOpen, State::Closed, Why::ProbesGood)]);
}

#[test]
fn what_a_lost_slow_probe_says_in_the_end_is_kept_or_taken_back() {
    for (outcome, expected) in [
        (FAILED, (1, 1, 1)),
        (Outcome::Success, (1, 0, 1)),
        (Outcome::ClientLeft, (1, 0, 1)),
        (Outcome::Neutral, (0, 0, 0)),
    ] {
        let bench = half_open(&Settings::default());
        let mut lost = bench.admit();
        bench.wait(2000);
        lost.slow();
        bench.wait(20_000);
        assert_eq!(bench.breaker.check().map(drop), Ok(()));
        lost.settle(outcome);
        assert_eq!((bench.figures(), bench.state()), (expected, State::HalfOpen), "{outcome:?}");
    }
}

#[test]
fn one_probe_decides_where_one_is_asked_for() {
    for (outcome, to) in [(Outcome::Success, State::Closed), (FAILED, State::Open)] {
        for probes in [0, 1] {
            let bench = half_open(&with(|s| s.half_open_probes = probes));
            bench.call(outcome);
            assert_eq!(bench.state(), to);
        }
    }
}

#[test]
fn by_hand_half_open_is_left() {
    let bench = half_open(&Settings::default());
    let probe = bench.admit();
    bench.breaker.open();
    probe.settle(Outcome::Success);
    assert_eq!(refused(&bench.breaker).state, State::Open);
    bench.breaker.reset();
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn probes_whose_clients_are_slow_keep_nobody_out() {
    let bench = half_open(&Settings::default());
    let mut uploads: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    uploads.iter_mut().for_each(Ticket::hold_for_client);
    assert_eq!(refused(&bench.breaker).retry_after, Duration::from_secs(1));
    bench.wait(999);
    assert!(bench.breaker.check().is_err());
    bench.wait(1);
    bench.calls(3, Outcome::Success);
    assert_eq!(bench.told(), [(State::HalfOpen, State::Closed, Why::ProbesGood)]);
    uploads.into_iter().for_each(|upload| upload.settle(FAILED));
    assert_eq!(bench.state(), State::Closed, "they are of another time");
}

#[test]
fn a_probe_that_waited_for_its_client_has_its_whole_lease_again() {
    let bench = half_open(&Settings { half_open_probes: 1, ..Settings::default() });
    let mut upload = bench.admit();
    upload.hold_for_client();
    bench.wait(900);
    upload.resume();
    bench.wait(1000);
    assert_eq!(refused(&bench.breaker).retry_after, Duration::from_millis(13_100));
    // What it shows counts, also when another has its place.
    upload.hold_for_client();
    bench.wait(1000);
    let _other = bench.admit();
    upload.settle(FAILED);
    assert_eq!(bench.told(), [(State::HalfOpen, State::Open, Why::ProbesFailed)]);
}
