//! What is sent: the same requests in the same order to whoever is measured.
//!
//! The mix is that of a checkout. Of a hundred requests 74 are the two reads of a payment page, before anybody pays;
//! 10 look at a payment, 8 at the list of a merchant's newest; 6 pay and 2 give back. Both kinds of writes change the
//! merchant's list, which is therefore seldom asked for twice between two changes: about half of the lists, and every
//! first look at a new payment, have to come from the application, whoever stands before it.

use std::time::Duration;

use super::api::schema::{MERCHANTS, payment_id};
use super::zipf::Zipf;

/// Of a merchant's seeded payments so many are looked at.
const LOOKED_AT: u32 = 5;

/// Where a load's requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The same seed makes the same requests.
    pub seed: u64,
    /// No more requests at once than this.
    pub clients: usize,
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

    /// How many of a hundred requests are of this kind: 8 write, 92 read.
    pub(super) fn of_a_hundred(self) -> u32 {
        match self {
            Kind::Create => 6,
            Kind::Refund => 2,
            Kind::Get => 10,
            Kind::List => 8,
            Kind::Config => 38,
            Kind::Methods => 36,
        }
    }

    fn draw(rng: &mut fastrand::Rng) -> Kind {
        let mut left = rng.u32(0..100);
        for kind in Kind::ALL {
            match left.checked_sub(kind.of_a_hundred()) {
                Some(less) => left = less,
                None => return kind,
            }
        }
        Kind::Methods
    }
}

/// One request of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Since the start: not sent before. Without it, as soon as a client is free.
    pub(super) at: Option<Duration>,
    pub(super) kind: Kind,
    /// From 1: who asks.
    pub(super) merchant: u32,
    /// For Get: one of the merchant's seeded payments, from 1.
    pub(super) payment: u32,
    /// For Get: rather one that was made meanwhile, if there is any.
    pub(super) recent: bool,
    /// For Create.
    pub(super) amount: u32,
    /// For Create.
    pub(super) last4: u32,
}

impl Step {
    fn read(kind: Kind, merchant: u32) -> Step {
        Step { at: None, kind, merchant, payment: 1, recent: false, amount: 0, last4: 0 }
    }

    /// For Get: the id of the seeded payment.
    pub(super) fn seeded_payment(&self) -> String {
        payment_id(self.merchant, self.payment)
    }
}

impl Plan {
    /// Every merchant's payment page once, the busiest first: as an application is found that runs for a while.
    pub(super) fn warm_up(&self) -> impl Iterator<Item = Step> + Send + use<> {
        (1..=MERCHANTS).flat_map(|merchant| [Kind::Config, Kind::Methods].map(|kind| Step::read(kind, merchant)))
    }

    /// The next whenever a client is free, without end.
    pub(super) fn saturating(&self) -> impl Iterator<Item = Step> + Send + use<> {
        self.steps(1)
    }

    /// So many a second in the mean, at times that do not wait for answers (a Poisson process), without end.
    pub(super) fn paced(&self, per_second: f64) -> impl Iterator<Item = Step> + Send + use<> {
        let mut rng = self.rng(2);
        let mut at = 0.0;
        self.steps(3).map(move |step| {
            at += -(1.0 - rng.f64()).ln() / per_second.max(1e-3);
            Step { at: Some(Duration::from_secs_f64(at)), ..step }
        })
    }

    fn steps(&self, stream: u64) -> impl Iterator<Item = Step> + Send + use<> {
        let (mut rng, merchants, payments) = (self.rng(stream), Zipf::new(MERCHANTS), Zipf::new(LOOKED_AT));
        std::iter::repeat_with(move || Step {
            at: None,
            kind: Kind::draw(&mut rng),
            merchant: merchants.draw(&mut rng),
            payment: payments.draw(&mut rng),
            recent: rng.u32(0..10) < 3,
            amount: rng.u32(100..50_000),
            last4: rng.u32(0..10_000),
        })
    }

    fn rng(&self, stream: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan { seed, clients: 2 }
    }

    #[test]
    fn the_same_seed_makes_the_same_requests_at_the_same_times() {
        let some = |seed| plan(seed).paced(100.0).take(10_000).collect::<Vec<_>>();
        assert_eq!(some(42), some(42));
        assert_ne!(some(42), some(43));
        let others = plan(42).saturating().take(10_000).collect::<Vec<_>>();
        assert_eq!(others, plan(42).saturating().take(10_000).collect::<Vec<_>>());
        assert!(others.iter().zip(some(42)).any(|(a, b)| a.kind != b.kind), "two parts are two traffics");
    }

    #[test]
    fn the_mix_is_what_is_said() {
        assert_eq!(Kind::ALL.map(Kind::of_a_hundred).iter().sum::<u32>(), 100);
        assert_eq!(Kind::ALL.iter().filter(|k| k.is_read()).map(|k| k.of_a_hundred()).sum::<u32>(), 92);
        let steps: Vec<Step> = plan(42).saturating().take(100_000).collect();
        for kind in Kind::ALL {
            let (found, said) = (steps.iter().filter(|s| s.kind == kind).count(), kind.of_a_hundred() * 1_000);
            assert!((found as f64 / f64::from(said) - 1.0).abs() < 0.06, "{kind:?}: {found} for {said}");
        }
        assert!(steps.iter().all(|s| (1..=MERCHANTS).contains(&s.merchant) && (1..=LOOKED_AT).contains(&s.payment)));
    }

    #[test]
    fn a_pace_is_kept_in_the_mean_and_never_goes_back() {
        let times: Vec<Duration> = plan(7).paced(50.0).take(10_000).filter_map(|s| s.at).collect();
        assert!(times.is_sorted());
        let rate = times.len() as f64 / times.last().unwrap().as_secs_f64();
        assert!((48.0..52.0).contains(&rate), "{rate}");
    }

    #[test]
    fn the_warm_up_reads_every_page_once() {
        let steps: Vec<Step> = plan(7).warm_up().collect();
        assert_eq!(steps.len(), 2 * MERCHANTS as usize);
        assert!(steps.iter().all(|s| s.kind.is_read()));
        assert_eq!((steps[0].merchant, steps[399].merchant), (1, MERCHANTS));
    }
}
