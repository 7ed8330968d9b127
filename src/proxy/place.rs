//! Step 5: the queue of the upstream. A request that is let through holds a place at the application. What an open breaker
//! would refuse behind the queue is refused before it waits.

use std::future::poll_fn;
use std::task::Poll;

use http::HeaderMap;
use tokio::time::Duration;

use super::breakers::Tickets;
use super::context::Context;
use super::downstream::Downstream;
use super::{Received, breakers};
use crate::policy::breaker;
use crate::policy::failure::Failure;
use crate::policy::mode::Mode;
use crate::policy::priority::Priority;
use crate::policy::queue::{Ask, Entered, Outcome, Permit, Refused, Waiting, Would};
use crate::policy::switch::{Policy, Switch};
use crate::refusal::{Reason, Refusal};
use crate::route::table::Route;
use crate::timer::{self, Timer};

/// A place at the application. Dropped, it is given back.
pub(super) struct Place {
    permit: Permit,
    lent: bool,
    outcome: Outcome,
}

impl Place {
    /// Whether it is lent to another request.
    pub(super) fn is_lent(&self) -> bool {
        self.lent
    }

    /// Lends it to another request: the application has nothing to do for this one.
    pub(super) fn lend(&mut self) {
        self.lent = true;
        self.permit.suspend(timer::uptime());
    }

    /// Takes it back, if it was lent.
    pub(super) fn take_back(&mut self) {
        if std::mem::take(&mut self.lent) {
            self.permit.resume(timer::uptime());
        }
    }

    /// What the limit learns when it is given back.
    pub(super) fn sample(&mut self, told: breaker::Outcome) {
        self.outcome = match told {
            breaker::Outcome::Success | breaker::Outcome::Failure(Failure::Status(_)) => Outcome::Ok,
            breaker::Outcome::Failure(_) => Outcome::Failed,
            breaker::Outcome::ClientLeft | breaker::Outcome::Neutral => Outcome::Neutral,
        };
    }

    /// Gives it back.
    pub(super) fn give_back(self) {
        self.permit.settle(self.outcome);
    }
}

/// Asks for a place, and waits for it where there is none; returns what the breakers gave out to one that waited.
pub(super) async fn enter(
    cx: &mut Context,
    route: &Route,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    request: &Received,
) -> Result<Option<Tickets>, Refusal> {
    let Some(queue) = route.upstream.queue_for(route.cap()) else { return Ok(None) };
    let now = timer::uptime();
    let mode = match route.switches.get(Policy::Queue, || now) {
        Switch::Configured => None,
        Switch::On => Some(Mode::Enforce),
        Switch::Observe => Some(Mode::Observe),
        Switch::Off => return Ok(None),
    };
    let headers = &down.request().headers;
    let fetch = down.as_fill().map(|fill| fill.fetch().clone());
    let priority = match &fetch {
        Some(fetch) => fetch.priority(),
        None => priority(cx, route, headers),
    };
    let tenant = route.fair_by.as_ref().map_or(0, |key| cx.with_source(route, headers, |s| key.hash(s)));
    let deadline = Some(timer::since_epoch(cx.deadline));
    let mut ask = Ask { priority, tenant, cap: route.cap(), deadline };
    let mut tickets = None;
    let permit = loop {
        let enter = |now| match mode {
            None => queue.enter(&ask, now),
            Some(mode) => queue.enter_in(mode, &ask, now),
        };
        let mut waiting = match enter(timer::uptime()) {
            // The breakers are asked again when the attempt begins, which is now.
            Entered::Permit(permit) => break permit,
            Entered::Refused(refused) => {
                breakers::check(route)?;
                return Err(refusal(route, refused));
            }
            Entered::Wait(waiting) => waiting,
        };
        if tickets.is_none() {
            tickets = breakers::check(route)?;
        }
        let waited = wait(&mut waiting, enter, route, down, timer, request);
        let Some(fetch) = &fetch else { break waited.await? };
        // One more urgent joined those who wait for this fetch: it takes a place among its like.
        tokio::select! {
            biased;
            permit = waited => break permit?,
            () = fetch.raised(ask.priority) => ask.priority = fetch.priority(),
        }
    };
    match permit.would() {
        Some(Would::Refuse(refused)) => route.metrics.observed(reason(refused)),
        Some(Would::Wait) | None => {}
    }
    cx.queued += permit.wait();
    if let Some(metrics) = &route.upstream.queue_metrics {
        metrics.waited(ask.priority.index(), permit.wait().as_secs_f64());
    }
    cx.place = Some(Place { permit, lent: false, outcome: Outcome::Neutral });
    Ok(tickets)
}

/// How urgent a request is.
pub(super) fn priority(cx: &Context, route: &Route, headers: &HeaderMap) -> Priority {
    match route.urgency.fixed() {
        Some(priority) => priority,
        None => cx.with_source(route, headers, |source| route.urgency.of(source, cx.trusted)),
    }
}

/// Waits for the place; a client that leaves ends it.
async fn wait(
    waiting: &mut Waiting,
    enter: impl Fn(Duration) -> Entered,
    route: &Route,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    request: &Received,
) -> Result<Permit, Refusal> {
    let leaves = request.is_watched(down);
    poll_fn(|poller| {
        let now = timer::uptime();
        if let Poll::Ready(mut granted) = waiting.poll(poller, now) {
            if matches!(granted, Err(Refused::Breaker)) && breakers::check(route).is_ok() {
                // All who waited were sent away, but this route's requests do not heed that breaker now.
                granted = match enter(now) {
                    Entered::Permit(permit) => Ok(permit),
                    Entered::Refused(refused) => Err(refused),
                    Entered::Wait(again) => {
                        *waiting = again;
                        poller.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                };
            }
            return Poll::Ready(granted.map_err(|refused| refusal(route, refused)));
        }
        if leaves && down.poll_gone(poller).is_ready() {
            return Poll::Ready(Err(Reason::ClientLeft.into()));
        }
        timer.set(timer::moment(waiting.until()));
        if timer.poll(poller).is_ready() {
            // Asked once more, at a time that has come.
            poller.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

fn reason(refused: Refused) -> Reason {
    match refused {
        Refused::QueueFull => Reason::QueueFull,
        Refused::Timeout | Refused::Late => Reason::QueueTimeout,
        Refused::Bulkhead => Reason::BulkheadFull,
        Refused::Breaker => Reason::BreakerOpen,
    }
}

fn refusal(route: &Route, refused: Refused) -> Refusal {
    let detail = match refused {
        Refused::Late => "it could not have been answered in time",
        _ => "",
    };
    let after = match refused {
        Refused::Breaker => route.upstream.open_left(),
        // A place is free again when one that is taken has been held for as long as they usually are.
        _ => route.upstream.queue.typical_service(),
    };
    Refusal::new(reason(refused), detail).retry_after(after)
}
