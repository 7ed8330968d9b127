//! The calls that are judged: those of the last so long, or the last so many. Every operation is O(1).

use std::time::Duration;

use super::Figures;
use super::settings::{MOST_CALLS, Window as Setting};

/// How a call ended, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// Where a call was counted, so that more can be said of it later. Worth nothing once the window was cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

/// The calls that are judged.
#[derive(Debug)]
pub(super) enum Window {
    Time(Buckets),
    Calls(Ring),
}

impl Window {
    pub(super) fn new(setting: Setting) -> Window {
        match setting {
            Setting::Time(time) => Window::Time(Buckets::new(time.get())),
            Setting::Calls(calls) => Window::Calls(Ring::new(calls)),
        }
    }

    /// Counts a call.
    pub(super) fn add(&mut self, call: Call, now: Duration) -> Place {
        match self {
            Window::Time(buckets) => buckets.add(call, now),
            Window::Calls(ring) => ring.add(call),
        }
    }

    /// A call that was counted as slow has failed now. Nothing changes if it has left the window by then.
    pub(super) fn fail(&mut self, place: Place, now: Duration) {
        match self {
            Window::Time(buckets) => buckets.fail(place, now),
            Window::Calls(ring) => ring.fail(place),
        }
    }

    /// A call that was counted as slow, and has not failed, is taken out again.
    pub(super) fn take_back_slow(&mut self, place: Place, now: Duration) {
        match self {
            Window::Time(buckets) => buckets.take_back_slow(place, now),
            Window::Calls(ring) => ring.take_back_slow(place),
        }
    }

    /// What is in the window at this moment.
    pub(super) fn figures(&mut self, now: Duration) -> Figures {
        match self {
            Window::Time(buckets) => buckets.figures(now),
            Window::Calls(ring) => ring.figures,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        match self {
            Window::Time(buckets) => buckets.clear(),
            Window::Calls(ring) => ring.clear(),
        }
    }
}

impl Figures {
    fn add(&mut self, call: Call) {
        self.calls = self.calls.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(call.failed));
        self.slow = self.slow.saturating_add(u32::from(call.slow));
    }

    fn subtract(&mut self, other: Figures) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failed = self.failed.saturating_sub(other.failed);
        self.slow = self.slow.saturating_sub(other.slow);
    }
}

/// One slow call that did not fail.
const ONE_SLOW: Figures = Figures { calls: 1, failed: 0, slow: 1 };

/// How many parts a window of time has: it covers between 19 and 20 of them.
const PARTS: usize = 20;

/// The calls of the last so long, in parts that leave the window as a whole.
#[derive(Debug)]
pub(super) struct Buckets {
    /// How long a part is, in nanoseconds.
    part: u64,
    parts: Box<[Figures; PARTS]>,
    /// The number of the newest part since the clock's zero.
    newest: u64,
    total: Figures,
}

impl Buckets {
    fn new(window: Duration) -> Buckets {
        let part = (nanos(window) / PARTS as u64).max(1);
        Buckets { part, parts: Box::default(), newest: 0, total: Figures::default() }
    }

    fn index(part: u64) -> usize {
        (part % PARTS as u64) as usize
    }

    /// Lets go of the parts that have left the window. A time before that of the newest part changes nothing.
    fn advance(&mut self, now: Duration) {
        let newest = nanos(now) / self.part;
        let passed = newest.saturating_sub(self.newest);
        for step in 1..=passed.min(PARTS as u64) {
            let left = std::mem::take(&mut self.parts[Self::index(self.newest + step)]);
            self.total.subtract(left);
        }
        self.newest = self.newest.max(newest);
    }

    fn holds(&self, place: Place) -> bool {
        self.newest.checked_sub(place.0).is_some_and(|age| age < PARTS as u64)
    }

    fn add(&mut self, call: Call, now: Duration) -> Place {
        self.advance(now);
        self.parts[Self::index(self.newest)].add(call);
        self.total.add(call);
        Place(self.newest)
    }

    fn fail(&mut self, place: Place, now: Duration) {
        self.advance(now);
        if self.holds(place) {
            self.parts[Self::index(place.0)].failed += 1;
            self.total.failed += 1;
        }
    }

    fn take_back_slow(&mut self, place: Place, now: Duration) {
        self.advance(now);
        if self.holds(place) {
            self.parts[Self::index(place.0)].subtract(ONE_SLOW);
            self.total.subtract(ONE_SLOW);
        }
    }

    fn figures(&mut self, now: Duration) -> Figures {
        self.advance(now);
        self.total
    }

    fn clear(&mut self) {
        self.parts.fill(Figures::default());
        self.total = Figures::default();
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The last so many calls, a byte each.
#[derive(Debug)]
pub(super) struct Ring {
    calls: Box<[Option<Call>]>,
    /// The number of the next call.
    next: u64,
    figures: Figures,
}

impl Ring {
    fn new(calls: u32) -> Ring {
        let calls = vec![None; calls.clamp(1, MOST_CALLS) as usize];
        Ring { calls: calls.into_boxed_slice(), next: 0, figures: Figures::default() }
    }

    fn index(&self, number: u64) -> usize {
        (number % self.calls.len() as u64) as usize
    }

    fn add(&mut self, call: Call) -> Place {
        let number = self.next;
        let index = self.index(number);
        if let Some(left) = self.calls[index].replace(call) {
            self.figures.subtract(Figures { calls: 1, failed: left.failed.into(), slow: left.slow.into() });
        }
        self.figures.add(call);
        self.next += 1;
        Place(number)
    }

    /// The call at a place that has not left the window.
    fn at(&self, place: Place) -> Option<usize> {
        (self.next - place.0 <= self.calls.len() as u64).then(|| self.index(place.0))
    }

    fn fail(&mut self, place: Place) {
        if let Some(index) = self.at(place)
            && let Some(call) = &mut self.calls[index]
        {
            call.failed = true;
            self.figures.failed += 1;
        }
    }

    fn take_back_slow(&mut self, place: Place) {
        if let Some(index) = self.at(place)
            && self.calls[index].take().is_some()
        {
            self.figures.subtract(ONE_SLOW);
        }
    }

    fn clear(&mut self) {
        self.calls.fill(None);
        self.figures = Figures::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn time(millis: u64) -> Window {
        Window::new(Setting::Time(units::Duration::from_millis(millis)))
    }

    const GOOD: Call = Call { failed: false, slow: false };
    const FAILED: Call = Call { failed: true, slow: false };
    const SLOW: Call = Call { failed: false, slow: true };

    fn figures(calls: u32, failed: u32, slow: u32) -> Figures {
        Figures { calls, failed, slow }
    }

    #[test]
    fn calls_leave_a_window_of_time_part_by_part() {
        let mut window = time(10_000);
        window.add(FAILED, at(100));
        window.add(GOOD, at(600));
        window.add(SLOW, at(9999));
        assert_eq!(window.figures(at(9999)), figures(3, 1, 1));
        assert_eq!(window.figures(at(10_000)), figures(2, 0, 1));
        assert_eq!(window.figures(at(10_500)), figures(1, 0, 1));
        assert_eq!(window.figures(at(19_499)), figures(1, 0, 1));
        assert_eq!(window.figures(at(19_500)), figures(0, 0, 0));
        window.add(GOOD, at(1 << 40));
        assert_eq!(window.figures(at(1 << 40)), figures(1, 0, 0));
    }

    #[test]
    fn the_last_calls_push_out_those_before() {
        let mut window = Window::new(Setting::Calls(3));
        for call in [FAILED, SLOW, GOOD] {
            window.add(call, at(0));
        }
        assert_eq!(window.figures(at(1 << 40)), figures(3, 1, 1));
        window.add(GOOD, at(0));
        assert_eq!(window.figures(at(0)), figures(3, 0, 1));
    }

    #[test]
    fn a_slow_call_that_fails_is_one_call() {
        for mut window in [time(10_000), Window::new(Setting::Calls(2))] {
            let place = window.add(SLOW, at(100));
            window.fail(place, at(9000));
            assert_eq!(window.figures(at(9000)), figures(1, 1, 1));
        }
    }

    #[test]
    fn what_has_left_the_window_is_left_alone() {
        let mut window = time(10_000);
        let places = [window.add(SLOW, at(100)), window.add(SLOW, at(200))];
        window.add(GOOD, at(12_000));
        window.fail(places[0], at(12_000));
        window.take_back_slow(places[1], at(12_000));
        assert_eq!(window.figures(at(12_000)), figures(1, 0, 0));
        let mut window = Window::new(Setting::Calls(1));
        let place = window.add(SLOW, at(0));
        window.add(GOOD, at(0));
        window.fail(place, at(0));
        window.take_back_slow(place, at(0));
        assert_eq!(window.figures(at(0)), figures(1, 0, 0));
    }

    #[test]
    fn a_time_before_the_newest_counts_as_the_newest() {
        let mut window = time(1000);
        window.add(GOOD, at(5000));
        let place = window.add(SLOW, at(100));
        window.fail(place, at(50));
        assert_eq!(window.figures(at(0)), figures(2, 1, 1));
    }

    proptest! {
        /// Against a plain list of all calls.
        #[test]
        fn it_counts_what_a_list_would(
            calls in prop_oneof![Just(None), (1u32..30).prop_map(Some)],
            steps in prop::collection::vec((0u64..700, any::<bool>(), any::<bool>(), 0u8..4, any::<prop::sample::Index>()), 1..120),
        ) {
            let mut window = calls.map_or(time(2000), |calls| Window::new(Setting::Calls(calls)));
            // (part, call), and for slow ones that may yet change their place.
            let mut list: Vec<(u64, Option<Call>)> = Vec::new();
            let mut slow: Vec<(usize, Place)> = Vec::new();
            let mut now = 0;
            for (passed, failed, is_slow, what, which) in steps {
                now += passed;
                if what > 1 || slow.is_empty() {
                    let call = Call { failed, slow: is_slow };
                    let place = window.add(call, at(now));
                    if is_slow && !failed { slow.push((list.len(), place)); }
                    list.push((now / 100, Some(call)));
                } else {
                    let (index, place) = slow.swap_remove(which.index(slow.len()));
                    if what == 0 {
                        window.fail(place, at(now));
                        list[index].1 = Some(Call { failed: true, slow: true });
                    } else {
                        window.take_back_slow(place, at(now));
                        list[index].1 = None;
                    }
                }
                let held = list.iter().rev().enumerate().filter(|(age, (part, _))| {
                    calls.map_or(now / 100 - part < 20, |calls| *age < calls as usize)
                });
                let mut expected = Figures::default();
                held.filter_map(|(_, (_, call))| *call).for_each(|call| expected.add(call));
                prop_assert_eq!(window.figures(at(now)), expected);
            }
        }
    }
}
