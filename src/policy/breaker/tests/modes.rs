//! Modes, switches, and what is done by hand.

use super::*;

#[test]
fn observed_it_says_what_it_would_do_and_refuses_nothing() {
    let bench = Bench::opened(&with(|s| s.mode = Mode::Observe));
    let ticket = bench.admit();
    assert_eq!(ticket.would_refuse(), Some(Refused { retry_after: Duration::from_secs(30), state: State::Open }));
    assert_eq!(bench.breaker.check().map(drop), Ok(()));
    ticket.settle(FAILED);
    assert_eq!(bench.figures(), (0, 0, 0), "as if it had been refused");
    bench.wait(30_000);
    let probes: Vec<Ticket> = (0..5).map(|_| bench.admit()).collect();
    assert!(probes.iter().all(|probe| probe.would_refuse().is_none()));
    let sixth = bench.admit();
    assert_eq!(sixth.would_refuse().map(|r| r.state), Some(State::HalfOpen));
    sixth.settle(FAILED);
    probes.into_iter().for_each(|probe| probe.settle(Outcome::Success));
    let expected = [(State::Open, State::HalfOpen, Why::Waited), (State::HalfOpen, State::Closed, Why::ProbesGood)];
    assert_eq!((bench.state(), bench.told()), (State::Closed, expected.to_vec()));
}

#[test]
fn forced_open_it_refuses_everything_until_it_is_closed_by_hand() {
    let bench = Bench::new(&with(|s| s.mode = Mode::ForceOpen));
    assert_eq!(bench.state(), State::Open);
    bench.wait(1_000_000);
    assert_eq!(refused(&bench.breaker), Refused { retry_after: Duration::from_secs(30), state: State::Open });
    assert!(bench.breaker.check().is_err());
    assert_eq!(bench.breaker.snapshot().open_left, None);
    bench.breaker.close();
    bench.calls(20, FAILED);
    assert_eq!(refused(&bench.breaker).state, State::Open, "automatic from there on");
    bench.wait(30_000);
    drop(bench.admit());
    bench.breaker.reset();
    assert_eq!((refused(&bench.breaker).state, bench.state()), (State::Open, State::Open));
    assert_eq!(
        bench.told(),
        [
            (State::Open, State::Closed, Why::ByHand),
            (State::Closed, State::Open, Why::FailureRate),
            (State::Open, State::HalfOpen, Why::Waited),
            (State::HalfOpen, State::Open, Why::ByHand),
        ]
    );
}

#[test]
fn a_switch_says_what_the_configuration_does_not() {
    let bench = Bench::opened(&Settings::default());
    assert!(
        bench.breaker.admit_in(Mode::Observe, LEASE, bench.now()).is_ok_and(|ticket| ticket.would_refuse().is_some())
    );
    assert_eq!(bench.breaker.check_in(Mode::Observe).map(drop), Ok(()));
    let bench = Bench::opened(&with(|s| s.mode = Mode::Observe));
    assert!(bench.breaker.admit_in(Mode::Enforce, LEASE, bench.now()).is_err());
    assert!(bench.breaker.check_in(Mode::Enforce).is_err());
}

#[test]
fn opened_by_hand_it_stays_open() {
    for mode in [Mode::Enforce, Mode::Observe, Mode::ForceOpen] {
        let bench = Bench::new(&with(|s| s.mode = mode));
        let before = (mode != Mode::ForceOpen).then(|| bench.admit());
        bench.breaker.open();
        bench.wait(1_000_000);
        assert_eq!(refused(&bench.breaker).retry_after, Duration::from_secs(30), "{mode:?}");
        assert!(bench.breaker.check().is_err());
        assert!(bench.breaker.snapshot().by_hand);
        drop(before);
        bench.breaker.close();
        assert_eq!(bench.state(), State::Closed, "{mode:?}");
        bench.call(Outcome::Success);
        let by_hand = [(State::Closed, State::Open, Why::ByHand), (State::Open, State::Closed, Why::ByHand)];
        let from = usize::from(mode == Mode::ForceOpen);
        assert_eq!(bench.told(), by_hand[from..], "{mode:?}: only what changes is told");
    }
}

#[test]
fn closing_and_resetting_empty_the_window() {
    for empty in [Shared::close, Shared::reset] {
        let bench = Bench::new(&Settings::default());
        let old = bench.admit();
        bench.calls(19, FAILED);
        empty(&bench.breaker);
        assert_eq!((bench.figures(), bench.told()), ((0, 0, 0), vec![]));
        old.settle(FAILED);
        bench.calls(19, FAILED);
        assert_eq!((bench.state(), bench.figures()), (State::Closed, (19, 19, 0)), "neither rate nor row");
        bench.call(FAILED);
        empty(&bench.breaker);
        assert_eq!(bench.state(), State::Closed);
    }
}
