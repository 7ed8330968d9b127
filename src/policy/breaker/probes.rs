//! The calls that are let through half-open. None of them can be lost: each has a lease, and its place is free when the
//! lease is over. One that waits for its client has a short one: slow clients would keep everybody out.

use std::time::Duration;

use super::Figures;

/// A probe that waits for its client for longer than this leaves its place to another.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most probes that are kept count of.
const MOST: u32 = 1000;

/// The probes of one half-open time.
#[derive(Debug)]
pub(super) struct Probes {
    /// How many outcomes decide.
    wanted: u32,
    /// Those in flight. Never longer than `wanted`, so it never allocates again.
    live: Vec<Lease>,
    next: u64,
    /// Probes that have ended.
    settled: u32,
    failed: u32,
    slow: u32,
    /// Those of `slow` that have not ended.
    slow_live: u32,
}

#[derive(Debug)]
struct Lease {
    probe: u64,
    until: Duration,
    /// It waits for its client: it keeps its place until then at most.
    held: Option<Duration>,
    slow: bool,
}

impl Lease {
    fn ends(&self) -> Duration {
        self.held.map_or(self.until, |held| held.min(self.until))
    }
}

/// The shares at which probes are too bad; `slow` is none where slowness does not matter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) failure_rate: f64,
    pub(super) slow_rate: Option<f64>,
}

impl Limits {
    pub(super) fn failed(&self, bad: u32, calls: u32) -> bool {
        reached(bad, calls, self.failure_rate)
    }

    pub(super) fn slow(&self, bad: u32, calls: u32) -> bool {
        self.slow_rate.is_some_and(|rate| reached(bad, calls, rate))
    }
}

/// Whether the bad ones are this share of all. Nothing bad never is, not even 0%.
fn reached(bad: u32, calls: u32, rate: f64) -> bool {
    // The slack is less than any call's share, and more than what a product of binary fractions is off.
    bad > 0 && f64::from(bad) >= rate * f64::from(calls) - 1e-6
}

/// What the probes have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Failed,
    Slow,
}

impl Probes {
    pub(super) fn new(wanted: u32) -> Probes {
        let wanted = wanted.clamp(1, MOST);
        let live = Vec::with_capacity(wanted as usize);
        Probes { wanted, live, next: 0, settled: 0, failed: 0, slow: 0, slow_live: 0 }
    }

    /// Begins anew. Numbers of probes go on, so that none of before is taken for one of now.
    pub(super) fn clear(&mut self) {
        self.live.clear();
        (self.settled, self.failed, self.slow, self.slow_live) = (0, 0, 0, 0);
    }

    /// Frees the places of those whose lease is over. One that was seen to be slow has shown what there was to see.
    pub(super) fn free_lost(&mut self, now: Duration) {
        let Probes { live, settled, slow_live, .. } = self;
        live.retain(|lease| {
            let lost = lease.ends() <= now;
            if lost && lease.slow {
                *settled += 1;
                *slow_live -= 1;
            }
            !lost
        });
    }

    /// A place for one more; none if all outcomes that decide are in or on their way.
    pub(super) fn take(&mut self, until: Duration) -> Option<u64> {
        if !self.has_room() {
            return None;
        }
        let probe = self.next;
        self.next += 1;
        self.live.push(Lease { probe, until, held: None, slow: false });
        Some(probe)
    }

    pub(super) fn has_room(&self) -> bool {
        self.settled.saturating_add(self.in_flight()) < self.wanted
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.live.len() as u32
    }

    /// When the next place is free at the latest.
    pub(super) fn next_free(&self) -> Option<Duration> {
        self.live.iter().map(Lease::ends).min()
    }

    /// Since when a probe waits for its client; None: it does so no more.
    pub(super) fn hold(&mut self, probe: u64, since: Option<Duration>) {
        if let Some(lease) = self.live.iter_mut().find(|lease| lease.probe == probe) {
            lease.held = since.map(|since| since.saturating_add(PATIENCE));
        }
    }

    /// A probe's age passed `over`.
    pub(super) fn slow(&mut self, probe: u64) {
        self.slow += 1;
        match self.live.iter_mut().find(|lease| lease.probe == probe) {
            Some(lease) => {
                lease.slow = true;
                self.slow_live += 1;
            }
            // Its lease was over before; the outcome counts all the same.
            None => self.settled += 1,
        }
    }

    /// A probe ended. `was_slow`: [`Probes::slow`] was called for it.
    pub(super) fn settle(&mut self, probe: u64, was_slow: bool, failed: bool) {
        let live = self.remove(probe);
        self.slow_live -= u32::from(live && was_slow);
        // One that was slow and lost has been counted when its lease was over.
        self.settled += u32::from(live || !was_slow);
        self.failed += u32::from(failed);
    }

    /// A probe showed nothing: its place is given back.
    pub(super) fn give_back(&mut self, probe: u64, was_slow: bool) {
        let live = self.remove(probe);
        if was_slow {
            self.slow -= 1;
            if live { self.slow_live -= 1 } else { self.settled -= 1 }
        }
    }

    fn remove(&mut self, probe: u64) -> bool {
        let found = self.live.iter().position(|lease| lease.probe == probe);
        found.map(|at| self.live.swap_remove(at)).is_some()
    }

    /// Decided as soon as the outcomes to come cannot change it: bad when the rest could be good, good when the rest
    /// could be bad.
    pub(super) fn verdict(&self, limits: &Limits) -> Option<Verdict> {
        if limits.failed(self.failed, self.wanted) {
            return Some(Verdict::Failed);
        }
        if limits.slow(self.slow, self.wanted) {
            return Some(Verdict::Slow);
        }
        let to_come = self.wanted.saturating_sub(self.settled);
        let may_be_slow = to_come.saturating_sub(self.slow_live);
        let may_fail = limits.failed(self.failed + to_come, self.wanted);
        let may_slow = limits.slow(self.slow + may_be_slow, self.wanted);
        (!may_fail && !may_slow).then_some(Verdict::Good)
    }

    pub(super) fn figures(&self) -> Figures {
        Figures { calls: self.settled + self.slow_live, failed: self.failed, slow: self.slow }
    }
}
