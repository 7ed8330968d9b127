//! The places at an application: its queue, as the configuration has it and as its endpoints allow it.

use std::time::Duration;

use super::Upstream;
use crate::policy::mode::Mode;
use crate::policy::priority::Priority;
use crate::policy::queue::{Cap, MaxConcurrent, Settings, Shared};
use crate::timer;

impl Upstream {
    /// The queue that a request has to pass; none where neither the upstream nor the request's route bounds anything.
    pub fn queue_for(&self, cap: Cap) -> Option<&Shared> {
        (self.settings.queue.is_some() || cap != Cap::NONE).then_some(&self.queue)
    }

    /// The mode of the queue; none where there is none. A cap alone is enforced.
    pub fn queue_mode(&self, cap: Cap) -> Option<Mode> {
        self.queue_for(cap)?;
        Some(self.settings.queue.as_ref().map_or(Mode::Enforce, |queue| queue.mode))
    }

    /// Takes the section `queue` over: once it is the one that runs, and whenever the endpoints change. Those that run and
    /// wait are kept. The queue belongs to the upstream of this name that the configuration has: one that was replaced has
    /// nothing to say to it.
    pub fn apply_queue(&self) {
        if self.is_retired() {
            return;
        }
        self.queue.configure(self.bounded().as_ref(), timer::uptime());
    }

    /// The section `queue`, with no more places than all endpoints together have connections: what is more waits here.
    fn bounded(&self) -> Option<Settings> {
        let mut settings = self.settings.queue.clone()?;
        let endpoints = u32::try_from(self.set.load().endpoints.len()).unwrap_or(u32::MAX).max(1);
        let most = self.pool.max_connections.saturating_mul(endpoints).max(1);
        match &mut settings.max_concurrent {
            MaxConcurrent::Fixed(places) => *places = (*places).min(most),
            MaxConcurrent::Adaptive(adaptive) => {
                adaptive.max = adaptive.max.min(most);
                adaptive.min = adaptive.min.min(adaptive.max);
                adaptive.initial = adaptive.initial.clamp(adaptive.min, adaptive.max);
            }
        }
        Some(settings)
    }

    /// The cap of a route inside the queue.
    pub fn cap(&self, route: &str, most: Option<u32>) -> Cap {
        most.map_or(Cap::NONE, |most| self.queue.cap(route, most, timer::uptime()))
    }

    /// Shows the queue in the metrics.
    pub fn show_queue(&self) {
        if let Some(metrics) = &self.queue_metrics {
            let depth = Priority::ALL.map(|p| self.queue.depth(p));
            metrics.show(depth, self.queue.limit().unwrap_or(0), self.queue.running());
        }
    }

    /// How long its breaker still refuses.
    pub fn open_left(&self) -> Duration {
        self.breaker.as_ref().and_then(|b| b.shared.snapshot().open_left).unwrap_or_default()
    }
}
