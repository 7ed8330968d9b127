//! The breakers of a request: its route's own and its upstream's. Both have to let it through.

use std::sync::Arc;

use super::watch::Watch;
use crate::policy::breaker::{Mode, Refused, State, Ticket};
use crate::policy::switch::{Policy, Switch};
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::timer;
use crate::upstream::breaker::Breaker;

/// The breakers that are asked, and in which mode; none of them where an operator switched them off.
fn asked(route: &Route) -> impl Iterator<Item = (&Arc<Breaker>, Mode)> {
    let breakers = [route.breaker.as_ref(), route.upstream.breaker.as_ref()];
    let any = breakers.iter().any(Option::is_some);
    let switch = if any { route.switches.get(Policy::CircuitBreaker, timer::uptime) } else { Switch::Configured };
    breakers.into_iter().flatten().filter_map(move |breaker| match switch {
        Switch::Configured => Some((breaker, breaker.settings.mode)),
        // One that is forced open acts already.
        Switch::On if breaker.settings.mode == Mode::ForceOpen => Some((breaker, Mode::ForceOpen)),
        Switch::On => Some((breaker, Mode::Enforce)),
        Switch::Observe => Some((breaker, Mode::Observe)),
        Switch::Off => None,
    })
}

fn refusal(refused: Refused) -> Refusal {
    let detail = match refused.state {
        State::HalfOpen => "a few requests try whether it is back",
        State::Open | State::Closed => "",
    };
    Refusal::new(Reason::BreakerOpen, detail).retry_after(refused.retry_after)
}

/// Asks before anything is waited for: what would be refused behind the queue is refused before it.
pub(super) fn check(route: &Route) -> Result<(), Refusal> {
    for (breaker, mode) in asked(route) {
        breaker.shared.check_in(mode).map_err(refusal)?;
    }
    Ok(())
}

/// Whether all is well as far as they know: a request is tried again only then.
pub(super) fn are_closed(route: &Route) -> bool {
    asked(route).all(|(breaker, mode)| mode == Mode::Observe || breaker.shared.state() == State::Closed)
}

/// Lets an attempt through, as a probe where a breaker is half-open.
pub(super) fn admit(route: &Route) -> Result<Watch, Refusal> {
    let mut tickets: [Option<Ticket>; 2] = [None, None];
    for ((breaker, mode), place) in asked(route).zip(&mut tickets) {
        let ticket = breaker.shared.admit_in(mode, route.timeouts.total).map_err(refusal)?;
        if ticket.would_refuse().is_some() {
            route.metrics.observed(Reason::BreakerOpen);
        }
        *place = Some(ticket);
    }
    Ok(Watch::begin(&route.upstream, tickets))
}
