//! Who is told how an attempt goes: the breakers, the endpoint and the queue, each once.

use std::sync::Arc;

use tokio::time::Instant;

use super::context::Context;
use crate::observe::metrics::AttemptOutcome;
use crate::policy::breaker::{Outcome, Ticket};
use crate::policy::failure::Failure;
use crate::policy::outlier;
use crate::timer;
use crate::upstream::Upstream;

/// What is owed for the attempt that runs.
#[derive(Default)]
pub(super) struct Watch {
    upstream: Option<Arc<Upstream>>,
    tickets: [Option<Ticket>; 2],
    /// When the first of them counts the attempt as slow.
    slow_at: Option<Instant>,
    /// How it ended is nobody's fault, or the client's.
    says_nothing: bool,
    /// It ended before the application had the time that it is given.
    cut_short: bool,
}

impl Watch {
    /// An attempt begins.
    pub(super) fn begin(upstream: &Arc<Upstream>, tickets: [Option<Ticket>; 2]) -> Self {
        let mut watch = Watch { upstream: Some(upstream.clone()), tickets, ..Watch::default() };
        watch.look();
        watch
    }

    /// When the attempt counts as slow.
    pub(super) fn slow_at(&self) -> Option<Instant> {
        self.slow_at
    }

    /// That moment has come.
    pub(super) fn slow(&mut self) {
        let now = timer::uptime();
        for ticket in self.tickets.iter_mut().flatten() {
            if ticket.slow_at().is_some_and(|at| at <= now) {
                ticket.slow();
            }
        }
        self.look();
    }

    /// The client has its part to do: what it takes is not the application's.
    pub(super) fn waits_for_client(&mut self) {
        self.tickets.iter_mut().flatten().for_each(Ticket::hold_for_client);
        self.slow_at = None;
    }

    /// From now on nothing but the application is waited for.
    pub(super) fn waits_for_application(&mut self) {
        self.tickets.iter_mut().flatten().for_each(Ticket::resume);
        self.look();
    }

    /// The head of the answer came. Its body comes as fast as the client takes it, which says nothing of the application.
    pub(super) fn answered(&mut self) {
        self.waits_for_client();
    }

    /// A connection that waited was closed in the moment in which it was used, a stream was not begun with, or the
    /// application broke off what its client kept waiting.
    pub(super) fn says_nothing(&mut self) {
        self.says_nothing = true;
    }

    /// The request's time is over before the application had its own: others took it. It may have been slow all the same.
    pub(super) fn cut_short(&mut self) {
        self.cut_short = true;
    }

    fn look(&mut self) {
        self.slow_at = self.tickets.iter().flatten().filter_map(Ticket::slow_at).min().map(timer::moment);
    }
}

/// What the attempt says of its endpoint.
fn of_endpoint(told: Outcome, status: u16) -> outlier::Outcome {
    match told {
        Outcome::Failure(Failure::Status(500 | 502 | 503 | 504) | Failure::Connect | Failure::Reset) => {
            outlier::Outcome::Failed
        }
        // Behind a good head it may be a stream that is silent, or at the end of its time.
        Outcome::Failure(Failure::Timeout) if (1..500).contains(&status) => outlier::Outcome::Neutral,
        Outcome::Failure(Failure::Timeout) => outlier::Outcome::Failed,
        Outcome::Success | Outcome::Failure(Failure::Status(_)) => outlier::Outcome::Ok,
        Outcome::ClientLeft | Outcome::Neutral => outlier::Outcome::Neutral,
    }
}

impl Context {
    /// Gives the place at the application back, if it is still held.
    pub(super) fn leave_place(&mut self) {
        if let Some(place) = self.place.take() {
            place.give_back();
        }
    }

    /// The attempt is over as far as the application goes; what comes behind says nothing of it any more.
    pub(super) fn end_attempt(&mut self, outcome: AttemptOutcome) {
        let Some(upstream) = self.watch.upstream.take() else { return };
        upstream.metrics.attempt(outcome);
        let told = match outcome {
            AttemptOutcome::Ok => Outcome::Success,
            AttemptOutcome::Error => Outcome::Failure(Failure::Status(self.status)),
            AttemptOutcome::Connect => Outcome::Failure(Failure::Connect),
            AttemptOutcome::Timeout => Outcome::Failure(Failure::Timeout),
            AttemptOutcome::Reset => Outcome::Failure(Failure::Reset),
            AttemptOutcome::ClientLeft => Outcome::ClientLeft,
            AttemptOutcome::Neutral => Outcome::Neutral,
        };
        let told = match &self.watch {
            Watch { says_nothing: true, .. } => Outcome::Neutral,
            Watch { cut_short: true, .. } => Outcome::ClientLeft,
            _ => told,
        };
        if self.watch.tickets.iter().any(Option::is_some) {
            let now = timer::uptime();
            let tickets = self.watch.tickets.iter_mut().filter_map(Option::take);
            tickets.for_each(|ticket| ticket.settle_at(told, now));
        }
        if let Some(endpoint) = &self.endpoint {
            upstream.outcome(endpoint, of_endpoint(told, self.status));
        }
        if let Some(place) = &mut self.place {
            place.sample(told);
        }
    }
}
