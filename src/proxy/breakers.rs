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

/// What the breakers of a request gave out.
pub(super) type Tickets = [Option<Ticket>; 2];

/// Asks before anything is waited for: what would be refused behind the queue is refused before it. While a breaker is
/// half-open those that may be probes are told now, so that nobody else waits for an application that may be dead.
pub(super) fn check(route: &Route) -> Result<Option<Tickets>, Refusal> {
    let mut tries = false;
    for (breaker, mode) in asked(route) {
        let state = breaker.shared.check_in(mode).map_err(refusal)?;
        tries |= state == State::HalfOpen && mode != Mode::Observe;
    }
    if !tries {
        return Ok(None);
    }
    let mut tickets = take(route)?;
    // The queue's time is not the application's.
    tickets.iter_mut().flatten().for_each(Ticket::hold);
    Ok(Some(tickets))
}

/// Whether all is well as far as they know: a request is tried again only then.
pub(super) fn are_closed(route: &Route) -> bool {
    asked(route).all(|(breaker, mode)| mode == Mode::Observe || breaker.shared.state() == State::Closed)
}

/// Lets an attempt through, as a probe where a breaker is half-open. `early` is what [`check`] gave out.
pub(super) fn admit(route: &Route, early: Option<Tickets>) -> Result<Watch, Refusal> {
    let tickets = match early.filter(|tickets| tickets.iter().flatten().all(Ticket::counts)) {
        Some(mut tickets) => {
            tickets.iter_mut().flatten().for_each(Ticket::resume);
            tickets
        }
        None => take(route)?,
    };
    for _ in tickets.iter().flatten().filter(|ticket| ticket.would_refuse().is_some()) {
        route.metrics.observed(Reason::BreakerOpen);
    }
    Ok(Watch::begin(&route.upstream, tickets))
}

fn take(route: &Route) -> Result<Tickets, Refusal> {
    let mut tickets: Tickets = [None, None];
    let mut now = None;
    for ((breaker, mode), place) in asked(route).zip(&mut tickets) {
        let now = *now.get_or_insert_with(timer::uptime);
        *place = Some(breaker.shared.admit_in(mode, route.timeouts.total, now).map_err(refusal)?);
    }
    Ok(tickets)
}
