//! How an endpoint is chosen among several.
//!
//! The core keeps what a way of choosing has to remember: whose turn it is, how fast each endpoint has been, the hash of
//! its name. What changes by the moment (who is usable, how much is in flight) is asked for through a view, the seed and
//! the time come in as arguments.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod ewma;
mod hash;
mod settings;
pub mod slow_start;

use ewma::Ewma;
pub use hash::hash_key;
pub use settings::LoadBalance;

/// What is known of an endpoint at the moment of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointView {
    /// It may be chosen: in rotation, below its limit.
    pub usable: bool,
    /// Attempts that are on their way to it.
    pub in_flight: u32,
    /// Its share of the requests that it would get, in percent; less than all of them while it starts slowly. The rest
    /// of the choices it sits out, where another is usable.
    pub share: u8,
}

/// The endpoints as one choice sees them.
struct Sight<'v> {
    view: &'v dyn Fn(usize) -> EndpointView,
    /// By what it is decided who sits this choice out, and the numbers of the endpoints in it; none: nobody does.
    draw: Option<u64>,
    names: &'v [u64],
}

impl Sight<'_> {
    fn of(&self, endpoint: usize) -> EndpointView {
        let seen = (self.view)(endpoint);
        // By name where there are names: the place of an endpoint moves when another comes or goes.
        let number = || self.names.get(endpoint).copied().unwrap_or(endpoint as u64);
        let out = self
            .draw
            .is_some_and(|draw| seen.share < slow_start::WHOLE && slow_start::sits_out(draw, number(), seen.share));
        EndpointView { usable: seen.usable && !out, ..seen }
    }
}

/// Chooses among the endpoints of one upstream, which are numbered from 0.
#[derive(Debug)]
pub struct Balancer {
    endpoints: usize,
    way: Way,
}

#[derive(Debug)]
enum Way {
    RoundRobin(AtomicUsize),
    LeastRequest,
    PeakEwma(Vec<Ewma>),
    /// The hash of each endpoint's name.
    ConsistentHash(Vec<u64>),
}

impl Balancer {
    /// A balancer for endpoints of these names; the names matter to consistent_hash alone.
    pub fn new<S: AsRef<str>>(way: LoadBalance, endpoints: &[S]) -> Self {
        let way = match way {
            LoadBalance::RoundRobin => Way::RoundRobin(AtomicUsize::new(0)),
            LoadBalance::LeastRequest => Way::LeastRequest,
            LoadBalance::PeakEwma => Way::PeakEwma(endpoints.iter().map(|_| Ewma::default()).collect()),
            LoadBalance::ConsistentHash => {
                Way::ConsistentHash(endpoints.iter().map(|e| hash_key(e.as_ref().as_bytes())).collect())
            }
        };
        Balancer { endpoints: endpoints.len(), way }
    }

    /// The endpoint for the next attempt; None: none is usable.
    ///
    /// `seed` is random, `key` is the hash of what consistent_hash goes by ([`hash_key`]; without one the seed takes its
    /// place), `now` is the time since some fixed moment.
    ///
    /// Who starts slowly sits a part of the choices out: by the seed, but with consistent_hash by the key. So each key
    /// returns home at one moment of the slow start, and until then goes where it went while its endpoint was out; it
    /// never goes back and forth.
    pub fn choose(
        &self,
        view: &dyn Fn(usize) -> EndpointView,
        seed: u64,
        key: Option<u64>,
        now: Duration,
    ) -> Option<usize> {
        if self.endpoints == 1 {
            return view(0).usable.then_some(0);
        }
        let (draw, names) = match &self.way {
            Way::ConsistentHash(names) => (key.unwrap_or(seed), names.as_slice()),
            _ => (seed, &[][..]),
        };
        let chosen = self.pick(&Sight { view, draw: Some(draw), names }, seed, key, now);
        // All that are left may sit it out: then it is one of them all the same.
        chosen.or_else(|| self.pick(&Sight { view, draw: None, names }, seed, key, now))
    }

    fn pick(&self, sight: &Sight<'_>, seed: u64, key: Option<u64>, now: Duration) -> Option<usize> {
        match &self.way {
            Way::RoundRobin(turn) => self.next_in_turn(turn, sight),
            Way::LeastRequest => self.better_of_two(sight, seed, |_, view| f64::from(view.in_flight)),
            Way::PeakEwma(latencies) => self.better_of_two(sight, seed, |endpoint, view| {
                latencies.get(endpoint).map_or(0.0, |latency| latency.cost(view.in_flight, now))
            }),
            Way::ConsistentHash(names) => {
                hash::highest(names, key.unwrap_or(seed), |endpoint| sight.of(endpoint).usable)
            }
        }
    }

    /// Takes down how long an endpoint took to answer. peak_ewma alone listens.
    pub fn observe(&self, endpoint: usize, latency: Duration, now: Duration) {
        if let Way::PeakEwma(latencies) = &self.way
            && let Some(ewma) = latencies.get(endpoint)
        {
            ewma.observe(latency, now);
        }
    }

    /// The next usable one, and the turn goes on behind it: with some of them out the rest still share evenly.
    fn next_in_turn(&self, turn: &AtomicUsize, sight: &Sight<'_>) -> Option<usize> {
        let next = |at: usize| {
            let found = (0..self.endpoints).map(|step| (at + step) % self.endpoints).find(|e| sight.of(*e).usable)?;
            Some((found, (found + 1) % self.endpoints))
        };
        let mut at = turn.load(Ordering::Relaxed);
        loop {
            let (chosen, after) = next(at)?;
            match turn.compare_exchange_weak(at, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(chosen),
                Err(moved) => at = moved,
            }
        }
    }

    /// The cheaper of two that are drawn among the usable ones; the first drawn where they cost the same.
    fn better_of_two(&self, sight: &Sight<'_>, seed: u64, cost: impl Fn(usize, EndpointView) -> f64) -> Option<usize> {
        let usable = || (0..self.endpoints).map(|e| (e, sight.of(e))).filter(|(_, v)| v.usable);
        let count = usable().count() as u64;
        if count == 0 {
            return None;
        }
        // Two draws without putting back, from the two halves of the seed.
        let first = (seed >> 32) % count;
        let second = if count > 1 { (first + 1 + (seed & 0xffff_ffff) % (count - 1)) % count } else { first };
        // The view may change between the passes, so the places that were drawn may be gone: then the first is taken.
        let (mut a, mut b) = (None, None);
        for (place, candidate) in usable().enumerate() {
            a = a.or((place as u64 == first).then_some(candidate));
            b = b.or((place as u64 == second).then_some(candidate));
        }
        match (a, b) {
            (Some((a, a_view)), Some((b, b_view))) => Some(if cost(b, b_view) < cost(a, a_view) { b } else { a }),
            (Some((one, _)), None) | (None, Some((one, _))) => Some(one),
            (None, None) => usable().next().map(|(e, _)| e),
        }
    }
}

#[cfg(test)]
mod tests;
