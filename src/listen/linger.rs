//! Closing without taking the answer back.
//!
//! A socket that is closed with unread bytes resets the connection, and the reset can overtake the answer. So our side is
//! ended first, and what the client still sends is read and thrown away for a moment.

use std::future::poll_fn;
use std::task::Poll;

use tokio::time::{Duration, Instant};

use crate::io::Conn;
use crate::timer::Timer;

/// How long, and how much, is read and thrown away: a client that writes its whole body before it reads has to come to
/// its end. The time is what bounds the work.
const TIME: Duration = Duration::from_secs(1);
const BYTES: usize = 32 << 20;

/// Sends what waits within `patience`, ends our side, and waits a moment for the client to do the same.
pub(super) async fn close(conn: &Conn, timer: &mut Timer, patience: Duration) {
    let deadline = Instant::now() + patience;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = conn.poll_half_close(cx) {
            return Poll::Ready(ended.is_ok());
        }
        timer.set(deadline);
        timer.poll(cx).map(|()| false)
    });
    if !ended.await {
        return;
    }
    let deadline = Instant::now() + TIME;
    let mut discarded = 0;
    poll_fn(|cx| {
        while discarded < BYTES {
            match conn.poll_discard(cx) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(n)) => discarded += n,
                Poll::Pending => {
                    timer.set(deadline);
                    return timer.poll(cx);
                }
            }
        }
        Poll::Ready(())
    })
    .await;
}
