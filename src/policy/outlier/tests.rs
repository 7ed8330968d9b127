use proptest::prelude::*;

use super::*;

const BASE: Duration = Duration::from_secs(30);

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Ejects and returns at its time; how many base times it was out.
fn eject(ejection: &mut Ejection, now: Duration) -> u64 {
    let until = ejection.begin(BASE, now);
    assert_eq!(ejection.until(), Some(until));
    ejection.end(until);
    assert_eq!(ejection.until(), None);
    (until - now).as_secs() / BASE.as_secs()
}

#[test]
fn failures_count_only_in_a_row() {
    let failures = Failures::default();
    let record = |outcome| failures.record(outcome, 3);
    assert!(!record(Outcome::Failed) && !record(Outcome::Failed));
    assert!(!record(Outcome::Ok));
    assert!(!record(Outcome::Failed) && !record(Outcome::Failed) && record(Outcome::Failed));
    // It is told again until somebody acts on it.
    assert!(record(Outcome::Failed));
    failures.clear();
    assert!(!failures.record(Outcome::Failed, 3));
}

#[test]
fn a_client_that_leaves_neither_counts_nor_forgives() {
    let failures = Failures::default();
    for _ in 0..100 {
        assert!(!failures.record(Outcome::Neutral, 1));
    }
    assert!(!failures.record(Outcome::Failed, 2));
    assert!(!failures.record(Outcome::Neutral, 2));
    assert!(failures.record(Outcome::Failed, 2));
}

#[test]
fn ejections_that_follow_each_other_grow_to_ten_times() {
    let (mut ejection, mut now) = (Ejection::default(), at(1000));
    for expected in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
        let times = eject(&mut ejection, now);
        assert_eq!(times, expected);
        // Back, and out again at once.
        now += BASE * times as u32 + at(1);
    }
}

#[test]
fn good_time_takes_them_off_one_by_one() {
    let (mut ejection, mut now) = (Ejection::default(), at(1000));
    for _ in 0..4 {
        now += BASE * eject(&mut ejection, now) as u32;
    }
    // 29 s after its return nothing is forgiven, two base times later two are.
    let mut soon = ejection;
    assert_eq!(eject(&mut soon, now + at(29)), 5);
    let mut later = ejection;
    assert_eq!(eject(&mut later, now + at(60)), 3);
    let mut much_later = ejection;
    assert_eq!(eject(&mut much_later, now + at(100_000)), 1);
}

#[test]
fn an_end_without_an_ejection_forgives_nothing() {
    let mut ejection = Ejection::default();
    eject(&mut ejection, at(1000));
    let before = ejection;
    ejection.end(at(5000));
    assert_eq!(ejection, before);
}

#[test]
fn one_of_two_may_be_out_and_never_the_only_one() {
    let percent = Ratio::percent;
    assert_eq!([0, 1].map(|n| most_ejected(n, percent(100.0))), [0, 0]);
    assert_eq!([2, 3, 4, 5, 9, 10].map(|n| most_ejected(n, percent(50.0))), [1, 1, 2, 2, 4, 5]);
    assert_eq!(most_ejected(2, percent(1.0)), 1);
    assert_eq!(most_ejected(100, percent(29.0)), 29);
    assert_eq!(most_ejected(3, percent(100.0)), 3);
}

#[test]
fn the_defaults() {
    let settings: Settings = serde_yaml::from_str("{}").unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(
        serde_yaml::to_string(&settings).unwrap(),
        "consecutive_failures: 5\neject_for: 30s\nmax_ejected: 50%\n"
    );
}

proptest! {
    #[test]
    fn an_ejection_lasts_between_one_and_ten_times(gaps in prop::collection::vec(0u64..500, 1..50)) {
        let (mut ejection, mut now) = (Ejection::default(), at(0));
        let mut last = 0;
        for gap in gaps {
            now += at(gap);
            let times = eject(&mut ejection, now);
            prop_assert!((1..=10).contains(&times));
            prop_assert!(times <= last + 1, "it grows by one at most");
            last = times;
            now += BASE * times as u32;
        }
    }
}
