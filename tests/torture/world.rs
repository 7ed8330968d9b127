//! A run: clients, a network, sidecars, perhaps a store, an application, and what is done to them; and what came of it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::application::Application;
use super::chaos;
use super::check::{self, Rule, Violation};
use super::client::{Payer, Payment};
use super::common::redis::RedisServer;
use super::common::within;
use super::history::{Book, Got, History, Verdict, What};
use super::relay::{Place, Relay};
use super::sidecar::{Sidecar, Store};

/// How many clients pay at the same time.
const CLIENTS: usize = 20;

/// How long everything may take to be known after the last blow: a record whose sidecar is gone is unknown after
/// `timeouts.total` and 5 s.
const CALM: Duration = Duration::from_secs(30);

/// What is tortured.
pub(super) struct Setup {
    pub(super) sidecars: usize,
    pub(super) redis: bool,
    /// How long.
    pub(super) time: Duration,
    /// Ends with the first double charge, which is what it is there to show.
    pub(super) doomed: bool,
}

/// What all threads of a run share.
pub(super) struct World {
    pub(super) book: Arc<Book>,
    until: Instant,
    doomed: bool,
    pub(super) shares_a_store: bool,
    failed: AtomicBool,
    /// Clients and sidecars, sidecars and the application, sidecars and their store.
    pub(super) clients: Relay,
    pub(super) applications: Arc<Relay>,
    pub(super) stores: Relay,
    /// Panics of sidecars.
    panics: Mutex<Vec<String>>,
}

/// What came of a run.
pub(super) struct Outcome {
    pub(super) history: History,
    pub(super) violations: Vec<Violation>,
    seed: u64,
    time: Duration,
    shares_a_store: bool,
}

impl World {
    /// Whether the blows go on.
    pub(super) fn goes_on(&self) -> bool {
        Instant::now() < self.until && self.lives()
    }

    /// Whether there is anything left to find.
    fn lives(&self) -> bool {
        !(self.failed.load(SeqCst) || self.doomed && self.book.doubled())
    }

    /// Waits, and says whether the blows go on.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while self.goes_on() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5).min(until.saturating_duration_since(Instant::now())));
        }
        self.goes_on()
    }

    /// Looks at the last words of a sidecar.
    pub(super) fn looks_at(&self, said: &str) {
        let panicked = said.lines().filter(|line| line.contains("panicked"));
        self.panics.lock().unwrap().extend(panicked.map(str::to_owned));
    }
}

/// Tells the others when its thread panics.
struct Falls<'a>(&'a World);

impl Drop for Falls<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, SeqCst);
        }
    }
}

/// Tortures it.
pub(super) fn run(setup: &Setup, seed: u64) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let book = Arc::new(Book::new());
    let mut seeds = fastrand::Rng::with_seed(seed);
    let mut relay = |place, targets| Relay::start(&runtime, place, targets, book.clone(), seeds.u64(..));
    let (clients, stores) = (relay(Place::Clients, setup.sidecars), relay(Place::Store, 1));
    let applications = Arc::new(relay(Place::Application, 1));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let network = applications.clone();
    let application = Application::start(listener, book.clone(), seeds.u64(..), move || network.cut());
    applications.point(0, Some(application.address));
    let redis = setup.redis.then(RedisServer::durable);
    if let Some(redis) = &redis {
        stores.point(0, Some(redis.addr()));
    }
    let store = if setup.redis { Store::Redis(stores.address) } else { Store::Local };
    let mut sidecars: Vec<_> = (0..setup.sidecars).map(|_| Sidecar::new(applications.address, &store)).collect();
    for (which, sidecar) in sidecars.iter_mut().enumerate() {
        clients.point(which, Some(sidecar.start()));
    }
    let until = Instant::now() + setup.time;
    let (doomed, shares_a_store) = (setup.doomed, setup.redis);
    let (failed, panics) = (AtomicBool::new(false), Mutex::default());
    let world = World { book, until, doomed, shares_a_store, failed, clients, applications, stores, panics };
    let paid = blows(&world, setup, seed, &mut sidecars, redis.as_ref());
    if world.lives() {
        audit(&world, &paid);
        within(CALM, || !application.is_busy());
    }
    for sidecar in &mut sidecars {
        world.looks_at(&sidecar.end());
    }
    let mut history = std::mem::take(&mut *world.book.open());
    history.events.sort_by_key(|event| event.from);
    let mut violations = check::check(&history);
    // Nobody was given the time to have an answer.
    violations.retain(|violation| !(doomed && violation.rule == Rule::NeverAnswered));
    let panics = world.panics.lock().unwrap().clone();
    assert!(panics.is_empty(), "with OUTBOARD_TORTURE_SEED={seed}: {}", panics.join("\n"));
    Outcome { history, violations, seed, time: setup.time, shares_a_store }
}

/// Clients pay while things break, and have their answers when all is calm; what they paid for.
fn blows(
    world: &World,
    setup: &Setup,
    seed: u64,
    sidecars: &mut [Sidecar],
    redis: Option<&RedisServer>,
) -> Vec<Vec<Payment>> {
    let random = |number: u64| fastrand::Rng::with_seed(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let pays = |client: usize| {
        let _falls = Falls(world);
        let mut payer = Payer::new(&world.book, world.clients.address, random(client as u64), setup.sidecars > 1);
        let mut paid: Vec<Payment> = Vec::new();
        while world.goes_on() {
            let payment = Payment::draw(&mut payer.random, seed, client, paid.len());
            world.book.begins(&payment.key, payment.amount);
            payer.pay(&payment, &|| Instant::now() < world.until + CALM && world.lives());
            paid.push(payment);
            if payer.random.u8(0..8) == 0 {
                let old = payer.random.usize(0..paid.len());
                payer.asks_again(&paid[old], Instant::now());
            }
        }
        paid
    };
    let pays = &pays;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _falls = Falls(world);
            chaos::kills(world, sidecars, redis, random(1000));
        });
        scope.spawn(move || chaos::cuts(world, random(1001)));
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || pays(client))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

/// Everybody asks for everything once more.
fn audit(world: &World, paid: &[Vec<Payment>]) {
    let until = Instant::now() + CALM;
    std::thread::scope(|scope| {
        for (client, paid) in paid.iter().enumerate() {
            let random = fastrand::Rng::with_seed(client as u64);
            let mut payer = Payer::new(&world.book, world.clients.address, random, false);
            scope.spawn(move || {
                for payment in paid {
                    payer.asks_again(payment, until);
                }
            });
        }
    });
}

impl Outcome {
    /// Nothing that must not be, and enough of everything that the run is there for.
    #[track_caller]
    pub(super) fn holds(&self) {
        self.tells();
        let mut told = String::new();
        for violation in self.violations.iter().take(10) {
            let story = check::story(&self.history, &violation.key);
            told += &format!("\n{:?} {}: {}\n{story}\n", violation.rule, violation.key, violation.detail);
        }
        let count = self.violations.len();
        assert!(count == 0, "with OUTBOARD_TORTURE_SEED={} {count} violations:\n{told}", self.seed);
        // A shorter run may miss one of them.
        let counts = if self.time < Duration::from_secs(10) { Vec::new() } else { self.counts() };
        for (what, count) in counts {
            assert!(count > 0, "nothing in this run (OUTBOARD_TORTURE_SEED={}) was {what}", self.seed);
        }
    }

    /// How often the ways to go wrong were taken: a run without them shows nothing.
    fn counts(&self) -> Vec<(&'static str, usize)> {
        let history = &self.history;
        let tries = |is: &dyn Fn(&Got) -> bool| history.tries.values().flatten().filter(|t| is(&t.got)).count();
        let events = |is: &dyn Fn(&What) -> bool| history.events.iter().filter(|e| is(&e.what)).count();
        let receipts = |is: Verdict| history.receipts.values().flatten().filter(|r| r.verdict == is).count();
        let mut counts = vec![
            ("paid", history.tries.len()),
            ("charged", history.ledger.len()),
            ("answered", tries(&|got| matches!(got, Got::Answer { .. }))),
            ("replayed", tries(&|got| matches!(got, Got::Answer { replayed: true, .. }))),
            ("refused", tries(&|got| matches!(got, Got::Refusal { .. }))),
            ("left without an answer", tries(&|got| matches!(got, Got::Nothing(_)))),
            ("released", receipts(Verdict::Released)),
            ("too long to keep", receipts(Verdict::NotKept)),
            ("unknown", check::unknown(history).len()),
            ("killed", events(&|what| *what == What::Killed)),
            ("cut", events(&|what| matches!(what, What::Network(Some(_))))),
        ];
        if self.shares_a_store {
            counts.push(("done to the store", events(&|what| *what == What::Store)));
        }
        counts
    }

    /// What happened, for who reads the output.
    pub(super) fn tells(&self) {
        let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
        let mut rules: BTreeMap<Rule, usize> = BTreeMap::new();
        for tried in self.history.tries.values().flatten() {
            let why = match &tried.got {
                Got::Nothing(why) => why,
                Got::Refusal { reason, .. } => reason.as_str(),
                Got::Answer { .. } => continue,
            };
            *refused.entry(why).or_default() += 1;
        }
        for violation in &self.violations {
            *rules.entry(violation.rule).or_default() += 1;
        }
        println!("seed {}: {:?}\nwithout an answer: {refused:?}\nviolations: {rules:?}", self.seed, self.counts());
    }

    /// Whether somebody was charged twice.
    pub(super) fn found_a_double_charge(&self) -> bool {
        self.violations.iter().any(|violation| violation.rule == Rule::ChargedTwice)
    }
}
