//! Waiting for something on behalf of a client that may leave meanwhile.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::time::Instant;

use super::downstream::Downstream;
use crate::timer::Timer;

/// How a wait for work ended.
pub(super) enum Supervised<T> {
    /// The work is done.
    Done(T),
    /// The client left first.
    Left,
    /// The deadline came first.
    Late,
}

/// Waits for `work`, a deadline, or the client to leave where `leaves` says that this ends it.
pub(super) async fn supervise<T>(
    work: impl Future<Output = T>,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    deadline: Instant,
    leaves: bool,
) -> Supervised<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Supervised::Done(done));
        }
        if leaves && down.poll_gone(cx).is_ready() {
            return Poll::Ready(Supervised::Left);
        }
        timer.set(deadline);
        timer.poll(cx).map(|()| Supervised::Late)
    })
    .await
}

/// How a wait for a time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// The time has come.
    Until,
    /// The client left first.
    Left,
}

/// Waits for a time, or for the client to leave where `leaves` says that this ends it.
pub(super) async fn wait(down: &mut Downstream<'_>, timer: &mut Timer, until: Instant, leaves: bool) -> Waited {
    match supervise(pending::<()>(), down, timer, until, leaves).await {
        Supervised::Left => Waited::Left,
        Supervised::Late | Supervised::Done(()) => Waited::Until,
    }
}
