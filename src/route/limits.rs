//! The rate limits of a route, compiled: whom each counts a request for, and by which rule.

use super::key::{Key, Source, octets};
use super::table::CompileError;
use crate::config::{self, KeySource};
use crate::observe::metrics::{IntCounter, RouteMetrics};
use crate::policy::mode::Mode;
use crate::policy::parts::Parts;
use crate::policy::rate_limit::{Fields, KeyHasher, Limit, MissingKey, Settings, Table};

/// Random numbers that stay in the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeds {
    /// For the keys of limits.
    pub(super) keys: [u64; 2],
    /// For tokens.
    pub(super) tokens: [u64; 2],
}

impl Seeds {
    pub(super) fn draw() -> Result<Self, getrandom::Error> {
        let pair = || Ok([getrandom::u64()?, getrandom::u64()?]);
        Ok(Seeds { keys: pair()?, tokens: pair()? })
    }
}

/// One limit of a route.
pub struct RateLimit {
    /// Its name.
    pub name: String,
    /// Whether it refuses, or only counts what it would refuse.
    pub mode: Mode,
    /// What it counts into.
    pub decisions: Decisions,
    key: Key,
    missing: MissingKey,
    /// Stands where a key's values come next. Holds the route, the limit and what the key is made of: of nothing else
    /// do the counts depend, so they survive a reload that changes other things.
    keyed: KeyHasher,
    /// The same where an address comes next, in the place of a key that is missing.
    by_address: KeyHasher,
    rule: Rule,
    /// By the hash of the key that each is for, in order.
    overrides: Vec<(u64, Rule)>,
}

/// How many requests, and how a client is told of it.
#[derive(Debug)]
pub struct Rule {
    /// The limit.
    pub limit: Limit,
    /// What stands in the answer's head.
    pub fields: Fields,
}

/// The counters `rate_limit_decisions_total` of a limit.
#[allow(missing_docs)]
pub struct Decisions {
    pub allowed: IntCounter,
    pub refused: IntCounter,
    pub observed: IntCounter,
    pub skipped: IntCounter,
}

/// Whom a request is counted for.
pub enum Counted<'l> {
    /// For this key, by this rule.
    For(u64, &'l Rule),
    /// For nobody: it lacks the key, and such requests are not counted.
    Skipped,
    /// For nobody: it lacks this part of the key, and such requests are refused.
    Lacks(&'l KeySource),
}

impl RateLimit {
    fn compile(settings: &Settings, route: &str, table: &Table, metrics: &RouteMetrics) -> Option<Self> {
        let key = Key::parse_all(&settings.key)?;
        let prefix = |parts: &[&str]| {
            let mut hasher = table.hasher();
            [route, &settings.name].iter().chain(parts).for_each(|part| hasher.part(part.as_bytes()));
            hasher
        };
        let sources: Vec<String> = key.parts().iter().map(ToString::to_string).collect();
        let keyed = prefix(&sources.iter().map(String::as_str).collect::<Vec<_>>());
        let rule = |rate| Rule {
            limit: Limit::new(settings.algorithm, rate, settings.burst),
            fields: Fields::new(&settings.name, rate),
        };
        let mut overrides = Vec::with_capacity(settings.overrides.len());
        for (text, rate) in &settings.overrides {
            let mut hasher = keyed.clone();
            key.feed_text(text, &mut hasher)?;
            overrides.push((hasher.finish(), rule(*rate)));
        }
        overrides.sort_unstable_by_key(|(key, _)| *key);
        let decision = |name| metrics.decision(&settings.name, name);
        Some(RateLimit {
            mode: settings.mode,
            decisions: Decisions {
                allowed: decision("allowed"),
                refused: decision("refused"),
                observed: decision("observed"),
                skipped: decision("skipped"),
            },
            missing: settings.missing_key,
            keyed,
            // No part of a key is called so: this is not the beginning of any key.
            by_address: prefix(&["missing"]),
            rule: rule(settings.limit),
            overrides,
            name: settings.name.clone(),
            key,
        })
    }

    /// Whom a request is counted for.
    pub fn counted(&self, source: &Source<'_>) -> Counted<'_> {
        let mut hasher = self.keyed.clone();
        let lacks = match self.key.feed(source, &mut hasher) {
            Ok(()) => {
                let key = hasher.finish();
                return Counted::For(key, self.rule(key));
            }
            Err(lacks) => lacks,
        };
        match self.missing {
            MissingKey::Skip => Counted::Skipped,
            MissingKey::Refuse => Counted::Lacks(lacks),
            MissingKey::ClientIp => {
                let mut hasher = self.by_address.clone();
                // Those without an address (at a Unix socket) share one count: not to count them would let them all in.
                if let Some(client) = source.client {
                    hasher.part(&octets(client));
                }
                Counted::For(hasher.finish(), &self.rule)
            }
        }
    }

    /// The rule that a client of this limit is told of.
    pub fn told(&self, source: &Source<'_>) -> &Rule {
        match self.counted(source) {
            Counted::For(_, rule) => rule,
            Counted::Skipped | Counted::Lacks(_) => &self.rule,
        }
    }

    fn rule(&self, key: u64) -> &Rule {
        match self.overrides.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => &self.overrides[at].1,
            Err(_) => &self.rule,
        }
    }
}

/// Compiles the limits of a route, in their order.
pub(super) fn compile(
    route: &config::Route,
    table: &Table,
    metrics: &RouteMetrics,
) -> Result<Vec<RateLimit>, CompileError> {
    let limits = route.rate_limits.iter().map(|settings| {
        let limit = RateLimit::compile(settings, &route.name, table, metrics);
        limit.ok_or_else(|| CompileError::Limit { route: route.name.clone(), name: settings.name.clone() })
    });
    limits.collect()
}

#[cfg(test)]
mod tests;
