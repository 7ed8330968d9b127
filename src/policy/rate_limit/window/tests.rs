use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn window(rate: &str) -> Window {
    Window::new(rate.parse().unwrap())
}

/// A window beside the exact log of what it allowed.
struct Checked {
    window: Window,
    entry: Entry,
    log: Vec<u64>,
}

impl Checked {
    fn new(window: Window) -> Self {
        Checked { window, entry: Entry::new(1), log: Vec::new() }
    }

    /// How many were allowed in the span that ends with `now`: in (now - span, now].
    fn allowed_in(&self, span: u64, now: u64) -> u64 {
        let before = self.log.partition_point(|t| t + span <= now);
        (self.log.len() - before) as u64
    }

    /// The most that any window may see.
    fn bound(&self) -> u64 {
        self.window.limit + self.window.fades - 1
    }

    fn span(&self) -> u64 {
        self.window.sub * SUB_WINDOWS
    }

    /// Asks, and holds the answer against the log.
    fn take(&mut self, now: u64) -> Decision {
        let decision = self.window.take(&mut self.entry, now);
        match decision {
            Decision::Allowed { remaining } => {
                self.log.push(now);
                let seen = self.allowed_in(self.span(), now);
                assert!(seen <= self.bound(), "{seen} in the window that ends at {now}, {:?}", self.window);
                let longer = self.allowed_in(self.span() + self.window.sub, now);
                let least = (self.window.limit + 1).saturating_sub(longer + u64::from(self.window.unit));
                assert!(u64::from(remaining) >= least, "{remaining} told at {now}, at least {least} are left");
            }
            Decision::Refused { retry_after } => {
                let longer = self.allowed_in(self.span() + self.window.sub, now);
                let unit = u64::from(self.window.unit);
                assert!(longer + unit > self.window.limit, "refused at {now} after {longer}, {:?}", self.window);
                let then = now + retry_after.as_nanos() as u64;
                assert!(then > now);
                assert!(!allowed(self.window.take(&mut self.entry.clone(), then - 1)), "sooner than {then}");
                assert!(allowed(self.window.take(&mut self.entry.clone(), then)), "not yet at {then}");
            }
        }
        decision
    }

    fn take_many(&mut self, count: u64, now: u64) -> u64 {
        (0..count).filter(|_| allowed(self.take(now))).count() as u64
    }
}

fn allowed(decision: Decision) -> bool {
    matches!(decision, Decision::Allowed { .. })
}

/// What clients do, in parts of the window and of the limit so that it means the same for all of them.
#[derive(Debug, Clone)]
enum Load {
    /// So many thousandths of the limit within a millionth of the window, repeated.
    Burst(u64),
    /// Silence for so many thousandths of the window.
    Gap(u64),
    /// So many percent of the limit's rate, for so many thousandths of the window.
    Steady(u64, u64),
}

fn load() -> impl Strategy<Value = Load> {
    prop_oneof![
        (1u64..1300).prop_map(Load::Burst),
        (1u64..1300).prop_map(Load::Gap),
        // The ends of sub-windows are where it hurts.
        (1u64..44).prop_map(|n| Load::Gap(n * 1000 / SUB_WINDOWS)),
        (1u64..400, 1u64..1500).prop_map(|(percent, length)| Load::Steady(percent, length)),
    ]
}

fn limits() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..=3, 1u64..=60, 200u64..=600, Just(255), Just(256), Just(3000)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn both_bounds_hold_against_an_exact_log(limit in limits(), ms in 1u64..5000, from in 0u64..SECOND, loads in prop::collection::vec(load(), 1..12)) {
        let mut checked = Checked::new(window(&format!("{limit}/{ms}ms")));
        let (span, mut now) = (checked.span(), from);
        for load in loads {
            match load {
                Load::Burst(part) => {
                    for _ in 0..(limit * part / 1000).max(1) {
                        checked.take(now);
                        now += span / 1_000_000 / limit;
                    }
                }
                Load::Gap(part) => now += span * part / 1000,
                Load::Steady(percent, length) => {
                    let step = (span * 100 / (limit * percent)).max(1);
                    let end = now + span * length / 1000;
                    while now < end {
                        checked.take(now);
                        now += step;
                    }
                }
            }
        }
    }

    #[test]
    fn random_times_keep_both_bounds(limit in limits(), steps in prop::collection::vec((0u64..40, 0u32..9), 1..400)) {
        let mut checked = Checked::new(window(&format!("{limit}/1s")));
        let mut now = 0;
        for (step, scale) in steps {
            now += step * 10u64.pow(scale) / 10;
            checked.take_many(1 + step % 7 * limit / 50, now);
        }
    }

    /// Whatever the clock does inside one window, no more are allowed than in any one window.
    #[test]
    fn a_clock_that_jumps_gives_nothing_away(limit in 1u64..100, times in prop::collection::vec(0u64..SECOND, 1..500)) {
        let window = window(&format!("{limit}/1s"));
        let mut entry = Entry::new(1);
        let count = times.iter().filter(|t| allowed(window.take(&mut entry, 77 * SECOND + **t))).count() as u64;
        prop_assert!(count < limit + window.fades);
        prop_assert!(count >= limit.min(times.len() as u64));
    }

    /// What is taken and given back leaves no trace.
    #[test]
    fn what_is_given_back_is_not_counted(limit in limits(), steps in prop::collection::vec((0u64..SECOND / 20, any::<bool>()), 1..300)) {
        let window = window(&format!("{limit}/1s"));
        let (mut with, mut without, mut now) = (Entry::new(1), Entry::new(1), 0);
        for (step, kept) in steps {
            now += step;
            let decision = window.take(&mut with, now);
            if kept {
                prop_assert_eq!(decision, window.take(&mut without, now));
            } else if allowed(decision) {
                window.give_back(&mut with, now);
            }
        }
    }
}

#[test]
fn a_fifth_too_much_is_held_to_the_limit() {
    let mut checked = Checked::new(window("1000/1s"));
    for n in 0..12_000 {
        checked.take(n * SECOND / 1200);
    }
    for from in 0..9000 {
        let seen = checked.log.iter().filter(|t| (from * MS..from * MS + SECOND).contains(*t)).count();
        assert!(seen <= 1020, "{seen} from {from} ms");
        assert!(from <= 2000 || (980..=1020).contains(&seen), "{seen} from {from} ms");
    }
}

#[test]
fn an_even_load_loses_next_to_nothing() {
    for (limit, percent, allowed_at_least) in [
        // What lies a sub-window and a unit below the limit is never refused, as proven.
        (1000, 97, 100.0),
        (40, 97, 100.0),
        (100_000, 97, 100.0),
        // At the limit and above it, the estimate is right within a request or a unit.
        (100, 100, 98.0),
        (1000, 100, 99.0),
        (100_000, 100, 99.0),
        (1000, 125, 98.0),
    ] {
        let mut checked = Checked::new(window(&format!("{limit}/1s")));
        let rate = limit * percent / 100;
        let passed =
            (0..rate * 5).filter(|n| allowed(checked.window.take(&mut checked.entry, n * SECOND / rate))).count();
        let due = (rate.min(limit) * 5) as f64;
        let share = passed as f64 / due * 100.0;
        assert!(share >= allowed_at_least, "{share}% of {limit} at {percent}%");
    }
}

#[test]
fn a_burst_counts_in_full_until_its_sub_window_is_out() {
    let mut checked = Checked::new(window("100/41s"));
    assert_eq!(checked.take_many(150, SECOND / 2), 100);
    // Of the hundred no more than m = 4 fade, one each quarter of the last second.
    assert_eq!(checked.take_many(150, 41 * SECOND), 0);
    assert_eq!(checked.take_many(150, 41 * SECOND + SECOND / 4), 1);
    assert_eq!(checked.take_many(150, 42 * SECOND - 1), 2);
    assert_eq!(checked.take_many(150, 42 * SECOND), 97);
}

#[test]
fn the_worst_burst_comes_close_to_the_bound_and_not_above() {
    let mut checked = Checked::new(window("10000/41s"));
    let m = checked.window.fades;
    assert_eq!(m, 305);
    // The oldest sub-window holds m, all at its very end; the rest follows at once.
    assert_eq!(checked.take_many(m, SECOND - 1), m);
    assert_eq!(checked.take_many(20_000, SECOND), 10_000 - m);
    // When the window still covers that end, nearly all of m has faded.
    let more = checked.take_many(20_000, 42 * SECOND - 2);
    assert!((m - u64::from(checked.window.unit)..m).contains(&more), "{more}");
    assert!(checked.allowed_in(41 * SECOND, 42 * SECOND - 2) > 10_000 + m - 50);
}

#[test]
fn small_limits_are_never_exceeded() {
    for limit in 1..=32 {
        let checked = Checked::new(window(&format!("{limit}/1s")));
        assert_eq!(checked.bound(), limit);
    }
    assert_eq!(Checked::new(window("33/1s")).bound(), 34);
}

#[test]
fn the_rest_that_is_told_can_be_had() {
    for limit in [1, 7, 100, 1000, 70_000] {
        let window = window(&format!("{limit}/1m"));
        let mut entry = Entry::new(1);
        for left in (0..limit).rev() {
            assert_eq!(window.take(&mut entry, SECOND), Decision::Allowed { remaining: left });
        }
        assert!(!allowed(window.take(&mut entry, SECOND)));
        assert_eq!(entry.used, u16::MAX);
    }
}

#[test]
fn give_back_finds_what_it_counted() {
    let window = window("2/1s");
    let mut entry = Entry::new(1);
    assert!(allowed(window.take(&mut entry, 0)) && allowed(window.take(&mut entry, SECOND / 2)));
    // The older one: half a second later its place is free, and only its.
    window.give_back(&mut entry, 0);
    assert!(entry.used > u16::MAX / 2 && entry.used < u16::MAX);
    assert!(allowed(window.take(&mut entry, SECOND / 2)));
    assert!(!allowed(window.take(&mut entry, SECOND + SECOND / 10)));
    // What is over, or was never counted, changes nothing.
    let before = entry.cells;
    window.give_back(&mut entry, SECOND / 4 * 3);
    window.give_back(&mut entry, 0);
    assert_eq!(entry.cells, before);
    window.give_back(&mut entry, 90 * SECOND);
    window.give_back(&mut entry, u64::MAX);
    window.give_back(&mut Entry::new(1), SECOND);
}

#[test]
fn a_clock_that_stands_still_or_goes_back() {
    let mut checked = Checked::new(window("10/1s"));
    assert_eq!(checked.take_many(20, 100 * SECOND), 10);
    for now in [100 * SECOND, 99 * SECOND, 0] {
        let Decision::Refused { retry_after } = checked.window.take(&mut checked.entry, now) else {
            panic!("at {now}")
        };
        let then = now + retry_after.as_nanos() as u64;
        assert!((101 * SECOND..102 * SECOND).contains(&then), "{then}");
    }
    assert_eq!(checked.take_many(20, 102 * SECOND), 10);
}

#[test]
fn no_number_is_too_large() {
    for rate in ["1000000000/3650d", "1/3650d", "1000000000/1ms", "1/1ms"] {
        let window = window(rate);
        let mut entry = Entry::new(1);
        for now in [0, u64::MAX, u64::MAX - 1, 0] {
            window.take(&mut entry, now);
            window.give_back(&mut entry, now);
        }
        assert!(u64::from(window.unit) * u64::from(UNITS) >= window.limit);
    }
}
