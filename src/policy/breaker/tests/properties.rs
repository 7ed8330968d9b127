use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Admit {
        lease: u64,
        mode: Option<Mode>,
    },
    Check,
    Slow(prop::sample::Index),
    Hold(prop::sample::Index),
    HoldForClient(prop::sample::Index),
    Resume(prop::sample::Index),
    Settle(prop::sample::Index, Outcome),
    Drop(prop::sample::Index),
    /// Never settled and never dropped.
    Forget(prop::sample::Index),
    Wait(u64),
    Open,
    Close,
    Reset,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Success),
        3 => Just(FAILED),
        1 => Just(Outcome::Failure(Failure::Status(501))),
        1 => Just(Outcome::Neutral),
        1 => Just(Outcome::ClientLeft),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Enforce), Just(Mode::Observe), Just(Mode::ForceOpen)]
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        12 => (1u64..5000).prop_map(|lease| Step::Admit { lease, mode: None }),
        2 => (1u64..5000, mode()).prop_map(|(lease, mode)| Step::Admit { lease, mode: Some(mode) }),
        1 => Just(Step::Check),
        4 => which().prop_map(Step::Slow),
        1 => which().prop_map(Step::Hold),
        2 => which().prop_map(Step::HoldForClient),
        1 => which().prop_map(Step::Resume),
        10 => (which(), outcome()).prop_map(|(which, outcome)| Step::Settle(which, outcome)),
        2 => which().prop_map(Step::Drop),
        1 => which().prop_map(Step::Forget),
        6 => (0u64..3000).prop_map(Step::Wait),
        1 => prop_oneof![Just(Step::Open), Just(Step::Close), Just(Step::Reset)],
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let window = prop_oneof![
        (1u64..5000).prop_map(|ms| Window::Time(Span::from_millis(ms))),
        (1u32..12).prop_map(Window::Calls)
    ];
    // Never 0s: every call would be slow at once and none could close it, so the configuration refuses it.
    let slow = prop::option::of((1u64..3000, 0u32..=100));
    (window, 0u32..8, 0u32..=100, slow, 0u64..4000, 0u32..7, mode()).prop_map(
        |(window, min_requests, rate, slow, open_for, half_open_probes, mode)| Settings {
            window,
            min_requests,
            failure_rate: Ratio::percent(f64::from(rate)),
            slow_call: slow
                .map(|(over, rate)| SlowCall { over: Span::from_millis(over), rate: Ratio::percent(f64::from(rate)) }),
            open_for: Span::from_millis(open_for),
            half_open_probes,
            failures: vec![Failure::Status(500)],
            mode,
        },
    )
}

/// A ticket, when its lease is over, and whether it has a probe's place.
struct Held {
    ticket: Ticket,
    until: Duration,
    /// Until when it keeps its place while it waits for its client.
    patience: Option<Duration>,
    /// The transitions there had been when it was admitted half-open: those of its time.
    probe: Option<usize>,
}

impl Held {
    fn has_place(&self, now: Duration) -> bool {
        self.until > now && self.patience.is_none_or(|patience| patience > now)
    }
}

struct Run {
    bench: Bench,
    held: Vec<Held>,
    most: usize,
}

impl Run {
    fn new(settings: &Settings) -> Run {
        Run { bench: Bench::new(settings), held: Vec::new(), most: settings.half_open_probes.max(1) as usize }
    }

    fn take(&mut self, which: &prop::sample::Index) -> Option<Ticket> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(which.index(self.held.len())).ticket)
    }

    fn on(&mut self, which: &prop::sample::Index, act: impl FnOnce(&mut Ticket)) {
        self.on_held(which, |held| act(&mut held.ticket));
    }

    fn on_held(&mut self, which: &prop::sample::Index, act: impl FnOnce(&mut Held)) {
        if !self.held.is_empty() {
            let which = which.index(self.held.len());
            act(&mut self.held[which]);
        }
    }

    /// Waits for its client, or no more. A place that is lost stays lost.
    fn waits(&mut self, which: &prop::sample::Index, for_client: bool) {
        let now = self.bench.now();
        self.on_held(which, |held| {
            if held.has_place(now) {
                held.patience = for_client.then(|| now + Duration::from_secs(1));
            }
            if for_client { held.ticket.hold_for_client() } else { held.ticket.resume() }
        });
    }

    fn step(&mut self, step: &Step) {
        let breaker = self.bench.breaker.clone();
        match step {
            Step::Admit { lease, mode } => {
                let (lease, before) = (Duration::from_millis(*lease), self.told());
                let checked = mode.map_or_else(|| breaker.check(), |mode| breaker.check_in(mode));
                let admitted =
                    mode.map_or_else(|| breaker.admit(lease), |mode| breaker.admit_in(mode, lease, self.bench.now()));
                // Nothing happened between the two, so they agree.
                assert_eq!(admitted.as_ref().map(|_| ()).map_err(|refused| *refused), checked.map(drop));
                let Ok(ticket) = admitted else { return };
                let half_open = breaker.state() == State::HalfOpen && ticket.would_refuse().is_none();
                let probe = half_open.then(|| before.max(self.told()));
                self.held.push(Held { ticket, until: self.bench.now() + lease, patience: None, probe });
            }
            Step::Check => drop(breaker.check()),
            Step::Slow(which) => self.on(which, Ticket::slow),
            Step::Hold(which) => self.on(which, Ticket::hold),
            Step::HoldForClient(which) => self.waits(which, true),
            Step::Resume(which) => self.waits(which, false),
            Step::Settle(which, outcome) => {
                if let Some(ticket) = self.take(which) {
                    ticket.settle(*outcome);
                }
            }
            Step::Drop(which) => drop(self.take(which)),
            Step::Forget(which) => std::mem::forget(self.take(which)),
            Step::Wait(millis) => self.bench.wait(*millis),
            Step::Open => breaker.open(),
            Step::Close => breaker.close(),
            Step::Reset => breaker.reset(),
        }
    }

    fn told(&self) -> usize {
        self.bench.told.lock().len()
    }

    /// What holds after every step.
    fn hold_true(&self) {
        let (now, told) = (self.bench.now(), self.told());
        let probes = self.held.iter().filter(|h| h.probe == Some(told) && h.has_place(now)).count();
        assert!(probes <= self.most, "{probes} probes at once, at most {}", self.most);
        let shown = self.bench.breaker.snapshot();
        assert!(shown.probes as usize <= self.most);
        let Figures { calls, failed, slow } = shown.figures;
        assert!(failed <= calls && slow <= calls, "{:?}", shown.figures);
        assert!((0.0..=1.0).contains(&shown.figures.failure_rate()));
        assert!((0.0..=1.0).contains(&shown.figures.slow_rate()));
    }

    /// Each transition goes on from where the last one led, and changes something.
    fn told_in_order(&self, mut state: State) {
        for transition in self.bench.told.lock().iter() {
            assert_eq!(transition.from, state);
            assert_ne!(transition.to, state);
            state = transition.to;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_it_counts_right_and_is_never_wedged(
        settings in settings(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut run = Run::new(&settings);
        let first = run.bench.state();
        for step in &steps {
            run.step(step);
            run.hold_true();
        }
        // Forced open it tells nothing, unless a switch lets it run beneath.
        if settings.mode != Mode::ForceOpen {
            run.told_in_order(first);
        }
        // Whatever was done, by hand too: after the longest lease and `open_for`, good calls close it.
        let breaker = run.bench.breaker.clone();
        if run.bench.breaker.snapshot().by_hand || settings.mode == Mode::ForceOpen {
            breaker.close();
        }
        run.bench.wait(5000 + 4000);
        let mut good = 0;
        while run.bench.state() != State::Closed {
            if let Ok(ticket) = breaker.admit(LEASE) { ticket.settle(Outcome::Success) }
            good += 1;
            prop_assert!(good <= 2 * run.most, "wedged: {:?}", breaker);
        }
        prop_assert!(breaker.admit(LEASE).is_ok());
    }

    #[test]
    fn what_says_nothing_never_opens_it(
        settings in settings(),
        steps in prop::collection::vec((0u64..4000, any::<bool>(), any::<bool>()), 1..100),
    ) {
        prop_assume!(settings.mode != Mode::ForceOpen);
        let bench = Bench::new(&settings);
        for (waits, client_waits, left) in steps {
            let mut ticket = bench.admit();
            if client_waits {
                ticket.hold();
                bench.wait(waits);
            }
            if left { drop(ticket) } else { ticket.settle(Outcome::Neutral) }
            bench.wait(waits);
            prop_assert_eq!((bench.state(), bench.figures()), (State::Closed, (0, 0, 0)));
        }
    }

    #[test]
    fn good_calls_never_open_it(settings in settings(), gaps in prop::collection::vec(0u64..500, 1..200)) {
        prop_assume!(settings.mode != Mode::ForceOpen);
        let bench = Bench::new(&settings);
        for gap in gaps {
            bench.wait(gap);
            bench.call(Outcome::Success);
            prop_assert_eq!(bench.state(), State::Closed);
        }
    }
}

#[test]
fn many_threads_share_it_and_it_stays_whole() {
    let settings = with(|s| (s.min_requests, s.open_for) = (5, Span::from_millis(0)));
    let bench = Bench::new(&settings);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let bench = &bench;
            scope.spawn(move || {
                for call in 0..5000u64 {
                    let Ok(mut ticket) = bench.breaker.admit(LEASE) else { continue };
                    match (call * 7 + thread) % 5 {
                        0 => ticket.settle(FAILED),
                        1 => drop(ticket),
                        2 => ticket.slow(),
                        _ => ticket.settle(Outcome::Success),
                    }
                    bench.micros.fetch_add(call % 3, Ordering::Relaxed);
                }
            });
        }
    });
    let shown = bench.breaker.snapshot();
    assert!(shown.figures.failed <= shown.figures.calls && shown.figures.slow <= shown.figures.calls);
    assert_eq!(shown.probes, 0, "all of them ended");
}
