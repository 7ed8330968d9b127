//! The rules of the breaker: a plain struct. `now` comes in, decisions and transitions go out.

use std::time::Duration;

use super::call::{Call, Part, Slow};
use super::probes::{Limits, Probes, Verdict};
use super::settings::{Mode, Settings, Window as Setting};
use super::window::{self, Window};
use super::{Figures, Outcome, Refused, Snapshot, State, Transition, Why};

/// The state of one breaker.
///
/// Beside the rates it counts the failures since the last success, and the slow calls since the last good one. When
/// either reaches `min_requests` it opens, whatever the window holds, and however long ago the first of them was. A rate
/// alone would see a hang late: the successes of the window dilute it until most of them have left, and with few
/// requests a window of time never holds enough of them to be judged. With the rows a hang is seen within `over` +
/// `min_requests` / rate, if no cheap call still answers in between.
///
/// This is the plain rule over a shorter window, that of the last `min_requests` calls, which the operator says are
/// enough to judge by, and with the strictest rate, 100%. Where calls fail independently of each other with a share of
/// `f`, it errs with probability fⁿ at each call: 10⁻⁶ for 50% and 20 calls, 10⁻²⁶ for 5%. So only an application whose
/// rate is near its threshold anyway meets it by chance.
#[derive(Debug)]
pub(super) struct Core {
    settings: Settings,
    limits: Limits,
    /// As `min_requests`, but never more than the window can hold.
    enough: u32,
    state: State,
    since: Duration,
    hand: Option<Hand>,
    /// Grows with every change of state: calls from before it say nothing about what is after it.
    generation: u64,
    window: Window,
    failed_in_a_row: u32,
    slow_in_a_row: u32,
    /// Which row `slow_in_a_row` counts.
    row: u64,
    probes: Probes,
}

/// What an operator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    Open,
    /// Closed, and automatic from there on, even where the mode is force_open.
    Closed,
}

impl Core {
    pub(super) fn new(settings: Settings, now: Duration) -> Core {
        let enough = match settings.window {
            Setting::Time(_) => settings.min_requests,
            Setting::Calls(calls) => settings.min_requests.min(calls),
        };
        Core {
            limits: Limits {
                failure_rate: settings.failure_rate.get(),
                slow_rate: settings.slow_call.map(|slow| slow.rate.get()),
            },
            enough: enough.max(1),
            state: State::Closed,
            since: now,
            hand: None,
            generation: 0,
            window: Window::new(settings.window),
            failed_in_a_row: 0,
            slow_in_a_row: 0,
            row: 0,
            probes: Probes::new(settings.half_open_probes),
            settings,
        }
    }

    /// The mode of the configuration.
    pub(super) fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// A call wants to be made. `until` is when it has ended at the latest.
    pub(super) fn admit(
        &mut self,
        mode: Mode,
        until: Duration,
        now: Duration,
    ) -> (Result<Call, Refused>, Option<Transition>) {
        let transition = self.refresh(now);
        let part = match self.refusal(mode, now) {
            None if self.state == State::HalfOpen => self.probes.take(until).map_or(Part::Window, Part::Probe),
            None => Part::Window,
            Some(refused) if self.lets_pass(mode) => Part::None(refused),
            Some(refused) => return (Err(refused), transition),
        };
        (Ok(Call { generation: self.generation, part, since: Some(now), slow: None }), transition)
    }

    /// Whether a call would be admitted, and in which state.
    pub(super) fn check(&mut self, mode: Mode, now: Duration) -> (Result<State, Refused>, Option<Transition>) {
        let transition = self.refresh(now);
        let refused = self.refusal(mode, now).filter(|_| !self.lets_pass(mode));
        (refused.map_or(Ok(self.state), Err), transition)
    }

    /// The age of a call passed `over`.
    pub(super) fn slow(&mut self, call: &mut Call, now: Duration) -> Option<Transition> {
        if !self.counts(call) || call.slow.is_some() || call.since.is_none() || self.limits.slow_rate.is_none() {
            return None;
        }
        self.count_slow(call, false, now);
        self.judge(now)
    }

    /// A call does not wait for the application from now on. If it has been slow until now, it stays so.
    pub(super) fn hold(&mut self, call: &mut Call, for_client: bool, now: Duration) -> Option<Transition> {
        let transition = if self.is_over(call, now) { self.slow(call, now) } else { None };
        call.since = None;
        if let (true, Part::Probe(probe)) = (for_client, call.part) {
            self.probes.hold(probe, Some(now));
        }
        transition
    }

    /// The age of a call begins again.
    pub(super) fn resume(&mut self, call: &mut Call, now: Duration) {
        call.since = Some(now);
        if let Part::Probe(probe) = call.part {
            self.probes.hold(probe, None);
        }
    }

    /// A call ended.
    pub(super) fn settle(&mut self, mut call: Call, outcome: Outcome, now: Duration) -> Option<Transition> {
        if !self.counts(&call) {
            return None;
        }
        let newly_slow = call.slow.is_none() && self.is_over(&call, now);
        match outcome {
            Outcome::Success => self.ended(&mut call, false, newly_slow, now),
            Outcome::Failure(failure) => {
                let failed = self.settings.failures.contains(&failure);
                self.ended(&mut call, failed, newly_slow, now);
            }
            Outcome::Neutral => self.take_back(&call, now),
            Outcome::ClientLeft => self.left(&mut call, newly_slow, now),
        }
        self.judge(now)
    }

    /// Opens it until [`Core::close`] or [`Core::reset`].
    pub(super) fn open(&mut self, now: Duration) -> Option<Transition> {
        self.by_hand(Some(Hand::Open), State::Open, now)
    }

    /// Closes it with an empty window, also where the mode is force_open. From there on it is automatic.
    pub(super) fn close(&mut self, now: Duration) -> Option<Transition> {
        self.by_hand(Some(Hand::Closed), State::Closed, now)
    }

    /// Back to what the configuration says, closed with an empty window.
    pub(super) fn reset(&mut self, now: Duration) -> Option<Transition> {
        self.by_hand(None, State::Closed, now)
    }

    /// What the state is at this moment.
    pub(super) fn state(&self, now: Duration) -> State {
        match self.state {
            _ if self.is_forced_open(self.mode()) => State::Open,
            State::Open if now >= self.opens_until() => State::HalfOpen,
            state => state,
        }
    }

    pub(super) fn snapshot(&mut self, now: Duration) -> Snapshot {
        let state = self.state(now);
        let ends = state == State::Open && !self.is_forced_open(self.mode());
        Snapshot {
            state,
            since: self.since,
            by_hand: self.hand.is_some(),
            figures: if self.state == State::HalfOpen { self.probes.figures() } else { self.window.figures(now) },
            probes: self.probes.in_flight(),
            open_left: ends.then(|| self.opens_until().saturating_sub(now)),
        }
    }

    /// What time alone changes: open becomes half-open, and probes that were lost free their places.
    fn refresh(&mut self, now: Duration) -> Option<Transition> {
        match self.state {
            State::Closed => None,
            State::Open if self.hand == Some(Hand::Open) || now < self.opens_until() => None,
            State::Open => Some(self.go(State::HalfOpen, Why::Waited, Figures::default(), now)),
            State::HalfOpen => {
                self.probes.free_lost(now);
                self.judge(now)
            }
        }
    }

    fn refusal(&self, mode: Mode, now: Duration) -> Option<Refused> {
        if self.is_forced_open(mode) {
            return Some(Refused { retry_after: self.settings.open_for.get(), state: State::Open });
        }
        let until = match self.state {
            State::Closed => return None,
            State::Open => self.opens_until(),
            State::HalfOpen if self.probes.has_room() => return None,
            State::HalfOpen => self.probes.next_free().unwrap_or(now),
        };
        let retry_after = until.saturating_sub(now).min(self.settings.open_for.get());
        Some(Refused { retry_after, state: self.state })
    }

    /// What an operator did by hand goes before what a mode says.
    fn is_forced_open(&self, mode: Mode) -> bool {
        match self.hand {
            Some(Hand::Open) => true,
            Some(Hand::Closed) => false,
            None => mode == Mode::ForceOpen,
        }
    }

    fn lets_pass(&self, mode: Mode) -> bool {
        mode == Mode::Observe && self.hand != Some(Hand::Open)
    }

    fn opens_until(&self) -> Duration {
        self.since.saturating_add(self.settings.open_for.get())
    }

    /// Whether the outcome of a call still says something.
    pub(super) fn counts(&self, call: &Call) -> bool {
        call.generation == self.generation && !matches!(call.part, Part::None(_))
    }

    fn is_over(&self, call: &Call, now: Duration) -> bool {
        let over = self.settings.slow_call.map(|slow| slow.over.get());
        over.zip(call.since).is_some_and(|(over, since)| now.saturating_sub(since) >= over)
    }

    fn count_slow(&mut self, call: &mut Call, failed: bool, now: Duration) {
        let place = match call.part {
            Part::Probe(probe) => {
                self.probes.slow(probe);
                None
            }
            _ => Some(self.window.add(window::Call { failed, slow: true }, now)),
        };
        self.slow_in_a_row += 1;
        call.slow = Some(Slow { place, row: self.row });
    }

    /// A call ended with an outcome that counts.
    fn ended(&mut self, call: &mut Call, failed: bool, newly_slow: bool, now: Duration) {
        let was_slow = call.slow;
        if newly_slow {
            self.count_slow(call, failed, now);
        }
        match (call.part, was_slow) {
            (Part::Probe(probe), _) => self.probes.settle(probe, call.slow.is_some(), failed),
            (_, Some(Slow { place: Some(place), .. })) if failed => self.window.fail(place, now),
            (_, None) if !newly_slow => {
                self.window.add(window::Call { failed, slow: false }, now);
            }
            _ => {}
        }
        if failed {
            self.failed_in_a_row += 1;
        } else {
            self.failed_in_a_row = 0;
        }
        if !failed && call.slow.is_none() {
            self.slow_in_a_row = 0;
            self.row += 1;
        }
    }

    /// A call's client left: it is slow or nothing.
    fn left(&mut self, call: &mut Call, newly_slow: bool, now: Duration) {
        if newly_slow {
            self.count_slow(call, false, now);
        }
        if let Part::Probe(probe) = call.part {
            match call.slow {
                Some(_) => self.probes.settle(probe, true, false),
                None => self.probes.give_back(probe, false),
            }
        }
    }

    /// A call turned out to say nothing about the application.
    fn take_back(&mut self, call: &Call, now: Duration) {
        if let Part::Probe(probe) = call.part {
            self.probes.give_back(probe, call.slow.is_some());
        }
        if let Some(slow) = call.slow {
            if let Some(place) = slow.place {
                self.window.take_back_slow(place, now);
            }
            if slow.row == self.row {
                self.slow_in_a_row -= 1;
            }
        }
    }

    /// Whether what was counted changes the state.
    fn judge(&mut self, now: Duration) -> Option<Transition> {
        let (to, why, figures) = match self.state {
            State::Closed => {
                let figures = self.window.figures(now);
                (State::Open, self.too_bad(&figures)?, figures)
            }
            State::HalfOpen => match self.probes.verdict(&self.limits)? {
                Verdict::Good => (State::Closed, Why::ProbesGood, self.probes.figures()),
                Verdict::Failed => (State::Open, Why::ProbesFailed, self.probes.figures()),
                Verdict::Slow => (State::Open, Why::ProbesSlow, self.probes.figures()),
            },
            State::Open => return None,
        };
        Some(self.go(to, why, figures, now))
    }

    fn too_bad(&self, figures: &Figures) -> Option<Why> {
        let judged = figures.calls >= self.enough;
        if judged && self.limits.failed(figures.failed, figures.calls) {
            return Some(Why::FailureRate);
        }
        if judged && self.limits.slow(figures.slow, figures.calls) {
            return Some(Why::SlowRate);
        }
        if self.failed_in_a_row >= self.enough {
            return Some(Why::FailuresInARow(self.failed_in_a_row));
        }
        (self.slow_in_a_row >= self.enough).then_some(Why::SlowInARow(self.slow_in_a_row))
    }

    fn by_hand(&mut self, hand: Option<Hand>, to: State, now: Duration) -> Option<Transition> {
        let told = |core: &Core| if core.is_forced_open(core.mode()) { State::Open } else { core.state };
        let from = told(self);
        let figures = self.window.figures(now);
        self.hand = hand;
        let transition = self.go(to, Why::ByHand, figures, now);
        let to = told(self);
        (from != to).then_some(Transition { from, to, ..transition })
    }

    fn go(&mut self, to: State, why: Why, figures: Figures, now: Duration) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        self.generation += 1;
        self.window.clear();
        self.probes.clear();
        (self.failed_in_a_row, self.slow_in_a_row) = (0, 0);
        self.row += 1;
        Transition { from, to, why, figures }
    }
}
