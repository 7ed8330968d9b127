//! A limit as it is decided by: an entry of `rate_limits`, or one of its overrides, compiled.

use super::bucket::Bucket;
use super::entry::Entry;
use super::settings::Algorithm;
use super::window::Window;
use super::{Decision, mix};
use crate::units::Rate;

/// A limit on the requests of one key. It holds no counts: those lie in the [`Table`](super::Table).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    rule: Rule,
    /// Tells entries apart that cannot be read alike: a limit whose span changes begins to count anew.
    salt: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Window(Window),
    Bucket(Bucket),
}

impl Limit {
    /// Compiles a limit. `burst` is the depth of a token bucket, by default the count of the rate; a window has none.
    pub fn new(algorithm: Algorithm, rate: Rate, burst: Option<u32>) -> Self {
        match algorithm {
            Algorithm::SlidingWindow => {
                let window = Window::new(rate);
                let (sub, unit) = window.scale();
                Limit { rule: Rule::Window(window), salt: mix(mix(sub) ^ u64::from(unit)) }
            }
            Algorithm::TokenBucket => {
                // What an entry holds of a bucket is a time: it means the same for every rate.
                Limit { rule: Rule::Bucket(Bucket::new(rate, burst.unwrap_or(rate.count()))), salt: 0 }
            }
        }
    }

    /// The key of the entry, from the hash of limit and key.
    pub(super) fn entry_key(&self, key: u64) -> u64 {
        key ^ self.salt
    }

    pub(super) fn take(&self, entry: &mut Entry, now: u64) -> Decision {
        match &self.rule {
            Rule::Window(window) => window.take(entry, now),
            Rule::Bucket(bucket) => bucket.take(entry, now),
        }
    }

    pub(super) fn give_back(&self, entry: &mut Entry, taken: u64) {
        match &self.rule {
            Rule::Window(window) => window.give_back(entry, taken),
            Rule::Bucket(bucket) => bucket.give_back(entry, taken),
        }
    }
}
