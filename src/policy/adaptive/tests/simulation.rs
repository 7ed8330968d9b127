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

#[test]
fn explore() {
    for noise in [0.0, 0.2] {
        for (application, settings) in applications() {
            let application = Application { noise, ..application };
            for factor in [0.5, 2.0] {
                let changed = Application { c: application.c * factor, ..application };
                let settings = Settings { min: if changed.c < 8.0 { 1 } else { settings.min }, ..settings };
                let mut sim = Simulation::new(Adaptive::new(settings), application);
                let first = sim.until(60.0);
                let l1 = sim.limiter.limit;
                let second = sim.until(120.0);
                let l2 = sim.limiter.limit;
                sim.application = changed;
                sim.until(180.0);
                let l3 = sim.limiter.limit;
                let third = sim.until(240.0);
                let (b1, b2) = (application.best(&settings), changed.best(&settings));
                let bad = if second < 0.85 * b1 || third < 0.85 * b2 { "  <<<" } else { "" };
                println!(
                    "noise {noise} base {} k {} c {}->{}: first {:.2} then {:.2} changed {:.2}  limits {l1} {l2} {l3} {}{bad}",
                    application.base,
                    application.k,
                    application.c,
                    changed.c,
                    first / b1,
                    second / b1,
                    third / b2,
                    sim.limiter.limit
                );
            }
        }
    }
}
