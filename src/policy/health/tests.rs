use proptest::prelude::*;

use super::*;

const RULES: Thresholds = Thresholds { unhealthy_after: 3, healthy_after: 2 };

/// The verdict after each result.
fn verdicts(results: &[bool], thresholds: Thresholds) -> Vec<bool> {
    let mut verdict = Verdict::default();
    results
        .iter()
        .map(|passed| {
            let before = verdict.is_failing();
            let changed = verdict.record(*passed, thresholds);
            assert_eq!(changed, before != verdict.is_failing());
            verdict.is_failing()
        })
        .collect()
}

#[test]
fn the_third_failure_in_a_row_is_believed() {
    assert_eq!(verdicts(&[false, false, false], RULES), [false, false, true]);
}

#[test]
fn one_passed_check_begins_the_count_anew() {
    assert_eq!(verdicts(&[false, false, true, false, false, true], RULES), [false; 6]);
}

#[test]
fn the_second_passed_check_in_a_row_brings_it_back() {
    assert_eq!(
        verdicts(&[false, false, false, true, false, true, true], RULES),
        [false, false, true, true, true, true, false]
    );
}

#[test]
fn after_its_return_it_takes_as_many_failures_again() {
    let results = [false, false, false, true, true, false, false, false];
    assert_eq!(verdicts(&results, RULES)[4..], [false, false, false, true]);
}

#[test]
fn a_threshold_of_one_believes_every_result() {
    let once = Thresholds { unhealthy_after: 1, healthy_after: 1 };
    assert_eq!(verdicts(&[false, true, false], once), [true, false, true]);
}

#[test]
fn statuses_are_numbers_and_ranges() {
    let read = |yaml: &str| serde_yaml::from_str::<Statuses>(yaml);
    let default = Statuses::default();
    assert!(default.contains(200) && default.contains(399) && !default.contains(400) && !default.contains(199));
    assert_eq!(read("[200-399]").unwrap(), default);
    let two = read("[200, 204-206, \"401\"]").unwrap();
    let passing: Vec<u16> = (0..1000).filter(|s| two.contains(*s)).collect();
    assert_eq!(passing, [200, 204, 205, 206, 401]);
    assert_eq!(serde_yaml::to_string(&two).unwrap(), "- 200\n- 204-206\n- 401\n");
    assert_eq!(read("204").unwrap(), read("[204]").unwrap());
    assert_eq!(read("200-299").unwrap(), read("[200-299]").unwrap());
    assert!(read("[]").unwrap().is_empty());
    for wrong in ["[99]", "[600]", "[2000]", "[-200]", "[399-200]", "[200-]", "[-399]", "[20-30]", "[2xx]", "[\"+20\"]"]
    {
        let e = read(wrong).unwrap_err().to_string();
        assert!(
            wrong == "[-200]" || e.contains("a status from 100 to 599, or a range such as 200-399"),
            "{wrong}: {e}"
        );
    }
    for wrong in ["{ a: b }", "true", "600", "any"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn only_the_path_is_required() {
    let settings: Settings = serde_yaml::from_str("{ path: /healthz }").unwrap();
    assert_eq!((settings.interval.to_string(), settings.timeout.to_string()), ("5s".into(), "1s".into()));
    assert_eq!(settings.thresholds(), RULES);
    assert_eq!(settings.expect_status, Statuses::default());
    assert!(serde_yaml::from_str::<Settings>("{ interval: 5s }").unwrap_err().to_string().contains("path"));
    assert!(serde_yaml::from_str::<Settings>("{ path: /a, port: 1 }").is_err());
}

proptest! {
    /// The verdict changes exactly where the last results all speak against it, and are enough.
    #[test]
    fn only_an_unbroken_row_changes_the_verdict(
        results in prop::collection::vec(any::<bool>(), 0..200), unhealthy_after in 1u32..6, healthy_after in 1u32..6
    ) {
        let (mut failing, mut since) = (false, 0);
        for (i, seen) in verdicts(&results, Thresholds { unhealthy_after, healthy_after }).into_iter().enumerate() {
            let needed = if failing { healthy_after } else { unhealthy_after } as usize;
            let row = results[since..=i].iter().rev().take_while(|passed| **passed == failing).count();
            let changes = row >= needed;
            prop_assert_eq!(seen != failing, changes, "at {}", i);
            if changes {
                (failing, since) = (!failing, i + 1);
            }
        }
    }
}
