//! Event streams and WebSockets: counted apart, because they last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

use crate::refusal::{Reason, Refusal};

/// How many are open.
#[derive(Clone)]
pub struct EventStreams {
    open: Arc<AtomicUsize>,
    gauge: IntGauge,
}

/// One that is open.
pub(super) struct EventStream(EventStreams);

impl EventStreams {
    /// None are open; `gauge` shows them.
    pub fn new(gauge: IntGauge) -> Self {
        EventStreams { open: Arc::default(), gauge }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// Where `most` are open.
    pub(super) fn enter(&self, most: usize) -> Result<EventStream, Refusal> {
        let counted = self.open.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < most).then_some(n + 1));
        counted.map_err(|_| Refusal::new(Reason::Overloaded, "too many event streams"))?;
        self.gauge.inc();
        Ok(EventStream(self.clone()))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.gauge.dec();
    }
}
