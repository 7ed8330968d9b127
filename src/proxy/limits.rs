//! Step 2: the rate limits of a route. All of them have to allow a request.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::context::Context;
use crate::config::KeySource;
use crate::policy::mode::Mode;
use crate::policy::rate_limit::{Decision, Table};
use crate::policy::switch::{Policy, Switch};
use crate::refusal::{Reason, Refusal};
use crate::route::key::Source;
use crate::route::limits::{Counted, RateLimit, Rule};
use crate::route::table::Route;
use crate::timer;

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static STATE: HeaderName = HeaderName::from_static("ratelimit");

/// A limit that refuses.
struct Refused<'l> {
    limit: &'l RateLimit,
    why: Why<'l>,
}

enum Why<'l> {
    /// It is used up for so long.
    UsedUp(&'l Rule, Duration),
    /// The request lacks a part of the key.
    Lacks(&'l KeySource),
}

/// One request that the limits are asked about.
struct Asking<'a, 's> {
    table: &'a Table,
    source: &'a Source<'s>,
    switch: Switch,
    now: Duration,
    /// A limit that only observes would have refused it.
    observed: bool,
}

/// Asks the limits of the route; a request that is let through is counted in all of them, a refused one in none.
pub(super) fn admit(cx: &Context, route: &Route, headers: &HeaderMap) -> Result<(), Refusal> {
    if route.limits.is_empty() {
        return Ok(());
    }
    let now = timer::uptime();
    let switch = route.switches.get(Policy::RateLimits, || now);
    if switch == Switch::Off {
        return Ok(());
    }
    cx.with_source(route, headers, |source| {
        let mut asking = Asking { table: &cx.state.table.counts, source, switch, now, observed: false };
        asking.ask(&route.limits).map_err(|refused| asking.refusal(&route.limits, &refused))?;
        if asking.observed {
            route.metrics.observed(Reason::RateLimited);
        }
        Ok(())
    })
}

impl Asking<'_, '_> {
    /// Asks one limit after the other until one refuses. What a limit has counted it counts no more if a later one
    /// refuses; the stack holds what that was.
    fn ask<'l>(&mut self, limits: &'l [RateLimit]) -> Result<(), Refused<'l>> {
        let Some((limit, rest)) = limits.split_first() else { return Ok(()) };
        let why = match limit.counted(self.source) {
            Counted::Skipped => {
                limit.decisions.skipped.inc();
                return self.ask(rest);
            }
            Counted::Lacks(part) => Why::Lacks(part),
            Counted::For(key, rule) => match self.table.take(&rule.limit, key, self.now) {
                Decision::Refused { retry_after } => Why::UsedUp(rule, retry_after),
                Decision::Allowed { .. } => {
                    let asked = self.ask(rest);
                    match &asked {
                        Ok(()) => limit.decisions.allowed.inc(),
                        Err(_) => self.table.give_back(&rule.limit, key, self.now),
                    }
                    return asked;
                }
            },
        };
        if self.enforces(limit) {
            limit.decisions.refused.inc();
            return Err(Refused { limit, why });
        }
        limit.decisions.observed.inc();
        self.observed = true;
        self.ask(rest)
    }

    fn enforces(&self, limit: &RateLimit) -> bool {
        self.switch.over(limit.mode) == Some(Mode::Enforce)
    }

    /// What the client is told: all limits that hold for it, and the one that it met.
    fn refusal(&self, limits: &[RateLimit], refused: &Refused<'_>) -> Refusal {
        let name = &refused.limit.name;
        let told = limits.iter().filter(|limit| self.enforces(limit)).map(|limit| limit.told(self.source));
        let policy = told.map(|rule| rule.fields.policy()).collect::<Vec<_>>().join(", ");
        match refused.why {
            // To wait would not help: no Retry-After.
            Why::Lacks(part) => Refusal::new(Reason::RateLimited, format!("the limit {name} requires {part}")),
            Why::UsedUp(rule, wait) => Refusal::new(Reason::RateLimited, format!("the limit {name}"))
                .retry_after(wait)
                .with_header(STATE.clone(), &rule.fields.state(0, wait)),
        }
        .with_header(POLICY.clone(), &policy)
    }
}
