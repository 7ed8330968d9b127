//! What is sent: the same requests in the same order to whoever is measured.

use std::sync::Arc;
use std::time::Duration;

use super::api::schema::{MERCHANTS, PAYMENTS};
use super::zipf::Zipf;

/// A load: who sends what for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The same seed makes the same requests.
    pub seed: u64,
    /// Each sends its next request when it has the whole answer to its last.
    pub clients: usize,
    /// No request is begun after this.
    pub duration: Duration,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Create,
    Refund,
    Get,
    List,
    Config,
    Methods,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Kind; 6] = [Kind::Create, Kind::Refund, Kind::Get, Kind::List, Kind::Config, Kind::Methods];

    /// Whether it changes nothing.
    pub fn is_read(self) -> bool {
        !matches!(self, Kind::Create | Kind::Refund)
    }

    /// The name of the route that takes it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Create => "create-payment",
            Kind::Refund => "refund-payment",
            Kind::Get => "get-payment",
            Kind::List => "list-payments",
            Kind::Config => "merchant-config",
            Kind::Methods => "payment-methods",
        }
    }

    /// Of a hundred requests 6 create, 2 refund, 92 read.
    fn of_hundred(n: u32) -> Kind {
        match n {
            0..6 => Kind::Create,
            6..8 => Kind::Refund,
            8..42 => Kind::Get,
            42..68 => Kind::List,
            68..88 => Kind::Config,
            _ => Kind::Methods,
        }
    }
}

/// One request of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// From 1. For all but Get and Refund.
    pub(super) merchant: u32,
    /// From 1. For Get.
    pub(super) payment: u32,
    /// For Create.
    pub(super) amount: u32,
    /// For Create.
    pub(super) last4: u32,
}

impl Plan {
    /// What one client sends, without end.
    pub(super) fn steps(&self, client: usize, popularity: &Popularity) -> impl Iterator<Item = Step> + Send + use<> {
        let mixed = self.seed.wrapping_add((client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut rng = fastrand::Rng::with_seed(mixed);
        let popularity = popularity.clone();
        std::iter::repeat_with(move || Step {
            kind: Kind::of_hundred(rng.u32(0..100)),
            merchant: popularity.0.draw(&mut rng),
            payment: popularity.1.draw(&mut rng),
            amount: rng.u32(100..50_000),
            last4: rng.u32(0..10_000),
        })
    }
}

/// How often each merchant and each payment is asked for; shared by the clients of a plan.
#[derive(Debug, Clone)]
pub(super) struct Popularity(Arc<Zipf>, Arc<Zipf>);

impl Popularity {
    /// Of the seeded merchants and payments.
    pub(super) fn of_the_sample() -> Self {
        Popularity(Arc::new(Zipf::new(MERCHANTS)), Arc::new(Zipf::new(PAYMENTS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, client: usize) -> Vec<Step> {
        let plan = Plan { seed, clients: 2, duration: Duration::ZERO };
        plan.steps(client, &Popularity::of_the_sample()).take(10_000).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        assert_eq!(steps(42, 0), steps(42, 0));
        assert_ne!(steps(42, 0), steps(42, 1));
        assert_ne!(steps(42, 0), steps(43, 0));
    }

    #[test]
    fn the_mix_is_what_is_said() {
        let steps = steps(42, 0);
        let reads = steps.iter().filter(|s| s.kind.is_read()).count();
        assert!((9_100..9_300).contains(&reads), "{reads} of 10000");
        for kind in Kind::ALL {
            assert!(steps.iter().any(|s| s.kind == kind), "{kind:?}");
        }
        assert!(steps.iter().all(|s| (1..=MERCHANTS).contains(&s.merchant) && (1..=PAYMENTS).contains(&s.payment)));
    }
}
