//! Which endpoints of an upstream get requests: the checks and the ejections together, over the whole set.
//!
//! An endpoint is *usable* if its checks pass and it is not ejected. Usable endpoints are in rotation, the others are out,
//! but for one rule: **the last endpoint is never taken out.** An ejection that would leave no usable one does not happen;
//! where the checks of the last usable one fail too, it is *kept* in rotation until another is usable. nginx treats a
//! single server so; Envoy goes further and uses every endpoint again once too few are healthy, which sends requests to
//! endpoints that are known to be down while one may yet answer.
//!
//! Of the two, the checks weigh more: an endpoint whose checks fail is unhealthy whatever else it is, and one whose checks
//! pass again is done with its ejection as well, which belongs to the time before it was restarted.

use std::fmt;
use std::time::Duration;

use super::health::{Thresholds, Verdict};
use super::outlier::{Ejection, most_ejected};
use crate::units::Ratio;

/// What an endpoint is to requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// In rotation.
    #[default]
    Healthy,
    /// In rotation although its checks fail: no other is usable.
    Kept,
    /// Out: its checks fail.
    Unhealthy,
    /// Out for a time: attempts at it failed.
    Ejected,
}

impl State {
    /// Whether it gets requests.
    pub const fn is_in(self) -> bool {
        matches!(self, State::Healthy | State::Kept)
    }

    /// The word in log lines and on the administration.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Kept => "kept",
            State::Unhealthy => "unhealthy",
            State::Ejected => "ejected",
        }
    }

    /// The state of this number.
    pub const fn from_number(n: u8) -> State {
        match n {
            1 => State::Kept,
            2 => State::Unhealthy,
            3 => State::Ejected,
            _ => State::Healthy,
        }
    }
}

/// Why the state of an endpoint changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// So many checks failed in a row.
    ChecksFailed(u32),
    /// So many checks passed in a row.
    ChecksPassed(u32),
    /// So many attempts failed in a row; it is out for this long.
    AttemptsFailed(u32, Duration),
    /// The time of its ejection is over.
    TimeOver,
    /// No other endpoint is usable.
    LastOne,
    /// Another endpoint is usable again.
    NotTheLast,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::ChecksFailed(1) => write!(f, "a check failed"),
            Why::ChecksFailed(n) => write!(f, "{n} checks failed in a row"),
            Why::ChecksPassed(1) => write!(f, "a check passed"),
            Why::ChecksPassed(n) => write!(f, "{n} checks passed in a row"),
            Why::AttemptsFailed(1, time) => write!(f, "an attempt failed; out for {time:?}"),
            Why::AttemptsFailed(n, time) => write!(f, "{n} attempts failed in a row; out for {time:?}"),
            Why::TimeOver => write!(f, "its time is over"),
            Why::LastOne => write!(f, "no other endpoint is usable"),
            Why::NotTheLast => write!(f, "another endpoint is usable, and its checks fail"),
        }
    }
}

/// A change of one endpoint's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Change {
    pub id: u64,
    pub old: State,
    pub new: State,
    pub why: Why,
}

/// The rules of an upstream. Left out, a part takes nobody out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// `health_check`.
    pub checks: Option<Thresholds>,
    /// `outlier_detection`.
    pub outlier: Option<Ejections>,
}

/// The rules of ejections.
#[derive(Debug, Clone, Copy)]
pub struct Ejections {
    /// Attempts in a row that failed.
    pub consecutive_failures: u32,
    /// How long the first ejection lasts.
    pub eject_for: Duration,
    /// The share of endpoints that may be ejected at once.
    pub max_ejected: Ratio,
}

/// The endpoints of one upstream. Each has a number that nobody has again.
#[derive(Debug)]
pub struct Rotation {
    rules: Rules,
    members: Vec<Member>,
}

#[derive(Debug, Default)]
struct Member {
    id: u64,
    state: State,
    verdict: Verdict,
    ejection: Ejection,
}

impl Member {
    /// What it would be if it did not matter who else there is.
    fn alone(&self) -> State {
        match (self.verdict.is_failing(), self.ejection.until()) {
            (true, _) => State::Unhealthy,
            (false, Some(_)) => State::Ejected,
            (false, None) => State::Healthy,
        }
    }

    fn is_usable(&self) -> bool {
        self.alone() == State::Healthy
    }
}

impl Rotation {
    /// A rotation without endpoints.
    pub fn new(rules: Rules) -> Self {
        Rotation { rules, members: Vec::new() }
    }

    /// Makes these the endpoints, in this order. Those that were there before stay what they are, new ones are healthy.
    pub fn set(&mut self, ids: &[u64], now: Duration) -> Vec<Change> {
        let mut before = std::mem::take(&mut self.members);
        let known = |id: &u64| before.iter().position(|m| m.id == *id);
        let places: Vec<Option<usize>> = ids.iter().map(known).collect();
        for (id, place) in ids.iter().zip(places) {
            let member = place.and_then(|place| before.get_mut(place)).map(std::mem::take);
            self.members.push(member.unwrap_or_else(|| Member { id: *id, ..Member::default() }));
        }
        self.settle(None, now)
    }

    /// Takes down the result of a check.
    pub fn checked(&mut self, id: u64, passed: bool, now: Duration) -> Vec<Change> {
        let Some(thresholds) = self.rules.checks else { return Vec::new() };
        let Some(member) = self.members.iter_mut().find(|m| m.id == id) else { return Vec::new() };
        if !member.verdict.record(passed, thresholds) {
            return Vec::new();
        }
        let why = if passed {
            member.ejection.end(now);
            Why::ChecksPassed(thresholds.healthy_after)
        } else {
            Why::ChecksFailed(thresholds.unhealthy_after)
        };
        self.settle(Some((id, why)), now)
    }

    /// Attempts at this endpoint failed often enough: it is ejected, if enough others remain.
    pub fn failed(&mut self, id: u64, now: Duration) -> Vec<Change> {
        let Some(rules) = self.rules.outlier else { return Vec::new() };
        let ejected = self.members.iter().filter(|m| m.ejection.until().is_some()).count();
        let another = self.members.iter().any(|m| m.id != id && m.is_usable());
        if !another || ejected >= most_ejected(self.members.len(), rules.max_ejected) {
            return Vec::new();
        }
        let Some(member) = self.members.iter_mut().find(|m| m.id == id && m.is_usable()) else { return Vec::new() };
        let until = member.ejection.begin(rules.eject_for, now);
        let why = Why::AttemptsFailed(rules.consecutive_failures, until - now);
        self.settle(Some((id, why)), now)
    }

    /// Ends the ejections whose time is over.
    pub fn tick(&mut self, now: Duration) -> Vec<Change> {
        for member in &mut self.members {
            if member.ejection.until().is_some_and(|until| until <= now) {
                member.ejection.end(now);
            }
        }
        self.settle(None, now)
    }

    /// When the next ejection ends.
    pub fn next(&self) -> Option<Duration> {
        self.members.iter().filter_map(|m| m.ejection.until()).min()
    }

    /// Brings every state up to date. `cause` is what happened to one of them.
    fn settle(&mut self, cause: Option<(u64, Why)>, now: Duration) -> Vec<Change> {
        let last = if self.members.iter().any(Member::is_usable) { None } else { self.last() };
        if let Some(member) = last.and_then(|last| self.members.get_mut(last)) {
            // Does nothing where its checks fail: then it is kept.
            member.ejection.end(now);
        }
        let mut changes = Vec::new();
        for (place, member) in self.members.iter_mut().enumerate() {
            let old = member.state;
            let alone = member.alone();
            let new = if last == Some(place) && alone == State::Unhealthy { State::Kept } else { alone };
            if old == new {
                continue;
            }
            member.state = new;
            let why = match cause {
                Some((id, why)) if id == member.id => why,
                _ if last == Some(place) => Why::LastOne,
                _ if old == State::Kept => Why::NotTheLast,
                _ => Why::TimeOver,
            };
            changes.push(Change { id: member.id, old, new, why });
        }
        changes
    }

    /// The endpoint that stays where none is usable: the one that still is in rotation; where the set lost it, one whose
    /// checks pass; the first of those.
    fn last(&self) -> Option<usize> {
        let rank = |m: &Member| (!m.state.is_in(), m.verdict.is_failing());
        (0..self.members.len()).min_by_key(|place| self.members.get(*place).map(rank))
    }
}

#[cfg(test)]
mod tests;
