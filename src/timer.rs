//! The clock that policies are handed, and one deadline after the other on one timer.
//!
//! A request has several deadlines, and nearly all of them are replaced by a later one before they come. Moving a deadline
//! back costs nothing here: the timer fires at the old time and looks again. Exact to tokio's millisecond.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Where the clock of the policies starts: an hour before it is first asked, so that times before a process' start exist.
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
});

/// The time as the policies have it: monotonic, since a fixed moment before the process began to serve.
pub fn uptime() -> Duration {
    since_epoch(Instant::now())
}

/// The time since 1970, by which tokens say when they expire. Nothing else is decided by it: it may jump.
/// A clock that stands before 1970 knows no time: then every date has passed.
#[allow(clippy::disallowed_methods, reason = "what others write down as a date can be compared with a date alone")]
pub fn unix_now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::MAX)
}

/// A moment as the policies have it.
pub fn since_epoch(moment: Instant) -> Duration {
    moment.saturating_duration_since(*EPOCH)
}

/// A moment of the policies' clock as the timers have it.
pub fn moment(since_epoch: Duration) -> Instant {
    *EPOCH + since_epoch
}

/// A timer whose deadline moves.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Option<Instant>,
}

impl Timer {
    /// Sets the deadline. It takes effect with the next poll.
    pub fn set(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() > deadline => sleep.as_mut().reset(deadline),
            Some(_) => {}
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
    }

    /// Ready when the deadline has passed; pending for ever without one.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(deadline), Some(sleep)) = (self.deadline, &mut self.sleep) else {
            return Poll::Pending;
        };
        loop {
            if sleep.deadline() < deadline && sleep.is_elapsed() {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn fired_after(timer: &mut Timer) -> Duration {
        let start = Instant::now();
        poll_fn(|cx| timer.poll(cx)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moved_back_fires_at_its_new_time() {
        let mut timer = Timer::default();
        let start = Instant::now();
        timer.set(start + Duration::from_millis(10));
        timer.set(start + Duration::from_millis(500));
        assert_eq!(fired_after(&mut timer).await.as_millis(), 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moved_forward_fires_earlier() {
        let mut timer = Timer::default();
        let start = Instant::now();
        timer.set(start + Duration::from_millis(500));
        timer.set(start + Duration::from_millis(20));
        assert_eq!(fired_after(&mut timer).await.as_millis(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_fired_can_be_set_again() {
        let mut timer = Timer::default();
        timer.set(Instant::now() + Duration::from_millis(5));
        fired_after(&mut timer).await;
        timer.set(Instant::now() + Duration::from_millis(30));
        assert_eq!(fired_after(&mut timer).await.as_millis(), 30);
    }
}
