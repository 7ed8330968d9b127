//! Controlled delay, for one priority.
//!
//! The signal is that of CoDel (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012; RFC 8289): a burst makes
//! a wait that passes, a standing queue makes one that does not, so the *least* wait over an interval tells the two apart.
//! The answer is that of Facebook's servers (Maurer, "Fail at Scale", ACM Queue 2015; `folly::Codel`): while it stays above
//! the target, who waited for twice the target is refused and the newest go first, because they are the ones whose client
//! still waits. Where we differ:
//!
//! - RFC 8289 drops one packet, then more and more often, for TCP to slow down. A request does not slow down because
//!   another one was refused, so there is no control law: all that is too old leaves.
//! - folly judges at the moment of dequeuing. We refuse the old as soon as anything happens, or their own timer says so:
//!   a refusal that comes early can still be answered by a retry elsewhere.
//! - With the newest first, the wait of those served says nothing about the queue: while it is overloaded the age of the
//!   oldest waiter is taken for it. And an interval in which somebody waited and nobody was served counts as overload.
//! - The last one that waits is never refused for its age (RFC 8289 keeps the last packet): a place would lie idle.

use std::time::Duration;

/// Whether the queue of one priority stands.
#[derive(Debug, Clone)]
pub(super) struct Codel {
    /// When the present interval ends.
    ends: Duration,
    /// The least wait in it; none while nobody was served.
    least: Option<Duration>,
    /// Somebody waited in it.
    waited: bool,
    overloaded: bool,
}

/// When a wait is too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delay {
    pub(super) target: Duration,
    pub(super) interval: Duration,
}

impl Delay {
    /// The age at which a waiter is refused under overload.
    pub(super) fn too_old(self) -> Duration {
        self.target * 2
    }
}

impl Codel {
    pub(super) fn new() -> Codel {
        Codel { ends: Duration::ZERO, least: None, waited: false, overloaded: false }
    }

    /// Whether the newest go first and the old are refused.
    pub(super) fn overloaded(&self) -> bool {
        self.overloaded
    }

    /// The first of a queue that was empty begins to wait. What stood before has gone: a new interval begins.
    pub(super) fn begins(&mut self, delay: Delay, now: Duration) {
        self.look(false, delay, now);
        if !self.overloaded {
            self.ends = now + delay.interval;
            self.least = None;
        }
        self.waited = true;
    }

    /// Somebody was served after `wait`; `oldest` is the age of who has waited longest, the served one included.
    pub(super) fn served(&mut self, wait: Duration, oldest: Duration) {
        let wait = if self.overloaded { oldest } else { wait };
        self.least = Some(self.least.map_or(wait, |least| least.min(wait)));
    }

    /// Judges the interval when it is over. `waiting`: somebody waits at this moment.
    #[inline]
    pub(super) fn look(&mut self, waiting: bool, delay: Delay, now: Duration) {
        if now >= self.ends {
            self.judge(waiting, delay, now);
        }
    }

    fn judge(&mut self, waiting: bool, delay: Delay, now: Duration) {
        self.overloaded = match self.least {
            Some(least) => least > delay.target,
            // An interval that ended long ago, and nobody waits: that was another time.
            None => self.waited && (waiting || now < self.ends + delay.interval),
        };
        self.ends = now + delay.interval;
        self.least = None;
        self.waited = waiting;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Delay = Delay { target: Duration::from_millis(50), interval: Duration::from_millis(500) };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// An interval from 0 to 500 ms in which these waits were served while somebody waited.
    fn after(waits: &[u64]) -> Codel {
        let mut codel = Codel::new();
        codel.begins(DELAY, ms(0));
        waits.iter().for_each(|wait| codel.served(ms(*wait), ms(*wait)));
        codel.look(true, DELAY, ms(500));
        codel
    }

    #[test]
    fn the_least_wait_decides_not_the_longest() {
        assert!(after(&[51, 900]).overloaded());
        assert!(!after(&[900, 50]).overloaded());
        assert!(!after(&[0, 900, 900]).overloaded());
    }

    #[test]
    fn nobody_served_while_somebody_waits_is_overload() {
        assert!(after(&[]).overloaded());
        let mut idle = Codel::new();
        idle.look(false, DELAY, ms(10_000));
        assert!(!idle.overloaded());
    }

    #[test]
    fn before_the_interval_is_over_nothing_is_judged() {
        let mut codel = Codel::new();
        codel.begins(DELAY, ms(0));
        codel.served(ms(400), ms(400));
        codel.look(true, DELAY, ms(499));
        assert!(!codel.overloaded());
    }

    #[test]
    fn a_queue_that_was_empty_begins_anew() {
        let mut codel = Codel::new();
        codel.begins(DELAY, ms(0));
        codel.served(ms(400), ms(400));
        codel.begins(DELAY, ms(450));
        codel.look(true, DELAY, ms(600));
        assert!(!codel.overloaded(), "150 ms of the new interval");
    }

    #[test]
    fn it_recovers_by_the_oldest_not_by_the_newest_that_is_served() {
        let mut codel = after(&[80]);
        codel.served(ms(1), ms(90));
        codel.look(true, DELAY, ms(1000));
        assert!(codel.overloaded(), "the newest was served at once, the oldest waits on");
        codel.served(ms(1), ms(90));
        codel.served(ms(1), ms(50));
        codel.look(true, DELAY, ms(1500));
        assert!(!codel.overloaded());
    }

    #[test]
    fn it_recovers_when_nobody_waits() {
        let mut codel = after(&[80]);
        codel.look(false, DELAY, ms(1000));
        assert!(codel.overloaded(), "nobody was served in this interval, and somebody waited");
        codel.look(false, DELAY, ms(1500));
        assert!(!codel.overloaded());
        let mut codel = after(&[80]);
        codel.begins(DELAY, ms(60_000));
        assert!(!codel.overloaded(), "that was a minute ago");
    }
}
