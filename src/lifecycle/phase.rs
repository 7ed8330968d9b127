//! The phases of the process and the count of what is in flight.
//!
//! ```text
//! starting → ready → leaving → draining → closing → done
//!                    |         |          └ outbound listeners are closed too
//!                    |         └ inbound listeners are closed
//!                    └ /readyz fails; listeners still accept, answers say that the connection ends
//! ```
//! There is one deadline, counted from the moment the process began to leave.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::Direction;

/// Where the process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Not yet listening.
    Starting,
    /// Everything is served.
    Ready,
    /// Readiness fails, listeners still accept, connections are told to end.
    Leaving,
    /// Inbound listeners are closed.
    Draining,
    /// Outbound listeners are closed too.
    Closing,
    /// Nothing is in flight any more, or time is up.
    Done,
}

impl Phase {
    const ALL: [Phase; 6] =
        [Phase::Starting, Phase::Ready, Phase::Leaving, Phase::Draining, Phase::Closing, Phase::Done];

    /// The word for people and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Leaving => "leaving",
            Phase::Draining => "draining",
            Phase::Closing => "closing",
            Phase::Done => "done",
        }
    }
}

/// How the process leaves.
#[derive(Debug, Clone, Copy)]
pub struct Leave {
    /// How long inbound listeners accept after readiness failed.
    pub delay: Duration,
    /// From now to the end at the latest.
    pub timeout: Duration,
    /// Whether the process ends; without it outbound listeners stay open until it is told to.
    pub terminate: bool,
}

/// The state that listeners, requests and administration share.
#[derive(Debug)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
    /// Whether another process accepts.
    handed_over: watch::Sender<bool>,
    /// The same as `phase`, for a look that costs one load.
    now: AtomicU8,
    inbound: AtomicUsize,
    outbound: AtomicUsize,
    connections: AtomicUsize,
    /// Told when a count reaches zero while the process leaves.
    fell: Notify,
    started: OnceLock<Leaving>,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    since: Instant,
    accept_until: Instant,
    deadline: Instant,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle {
            phase: watch::Sender::new(Phase::Starting),
            handed_over: watch::Sender::new(false),
            now: AtomicU8::new(Phase::Starting as u8),
            inbound: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            fell: Notify::new(),
            started: OnceLock::new(),
        }
    }
}

impl Lifecycle {
    /// Where the process stands now.
    pub fn phase(&self) -> Phase {
        Phase::ALL[self.now.load(Ordering::Acquire) as usize]
    }

    /// Where the process stands, to wait on.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whether connections are told to end.
    pub fn is_leaving(&self) -> bool {
        self.now.load(Ordering::Relaxed) >= Phase::Leaving as u8
    }

    /// Whether connections of this direction are told to end: inbound ones as soon as the process leaves, outbound ones
    /// when nothing inbound needs them any more.
    pub fn ends(&self, direction: Direction) -> bool {
        let from = match direction {
            Direction::Inbound => Phase::Leaving,
            Direction::Outbound => Phase::Closing,
        };
        self.now.load(Ordering::Relaxed) >= from as u8
    }

    /// Moves on to `phase`; never back.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            if *now >= phase {
                return false;
            }
            tracing::info!(event = "phase", old = now.as_str(), new = phase.as_str());
            *now = phase;
            self.now.store(phase as u8, Ordering::Release);
            true
        });
    }

    /// When the process ends at the latest, once it leaves.
    pub fn deadline(&self) -> Option<Instant> {
        self.started.get().map(|s| s.deadline)
    }

    /// When inbound listeners stop to accept, once the process leaves.
    pub fn accept_until(&self) -> Option<Instant> {
        self.started.get().map(|s| s.accept_until)
    }

    /// How long the process has been leaving.
    pub fn leaving_for(&self) -> Option<Duration> {
        self.started.get().map(|s| s.since.elapsed())
    }

    /// Requests in flight: inbound and outbound.
    pub fn in_flight(&self) -> (usize, usize) {
        (self.inbound.load(Ordering::Acquire), self.outbound.load(Ordering::Acquire))
    }

    /// Client connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Counts a request until the guard is dropped, which is after its last byte was handed to the socket.
    pub fn request(self: &Arc<Self>, direction: Direction) -> InFlight {
        self.counter(Some(direction)).fetch_add(1, Ordering::AcqRel);
        InFlight { lifecycle: self.clone(), what: Some(direction) }
    }

    /// Counts a connection until the guard is dropped; none when there are `most` already.
    pub fn connection(self: &Arc<Self>, most: usize) -> Option<InFlight> {
        let guard = InFlight { lifecycle: self.clone(), what: None };
        (self.connections.fetch_add(1, Ordering::AcqRel) < most).then_some(guard)
    }

    fn counter(&self, what: Option<Direction>) -> &AtomicUsize {
        match what {
            Some(Direction::Inbound) => &self.inbound,
            Some(Direction::Outbound) => &self.outbound,
            None => &self.connections,
        }
    }

    /// Begins to leave, or asks a process that already leaves to end as well. Returns when nothing inbound is in flight
    /// any more (`terminate: false`), or when the process may end.
    pub async fn leave(&self, how: Leave) {
        let now = Instant::now();
        let leaving = *self.started.get_or_init(|| Leaving {
            since: now,
            accept_until: now + how.delay,
            deadline: now + how.timeout,
        });
        self.enter(Phase::Leaving);
        sleep_until(leaving.accept_until.min(leaving.deadline)).await;
        self.enter(Phase::Draining);
        let cut = timeout_at(leaving.deadline, self.until_zero(&self.inbound)).await.is_err();
        if !how.terminate {
            return;
        }
        self.enter(Phase::Closing);
        let cut = cut | timeout_at(leaving.deadline, self.until_quiet(leaving.deadline)).await.is_err();
        if cut {
            let (inbound, outbound) = self.in_flight();
            tracing::warn!(event = "drain_cut", inbound, outbound);
        }
        self.enter(Phase::Done);
    }

    /// Leaves, and accepts nothing more from now on: another process has the listening sockets. The delay is for clients
    /// that keep connections.
    pub async fn hand_over(&self, delay: Duration, timeout: Duration) {
        self.handed_over.send_replace(true);
        self.leave(Leave { delay, timeout, terminate: true }).await;
    }

    /// Returns when listeners of this direction have to close.
    pub async fn until_closed(&self, direction: Direction) {
        let from = match direction {
            Direction::Inbound => Phase::Draining,
            Direction::Outbound => Phase::Closing,
        };
        let (mut phase, mut handed_over) = (self.phase.subscribe(), self.handed_over.subscribe());
        // The senders live as long as `self`.
        tokio::select! {
            _ = phase.wait_for(|now| *now >= from) => {}
            _ = handed_over.wait_for(|handed_over| *handed_over) => {}
        }
    }

    /// Returns when nothing is in flight and no connection is left, or nothing was in flight for a second: what was
    /// answered may still stand in a socket's buffer, and a client that connected in time may just be sending.
    async fn until_quiet(&self, deadline: Instant) {
        loop {
            self.until_zero(&self.inbound).await;
            self.until_zero(&self.outbound).await;
            let patience = deadline.min(Instant::now() + Duration::from_secs(1));
            let all_left = timeout_at(patience, self.until_zero(&self.connections)).await.is_ok();
            if all_left || self.in_flight() == (0, 0) {
                return;
            }
        }
    }

    async fn until_zero(&self, count: &AtomicUsize) {
        loop {
            let fell = self.fell.notified();
            if count.load(Ordering::Acquire) == 0 {
                return;
            }
            fell.await;
        }
    }
}

/// A request or a connection that is counted.
#[derive(Debug)]
pub struct InFlight {
    lifecycle: Arc<Lifecycle>,
    what: Option<Direction>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.lifecycle.counter(self.what).fetch_sub(1, Ordering::AcqRel);
        if before == 1 && self.lifecycle.is_leaving() {
            self.lifecycle.fell.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: Leave = Leave { delay: Duration::from_secs(5), timeout: Duration::from_secs(21), terminate: true };

    fn ready() -> Arc<Lifecycle> {
        let lifecycle = Arc::new(Lifecycle::default());
        lifecycle.enter(Phase::Ready);
        lifecycle
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_process_ends_after_the_delay() {
        let lifecycle = ready();
        let start = Instant::now();
        lifecycle.leave(HOW).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        assert_eq!(lifecycle.phase(), Phase::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_as_soon_as_the_last_request_does() {
        let lifecycle = ready();
        let request = lifecycle.request(Direction::Inbound);
        let start = Instant::now();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(9)).await;
            drop(request);
        });
        lifecycle.leave(HOW).await;
        assert_eq!(start.elapsed().as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_never_ends_is_cut_at_the_deadline() {
        let lifecycle = ready();
        let _request = lifecycle.request(Direction::Outbound);
        let start = Instant::now();
        lifecycle.leave(HOW).await;
        assert_eq!(start.elapsed().as_secs(), 21);
    }

    #[tokio::test(start_paused = true)]
    async fn outbound_stays_open_while_an_inbound_request_runs() {
        let lifecycle = ready();
        let request = lifecycle.request(Direction::Inbound);
        let leaving = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { lifecycle.leave(HOW).await }
        });
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(lifecycle.phase(), Phase::Draining);
        drop(request);
        leaving.await.unwrap();
        assert_eq!(lifecycle.phase(), Phase::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_without_an_end_stays_in_draining_until_it_is_told() {
        let lifecycle = ready();
        lifecycle.leave(Leave { terminate: false, ..HOW }).await;
        assert_eq!(lifecycle.phase(), Phase::Draining);
        let start = Instant::now();
        lifecycle.leave(HOW).await;
        assert_eq!(start.elapsed().as_secs(), 0);
        assert_eq!(lifecycle.phase(), Phase::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_begins_on_a_connection_accepted_in_time_is_waited_for() {
        let lifecycle = ready();
        let connection = lifecycle.connection(10);
        let start = Instant::now();
        tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5500)).await;
                let request = lifecycle.request(Direction::Inbound);
                tokio::time::sleep(Duration::from_secs(4)).await;
                drop((request, connection));
            }
        });
        lifecycle.leave(HOW).await;
        assert_eq!(start.elapsed().as_millis(), 9500);
    }

    #[tokio::test(start_paused = true)]
    async fn outbound_connections_are_told_to_end_only_when_nothing_inbound_needs_them() {
        let lifecycle = ready();
        lifecycle.enter(Phase::Draining);
        assert!(lifecycle.ends(Direction::Inbound) && !lifecycle.ends(Direction::Outbound));
        lifecycle.enter(Phase::Closing);
        assert!(lifecycle.ends(Direction::Outbound));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_over_the_limit_is_not_counted() {
        let lifecycle = ready();
        let first = lifecycle.connection(1);
        assert!(first.is_some() && lifecycle.connection(1).is_none());
        assert_eq!(lifecycle.connections(), 1);
    }
}
