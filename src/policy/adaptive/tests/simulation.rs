//! An application in virtual time, asked as often as the limit lets it be asked.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// latency = base + k · max(0, n − c), with n in flight when a request begins.
#[derive(Debug, Clone, Copy)]
struct Application {
    base: f64,
    k: f64,
    c: f64,
    /// The latency is off by up to this share.
    noise: f64,
}

impl Application {
    fn latency(&self, in_flight: u32) -> f64 {
        self.base + self.k * (f64::from(in_flight) - self.c).max(0.0)
    }

    /// The most answers in a second that any fixed limit gives.
    fn best(&self, settings: &Settings) -> f64 {
        (settings.min..=settings.max).map(|n| f64::from(n) / self.latency(n)).fold(0.0, f64::max)
    }
}

/// What is simulated: the limit in force is asked for, samples are told.
trait Limiter {
    fn now(&self) -> u32;
    fn tell(&mut self, latency: Duration, in_flight: u32, now: Duration);
}

impl Limiter for Box<dyn Limiter> {
    fn now(&self) -> u32 {
        self.as_ref().now()
    }

    fn tell(&mut self, latency: Duration, in_flight: u32, now: Duration) {
        self.as_mut().tell(latency, in_flight, now);
    }
}

impl Limiter for Adaptive {
    fn now(&self) -> u32 {
        self.limit()
    }

    fn tell(&mut self, latency: Duration, in_flight: u32, now: Duration) {
        self.sample(latency, in_flight, Outcome::Ok, now);
    }
}

struct Simulation<L> {
    limiter: L,
    application: Application,
    /// When each request in flight ends, and when it began, in nanoseconds.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    seed: u64,
    now: u64,
}

impl<L: Limiter> Simulation<L> {
    fn new(limiter: L, application: Application) -> Self {
        Simulation { limiter, application, ends: BinaryHeap::new(), seed: 1, now: 0 }
    }

    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Runs on until this second; answers in a second.
    fn until(&mut self, second: f64) -> f64 {
        let (from, to) = (self.now, (second * 1e9) as u64);
        let mut answers = 0;
        loop {
            while (self.ends.len() as u32) < self.limiter.now() {
                let off = 1.0 + self.application.noise * (2.0 * self.random() - 1.0);
                let latency = self.application.latency(self.ends.len() as u32 + 1) * off;
                self.ends.push(Reverse((self.now + (latency * 1e9) as u64, self.now)));
            }
            let Some(Reverse((end, began))) = self.ends.pop_if_before(to) else { break };
            self.now = end;
            answers += 1;
            let in_flight = self.ends.len() as u32 + 1;
            self.limiter.tell(Duration::from_nanos(end - began), in_flight, Duration::from_nanos(end));
        }
        self.now = to;
        f64::from(answers) / ((to - from) as f64 / 1e9)
    }
}

trait PopIfBefore {
    fn pop_if_before(&mut self, at: u64) -> Option<Reverse<(u64, u64)>>;
}

impl PopIfBefore for BinaryHeap<Reverse<(u64, u64)>> {
    fn pop_if_before(&mut self, at: u64) -> Option<Reverse<(u64, u64)>> {
        self.peek().is_some_and(|Reverse((end, _))| *end <= at).then(|| self.pop())?
    }
}

fn applications() -> Vec<(Application, Settings)> {
    let mut all = Vec::new();
    for (base, c) in [(0.050, 10.0), (0.050, 40.0), (0.050, 5.0), (0.005, 20.0)] {
        for k in [0.001, 0.002, 0.005, 0.010, 0.020] {
            let min = if c < 10.0 { 1 } else { 8 };
            all.push((Application { base, k, c, noise: 0.0 }, Settings { initial: 32, min, max: 512 }));
        }
    }
    all
}

/// Both ways in which c changes after a minute and a half, with and without noise. The share of the best fixed limit's
/// throughput after the first minute, and from a minute after the change on.
fn shares(limiter: impl Fn(Settings) -> Box<dyn Limiter>, noise: f64, factor: f64) -> Vec<(String, f64, f64)> {
    let mut all = Vec::new();
    for (application, settings) in applications() {
        let application = Application { noise, ..application };
        let changed = Application { c: application.c * factor, ..application };
        // The best limit has to lie in the bounds.
        let settings = Settings { min: if changed.c < 8.0 { 1 } else { settings.min }, ..settings };
        let mut simulation = Simulation::new(limiter(settings), application);
        simulation.until(60.0);
        let before = simulation.until(90.0) / application.best(&settings);
        simulation.application = changed;
        simulation.until(150.0);
        let after = simulation.until(180.0) / changed.best(&settings);
        all.push((format!("{application:?} then c {}", changed.c), before, after));
    }
    all
}

fn adaptive(settings: Settings) -> Box<dyn Limiter> {
    Box::new(Adaptive::new(settings))
}

fn finds_the_best_within_15_percent(noise: f64, factor: f64) {
    for (what, before, after) in shares(adaptive, noise, factor) {
        assert!(before >= 0.85, "{what}: {before:.3} of the best after a minute");
        assert!(after >= 0.85, "{what}: {after:.3} of the best a minute after the change");
    }
}

#[test]
fn within_a_minute_and_again_after_the_application_lost_half() {
    finds_the_best_within_15_percent(0.0, 0.5);
}

#[test]
fn within_a_minute_and_again_after_the_application_got_twice_as_much() {
    finds_the_best_within_15_percent(0.0, 2.0);
}

#[test]
fn within_a_minute_and_again_after_a_loss_with_noise() {
    finds_the_best_within_15_percent(0.2, 0.5);
}

#[test]
fn within_a_minute_and_again_after_a_gain_with_noise() {
    finds_the_best_within_15_percent(0.2, 2.0);
}

/// Envoy's gradient controller with its defaults, as it is published: the limit goes by the ratio of the latency at a limit
/// of 3, taken once a minute, to the present one, with a buffer of a quarter and headroom of the square root.
struct Gradient {
    settings: Settings,
    limit: u32,
    least: f64,
    /// The latencies of the present window, and when it began.
    window: (Vec<f64>, Duration),
    pinned: bool,
    pinned_at: Duration,
}

impl Limiter for Gradient {
    fn now(&self) -> u32 {
        if self.pinned { 3 } else { self.limit }
    }

    fn tell(&mut self, latency: Duration, in_flight: u32, now: Duration) {
        if now.saturating_sub(latency) < self.window.1 || (self.pinned && in_flight > 3) {
            return;
        }
        self.window.0.push(latency.as_secs_f64());
        let over = match self.pinned {
            true => self.window.0.len() >= 50,
            false => now >= self.window.1 + Duration::from_millis(100) + latency,
        };
        if !over {
            return;
        }
        self.window.0.sort_by(f64::total_cmp);
        let median = self.window.0[self.window.0.len() / 2];
        if self.pinned {
            (self.least, self.pinned, self.pinned_at) = (median, false, now);
        } else {
            let limit = f64::from(self.limit) * (self.least * 1.25 / median).clamp(0.5, 2.0);
            self.limit = ((limit + limit.sqrt()) as u32).clamp(self.settings.min, self.settings.max);
            self.pinned = now >= self.pinned_at + Duration::from_secs(60);
        }
        self.window = (Vec::new(), now);
    }
}

#[test]
fn a_gradient_of_latencies_alone_misses_it() {
    let gradient = |settings: Settings| -> Box<dyn Limiter> {
        let (window, pinned_at) = ((Vec::new(), Duration::ZERO), Duration::ZERO);
        Box::new(Gradient { settings, limit: settings.initial, least: 0.0, window, pinned: true, pinned_at })
    };
    let all = shares(gradient, 0.0, 0.5);
    let missed = all.iter().filter(|(_, before, _)| *before < 0.85).count();
    let worst = all.iter().map(|(_, before, _)| *before).fold(1.0, f64::min);
    assert!(missed >= 8 && worst < 0.6, "{missed} of {} missed, the worst at {worst:.2}", all.len());
}

#[test]
fn a_slow_application_is_followed_as_well() {
    let application = Application { base: 2.0, k: 0.5, c: 4.0, noise: 0.1 };
    let settings = Settings { initial: 16, min: 1, max: 64 };
    let mut simulation = Simulation::new(Adaptive::new(settings), application);
    simulation.until(600.0);
    let share = simulation.until(900.0) / application.best(&settings);
    assert!(share >= 0.85, "{share:.3} of two answers in a second");
}
