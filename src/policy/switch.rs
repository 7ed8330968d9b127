//! Switches that an operator throws at run time, for one policy of one route, for a while or until told otherwise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::mode::Mode;

/// What a policy does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Switch {
    /// What the configuration says.
    #[default]
    Configured,
    /// It acts, whatever mode is configured.
    On,
    /// It only says what it would do.
    Observe,
    /// As if it were not configured.
    Off,
}

impl Switch {
    const ALL: [Switch; 4] = [Switch::Configured, Switch::On, Switch::Observe, Switch::Off];

    /// The mode in which a policy acts that is configured in this one; none: it does not.
    pub const fn over(self, configured: Mode) -> Option<Mode> {
        match self {
            Switch::Configured => Some(configured),
            Switch::On => Some(Mode::Enforce),
            Switch::Observe => Some(Mode::Observe),
            Switch::Off => None,
        }
    }

    /// The word of the administration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Switch::Configured => "configured",
            Switch::On => "on",
            Switch::Observe => "observe",
            Switch::Off => "off",
        }
    }
}

/// The policies of a route that have a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// `rate_limits`.
    RateLimits,
    /// `queue`.
    Queue,
    /// `circuit_breaker`.
    CircuitBreaker,
    /// `retry`.
    Retry,
    /// `fault`.
    Fault,
    /// `cache`.
    Cache,
    /// `compression`.
    Compression,
}

impl Policy {
    /// All of them, in the order of [`Policy::index`].
    pub const ALL: [Policy; 7] = [
        Policy::RateLimits,
        Policy::Queue,
        Policy::CircuitBreaker,
        Policy::Retry,
        Policy::Fault,
        Policy::Cache,
        Policy::Compression,
    ];

    /// Its place in [`Policy::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its key in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::RateLimits => "rate_limits",
            Policy::Queue => "queue",
            Policy::CircuitBreaker => "circuit_breaker",
            Policy::Retry => "retry",
            Policy::Fault => "fault",
            Policy::Cache => "cache",
            Policy::Compression => "compression",
        }
    }

    /// The policy of a key.
    pub fn from_key(key: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.as_str() == key)
    }

    /// Whether it can say what it would do without doing it. What a retry or a fault would have changed, and what an encoded
    /// body would have cost, is not known until it is done.
    pub const fn can_observe(self) -> bool {
        matches!(self, Policy::RateLimits | Policy::Queue | Policy::CircuitBreaker | Policy::Cache)
    }
}

/// A policy that cannot observe was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected on or off: {} cannot observe", .0.as_str())]
pub struct CannotObserve(pub Policy);

/// The switches of one route. A policy's switch and its end share one word, so nobody sees half of a change.
#[derive(Debug, Default)]
pub struct Switches {
    /// 0: nothing is set. Else the switch in the two lowest bits, above them its end in milliseconds, 0: none.
    words: [AtomicU64; Policy::ALL.len()],
}

const BITS: u32 = 2;
const LATEST_MS: u64 = u64::MAX >> BITS;

impl Switches {
    /// What a policy does at this moment. `now` is the time since some fixed moment.
    pub fn get(&self, policy: Policy, now: impl FnOnce() -> Duration) -> Switch {
        match self.words[policy.index()].load(Ordering::Relaxed) {
            0 => Switch::Configured,
            word => unpack(word, now()).0,
        }
    }

    /// What a policy does at this moment, and until when if that ends by itself.
    pub fn get_with_end(&self, policy: Policy, now: Duration) -> (Switch, Option<Duration>) {
        unpack(self.words[policy.index()].load(Ordering::Relaxed), now)
    }

    /// Throws a switch, until `until` (on the clock of `now`, to the next millisecond) or until the next one.
    /// [`Switch::Configured`] takes back what was set.
    pub fn set(&self, policy: Policy, switch: Switch, until: Option<Duration>) -> Result<(), CannotObserve> {
        if switch == Switch::Observe && !policy.can_observe() {
            return Err(CannotObserve(policy));
        }
        let end = until.map_or(0, |until| {
            u64::try_from(until.as_nanos().div_ceil(1_000_000)).unwrap_or(LATEST_MS).clamp(1, LATEST_MS)
        });
        let word = if switch == Switch::Configured { 0 } else { end << BITS | switch as u64 };
        self.words[policy.index()].store(word, Ordering::Relaxed);
        Ok(())
    }
}

fn unpack(word: u64, now: Duration) -> (Switch, Option<Duration>) {
    let switch = Switch::ALL[(word & ((1 << BITS) - 1)) as usize];
    match word >> BITS {
        0 => (switch, None),
        end if now.as_millis() >= u128::from(end) => (Switch::Configured, None),
        end => (switch, Some(Duration::from_millis(end))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROWN: [Switch; 3] = [Switch::On, Switch::Observe, Switch::Off];

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_set_at_first() {
        let switches = Switches::default();
        for policy in Policy::ALL {
            assert_eq!(switches.get(policy, || at(0)), Switch::Configured);
            assert_eq!(switches.get_with_end(policy, Duration::MAX), (Switch::Configured, None));
        }
    }

    #[test]
    fn a_switch_without_an_end_stays_and_moves_no_other() {
        for policy in Policy::ALL {
            for switch in THROWN.into_iter().filter(|s| *s != Switch::Observe || policy.can_observe()) {
                let switches = Switches::default();
                switches.set(policy, switch, None).unwrap();
                for other in Policy::ALL {
                    let expected = if other == policy { switch } else { Switch::Configured };
                    assert_eq!(switches.get(other, || Duration::MAX), expected);
                }
                switches.set(policy, Switch::Configured, Some(at(5))).unwrap();
                assert_eq!(switches.get_with_end(policy, at(0)), (Switch::Configured, None));
            }
        }
    }

    #[test]
    fn a_switch_with_an_end_ends_then() {
        let switches = Switches::default();
        switches.set(Policy::Queue, Switch::Off, Some(at(1000))).unwrap();
        assert_eq!(switches.get_with_end(Policy::Queue, at(999)), (Switch::Off, Some(at(1000))));
        assert_eq!(switches.get(Policy::Queue, || at(1000)), Switch::Configured);
        // An end that has passed already, and ends at both edges of the clock.
        switches.set(Policy::Queue, Switch::On, Some(Duration::ZERO)).unwrap();
        assert_eq!(switches.get(Policy::Queue, || at(1)), Switch::Configured);
        switches.set(Policy::Queue, Switch::On, Some(Duration::MAX)).unwrap();
        assert_eq!(switches.get(Policy::Queue, || at(1 << 50)), Switch::On);
        // Never shorter than asked for.
        switches.set(Policy::Queue, Switch::Observe, Some(Duration::from_micros(1500))).unwrap();
        assert_eq!(switches.get(Policy::Queue, || Duration::from_micros(1499)), Switch::Observe);
        assert_eq!(switches.get(Policy::Queue, || at(2)), Switch::Configured);
    }

    #[test]
    fn what_is_known_only_once_it_is_done_cannot_observe() {
        let switches = Switches::default();
        for policy in [Policy::Retry, Policy::Fault, Policy::Compression] {
            switches.set(policy, Switch::Off, None).unwrap();
            assert_eq!(switches.set(policy, Switch::Observe, None), Err(CannotObserve(policy)));
            assert_eq!(switches.get(policy, || at(0)), Switch::Off, "left as it was");
        }
        assert_eq!(CannotObserve(Policy::Retry).to_string(), "expected on or off: retry cannot observe");
    }

    #[test]
    fn keys_are_those_of_the_configuration() {
        for (index, policy) in Policy::ALL.into_iter().enumerate() {
            assert_eq!(policy.index(), index);
            assert_eq!(Policy::from_key(policy.as_str()), Some(policy));
        }
        assert_eq!(Policy::from_key("breaker"), None);
    }
}
