//! Which deadline of an exchange is next, and what it means that one passed: some only say something, the last ones end it.

use tokio::time::{Duration, Instant};

use super::super::place::Place;
use super::{Exchange, Failed, Pace, Stage, Upload};
use crate::policy::retry::Kind;
use crate::refusal::{Reason, Refusal};

/// A client may stall for this long before its rate counts: a network that loses packets does, and so does a stream that
/// shares a window with others.
const STALL: Duration = Duration::from_secs(3);
/// A client that sends its body more slowly than limits.min_send_rate for this long lends its place to another request.
pub(super) const LEND: Duration = Duration::from_millis(100);
/// A client that leaves no room for more of its answer for this long lends it too: the application cannot go on either.
const STALLED: Duration = Duration::from_secs(1);
/// What it sent faster than that saves up this much at most: a fast beginning is no right to a place.
const SAVED: Duration = Duration::from_secs(1);

impl Pace {
    /// So many bytes came at the moment `now`, after the application had waited for them: the place is earned for longer.
    pub(super) fn came(&mut self, bytes: usize, waited: Duration, least_rate: u64, now: Instant) {
        self.took += waited;
        let earned = Duration::from_secs_f64(bytes as f64 / least_rate as f64);
        self.lend_at = (self.lend_at + earned).min(now + SAVED);
    }

    /// For so long it was the application that took nothing.
    pub(super) fn was_blocked(&mut self, time: Duration) {
        self.lend_at += time;
    }
}

impl Exchange<'_, '_> {
    /// Which deadline is next.
    pub(super) fn next_deadline(&mut self) -> Instant {
        if self.waits_for_client {
            let slowest = self.slowest_client();
            // Fixed when the wait begins: what waits shrinks with every byte that the client takes.
            let until = *self.client_until.get_or_insert_with(|| Instant::now() + slowest);
            if self.stage == Stage::End {
                // What the application answered in time is not taken from a client that keeps the least rate.
                return until;
            }
        } else {
            self.client_until = None;
        }
        let t = &self.route.timeouts;
        let limits = &self.cx.state.limits;
        let mut next = self.stream_until.unwrap_or(self.cx.deadline);
        match self.upload {
            Upload::Streaming if self.upload_waits_for_client => {
                next = next.min(self.upload_moved + limits.body_read_timeout)
            }
            Upload::Streaming | Upload::Ending => next = next.min(self.upload_moved + t.idle),
            Upload::Done | Upload::Stopped if self.stage == Stage::Head => {
                next = next.min(self.upload_moved + t.first_byte)
            }
            Upload::Done | Upload::Stopped => {}
        }
        match self.stage {
            Stage::Body if !self.waits_for_client => next = next.min(self.answer_moved + t.idle),
            Stage::Head | Stage::Body | Stage::End => {}
        }
        let next = self.client_until.map_or(next, |until| next.min(until));
        self.soft_deadline().map_or(next, |soft| next.min(soft))
    }

    /// The next of the deadlines that end nothing: the attempt counts as slow, the place is lent, another try is begun.
    fn soft_deadline(&self) -> Option<Instant> {
        let waits_for_head = self.stage == Stage::Head;
        let again = self.per_attempt.filter(|_| waits_for_head);
        [self.cx.watch.slow_at(), again, self.lends_at()].into_iter().flatten().min()
    }

    /// When a client that sends its body is slower than the least rate, or has read nothing of its answer for too long.
    fn lends_at(&self) -> Option<Instant> {
        if self.cx.place.as_ref().is_none_or(Place::is_lent) {
            return None;
        }
        let sends = matches!(self.upload, Upload::Streaming) && self.upload_waits_for_client;
        let reads = self.stage == Stage::Body && self.waits_for_client;
        let (sent, read) = (sends.then_some(self.pace.lend_at), reads.then(|| self.answer_moved + STALLED));
        sent.into_iter().chain(read).min()
    }

    /// A deadline passed. The soft ones are heeded and it goes on.
    pub(super) fn on_late(&mut self) -> Result<(), Failed> {
        let now = Instant::now();
        if self.cx.watch.slow_at().is_some_and(|at| at <= now) {
            self.cx.watch.slow();
            return Ok(());
        }
        if self.lends_at().is_some_and(|at| at <= now) {
            if let Some(place) = &mut self.cx.place {
                place.lend();
            }
            return Ok(());
        }
        if self.stage == Stage::Head && self.per_attempt.is_some_and(|at| at <= now) {
            self.per_attempt = None;
            // Nobody waits for another one: this one runs to its end.
            if self.cx.client_left {
                return Ok(());
            }
            self.cx.sent = self.origin.as_ref().map_or(self.cx.sent, |origin| self.cx.sent.max(origin.sent));
            // An attempt that cannot be followed by another is left its time.
            return match self.repeat.again(self.cx, Kind::PerAttempt, None) {
                Some(after) => Err(Failed::Again(after)),
                None => Ok(()),
            };
        }
        let refusal = self.whose_fault();
        if refusal.reason == Reason::UpstreamTimeout && self.is_cut_short(now) {
            self.cx.watch.cut_short();
        }
        Err(refusal.into())
    }

    /// Whether the request's whole time is over before the application had what it is given: a client that sends slowly, a
    /// queue or the attempts before took the rest.
    fn is_cut_short(&self, now: Instant) -> bool {
        let t = &self.route.timeouts;
        match (self.stage, &self.upload) {
            (Stage::Head, Upload::Done | Upload::Stopped) => now < self.upload_moved + t.first_byte,
            (Stage::Head, Upload::Ending | Upload::Streaming) => now < self.upload_moved + t.idle,
            (Stage::Body | Stage::End, _) => self.kept_waiting(),
        }
    }

    /// How long a client may take for what waits for it.
    pub(super) fn slowest_client(&self) -> Duration {
        Duration::from_secs(self.down.pending() as u64 / self.cx.state.limits.min_send_rate) + STALL
    }

    /// Whose fault it is that a deadline passed.
    fn whose_fault(&self) -> Refusal {
        let upload_waits = matches!(self.upload, Upload::Streaming) && self.upload_waits_for_client;
        let silent = self.upload_moved + self.cx.state.limits.body_read_timeout <= Instant::now();
        if upload_waits && (self.stage == Stage::Head || silent) {
            return Refusal::new(Reason::RequestTimeout, "the body did not arrive in time");
        }
        if self.stage != Stage::Head && self.waits_for_client {
            return Refusal::new(Reason::RequestTimeout, "the answer was not read in time");
        }
        Refusal::new(Reason::UpstreamTimeout, "")
    }
}
