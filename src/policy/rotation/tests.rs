use proptest::prelude::*;

use super::*;
use State::{Ejected, Healthy, Kept, Unhealthy};

/// Half of the endpoints may be ejected.
fn rules() -> Rules {
    Rules {
        checks: Some(Thresholds { unhealthy_after: 2, healthy_after: 2 }),
        outlier: Some(Ejections { consecutive_failures: 5, eject_for: at(30), max_ejected: Ratio::percent(50.0) }),
    }
}

const fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A rotation of endpoints 0..n.
fn rotation(n: u64) -> Rotation {
    let mut rotation = Rotation::new(rules());
    assert_eq!(rotation.set(&Vec::from_iter(0..n), at(0)), []);
    rotation
}

fn states(rotation: &Rotation) -> Vec<State> {
    rotation.members.iter().map(|m| m.state).collect()
}

/// Lets checks of this endpoint fail or pass until that is believed.
fn checks(rotation: &mut Rotation, id: u64, pass: bool, now: Duration) -> Vec<Change> {
    assert_eq!(rotation.checked(id, pass, now), []);
    rotation.checked(id, pass, now)
}

#[test]
fn checks_take_an_endpoint_out_and_bring_it_back() {
    let mut r = rotation(2);
    let out = Change { id: 1, old: Healthy, new: Unhealthy, why: Why::ChecksFailed(2) };
    assert_eq!(checks(&mut r, 1, false, at(1)), [out]);
    assert_eq!(r.checked(1, false, at(2)), []);
    let back = Change { id: 1, old: Unhealthy, new: Healthy, why: Why::ChecksPassed(2) };
    assert_eq!(checks(&mut r, 1, true, at(3)), [back]);
}

#[test]
fn a_single_endpoint_is_never_out() {
    let mut r = rotation(1);
    assert_eq!(r.failed(0, at(1)), []);
    let kept = Change { id: 0, old: Healthy, new: Kept, why: Why::ChecksFailed(2) };
    assert_eq!(checks(&mut r, 0, false, at(1)), [kept]);
    assert_eq!(r.failed(0, at(2)), []);
    let well = Change { id: 0, old: Kept, new: Healthy, why: Why::ChecksPassed(2) };
    assert_eq!(checks(&mut r, 0, true, at(3)), [well]);
}

#[test]
fn the_last_one_stays_though_its_checks_fail_until_another_is_back() {
    let mut r = rotation(3);
    checks(&mut r, 0, false, at(1));
    checks(&mut r, 2, false, at(1));
    checks(&mut r, 1, false, at(1));
    assert_eq!(states(&r), [Unhealthy, Kept, Unhealthy]);
    assert_eq!(
        checks(&mut r, 2, true, at(2)),
        [
            Change { id: 1, old: Kept, new: Unhealthy, why: Why::NotTheLast },
            Change { id: 2, old: Unhealthy, new: Healthy, why: Why::ChecksPassed(2) },
        ]
    );
    assert_eq!(states(&r), [Unhealthy, Unhealthy, Healthy]);
}

#[test]
fn an_ejection_ends_by_its_time() {
    let mut r = rotation(3);
    let out = Change { id: 0, old: Healthy, new: Ejected, why: Why::AttemptsFailed(5, at(30)) };
    assert_eq!(r.failed(0, at(10)), [out]);
    assert_eq!(r.next(), Some(at(40)));
    assert_eq!(r.tick(at(39)), []);
    assert_eq!(r.tick(at(40)), [Change { id: 0, old: Ejected, new: Healthy, why: Why::TimeOver }]);
    assert_eq!(r.next(), None);
    // Again at once: twice as long.
    let again = Change { id: 0, old: Healthy, new: Ejected, why: Why::AttemptsFailed(5, at(60)) };
    assert_eq!(r.failed(0, at(41)), [again]);
}

#[test]
fn one_that_is_out_is_not_ejected_again() {
    let mut r = rotation(4);
    r.failed(0, at(1));
    assert_eq!(r.failed(0, at(2)), []);
    checks(&mut r, 1, false, at(2));
    assert_eq!(r.failed(1, at(3)), []);
    assert_eq!(r.next(), Some(at(31)));
    assert_eq!(r.failed(99, at(3)), [], "one that is gone");
}

#[test]
fn no_more_than_the_share_are_ejected_and_one_of_two_may_be() {
    let mut r = rotation(5);
    let ejected = (0..5).filter(|id| !r.failed(*id, at(1)).is_empty()).count();
    assert_eq!(ejected, 2);
    let mut r = rotation(2);
    assert!(!r.failed(0, at(1)).is_empty());
    assert_eq!(r.failed(1, at(1)), []);
}

#[test]
fn an_ejection_that_would_leave_none_usable_does_not_happen() {
    let mut r = rotation(2);
    checks(&mut r, 0, false, at(1));
    assert_eq!(r.failed(1, at(1)), []);
    assert_eq!(states(&r), [Unhealthy, Healthy]);
}

#[test]
fn an_ejected_one_does_not_count_as_another() {
    let mut r = rotation(2);
    r.failed(0, at(1));
    let kept = Change { id: 1, old: Healthy, new: Kept, why: Why::ChecksFailed(2) };
    assert_eq!(checks(&mut r, 1, false, at(2)), [kept]);
    assert_eq!(
        r.tick(at(31)),
        [
            Change { id: 0, old: Ejected, new: Healthy, why: Why::TimeOver },
            Change { id: 1, old: Kept, new: Unhealthy, why: Why::NotTheLast },
        ]
    );
}

#[test]
fn checks_that_pass_again_end_the_ejection_and_checks_that_only_pass_do_not() {
    let mut r = rotation(3);
    r.failed(0, at(1));
    assert_eq!(r.checked(0, true, at(2)), []);
    assert_eq!(states(&r)[0], Ejected);
    let worse = Change { id: 0, old: Ejected, new: Unhealthy, why: Why::ChecksFailed(2) };
    assert_eq!(checks(&mut r, 0, false, at(3)), [worse]);
    let back = Change { id: 0, old: Unhealthy, new: Healthy, why: Why::ChecksPassed(2) };
    assert_eq!(checks(&mut r, 0, true, at(4)), [back]);
    assert_eq!(r.next(), None);
}

#[test]
fn an_ejection_that_ends_while_its_checks_fail_changes_nothing() {
    let mut r = rotation(3);
    r.failed(0, at(1));
    checks(&mut r, 0, false, at(2));
    assert_eq!(r.tick(at(31)), []);
    assert_eq!(states(&r)[0], Unhealthy);
}

#[test]
fn endpoints_that_stay_keep_their_state() {
    let mut r = rotation(4);
    r.failed(1, at(1));
    checks(&mut r, 3, false, at(1));
    assert_eq!(r.set(&[3, 7, 1, 2], at(2)), []);
    assert_eq!(states(&r), [Unhealthy, Healthy, Ejected, Healthy]);
    assert_eq!(r.checked(0, false, at(3)), [], "the result of one that is gone");
}

#[test]
fn a_set_that_lost_its_usable_ones_takes_one_back() {
    let mut r = rotation(3);
    checks(&mut r, 0, false, at(1));
    r.failed(1, at(1));
    // The one whose checks pass is the better one.
    assert_eq!(r.set(&[0, 1], at(2)), [Change { id: 1, old: Ejected, new: Healthy, why: Why::LastOne }]);
    assert_eq!(r.set(&[0], at(3)), [Change { id: 0, old: Unhealthy, new: Kept, why: Why::LastOne }]);
    assert_eq!(r.set(&[0, 5], at(4)), [Change { id: 0, old: Kept, new: Unhealthy, why: Why::NotTheLast }]);
    assert_eq!(r.set(&[], at(5)), []);
}

#[test]
fn a_part_that_is_left_out_takes_nobody_out() {
    let mut r = Rotation::new(Rules { outlier: None, ..rules() });
    r.set(&[0, 1], at(0));
    assert_eq!(r.failed(0, at(1)), []);
    let mut r = Rotation::new(Rules { checks: None, ..rules() });
    r.set(&[0, 1], at(0));
    assert_eq!((r.checked(0, false, at(1)), r.checked(0, false, at(1))), (vec![], vec![]));
}

#[test]
fn states_stand_at_their_numbers() {
    for state in [Healthy, Kept, Unhealthy, Ejected] {
        assert_eq!(State::from_number(state as u8), state);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Check(u64, bool),
    Fail(u64),
    Tick,
    Set(Vec<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..6, any::<bool>()).prop_map(|(id, passed)| Step::Check(id, passed)),
        4 => (0u64..6).prop_map(Step::Fail),
        2 => Just(Step::Tick),
        1 => prop::collection::btree_set(0u64..6, 1..6).prop_map(|ids| ids.into_iter().collect()).prop_map(Step::Set),
    ]
}

proptest! {
    /// Whatever happens: somebody is in rotation, nobody is out who is usable, only one may stay who is not, the bound
    /// of the ejections holds when one is added, and the changes tell the whole story.
    #[test]
    fn somebody_is_always_in_rotation(steps in prop::collection::vec((step(), 0u64..40), 1..80), share in 0u8..=100) {
        let share = Ratio::percent(f64::from(share));
        let outlier = rules().outlier.map(|o| Ejections { max_ejected: share, ..o });
        let mut r = Rotation::new(Rules { outlier, ..rules() });
        let mut told = std::collections::BTreeMap::new();
        r.set(&[0, 1, 2], at(0));
        let mut now = at(0);
        for (step, later) in steps {
            now += at(later);
            let changes = match &step {
                Step::Check(id, passed) => r.checked(*id, *passed, now),
                Step::Fail(id) => r.failed(*id, now),
                Step::Tick => r.tick(now),
                Step::Set(ids) => r.set(ids, now),
            };
            let ids: Vec<u64> = r.members.iter().map(|m| m.id).collect();
            told.retain(|id, _| ids.contains(id));
            for change in changes {
                let before = told.insert(change.id, change.new).unwrap_or(Healthy);
                prop_assert_eq!(before, change.old);
                prop_assert_ne!(change.old, change.new);
                if change.new == Ejected && matches!(step, Step::Fail(_)) {
                    let ejected = r.members.iter().filter(|m| m.ejection.until().is_some()).count();
                    prop_assert!(ejected <= most_ejected(r.members.len(), share));
                }
            }
            let usable = r.members.iter().filter(|m| m.is_usable()).count();
            for m in &r.members {
                prop_assert_eq!(told.get(&m.id).copied().unwrap_or(Healthy), m.state);
                prop_assert!(!m.is_usable() || m.state == Healthy);
                prop_assert_eq!(m.state == Kept, usable == 0 && m.state.is_in());
            }
            let inside = r.members.iter().filter(|m| m.state.is_in()).count();
            prop_assert_eq!(inside, usable.max(1));
        }
    }
}
