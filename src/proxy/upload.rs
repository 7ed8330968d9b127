//! Reads the client's body: whole where it is small and its length is known, in parts otherwise.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use prometheus::IntGauge;
use tokio::time::Instant;

use super::context::Context;
use super::downstream::Downstream;
use crate::refusal::{Reason, Refusal};
use crate::timer::Timer;
use crate::units::Size;

/// Memory that bodies hold, of all requests together.
#[derive(Clone)]
pub struct Buffered {
    bytes: Arc<AtomicUsize>,
    gauge: IntGauge,
}

/// Memory that one body holds.
pub(super) struct Held {
    of: Buffered,
    bytes: usize,
}

impl Buffered {
    /// Nothing is held; `gauge` shows it.
    pub fn new(gauge: IntGauge) -> Self {
        Buffered { bytes: Arc::default(), gauge }
    }

    /// The memory of a body of which nothing has come.
    pub(super) fn begin(&self) -> Held {
        Held { of: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Takes memory for what has come of a body. What was only announced takes none: many who announce much and send
    /// little would leave none for others.
    ///
    /// # Errors
    /// Where all bodies together would hold more than `most` bytes.
    pub(super) fn grow(&mut self, bytes: usize, most: usize) -> Result<(), Refusal> {
        let add = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= most);
        let added = self.of.bytes.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add);
        added.map_err(|_| Refusal::new(Reason::Overloaded, "too much is buffered"))?;
        self.of.gauge.add(bytes as i64);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.of.gauge.sub(self.bytes as i64);
    }
}

pub(super) fn too_large(most: u64) -> Refusal {
    Refusal::new(Reason::BodyTooLarge, format!("at most {}", Size::from_bytes(most)))
}

/// Reads a whole body: of `length` bytes, or of at most `most` where that is not told.
pub(super) async fn read_whole(
    cx: &mut Context,
    down: &mut Downstream<'_>,
    timer: &mut Timer,
    length: Option<u64>,
    most: u64,
    held: &mut Held,
) -> Result<Bytes, Refusal> {
    let silence = cx.state.limits.body_read_timeout;
    let mut first = Bytes::new();
    let mut body = BytesMut::new();
    let mut moved = Instant::now();
    let mut read = 0u64;
    loop {
        let part = poll_fn(|poller| {
            if let Poll::Ready(part) = down.poll_read(poller) {
                return Poll::Ready(part);
            }
            timer.set((moved + silence).min(cx.deadline));
            timer.poll(poller).map(|()| Err(Refusal::new(Reason::RequestTimeout, "the body did not arrive in time")))
        });
        let Some(part) = part.await? else { break };
        held.grow(part.len(), cx.state.limits.max_buffered)?;
        moved = Instant::now();
        read += part.len() as u64;
        if length.is_none() && read > most {
            return Err(too_large(most));
        }
        // Most bodies come in one part, which is then not copied.
        match (first.is_empty(), body.is_empty()) {
            (true, true) => first = part,
            (false, true) => {
                body.reserve(length.unwrap_or(2 * read) as usize);
                body.extend_from_slice(&first);
                body.extend_from_slice(&part);
            }
            _ => body.extend_from_slice(&part),
        }
    }
    cx.request_bytes = read;
    if length.is_some_and(|length| read != length) {
        return Err(Refusal::new(Reason::BadRequest, "the body is not as long as it said"));
    }
    Ok(if body.is_empty() { first } else { body.freeze() })
}

/// Tells a client that waits for it to send its body.
pub(super) fn go_on(down: &mut Downstream<'_>) {
    down.inform(StatusCode::CONTINUE, None);
}
