//! When a call is slow, and when its time is not the application's.

use super::*;

#[test]
fn a_slow_call_is_counted_once_and_when_it_becomes_slow() {
    let bench = Bench::new(&Settings::default());
    let mut ticket = bench.admit();
    assert_eq!(ticket.slow_at(), Some(bench.now() + Duration::from_secs(2)));
    bench.wait(2000);
    ticket.slow();
    ticket.slow();
    assert_eq!((bench.figures(), ticket.slow_at()), ((1, 0, 1), None));
    bench.wait(500);
    ticket.settle(Outcome::Success);
    assert_eq!(bench.figures(), (1, 0, 1));
}

#[test]
fn a_slow_call_that_fails_is_both() {
    for told in [true, false] {
        let bench = Bench::new(&Settings::default());
        let mut ticket = bench.admit();
        bench.wait(2000);
        if told {
            ticket.slow();
        }
        bench.wait(3000);
        ticket.settle(FAILED);
        assert_eq!(bench.figures(), (1, 1, 1), "told: {told}");
    }
}

#[test]
fn a_slow_call_that_says_nothing_is_taken_back() {
    let bench = Bench::new(&Settings::default());
    for _ in 0..100 {
        bench.slow(Outcome::Neutral);
    }
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (0, 0, 0)));
    // It is out of its row, and no other one is.
    (0..19).for_each(|_| bench.slow(Outcome::Success));
    let mut before = bench.admit();
    bench.wait(2000);
    before.slow();
    assert_eq!(bench.state(), State::Open);
    before.settle(Outcome::Neutral);
    assert_eq!(bench.state(), State::Open, "what was decided is decided");
}

#[test]
fn taking_back_a_slow_call_of_an_earlier_row_leaves_this_row_alone() {
    let bench = Bench::new(&with(|s| s.window = Window::Calls(10_000)));
    bench.calls(1000, Outcome::Success);
    let mut before = bench.admit();
    bench.wait(2000);
    before.slow();
    bench.call(Outcome::Success);
    (0..19).for_each(|_| bench.slow(Outcome::Success));
    before.settle(Outcome::Neutral);
    bench.slow(Outcome::Success);
    assert_eq!(bench.told(), [(State::Closed, State::Open, Why::SlowInARow(20))]);
}

#[test]
fn a_call_that_waits_for_its_client_does_not_age() {
    let bench = Bench::new(&Settings::default());
    let mut upload = bench.admit();
    bench.wait(1500);
    upload.hold();
    assert_eq!(upload.slow_at(), None);
    bench.wait(60_000);
    upload.slow();
    assert_eq!(bench.figures(), (0, 0, 0));
    upload.resume();
    assert_eq!(upload.slow_at(), Some(bench.now() + Duration::from_secs(2)));
    bench.wait(1999);
    upload.settle(Outcome::Success);
    assert_eq!(bench.figures(), (1, 0, 0));
    // Dropped while its client is what it waits for, it says nothing; slow before that, it stays slow.
    let (mut left, mut slow) = (bench.admit(), bench.admit());
    left.hold();
    bench.wait(2000);
    slow.hold();
    assert_eq!(bench.figures(), (2, 0, 1));
    drop((left, slow));
    assert_eq!(bench.figures(), (2, 0, 1));
}

#[test]
fn slowness_may_be_off() {
    let bench = Bench::new(&with(|s| s.slow_call = None));
    let mut ticket = bench.admit();
    assert_eq!(ticket.slow_at(), None);
    bench.wait(60_000);
    ticket.slow();
    ticket.settle(Outcome::Success);
    (0..50).for_each(|_| bench.slow(Outcome::ClientLeft));
    assert_eq!((bench.state(), bench.figures()), (State::Closed, (0, 0, 0)));
}
